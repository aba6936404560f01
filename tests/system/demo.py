"""The demo data of contrib/demo in a test's database, at a scale of its choice."""

import subprocess

from server import environment
from sql_harness import TOP

SMALL = {"users": 500, "months_back": 2, "months_ahead": 2, "events_per_month": 100, "registrations_per_month": 2000}


def load_demo(dsn, **scale):
    """Loads it as the owner; keywords are the psql variables of contrib/demo/settings.sql. Answers the progress lines."""
    variables = [argument for name, value in {**SMALL, **scale}.items() for argument in ("-v", f"{name}={value}")]
    done = subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *variables, "-d", dsn,
                           "-f", str(TOP / "contrib" / "demo" / "load.sql")],
                          env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout.splitlines()
