"""Many clients at once from one process: asyncio, kept connections, just enough HTTP to read turnoutd's answers.

    async def script(client, number):
        answer = await client.post("/api/registrations", {"event_id": event}, token=tokens[number])
        return answer.status

    statuses = run_clients(turnout.port, 2000, script)

About 50 microseconds of CPU a request: one core makes well over ten thousand a second where the server has the other one.
"""

import asyncio
import json


class ConnectionLost(Exception):
    """The connection ended. `sent`: a request had been sent on it and was not answered, so what became of it is not known."""

    def __init__(self, sent):
        super().__init__("connection lost" + (" with a request in flight" if sent else ""))
        self.sent = sent


class Answer:
    """`status`, `head` (status line and headers as bytes), `body`."""

    __slots__ = ("status", "head", "body")

    def __init__(self, status, head, body):
        self.status = status
        self.head = head
        self.body = body

    def json(self):
        return json.loads(self.body)

    def header(self, name):
        """The first header of the name (in lower case), or None."""
        for line in self.head.split(b"\r\n")[1:]:
            found, _, value = line.partition(b":")
            if found.lower() == name.encode():
                return value.strip().decode()
        return None


class _Wire(asyncio.Protocol):
    """One connection with at most one request in flight; parses answers by Content-Length."""

    def __init__(self):
        self.transport = None
        self.waiting = None
        self.buffer = b""
        self.head_only = False
        self.closed = False

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer = self.buffer + data if self.buffer else data
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end]
            status = int(head[9:12])
            if 100 <= status < 200:
                self.buffer = self.buffer[end + 4:]
                continue
            place = head.lower().find(b"\r\ncontent-length:")
            length = 0
            if place >= 0 and not self.head_only and status not in (204, 304):
                length = int(head[place + 17:].split(b"\r\n", 1)[0])
            if len(self.buffer) < end + 4 + length:
                return
            body = self.buffer[end + 4:end + 4 + length]
            self.buffer = self.buffer[end + 4 + length:]
            waiting, self.waiting = self.waiting, None
            if waiting is not None and not waiting.done():
                waiting.set_result(Answer(status, head, body))
            return

    def connection_lost(self, error):
        self.closed = True
        waiting, self.waiting = self.waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(ConnectionLost(sent=True))


class Client:
    """One client with one kept connection, opened when first needed and again when it was closed between requests."""

    def __init__(self, address):
        self.address = address
        self.wire = None

    async def connect(self):
        """Opens the connection unless it is open. OSError when nobody listens."""
        if self.wire is not None and not self.wire.closed and not self.wire.transport.is_closing():
            return
        loop = asyncio.get_running_loop()
        if isinstance(self.address, int):
            _, self.wire = await loop.create_connection(_Wire, "127.0.0.1", self.address)
        else:
            _, self.wire = await loop.create_unix_connection(_Wire, str(self.address))

    async def request(self, method, path, data=None, token=None, headers=()):
        """Sends a request and waits for its answer. `data` is sent as JSON; `headers` are pairs."""
        await self.connect()
        lines = [f"{method} {path} HTTP/1.1", "Host: test"]
        lines += [f"{name}: {value}" for name, value in headers]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        body = b""
        if data is not None:
            body = data if isinstance(data, bytes) else json.dumps(data).encode()
            lines.append("Content-Type: application/json")
        if body or method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(body)}")
        wire = self.wire
        wire.head_only = method == "HEAD"
        wire.waiting = asyncio.get_running_loop().create_future()
        wire.transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        answer = await wire.waiting
        if b"\r\nconnection: close" in answer.head.lower():
            self.close()
        return answer

    def get(self, path, **keywords):
        return self.request("GET", path, **keywords)

    def post(self, path, data=None, **keywords):
        return self.request("POST", path, data, **keywords)

    def delete(self, path, **keywords):
        return self.request("DELETE", path, **keywords)

    def close(self):
        if self.wire is not None:
            self.wire.transport.close()
            self.wire = None


async def _run(address, count, script, patience):
    clients = [Client(address) for _ in range(count)]
    try:
        return await asyncio.wait_for(
            asyncio.gather(*(script(client, number) for number, client in enumerate(clients))), patience)
    finally:
        for client in clients:
            client.close()
        # One turn, so that transports are closed before the loop is.
        await asyncio.sleep(0)


def run_clients(address, count, script, patience=300):
    """Runs script(client, number) for `count` clients at once; answers what each returned. `address`: a port or a socket's path.

    A script that raises ends the run: what is expected to fail is caught inside of it.
    """
    return asyncio.run(_run(address, count, script, patience))
