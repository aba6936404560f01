"""What an administrator sees of the configuration before anything runs: checks, printouts, and one clear line per mistake."""

import os
import re

import pytest

import server
from sql_harness import TOP


@pytest.fixture
def configured():
    """A daemon's folder with a good configuration; nothing is started."""
    turnout = server.Turnout("dbname=none", "dbname=none user=owner")
    yield turnout
    turnout.remove()


def turnoutd(configured, *arguments):
    return server.run("turnoutd", "-c", configured.configuration_file, *arguments, check=False)


def sample_options():
    """Names in conf/turnout.conf with the value that stands there, commented out or not."""
    text = (TOP / "conf" / "turnout.conf").read_text(encoding="utf-8")
    return dict(re.findall(r"^#?([a-z_]+) = ?(.*)$", text, re.MULTILINE))


def printed_options(configured):
    """Name → (value, default, origin) as --print-config shows them."""
    done = turnoutd(configured, "--print-config")
    assert done.returncode == 0, done.stderr
    lines = [re.fullmatch(r"([a-z_]+) = (.*?)  # default: (.*?); from: (.*); applies at: (?:reload|restart)", line)
             for line in done.stdout.splitlines()]
    assert all(lines), done.stdout
    return {line[1]: (line[2], line[3], line[4]) for line in lines}


def test_a_good_configuration_is_called_good(configured):
    done = turnoutd(configured, "--check-config")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{configured.configuration_file}: the configuration is good\n"


def test_every_option_stands_in_the_sample_with_its_default(configured):
    printed = printed_options(configured)
    sample = sample_options()
    assert sample.keys() == printed.keys()
    # Defaults that name folders are made by configure.
    folders = ("sql_directory", "template_directory", "jwt_keys_file", "cursor_key_file")
    for name, (_, default, _) in printed.items():
        if name not in folders and default != "(not set)":
            assert sample[name] == default, name


def test_the_sample_itself_is_read_without_complaint():
    done = server.run("turnoutd", "-c", TOP / "conf" / "turnout.conf", "--print-config", check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_each_value_is_printed_with_where_it_comes_from(configured):
    printed = printed_options(configured)
    assert printed["workers"][0] == "2"
    assert re.fullmatch(re.escape(str(configured.configuration_file)) + r":\d+", printed["workers"][2])
    assert printed["idle_timeout"] == ("75s", "75s", "default")


@pytest.mark.parametrize("name, value, complaint", [
    ("wrokers", "3", "wrokers: unknown option"),
    ("workers", "none", 'workers: expected a number from 1 to 256, not "none"'),
    ("idle_timeout", "9", 'idle_timeout: expected a duration (us, ms, s, m, h, d) from 10ms to 1h, not "9"'),
    ("public_read", "true", 'public_read: expected yes or no, not "true"'),
    ("db_connections_min", "0", 'db_connections_min: expected a number from 1 to 1000, not "0"'),
])
def test_a_mistake_is_one_line_with_its_place_and_ends_with_status_2(configured, name, value, complaint):
    configured.configure(**{name: value})
    for arguments in (("--check-config",), ("--print-config",), ()):
        done = turnoutd(configured, *arguments)
        assert done.returncode == 2
        assert re.fullmatch(rf"turnoutd: {re.escape(str(configured.configuration_file))}:\d+: {re.escape(complaint)}\n", done.stderr)
        assert done.stdout == ""


@pytest.mark.parametrize("name, value, complaint", [
    ("listen", "8080", 'listen: expected address:port, [address6]:port or unix:/path, not "8080"'),
    ("listen", "unix:relative", "listen: relative: expected an absolute path of at most 107 bytes"),
    ("jwt_keys_file", "/nonexistent", "jwt_keys_file: /nonexistent: No such file or directory"),
    ("cursor_key_file", "/nonexistent", "cursor_key_file: /nonexistent: No such file or directory"),
    ("sql_directory", "/nonexistent", "sql_directory: /nonexistent"),
    ("database", "dbname=x password=hunter2", "database: "),
    ("database", "nonsense", "database: "),
    ("redis_socket", "redis.sock", 'redis_socket: expected an absolute path of at most 107 bytes, not "redis.sock"'),
    ("redis", "localhost", 'redis: expected host:port or [address6]:port, not "localhost"'),
    ("redis_password_file", "/nonexistent", "redis_password_file: /nonexistent: No such file or directory"),
])
def test_what_only_a_look_at_the_system_shows_is_checked_too(configured, name, value, complaint):
    assert turnoutd(configured, "--check-config").returncode == 0
    configured.configure(**{name: value})
    for arguments in (("--check-config",), ()):
        done = turnoutd(configured, *arguments)
        assert done.returncode == 2
        assert complaint in done.stderr
        assert done.stderr.count("\n") == 1
        assert "hunter2" not in done.stderr


def test_redis_is_a_socket_or_a_host_but_not_both(configured):
    for good in ({}, {"redis_socket": "/run/redis.sock"}, {"redis_socket": None, "redis": "[::1]:6379"}):
        configured.configure(**good)
        assert turnoutd(configured, "--check-config").returncode == 0, good
    configured.configure(redis_socket="/run/redis.sock")
    done = turnoutd(configured, "--check-config")
    assert done.returncode == 2
    assert done.stderr.endswith(": redis: expected no redis_socket beside it\n")


MAIL = {"smtp_url": "smtp://mail.example.com:25", "mail_from": "Events <events@example.com>"}


@pytest.mark.parametrize("good, bad, complaint", [
    (MAIL, {"mail_from": None}, ": smtp_url: expected mail_from beside it\n"),
    ({**MAIL, "smtp_tls": "try"}, {"smtp_tls": "yes"}, ": smtp_tls: expected starttls, try or off\n"),
    ({}, {"smtp_user": "turnout"}, ": smtp_user: expected smtp_password_file beside it\n"),
    ({}, {"smtp_password_file": "/nonexistent"}, ": smtp_password_file: expected smtp_user beside it\n"),
    ({"mail_retry_min": "1m", "mail_retry_max": "1m"}, {"mail_retry_min": "61s"}, ": mail_retry_min: expected at most mail_retry_max\n"),
    ({"public_url": "https://events.example.com/turnout"}, {"public_url": "https://events.example.com/"},
     ": public_url: expected https://host or http://host, without a slash at its end\n"),
    ({"public_url": "http://localhost:8080"}, {"public_url": "events.example.com"},
     ": public_url: expected https://host or http://host, without a slash at its end\n"),
])
def test_options_of_mail_that_do_not_fit_together_are_one_line(configured, good, bad, complaint):
    configured.configure(**good)
    assert turnoutd(configured, "--check-config").returncode == 0, good
    configured.configure(**bad)
    for arguments in (("--check-config",), ()):
        done = turnoutd(configured, *arguments)
        assert done.returncode == 2
        assert done.stderr.endswith(complaint)
        assert done.stderr.count("\n") == 1


def test_a_secret_that_everybody_may_read_is_refused(configured):
    key = configured.folder / "cursor.key"
    assert turnoutd(configured, "--check-config").returncode == 0
    os.chmod(key, 0o644)
    done = turnoutd(configured, "--check-config")
    assert done.returncode == 2
    assert "is readable for everybody" in done.stderr


def test_a_short_cursor_key_is_refused(configured):
    (configured.folder / "cursor.key").write_text("x" * 31, encoding="ascii")
    done = turnoutd(configured, "--check-config")
    assert done.returncode == 2
    assert "expected at least 32 bytes, found 31" in done.stderr
    (configured.folder / "cursor.key").write_text("x" * 32, encoding="ascii")
    assert turnoutd(configured, "--check-config").returncode == 0


def test_no_secret_is_printed(configured):
    done = turnoutd(configured, "--print-config")
    cursor_key = (configured.folder / "cursor.key").read_text(encoding="ascii")
    assert cursor_key not in done.stdout
    assert server.encode(configured.key).decode() not in done.stdout


def test_a_port_in_use_is_a_bad_start_that_names_it(configured):
    with server.socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        configured.configure(listen=f"127.0.0.1:{port}")
        done = turnoutd(configured)
    assert done.returncode == 2
    assert f"listen: 127.0.0.1:{port}: Address already in use" in done.stderr


@pytest.mark.parametrize("program", ["turnoutd", "turnoutctl"])
def test_help_and_version_are_printed(program):
    assert server.run(program, "--help").stdout.startswith(f"Usage: {program} ")
    assert re.fullmatch(rf"{program} \d+\.\d+\.\d+\n", server.run(program, "--version").stdout)
    wrong = server.run(program, "--nonsense", check=False)
    assert wrong.returncode == 2
    assert "--nonsense" in wrong.stderr


@pytest.mark.parametrize("option", ["database", "database_owner"])
@pytest.mark.parametrize("text", ["dbname=x password=hunter2", "postgresql://me:hunter2@host/x"])
def test_a_password_in_a_connection_string_is_printed_nowhere(configured, option, text):
    configured.configure(**{option: text.replace(" password=hunter2", "").replace(":hunter2", "")})
    assert "dbname=" in printed_options(configured)[option][0] or "me@host" in printed_options(configured)[option][0]
    configured.configure(**{option: text})
    for arguments in (("--print-config",), ("--check-config",), ()):
        done = turnoutd(configured, *arguments)
        assert done.returncode == 2
        assert f"{option}: a password does not belong here" in done.stderr
        assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize("option", ["listen", "internal_listen", "control_socket"])
def test_a_file_that_is_no_socket_is_never_removed_to_listen_there(configured, option):
    file = configured.folder / "precious"
    file.write_text("data", encoding="ascii")
    configured.configure(**{option: file if option == "control_socket" else f"unix:{file}"})
    done = turnoutd(configured)
    assert done.returncode == 2
    assert f"{option}: {file}: is in the way, and is no socket" in done.stderr
    assert file.read_text(encoding="ascii") == "data"


def test_the_socket_of_a_daemon_that_was_killed_is_taken_over(new_turnout):
    turnout = new_turnout()
    turnout.process.kill()
    turnout.process.wait(10)
    assert turnout.control_socket.exists() and turnout.unix_socket.exists()
    turnout.start()
    assert [process["role"] for process in turnout.processes("master")] == ["master"]
