"""A turnoutd as systemd runs it: its listening sockets are held by somebody else and handed over at each start (LISTEN_FDS), and it
tells how it is (NOTIFY_SOCKET).

    turnout = new_turnout(kind=Supervised, workers=2)
    turnout.stop()   # who connects now waits in the sockets' queues
    turnout.start()
"""

import contextlib
import fcntl
import os
import select
import socket
import subprocess
import threading
import time

from server import Turnout, environment

# Descriptors of the listening sockets in between: above what the shell that starts turnoutd uses.
HIGH = 200


def listening(family, address):
    made = socket.socket(family)
    if family != socket.AF_UNIX:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(address)
    made.listen(4096)
    return made


class Manager:
    """The other end of NOTIFY_SOCKET: `said` is every message so far, as dicts, with the time when it was read.

    A thread reads, as a manager does: a queue holds ten messages, and the daemon waits a moment for room, not for ever."""

    def __init__(self, address):
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self.said, self.going = [], True
        self.lock = threading.Lock()
        self.reader = threading.Thread(target=self._listen, daemon=True)
        self.reader.start()

    def _listen(self):
        while self.going:
            select.select([self.socket], [], [], 0.05)
            self.read()

    def read(self):
        """Takes what has come, without waiting."""
        with self.lock:
            while select.select([self.socket], [], [], 0)[0]:
                text = self.socket.recv(65536).decode()
                self.said.append((time.monotonic(), dict(line.split("=", 1) for line in text.splitlines())))
            return [message for _, message in self.said]

    def count(self, name, value=None):
        return sum(1 for message in self.read() if name in message and value in (None, message[name]))

    def last(self, name):
        values = [message[name] for message in self.read() if name in message]
        return values[-1] if values else None

    def close(self):
        self.going = False
        self.reader.join(10)
        self.socket.close()


class Supervised(Turnout):
    """`named`: what is handed over, as (name, socket); by default everything that it would listen on.
    `variables`: more of its environment, say WATCHDOG_USEC. PID stands for its pid in them."""

    def __init__(self, *arguments, named=None, variables=None, names=None, **options):
        super().__init__(*arguments, **options)
        self.named = named if named is not None else [
            ("http", listening(socket.AF_INET, ("127.0.0.1", self.port))),
            ("http", listening(socket.AF_UNIX, str(self.unix_socket))),
            ("internal", listening(socket.AF_INET, ("127.0.0.1", self.internal_port)))]
        self.names = names
        self.variables = variables or {}

    def _spawn(self, command, log, **variables):
        handed = [fcntl.fcntl(one.fileno(), fcntl.F_DUPFD, HIGH) for _, one in self.named]
        names = self.names if self.names is not None else ":".join(name for name, _ in self.named)
        # The number of descriptors may be below those that are moved: the shell opens them one after the other, from 3 on.
        moves = " ".join(f"{3 + number}<&{descriptor} {descriptor}<&-" for number, descriptor in enumerate(handed))
        settings = {"LISTEN_PID": "$$", "LISTEN_FDS": str(len(handed)), "LISTEN_FDNAMES": names, **self.variables}
        exports = " ".join(f'{name}="{str(value).replace("PID", "$$")}"' for name, value in settings.items() if value is not None)
        redirect = f"exec {moves}; " if moves else ""
        try:
            return subprocess.Popen(["bash", "-c", f'{redirect}export {exports}; exec "$@"', "bash", *command],
                                    env=environment(**variables), cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    start_new_session=True, pass_fds=handed)
        finally:
            for descriptor in handed:
                os.close(descriptor)

    def remove(self):
        try:
            super().remove()
        finally:
            for _, one in self.named:
                with contextlib.suppress(OSError):
                    one.close()
