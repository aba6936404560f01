"""The README's ten steps: every path that they name is there, and what they write is a configuration that turnoutd takes."""

import os
import re
import subprocess

import pytest

import server
from sql_harness import TOP

README = (TOP / "README.md").read_text(encoding="utf-8")
# Debian's own, and those of step 9 that nginx's package makes.
GIVEN = re.compile(r"/etc/(ssl|nginx)/|/var/log/turnout/")


@pytest.fixture(scope="module", autouse=True)
def programs():
    if server.programs() is None:
        pytest.skip("TURNOUT_BIN does not say where turnoutd and turnoutctl are")


def steps(text=README):
    """The commands of each step of "In production", as they would be pasted."""
    chapter = text.split("\n## In production\n")[1].split("\n## ")[0]
    found = []
    for part in re.split(r"^(?=\d+\. )", chapter, flags=re.MULTILINE)[1:]:
        width = len(re.match(r"\d+\. ", part)[0]) + 4
        found.append("\n".join(line[width:] for line in part.splitlines() if line.startswith(" " * width)))
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What `make install` of this build puts where, with --sysconfdir=/etc."""
    folder = tmp_path_factory.mktemp("destdir")
    build = server.programs()
    # Nothing is to be built in the midst of tests.
    if (build / "turnoutd").stat().st_mtime < max(path.stat().st_mtime for path in (TOP / "src").rglob("*.[ch]")):
        pytest.skip("the programs are older than their source: make")
    done = subprocess.run(["make", "--no-print-directory", "install", f"DESTDIR={folder}"], cwd=build, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    return {re.sub("^/usr/local/etc/", "/etc/", "/" + str(path.relative_to(folder))): path for path in folder.rglob("*") if not path.is_dir()}


def missing_paths(commands, installed_paths):
    """Paths that are neither installed nor written by a step before they are read."""
    there = set(installed_paths)
    found = []
    for step in commands:
        for shell_variable, values in re.findall(r"for (\w+) in ([\w ]+);", step):
            step = "\n".join(step.replace("$" + shell_variable, value) for value in values.split())
        written = set(re.findall(r">>?(/[\w./-]+)", step))
        for path in re.findall(r"(?<![\w./])(/(?:usr/local|etc|var|run)/[\w./-]+)", step):
            if path not in there | written and not GIVEN.match(path):
                found.append(path)
        there |= written
    return found


def test_there_are_ten_steps_of_commands():
    found = steps()
    assert len(found) == 10 and all(found)
    for step in found:
        done = subprocess.run(["bash", "-n"], input=step, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), step


def test_every_path_in_them_is_installed_or_written_before(installed):
    assert missing_paths(steps(), installed) == []
    without_site = {path for path in installed if "nginx" not in path}
    assert missing_paths(steps(), without_site) == ["/usr/local/share/turnout/nginx/turnout.conf"]
    assert "/etc/turnout/app.password" in missing_paths(steps()[:3] + steps()[4:], installed) + missing_paths(
        [re.sub("for role in app owner", "for role in owner", step) for step in steps()], installed)


def test_the_packages_are_those_that_turnout_needs():
    asked = set(re.sub(r".*--no-install-recommends", "", steps()[0].replace("\\\n", "")).split())
    listed = (TOP / "contrib" / "lib" / "packages.sh").read_text(encoding="utf-8")
    needed = set(re.search(r"^PACKAGES_RUN=\((.*?)\)", listed, re.MULTILINE | re.DOTALL)[1].split())
    assert asked == needed | {"postgresql", "nginx-light", "logrotate"}


def test_what_make_install_puts_into_place_names_this_installation(installed):
    unit = installed["/usr/local/lib/systemd/system/turnout.service"].read_text(encoding="utf-8")
    for program in re.findall(r"^Exec\w+=(\S+)", unit, re.MULTILINE):
        assert program in installed, program
    for page in ("man8/turnoutd.8", "man1/turnoutctl.1", "man5/turnout.conf.5"):
        assert f"/usr/local/share/man/{page}" in installed
    for name in ("lib/systemd/system/turnout.socket", "lib/sysusers.d/turnout.conf", "lib/tmpfiles.d/turnout.conf",
                 "share/bash-completion/completions/turnoutctl", "share/bash-completion/completions/turnoutd"):
        assert f"/usr/local/{name}" in installed
    assert "/etc/logrotate.d/turnout" in installed and "/etc/turnout/turnout.conf" in installed


def test_secrets_and_configuration_of_the_steps_are_taken_by_the_daemon(installed, tmp_path):
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "turnout.conf").write_bytes(installed["/etc/turnout/turnout.conf"].read_bytes())
    secrets, configuration = steps()[4], steps()[5]
    passwords = steps()[3].splitlines()[0]
    script = "\n".join((passwords, secrets, configuration)).replace("/etc/turnout/", f"{folder}/").replace("/var/log/turnout/", f"{folder}/")
    subprocess.run(["bash", "-ec", script], cwd="/", check=True, stdin=subprocess.DEVNULL)
    for name in ("app.password", "owner.password", "cursor.key", "jwks.json"):
        assert os.stat(folder / name).st_mode & 0o077 == 0, name
    # Where they would be without this test's folder is known by default.
    with open(folder / "turnout.conf", "a", encoding="utf-8") as file:
        file.write(f"cursor_key_file = {folder}/cursor.key\njwt_keys_file = {folder}/jwks.json\nsql_directory = {TOP}/sql\n")
    assert server.run("turnoutd", "-c", folder / "turnout.conf", "--check-config").returncode == 0
    assert server.run("turnoutctl", "-c", folder / "turnout.conf", "token", "--email", "a@example.org").stdout.count(".") == 2
    (folder / "jwks.json").write_text("{}", encoding="utf-8")
    assert server.run("turnoutd", "-c", folder / "turnout.conf", "--check-config", check=False).returncode == 2
