"""contrib/quickstart as a newcomer uses it: started, tried, started again, stopped, deleted. It builds and loads all demo data."""

import email
import email.policy
import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile

import pytest

import server
from sql_harness import TOP, wait_until

pytestmark = pytest.mark.slow


class Quickstart:
    """A quickstart in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder

    def run(self, *arguments, check=True):
        done = subprocess.run([TOP / "contrib" / "quickstart", "--dir", self.folder, *arguments], env=server.environment(),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert not check or done.returncode == 0, done.stdout
        return done

    def environment(self):
        """D/env as the shell reads it."""
        names = [line.split("=")[0] for line in (self.folder / "env").read_text().splitlines() if not line.startswith("#")]
        shown = self.shell(f". {self.folder}/env; " + " ".join(f'printf "%s\\n" "${name}";' for name in names))
        return dict(zip(names, shown.splitlines(), strict=True))

    def shell(self, command):
        return subprocess.run(["bash", "-c", command], env=server.environment(), cwd="/", stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, text=True, check=True).stdout

    def processes(self):
        """What runs out of the folders of this quickstart: pairs of user id and command line."""
        places = [str(self.folder)]
        if (self.folder / "place").exists():
            places.append((self.folder / "place").read_text().strip())
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
                program = os.readlink(entry / "exe")
            except OSError:
                continue
            if any(place + "/" in program or place + "/" in words for place in places):
                found.append((entry.stat().st_uid, words))
        return found


@pytest.fixture(scope="module")
def quickstart():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tqs."))
    # Open to the servers' user, as a clone in a common place is.
    folder.chmod(0o755)
    one = Quickstart(folder)
    yield one
    one.run("--reset", check=False)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def started(quickstart):
    """What the first start printed."""
    return quickstart.run("--detach", "--workers", "2").stdout


def commands_to_try(printed):
    return re.findall(r"^  (\. .*curl .*)$", printed, re.MULTILINE)


def test_each_of_the_printed_commands_works_when_pasted(quickstart, started):
    listing, register, mine = commands_to_try(started)
    assert '{"events":[{"id":"' in quickstart.shell(listing)
    event = re.search(r'"event_id":"([0-9a-f-]+)"', register).group(1)
    assert f'"event_id":"{event}"' in quickstart.shell(register)
    assert f'"event_id":"{event}"' in quickstart.shell(mine)


def test_the_first_registration_is_confirmed_by_a_mail_in_a_file(quickstart, started):
    folder = pathlib.Path(quickstart.environment()["MAIL_DIR"])
    listing, register, mine = commands_to_try(started)
    quickstart.shell(register)  # again is the same, and owes no second mail
    assert f"cat \"$MAIL_DIR\"/*" in started and str(folder) in started
    files = wait_until(lambda: folder.is_dir() and list(folder.iterdir()), "a mail is there")
    assert len(files) == 1
    with open(files[0], "rb") as file:
        message = email.message_from_binary_file(file, policy=email.policy.default)
    assert message["To"].addresses[0].addr_spec == "participant@example.com"
    assert not message.defects and message["X-RcptTo"] == "participant@example.com"


def test_the_environment_is_for_its_owner_alone_and_leads_everywhere(quickstart, started):
    assert stat.S_IMODE((quickstart.folder / "env").stat().st_mode) == 0o600
    environment = quickstart.environment()
    assert set(environment) == {
        "TURNOUT_URL", "TURNOUT_INTERNAL_URL", "TURNOUT_CONTROL", "TURNOUT_CONF", "TURNOUT_BIN", "PGHOST", "PGPORT", "PGUSER",
        "PGDATABASE", "REDIS_SOCKET", "REDISCLI_AUTH", "MAIL_DIR", "TOKEN_PARTICIPANT", "TOKEN_ORGANIZER", "TOKEN_ADMIN"}
    in_it = f"set -a; . {quickstart.folder}/env; "
    for role in ("participant", "organizer", "admin"):
        me = quickstart.shell(in_it + f'curl -s "$TURNOUT_URL/api/users/me" -H "Authorization: Bearer $TOKEN_{role.upper()}"')
        assert f'"email":"{role}@example.com"' in me and f'"role":"{role}"' in me
    assert '"status":"ready"' in quickstart.shell(in_it + 'curl -s "$TURNOUT_INTERNAL_URL/readyz"')
    assert quickstart.shell(in_it + "psql -X -At -c 'select count(*) from turnout.events'").strip() == "18000"
    assert "worker" in quickstart.shell(in_it + '"$TURNOUT_BIN/turnoutctl" show processes')


def test_postgresql_is_private_and_durable(quickstart, started):
    in_it = f"set -a; . {quickstart.folder}/env; "
    settings = quickstart.shell(in_it + """psql -X -At -F ' ' -c "select name, setting from pg_settings
        where name in ('fsync', 'synchronous_commit', 'full_page_writes', 'listen_addresses') order by name" """)
    assert settings.splitlines() == ["fsync on", "full_page_writes on", "listen_addresses ", "synchronous_commit on"]
    assert stat.S_IMODE(os.stat(quickstart.environment()["PGHOST"]).st_mode) == 0o700


def test_redis_is_private_and_leaves_nothing_on_disk(quickstart, started):
    """By the printed environment, and by nothing else: no password, no answer; no port either."""
    in_it = f"set -a; . {quickstart.folder}/env; "
    assert quickstart.shell(in_it + 'redis-cli -s "$REDIS_SOCKET" ping') == "PONG\n"
    assert "NOAUTH" in quickstart.shell(in_it + 'env -u REDISCLI_AUTH redis-cli -s "$REDIS_SOCKET" ping 2>&1')
    settings = quickstart.shell(in_it + 'for name in port save appendonly; do redis-cli -s "$REDIS_SOCKET" config get $name; done')
    assert settings.splitlines() == ["port", "0", "save", "", "appendonly", "no"]
    socket = os.stat(quickstart.environment()["REDIS_SOCKET"])
    assert stat.S_IMODE(socket.st_mode) == 0o700
    assert stat.S_IMODE(os.stat(quickstart.environment()["PGHOST"]).st_mode) == 0o700
    assert any("redis-server" in words for _, words in quickstart.processes())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts servers as somebody else")
def test_no_server_runs_as_root_though_root_started_it(quickstart, started):
    assert quickstart.processes()
    assert [words for user, words in quickstart.processes() if user == 0] == []


def test_starting_it_again_says_that_it_runs_and_prints_the_same(quickstart, started):
    again = quickstart.run("--detach").stdout
    assert "running already" in again
    assert commands_to_try(again)[0] == commands_to_try(started)[0]


def test_a_port_in_use_is_an_error_where_it_was_asked_for(quickstart, started):
    port = quickstart.environment()["TURNOUT_URL"].rpartition(":")[2]
    with tempfile.TemporaryDirectory(prefix="tqs.") as other:
        second = Quickstart(pathlib.Path(other))
        refused = second.run("--detach", "--empty", "--port", port, check=False)
        second.run("--reset")
        assert refused.returncode == 1
        assert f"port {port} is in use" in refused.stdout


def test_stopping_leaves_nothing_running_and_what_was_done_is_there_at_the_next_start(quickstart, started):
    """Also without Redis, in which nothing is that cannot be made again."""
    mine = commands_to_try(started)[2]
    before = quickstart.shell(mine)
    assert any("redis-server" in words for _, words in quickstart.processes())
    quickstart.run("--stop")
    assert quickstart.processes() == []
    quickstart.run("--detach", "--no-redis")
    assert quickstart.shell(mine) == before
    assert '{"events":[{"id":"' in quickstart.shell(commands_to_try(started)[0])
    assert not any("redis-server" in words for _, words in quickstart.processes())
    assert "REDIS_SOCKET" not in quickstart.environment()


@pytest.mark.skipif(os.geteuid() != 0, reason="no folder is closed to the user whose it is")
def test_in_a_folder_closed_to_the_servers_they_live_in_one_of_their_own(quickstart, started):
    quickstart.run("--reset")
    quickstart.folder.chmod(0o700)
    printed = quickstart.run("--detach", "--empty").stdout
    elsewhere = pathlib.Path((quickstart.folder / "place").read_text().strip())
    assert "is closed to" in printed and quickstart.folder not in elsewhere.parents
    assert quickstart.environment()["PGHOST"].startswith(f"{elsewhere}/")
    assert quickstart.environment()["REDIS_SOCKET"].startswith(f"{elsewhere}/")
    assert '{"events":[]' in quickstart.shell(commands_to_try(printed)[0])
    quickstart.run("--reset")
    assert not elsewhere.exists()
    assert quickstart.processes() == []


def test_a_wrong_option_is_refused_with_the_usage_and_the_right_one_is_explained():
    for wrong in (["--prot", "1"], ["--port"], ["--port", "0"], ["--workers", "many"]):
        done = subprocess.run([TOP / "contrib" / "quickstart", *wrong], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 64 and "usage: contrib/quickstart" in done.stderr
    done = subprocess.run([TOP / "contrib" / "quickstart", "--help"], stdout=subprocess.PIPE, text=True, check=True)
    assert "--workers N" in done.stdout
