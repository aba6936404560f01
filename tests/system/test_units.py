"""The files that an operator installs: systemd shuts the daemon in without keeping it from its work, makes its user and folders, and
logrotate takes its log away without losing a line."""

import concurrent.futures
import contextlib
import gzip
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import threading

import pytest

import server
import unit_file
from api import event_fields
from sql_harness import TOP, wait_until
from supervised import Manager

CONF = TOP / "conf"
SERVICE = (CONF / "systemd" / "turnout.service").read_text(encoding="utf-8")
SOCKET = (CONF / "systemd" / "turnout.socket").read_text(encoding="utf-8")
EXPOSURE_MAX = 2.0

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is missing (apt-get install systemd)")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes users and folders of others")


@pytest.fixture(scope="module")
def presets():
    """Defaults of the options."""
    if server.programs() is None:
        pytest.skip("TURNOUT_BIN does not say where turnoutd and turnoutctl are")
    printed = server.run("turnoutd", "-c", CONF / "turnout.conf", "--print-config").stdout
    return dict(re.findall(r"^(\w+) = .*?  # default: (.*?); from: ", printed, re.MULTILINE))


def run(*command, **keywords):
    return subprocess.run([str(word) for word in command], cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, timeout=60, **keywords)


# --- systemd ---------------------------------------------------------------------------------------------------------------------------


def exposure(text, folder):
    (folder / "turnout.service").write_text(text, encoding="utf-8")
    done = run("systemd-analyze", "security", "--offline=yes", "--no-pager", folder / "turnout.service")
    return float(re.search(r"Overall exposure level for turnout\.service: ([\d.]+)", done.stdout)[1])


@needs_systemd
def test_the_service_is_shut_in(tmp_path, capsys):
    level = exposure(SERVICE, tmp_path)
    open_one = exposure(re.sub(r"^(?:Protect|Private|Restrict|SystemCall|Capability).*\n", "", SERVICE, flags=re.MULTILINE), tmp_path)
    with capsys.disabled():
        print(f"\n  exposure {level} of 10 (at most {EXPOSURE_MAX}); without the guards {open_one}")
    assert level <= EXPOSURE_MAX < open_one


def complaints(folder, service=SERVICE, socket_unit=SOCKET):
    """What `systemd-analyze verify` says of our units, with the programs where they are."""
    for name in ("turnoutd", "turnoutctl"):
        service = re.sub(rf"/usr/local/s?bin/{name}\b", str(server.programs() / name), service)
    (folder / "turnout.service").write_text(service, encoding="utf-8")
    (folder / "turnout.socket").write_text(socket_unit, encoding="utf-8")
    said = run("systemd-analyze", "verify", "--man=no", folder / "turnout.service", folder / "turnout.socket").stdout
    return [line for line in said.splitlines() if "turnout" in line]


@needs_systemd
def test_systemd_reads_the_units_without_complaint(presets, tmp_path):  # pylint: disable=unused-argument
    assert complaints(tmp_path) == []
    assert complaints(tmp_path, service=SERVICE.replace("PrivateTmp=", "PrivateTemp="))
    assert complaints(tmp_path, service=SERVICE.replace("bin/turnoutd", "bin/turnoutdd"))
    assert complaints(tmp_path, socket_unit=SOCKET.replace("ListenStream=", "ListenSteam="))


def disagreements(presets, service=SERVICE, socket_unit=SOCKET, tmpfiles=None):
    """Between the units, turnout.conf and the folders."""
    tmpfiles = tmpfiles or (CONF / "tmpfiles" / "turnout.conf").read_text(encoding="utf-8")
    said = {name: values[-1] for name, values in unit_file.settings(service).items() if values}
    found = []
    if unit_file.seconds(said["TimeoutStopSec"]) <= unit_file.seconds(presets["shutdown_timeout"]):
        found.append("systemd kills what shutdown_timeout still gives time")
    if unit_file.seconds(said["WatchdogSec"]) <= unit_file.seconds(presets["ping_timeout"]):
        found.append("the watchdog bites before a worker that hangs is replaced")
    if int(said["LimitNOFILE"]) < int(presets["max_connections"]) + 256:
        found.append("max_connections cannot be reached")
    if said["RestartPreventExitStatus"] != "2":
        found.append("a bad configuration is tried for ever")
    for name, folder in (("Runtime", "/run/turnout"), ("State", "/var/lib/turnout"), ("Logs", "/var/log/turnout")):
        wanted = f"d {folder} {said[name + 'DirectoryMode']} {said['User']} {said['Group']} -"
        if wanted not in [" ".join(line.split()) for line in tmpfiles.splitlines()]:
            found.append(f"tmpfiles does not make {wanted}")
    listened = unit_file.settings(socket_unit, "Socket")["ListenStream"]
    if f"server unix:{listened[0]};" not in (CONF / "nginx" / "turnout.conf").read_text(encoding="utf-8"):
        found.append("nginx connects to another socket")
    if unit_file.settings(socket_unit, "Socket").get("FileDescriptorName") != ["http"]:
        found.append("turnoutd does not know what the socket is for")
    if os.path.dirname(presets["control_socket"]) != "/run/" + said["RuntimeDirectory"]:
        found.append("the control socket is in no folder of the service's")
    if said.get("RuntimeDirectoryPreserve") != "yes":
        found.append("a stop of the service takes the socket's path away")
    return found


def test_units_configuration_folders_and_nginx_agree(presets):
    assert disagreements(presets) == []
    for old, new in (("TimeoutStopSec=45s", "TimeoutStopSec=30s"), ("WatchdogSec=30s", "WatchdogSec=5s"), ("LimitNOFILE=65536", "LimitNOFILE=1024"),
                     ("RestartPreventExitStatus=2", "RestartPreventExitStatus=1"), ("RuntimeDirectoryMode=0755", "RuntimeDirectoryMode=0700"),
                     ("RuntimeDirectoryPreserve=yes", "")):
        assert old in SERVICE and disagreements(presets, service=SERVICE.replace(old, new)), old
    assert disagreements(presets, socket_unit=SOCKET.replace("http.sock", "web.sock"))
    assert disagreements(presets, socket_unit=SOCKET.replace("FileDescriptorName=http", ""))


def breaches(service, trace, folders):
    """What the daemon did and would be kept from."""
    said = unit_file.settings(service)
    found = [("system call", name) for name in sorted(trace.calls - unit_file.allowed_calls(service))]
    found += [("address family", name) for name in sorted(trace.families - set(said["RestrictAddressFamilies"][0].split()))]
    found += [("writes", path) for path in sorted(trace.written) if not path.startswith((*folders, "/dev/null"))]
    found += [("device", path) for path in sorted(trace.devices) if path not in ("/dev/null", "/dev/urandom", "/dev/random")]
    return found + [("writable code", line) for line in trace.writable_code if said["MemoryDenyWriteExecute"] == ["yes"]]


def use(turnout):
    """Some of everything."""
    organizer = turnout.token("o@example.org", "organizer")
    event = turnout.post("/api/events", organizer, json=event_fields())
    assert event.status == 201, event
    assert turnout.get("/api/events?limit=5").status == 200
    assert turnout.internal("/metrics").status == 200
    killed = turnout.kill("worker")
    wait_until(lambda: {"ready"} == {row["state"] for row in turnout.processes()}
               and killed not in [row["pid"] for row in turnout.processes()], "the worker is replaced")


@needs_systemd
@pytest.mark.nosan
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is missing (apt-get install strace)")
def test_all_that_the_daemon_does_is_allowed_to_it(new_turnout, tmp_path, monkeypatch, capsys):
    """From its start to its end under a service manager: requests, writes, a lost child, reloads, a new log, the end."""
    turnout = new_turnout(start=False)
    log = turnout.folder / "turnoutd.file.log"
    turnout.configure(log_file=log)
    monkeypatch.setenv("NOTIFY_SOCKET", str(turnout.folder / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    monkeypatch.setattr(server, "launcher", ["strace", "-D", "-f", "-qq", "-o", str(tmp_path / "daemon")])
    with contextlib.closing(Manager(str(turnout.folder / "notify"))) as manager:
        turnout.start()
        wait_until(lambda: manager.count("READY") and manager.count("WATCHDOG"), "it says that it is ready, and goes on")
        use(turnout)
        turnout.configure(log_level="debug", workers=3)
        reload = run("strace", "-f", "-qq", "-o", tmp_path / "reload", server.programs() / "turnoutctl", "-c", turnout.configuration_file,
                     "reload", env=server.environment())
        assert reload.returncode == 0, reload.stdout
        log.rename(turnout.folder / "turnoutd.old.log")
        os.kill(turnout.pid, signal.SIGUSR1)
        wait_until(log.exists, "the log is opened again")
        assert turnout.stop() == 0
        wait_until(lambda: manager.count("RELOADING") and manager.count("STOPPING"), "it says that it reloads and ends")
    wait_until(lambda: re.search(rf"^{turnout.pid} +exit_group\(", (tmp_path / "daemon").read_text(errors="replace"), re.MULTILINE),
               "the trace is complete")
    trace = unit_file.Trace(tmp_path / "daemon")
    assert {"epoll_wait", "accept4", "clone", "prctl"} <= trace.calls and {"AF_UNIX", "AF_INET"} <= trace.families
    with capsys.disabled():
        print(f"\n  {len(trace.calls)} system calls used, {len(unit_file.allowed_calls(SERVICE))} allowed")
    folders = (str(turnout.folder),)  # stands for those of the service
    assert breaches(SERVICE, trace, folders) == []
    # ExecReload= runs under the same guards.
    assert breaches(SERVICE, unit_file.Trace(tmp_path / "reload"), folders) == []
    # Each guard would be seen to bite.
    tighter = SERVICE.replace("SystemCallFilter=~", "SystemCallFilter=~@network-io ")
    assert ("system call", "accept4") in breaches(tighter, trace, folders)
    assert ("address family", "AF_INET") in breaches(SERVICE.replace("AF_UNIX AF_INET AF_INET6", "AF_UNIX"), trace, folders)
    assert ("writes", str(log)) in breaches(SERVICE, trace, ("/var/log/turnout",))


# --- users and folders -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path):
    """A system of nothing but what these two tools make in it."""
    (tmp_path / "etc").mkdir()
    return tmp_path


@needs_systemd
@needs_root
def test_user_and_folders_are_made_and_secrets_closed(root):
    done = run("systemd-sysusers", f"--root={root}", CONF / "sysusers" / "turnout.conf")
    assert done.returncode == 0, done.stdout
    user, _, uid, gid, _, home, shell = next(line for line in (root / "etc" / "passwd").read_text().splitlines()
                                             if line.startswith("turnout:")).split(":")
    assert (user, home, shell) == ("turnout", "/var/lib/turnout", "/usr/sbin/nologin")
    assert f"turnout:x:{gid}:" in (root / "etc" / "group").read_text()

    secrets = root / "usr" / "local" / "etc" / "turnout"
    secrets.mkdir(parents=True)
    for name in ("turnout.conf", "cursor.key", "jwks.json", "app.password"):
        (secrets / name).touch(mode=0o644)
    done = run("systemd-tmpfiles", f"--root={root}", "--create", CONF / "tmpfiles" / "turnout.conf")
    assert done.returncode == 0, done.stdout
    ours, kept = (int(uid), int(gid)), (0, int(gid))
    for path, owner, mode in ((root / "run" / "turnout", ours, 0o755), (root / "var" / "lib" / "turnout", ours, 0o750),
                              (root / "var" / "log" / "turnout", ours, 0o750), (secrets, kept, 0o750),
                              *((secrets / name, kept, 0o640) for name in ("turnout.conf", "cursor.key", "jwks.json", "app.password"))):
        there = path.stat()
        assert ((there.st_uid, there.st_gid), stat.S_IMODE(there.st_mode)) == (owner, mode), path


@needs_systemd
@needs_root
@pytest.mark.parametrize("tool, text", [("systemd-sysusers", "u turnout\nx rubbish\n"), ("systemd-tmpfiles", "d /run/turnout 9999 turnout\n")])
def test_a_file_with_a_mistake_is_refused_by_these_tools(root, tool, text):
    (root / "mistake.conf").write_text(text, encoding="utf-8")
    done = run(tool, f"--root={root}", *(["--create"] if tool.endswith("tmpfiles") else []), root / "mistake.conf")
    assert done.returncode != 0, done.stdout


# --- the log ---------------------------------------------------------------------------------------------------------------------------


def rotation(folder, pid):
    """The shipped file for a log in another folder and a daemon that systemd does not know."""
    text = (CONF / "logrotate" / "turnout").read_text(encoding="utf-8")
    for old, new in ((r"/var/log/turnout/", f"{folder}/"), (r"    su turnout turnout\n", ""), (r"create 0640 turnout turnout", "create 0640"),
                     (r"systemctl kill --kill-whom=main --signal=USR1 turnout.service 2>/dev/null \|\| true", f"kill -USR1 {pid}")):
        text, count = re.subn(old, new, text)
        assert count > 0, old
    return text


needs_logrotate = pytest.mark.skipif(shutil.which("logrotate", path="/usr/sbin:/usr/bin") is None, reason="logrotate is missing (apt-get install logrotate)")


@needs_logrotate
def test_logrotate_reads_its_file(tmp_path):
    for text, good in ((rotation(tmp_path, 1), True), (rotation(tmp_path, 1).replace("    daily", "    dayly"), False)):
        (tmp_path / "turnout").write_text(text, encoding="utf-8")
        (tmp_path / "turnout").chmod(0o644)
        said = run("/usr/sbin/logrotate", "-d", tmp_path / "turnout")
        assert (said.returncode == 0 and "error" not in said.stdout) == good, said.stdout


def log_files(folder):
    """Everything that the log has been written to, oldest first, compressed or not."""
    paths = sorted(folder.glob("turnoutd.log-*")) + [folder / "turnoutd.log"]
    return [gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text(encoding="utf-8") for path in paths]


def holders(turnout, path):
    """Processes of the daemon that have the file open."""
    inode = path.stat().st_ino
    found = set()
    for pid in [row["pid"] for row in turnout.processes()]:
        for descriptor in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if descriptor.stat().st_ino == inode:
                    found.add(pid)
    return found


@needs_logrotate
def test_rotating_the_log_under_load_loses_no_line(new_turnout, tmp_path):
    turnout = new_turnout(start=False)
    folder = tmp_path / "log"
    folder.mkdir(mode=0o750)
    turnout.configure(log_file=folder / "turnoutd.log")
    turnout.start()
    configuration = tmp_path / "turnout"
    configuration.write_text(rotation(folder, turnout.pid), encoding="utf-8")
    configuration.chmod(0o644)

    def rotated():
        """At most once a second: the names of the old files tell no more."""
        before = len(list(folder.iterdir()))
        done = run("/usr/sbin/logrotate", "-f", "-s", tmp_path / "state", configuration)
        return done.returncode == 0 and len(list(folder.iterdir())) > before

    ids = []

    def ask_until(done):
        while not done.is_set():
            answer = turnout.get("/api/events?limit=1")
            assert answer.status == 200
            ids.append(answer.headers["x-request-id"])

    done = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(ask_until, done) for _ in range(4)]
        try:
            for _ in range(3):
                count = len(ids)
                wait_until(lambda: len(ids) > count + 20, "requests go on")  # pylint: disable=cell-var-from-loop
                wait_until(rotated, "the log is rotated")
                newest_old = max(path for path in folder.glob("turnoutd.log-*") if path.suffix != ".gz")
                wait_until(lambda: not holders(turnout, newest_old), "every process has opened the new file")  # pylint: disable=cell-var-from-loop
            wait_until(lambda: len(ids) > count + 40, "requests go on")
        finally:
            done.set()
        for client in clients:
            client.result()
    assert turnout.stop() == 0
    files = log_files(folder)
    assert len(files) == 4
    logged = [re.search(r"request_id=(\S+)", line)[1] for text in files for line in text.splitlines() if "route=/api/events " in line]
    assert sorted(logged) == sorted(ids)
    # Each file has its share: nothing went on writing to an old one.
    assert all("route=/api/events " in text for text in files)
