"""A proxy between turnoutd and PostgreSQL that cuts a connection at an exact moment of one statement.

    with Proxy(cluster.socket) as proxy:
        turnout = ...(database dsn with host=proxy.folder)
        proxy.cut("registration_batch", "after")

The moments: "before" PostgreSQL has read the statement, "during" its run (it has been sent whole, PostgreSQL is not told that
the client is gone), "after" its commit and before the answer. While `proxy.held` is set, new connections wait in the proxy;
while `proxy.away` is set, they are closed at once. `proxy.fired` lists the cuts that happened.
"""

import pathlib
import select
import shutil
import socket
import struct
import tempfile
import threading

STARTUP_HEADER = 4
MESSAGE_HEADER = 5


class _Stream:
    """Cuts bytes into messages of PostgreSQL's protocol (a type byte and a length, but for the very first from a client)."""

    def __init__(self, starts_untyped):
        self.buffer = b""
        self.untyped = starts_untyped

    def feed(self, data):
        """The messages that are complete now, as (type, bytes)."""
        self.buffer += data
        while True:
            header = STARTUP_HEADER if self.untyped else MESSAGE_HEADER
            if len(self.buffer) < header:
                return
            length = struct.unpack("!I", self.buffer[header - 4:header])[0] + header - 4
            if len(self.buffer) < length:
                return
            message, self.buffer = self.buffer[:length], self.buffer[length:]
            kind = b"" if self.untyped else message[:1]
            self.untyped = False
            yield kind, message


def _statement_of(bind):
    """The prepared statement that a Bind message names."""
    return bind[MESSAGE_HEADER:].split(b"\0", 2)[1].decode()


class _Pair(threading.Thread):
    """One connection through the proxy."""

    def __init__(self, proxy, client):
        super().__init__(daemon=True)
        self.proxy, self.client = proxy, client
        self.server = socket.socket(socket.AF_UNIX)
        self.moment = None  # of the cut that this connection is about to see
        self.syncs = 0  # sent by the client and not answered
        self.answers_left = None  # ReadyForQuery messages until the one that is swallowed

    def run(self):
        try:
            self.server.connect(str(self.proxy.server_path))
            self._pass_on()
        except OSError:
            pass
        finally:
            self.client.close()
            self.server.close()

    def _pass_on(self):
        from_client, from_server = _Stream(True), _Stream(False)
        # Not select(), which ends at descriptor 1023: thousands of clients may stand in the same process.
        poll = select.poll()
        ends = {end.fileno(): end for end in (self.client, self.server)}
        for descriptor in ends:
            poll.register(descriptor, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                ready = ends[descriptor]
                data = ready.recv(65536)
                if not data:
                    return
                stream, take = (from_client, self._from_client) if ready is self.client else (from_server, self._from_server)
                if not all(take(kind, message) for kind, message in stream.feed(data)):
                    return

    def _from_client(self, kind, message):
        """False: cut now."""
        if kind == b"B" and self.moment is None:
            self.moment = self.proxy.take(_statement_of(message))
            if self.moment == "before":
                return False
        self.server.sendall(message)
        if kind == b"S":
            self.syncs += 1
            if self.moment == "during":
                return False
            if self.moment == "after" and self.answers_left is None:
                self.answers_left = self.syncs
        return True

    def _from_server(self, kind, message):
        if self.moment == "after" and self.answers_left in (None, 1) and self.syncs <= 1:
            # The whole answer of the statement is swallowed; at its end it is committed.
            return kind != b"Z"
        self.client.sendall(message)
        if kind == b"Z" and self.syncs > 0:
            self.syncs -= 1
            if self.answers_left is not None:
                self.answers_left -= 1
        return True


class Proxy:
    def __init__(self, server_folder, port):
        self.server_path = pathlib.Path(server_folder) / f".s.PGSQL.{port}"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pxy."))
        self.folder.chmod(0o711)
        self.path = self.folder / f".s.PGSQL.{port}"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.path.chmod(0o777)
        self.listener.listen(64)
        self.released = threading.Event()
        self.released.set()
        self.away = False
        self.lock = threading.Lock()
        self.cuts = []
        self.fired = []
        self.thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self.listener.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.away:
                client.close()
                continue
            threading.Thread(target=self._begin, args=(client,), daemon=True).start()

    def _begin(self, client):
        self.released.wait()
        if self.away:
            client.close()
        else:
            _Pair(self, client).start()

    @property
    def held(self):
        return not self.released.is_set()

    @held.setter
    def held(self, value):
        if value:
            self.released.clear()
        else:
            self.released.set()

    def cut(self, statement, moment, times=1):
        """Cuts the next connections on which the statement is run."""
        with self.lock:
            self.fired.clear()
            self.cuts = [(statement, moment)] * times

    def take(self, statement):
        """For a connection: the moment at which it is to be cut, or None."""
        with self.lock:
            if self.cuts and self.cuts[0][0] == statement:
                self.fired.append(self.cuts[0])
                return self.cuts.pop(0)[1]
        return None
