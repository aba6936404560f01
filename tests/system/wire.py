"""A bare connection to turnoutd, for tests of what stands on the wire: bytes out as they are, one answer after the other in.

    with Wire.tcp(turnout) as wire:
        wire.send(get("/api/events"), get("/api/none"))
        assert [wire.answer().status for _ in range(2)] == [200, 404]
"""

import http.client
import select
import socket

from server import Response

# Seconds after which a test says that nothing came.
PATIENCE = 20


def request(method, path, *lines, body=b"", host="Host: test", version="HTTP/1.1"):
    """The bytes of a request. `lines` are header lines; a Content-Length is added where none of them says how long a body is."""
    lines = [f"{method} {path} {version}"] + ([host] if host else []) + list(lines)
    if body and not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in lines):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def get(path, *lines, **keywords):
    return request("GET", path, *lines, **keywords)


class Wire:
    """A connection; of TCP or to the Unix socket."""

    def __init__(self, bare):
        self.bare = bare
        self.bare.settimeout(PATIENCE)
        self.received = b""

    @classmethod
    def tcp(cls, turnout):
        wire = cls(socket.create_connection(("127.0.0.1", turnout.port), timeout=PATIENCE))
        wire.bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return wire

    @classmethod
    def unix(cls, turnout):
        bare = socket.socket(socket.AF_UNIX)
        bare.connect(str(turnout.unix_socket))
        return cls(bare)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bare.close()

    def send(self, *parts):
        self.bare.sendall(b"".join(parts))

    def is_readable(self, seconds=0):
        """Something has come, or the end, within so many seconds."""
        return bool(self.received or select.select([self.bare], [], [], seconds)[0])

    def _fill(self):
        """Reads what comes next. False: the end."""
        try:
            part = self.bare.recv(65536)
        except ConnectionResetError:
            part = b""
        self.received += part
        return bool(part)

    def _until(self, condition):
        while not condition():
            if not self._fill():
                raise http.client.RemoteDisconnected(f"the connection ended after {self.received[-200:]!r}")

    def answer(self, to="GET"):
        """The next answer, an interim one too. `to`: the method that was asked, as an answer to HEAD has no body."""
        self._until(lambda: b"\r\n\r\n" in self.received)
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        version, status, *_ = status_line.split(" ")
        assert version == "HTTP/1.1"
        headers = [tuple(line.split(": ", 1)) for line in lines]
        lengths = [int(value) for name, value in headers if name.lower() == "content-length"]
        assert len(lengths) == (0 if status in ("100", "204", "304") else 1), status_line
        length = lengths[0] if lengths and to != "HEAD" else 0
        self._until(lambda: len(self.received) >= length)
        body, self.received = self.received[:length], self.received[length:]
        return Response(int(status), headers, body)

    def rest(self):
        """All bytes until the end."""
        while self._fill():
            pass
        rest, self.received = self.received, b""
        return rest

    def is_closed(self):
        """Waits for the end. False: something came instead."""
        while not self.received and self._fill():
            pass
        return not self.received
