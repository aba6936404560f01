"""A turnoutd under test: its own folder, ports, keys and configuration, on a database that the caller made.

Programs come from the folder that TURNOUT_BIN names. They run as whoever runs the tests, in a session of their own.
"""

import base64
import contextlib
import hashlib
import hmac
import http.client
import itertools
import json
import os
import pathlib
import secrets
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from sql_harness import TOP, wait_until

ISSUER = "turnout"
AUDIENCE = "turnout"
UNSET = object()
NO_LIMITS = {"user_writes": 0, "user_reads": 0, "address_requests": 0,  # one tester asks more than a person does
             "user_writes_burst": None, "user_reads_burst": None, "address_requests_burst": None}
launcher = []  # a program that starts turnoutd, with its arguments: a tracer, say


def programs():
    """The folder of turnoutd and turnoutctl, or None where TURNOUT_BIN names none."""
    folder = os.environ.get("TURNOUT_BIN")
    if not folder:
        return None
    folder = pathlib.Path(folder).resolve()
    for name in ("turnoutd", "turnoutctl"):
        if not os.access(folder / name, os.X_OK):
            raise RuntimeError(f"TURNOUT_BIN={folder} holds no {name}")
    return folder


def environment(**variables):
    """What the programs see: nothing of the caller's that leads to another database or daemon."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith("PG") and name not in ("TURNOUT_CONF", "TURNOUT_CONTROL")}
    return {**kept, **variables}


def run(program, *arguments, check=True, timeout=60, stdin=None):
    """Runs turnoutd or turnoutctl to its end; the result holds both outputs as text."""
    command = [str(programs() / program), *(str(argument) for argument in arguments)]
    done = subprocess.run(command, env=environment(), cwd="/", input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


# Below the ports that the kernel gives to clients, and from another place in each process of each run: between the moment a port is
# found free and the moment it is bound, nobody else takes it.
port_numbers = itertools.cycle(range(10000, 20000) if os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0" else range(20000, 30000))
for _ in range(os.getpid() * 97 % 10000):
    next(port_numbers)


def free_port():
    for port in port_numbers:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def encode(data):
    if not isinstance(data, bytes):
        data = json.dumps(data, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def sign(claims, key, header=None):
    """A JWT by HS256, in microseconds rather than a process each."""
    head = encode(header or {"alg": "HS256", "kid": "test", "typ": "JWT"}) + b"." + encode(claims)
    return (head + b"." + encode(hmac.new(key, head, hashlib.sha256).digest())).decode()


class Response:
    """An answer: `status`, `headers` (names in lower case; the last of equal ones wins), `body` as bytes."""

    def __init__(self, status, headers, body):
        self.status = status
        self.header_list = [(name.lower(), value) for name, value in headers]
        self.headers = dict(self.header_list)
        self.body = body

    def json(self):
        return json.loads(self.body)

    @property
    def problem(self):
        """The slug of a problem's type, or None where the answer is no problem."""
        if not self.headers.get("content-type", "").startswith("application/problem+json"):
            return None
        return self.json()["type"].removeprefix("/problems/")

    def __repr__(self):
        return f"<{self.status} {self.body[:500]!r}>"


class Turnout:
    """A turnoutd. Options of the configuration file are keyword arguments: Turnout(dsn, owner_dsn, workers=4, body_size="1k")."""

    def __init__(self, database, database_owner, folder=None, **options):
        self.made_folder = folder is None
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="tod."))
        self.folder.mkdir(exist_ok=True)
        self.key = secrets.token_bytes(32)
        self.port = free_port()
        self.internal_port = free_port()
        self.unix_socket = self.folder / "http.sock"
        self.control_socket = self.folder / "control.sock"
        self.configuration_file = self.folder / "turnout.conf"
        self.log = self.folder / "turnoutd.log"
        self.process = None
        self.local = threading.local()
        self._write_secret("jwks.json", json.dumps({"keys": [
            {"kty": "oct", "kid": "test", "use": "sig", "alg": "HS256", "k": encode(self.key).decode()}]}))
        self._write_secret("cursor.key", secrets.token_hex(32))
        self.options = {
            "listen": f"127.0.0.1:{self.port}, unix:{self.unix_socket}",
            "internal_listen": f"127.0.0.1:{self.internal_port}",
            "control_socket": self.control_socket,
            "workers": 2,
            "cache_size": "8m",  # of each daemon that runs at the same time
            "shutdown_timeout": "10s",  # a connection that a test forgot holds up its teardown no longer
            "database": database,
            "database_owner": database_owner,
            "sql_directory": TOP / "sql",
            "template_directory": TOP / "conf" / "templates",
            **NO_LIMITS,
            "jwt_keys_file": self.folder / "jwks.json",
            "jwt_issuer": ISSUER,
            "jwt_audience": AUDIENCE,
            "cursor_key_file": self.folder / "cursor.key",
            **options,
        }
        self.configure()

    def _write_secret(self, name, text):
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")

    def configure(self, **options):
        """Writes the configuration file; an option of None is left out. Takes effect at the next start or reload."""
        self.options.update(options)
        lines = [f"{name} = {value}\n" for name, value in self.options.items() if value is not None]
        self.configuration_file.write_text("".join(lines), encoding="utf-8")

    # --- life ---

    @property
    def pid(self):
        return self.process.pid

    def start(self, ready=True):
        """Starts it and, unless told otherwise, waits until its own /readyz says yes."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        with open(self.log, "ab") as log:
            self.process = self._spawn([*launcher, str(programs() / "turnoutd"), "-c", str(self.configuration_file)], log)
        if ready:
            self.wait_ready()
        return self

    def _spawn(self, command, log, **variables):
        return subprocess.Popen(command, env=environment(**variables), cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                start_new_session=True)

    def wait_ready(self, patience=60):
        def ready_or_dead():
            return self.process.poll() is not None or (self.is_ready() and self._owns_control_socket())
        try:
            wait_until(ready_or_dead, "turnoutd becomes ready", patience)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log_text()[-4000:]}") from None
        assert self.process.poll() is None, f"turnoutd ended with {self.process.returncode}:\n{self.log_text()[-4000:]}"

    def _owns_control_socket(self):
        """Workers of a predecessor that was killed may still have answered /readyz."""
        shown = self.ctl("-j", "show", "processes", check=False)
        return shown.returncode == 0 and self.pid in [row["pid"] for row in json.loads(shown.stdout)]

    def is_ready(self):
        try:
            return self.internal("/readyz").status == 200
        except OSError:
            return False

    def stop(self, how=signal.SIGTERM, patience=60):
        """Ends it by a signal and answers its exit status."""
        if self.process is None:
            return None
        # A kept connection would be waited for until shutdown_timeout.
        self.disconnect()
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(patience)

    def restart(self, **options):
        self.stop()
        self.configure(**options)
        return self.start()

    def remove(self):
        """Ends it in any case, with all that is left of its session, and deletes the folder."""
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop(patience=40)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
        if self.made_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- administration ---

    def ctl(self, *arguments, check=True, **keywords):
        return run("turnoutctl", "-c", self.configuration_file, *arguments, check=check, **keywords)

    def show(self, noun):
        return json.loads(self.ctl("-j", "show", noun).stdout)

    def processes(self, role=None):
        """`show processes`: a list of dicts with pid, role, state, started_at, restarts."""
        return [process for process in self.show("processes") if role in (None, process["role"])]

    def kill(self, role, index=0, how=signal.SIGKILL):
        """Sends a signal to the index-th process of the role; answers its pid."""
        pid = self.processes(role)[index]["pid"]
        os.kill(pid, how)
        return pid

    def log_text(self):
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def log_lines(self, *fragments):
        """The lines of the log that hold all of the fragments."""
        return [line for line in self.log_text().splitlines() if all(fragment in line for fragment in fragments)]

    def wait_logged(self, *fragments):
        """The same, as soon as there are any: what a process has done is seen before its line is read, now and then."""
        return wait_until(lambda: self.log_lines(*fragments), f"{fragments} is logged")

    # --- requests ---

    def token(self, email, role="participant", key=None, header=None, **claims):
        """A token of ours; a claim of UNSET is left out."""
        now = int(time.time())
        whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": email, "email": email, "role": role, "iat": now, "exp": now + 3600, **claims}
        return sign({name: value for name, value in whole.items() if value is not UNSET}, key or self.key, header)

    def request(self, method, path, token=None, json=None, headers=None, body=None):  # pylint: disable=redefined-outer-name
        """One request on this thread's kept connection. `json` is sent as a JSON body, `body` as it is."""
        return self._exchange("public", self.port, method, path, token, json, headers, body)

    def internal(self, path, method="GET"):
        """A request on the internal listener, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.internal_port, timeout=10)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return Response(answer.status, answer.getheaders(), answer.read())
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def _exchange(self, name, port, method, path, token, data, headers, body):
        headers = dict(headers or {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if data is not None:
            body = json.dumps(data).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = self._connection(name, port)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            response = Response(answer.status, answer.getheaders(), answer.read())
        except (OSError, http.client.HTTPException):
            self.disconnect()
            raise
        return response

    def _connection(self, name, port):
        """A kept connection that the server has closed meanwhile is replaced before anything is sent on it."""
        kept = getattr(self.local, name, None)
        if kept is not None and kept.sock is not None and not select.select([kept.sock], [], [], 0)[0]:
            return kept
        if kept is not None:
            kept.close()
        made = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        setattr(self.local, name, made)
        return made

    def disconnect(self):
        """Closes this thread's kept connection."""
        kept = getattr(self.local, "public", None)
        if kept is not None:
            kept.close()
            self.local.public = None

    def get(self, path, token=None, **keywords):
        return self.request("GET", path, token, **keywords)

    def post(self, path, token=None, **keywords):
        return self.request("POST", path, token, **keywords)

    def patch(self, path, token=None, **keywords):
        return self.request("PATCH", path, token, **keywords)

    def delete(self, path, token=None, **keywords):
        return self.request("DELETE", path, token, **keywords)

    def connect(self, timeout=10):
        """A bare socket to the API."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def raw(self, data, timeout=10, enough=None):
        """Sends bytes as they are and answers what comes until the server closes, or until enough(bytes) is true."""
        received = b""
        with self.connect(timeout) as bare:
            bare.sendall(data)
            while enough is None or not enough(received):
                try:
                    part = bare.recv(65536)
                except ConnectionResetError:
                    break
                if not part:
                    break
                received += part
        return received


def sanitizer_reports():
    """Files that a sanitizer wrote, where contrib/check has named a folder for them."""
    folder = os.environ.get("TURNOUT_SANITIZER_LOGS")
    return sorted(path for path in pathlib.Path(folder).iterdir() if path.is_file()) if folder and os.path.isdir(folder) else []
