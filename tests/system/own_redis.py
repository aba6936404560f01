"""A Redis for one test file: its own folder, a Unix socket, a password. It can be stopped, frozen, killed and given an old file.

    with OwnRedis() as redis:
        turnout = ...(**redis.options)
        redis.call("KEYS", "*")
"""

import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile

from sql_harness import wait_until


class RedisError(Exception):
    """What Redis answered in place of a value."""


class Session:
    """A connection that speaks as much of Redis' protocol as the tests need."""

    def __init__(self, path, password=None):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(path))
        self.received = b""
        if password:
            self.call("AUTH", password)

    def call(self, *words):
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
        return self._reply()

    def _line(self):
        while b"\r\n" not in self.received:
            self._fill()
        line, self.received = self.received.split(b"\r\n", 1)
        return line

    def _fill(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError("Redis has closed the connection")
        self.received += data

    def _reply(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"+":
            return rest.decode()
        count = int(rest)
        if count < 0:
            return None
        if kind == b"*":
            return [self._reply() for _ in range(count)]
        while len(self.received) < count + 2:
            self._fill()
        value, self.received = self.received[:count], self.received[count + 2:]
        return value

    def close(self):
        self.socket.close()


class OwnRedis:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="trd."))
        self.folder.chmod(0o711)
        self.socket = self.folder / "r.sock"
        self.password = secrets.token_hex(16)
        self.password_file = self.folder / "password"
        self.password_file.touch(mode=0o600)
        self.password_file.write_text(self.password + "\n", encoding="ascii")
        self.file = self.folder / "dump.rdb"
        self.process = None
        self.session = None

    # What turnoutd needs to know.
    @property
    def options(self):
        return {"redis_socket": self.socket, "redis_password_file": self.password_file}

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, error, trace):
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        settings = {"port": 0, "unixsocket": self.socket, "unixsocketperm": 777, "requirepass": self.password, "save": '""',
                    "appendonly": "no", "dir": self.folder, "dbfilename": self.file.name, "daemonize": "no"}
        configuration = "".join(f"{name} {value}\n" for name, value in settings.items())
        with open(self.folder / "redis.log", "ab") as log:
            self.process = subprocess.Popen(["redis-server", "-"], cwd="/", stdin=subprocess.PIPE, stdout=log, stderr=log)
        self.process.stdin.write(configuration.encode())
        self.process.stdin.close()
        wait_until(self._answers, "Redis answers")
        return self

    def _answers(self):
        assert self.process.poll() is None, (self.folder / "redis.log").read_text(encoding="utf-8")
        try:
            return self.call("PING") == "PONG"
        except (OSError, RedisError):
            return False

    def stop(self, how=signal.SIGTERM):
        if self.session is not None:
            self.session.close()
            self.session = None
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.send_signal(signal.SIGCONT)
            self.process.wait(20)

    def restart(self):
        self.stop()
        self.start()

    def freeze(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def call(self, *words):
        """One command on a connection that is kept until Redis goes away."""
        if self.session is None:
            self.session = Session(self.socket, self.password)
        try:
            return self.session.call(*words)
        except OSError:
            self.session.close()
            self.session = None
            raise

    def keys(self, fragment=""):
        return sorted(key for key in self.call("KEYS", f"*{fragment}*"))

    def save(self):
        """Writes the file that a later start reads, and answers its bytes."""
        self.call("SAVE")
        return self.file.read_bytes()
