"""A proxy on a Unix socket between turnoutd and PostgreSQL or Redis that delays and holds what passes.

    with Tap(cluster.socket / ".s.PGSQL.5432") as tap:
        tap.hold("refresher render")          # answers of PostgreSQL to the connections of this application_name wait here
        tap.wait_held("refresher render", 1)  # so many whole answers do
        tap.release("refresher render", 1)    # the first of them goes on, the others still wait
        tap.let_go()                          # nothing is held any more

A connection to PostgreSQL is known by its application_name without "turnout "; names are matched by their beginning. One to
Redis has the name "": there, what the client sends is held where `up` is said.
"""

import asyncio
import collections
import contextlib
import pathlib
import shutil
import struct
import tempfile
import threading

from sql_harness import wait_until

PROTOCOL_3 = 196608


class _Pair:
    """One connection through the tap."""

    def __init__(self, tap, client_reader, client_writer):
        self.tap = tap
        self.client_reader, self.client_writer = client_reader, client_writer
        self.server_reader = self.server_writer = None
        self.name = ""
        self.down = collections.deque()  # what the server said and the client has not been given
        self.up = collections.deque()
        self.buffer = b""

    async def run(self):
        try:
            self.server_reader, self.server_writer = await asyncio.open_unix_connection(self.tap.server_path)
            if self.tap.postgres:
                await self._read_startup()
            pumps = [asyncio.create_task(pump) for pump in (self._pump_up(), self._pump_down())]
            _, waiting = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in waiting:
                pump.cancel()
            for pump in pumps:
                with contextlib.suppress(OSError, asyncio.CancelledError):
                    await pump
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.close()
            self.tap.pairs.discard(self)

    def close(self):
        for writer in (self.client_writer, self.server_writer):
            if writer is not None:
                writer.close()

    async def _read_startup(self):
        head = await self.client_reader.readexactly(8)
        length, code = struct.unpack("!II", head)
        rest = await self.client_reader.readexactly(length - 8)
        if code == PROTOCOL_3:
            words = rest.split(b"\0")
            given = dict(zip(words[::2], words[1::2]))
            self.name = given.get(b"application_name", b"").decode().removeprefix("turnout ")
        self.server_writer.write(head + rest)

    async def _pump_up(self):
        while data := await self.client_reader.read(1 << 16):
            await self.tap.wait(self.name, up=True)
            if self.tap.is_held(self, up=True):
                self.up.append(data)
            else:
                self.server_writer.write(data)
        # What was sent before the end arrives, as in a network.
        while self.up:
            await asyncio.sleep(0.005)

    async def _pump_down(self):
        while data := await self.server_reader.read(1 << 16):
            await self.tap.wait(self.name, up=False)
            for message in self._messages(data) if self.tap.postgres else [data]:
                if self.client_writer.is_closing():
                    continue
                if self.down or self.tap.is_held(self, up=False):
                    self.down.append(message)
                else:
                    self.client_writer.write(message)

    def _messages(self, data):
        """PostgreSQL's messages, whole: a type byte and a length."""
        self.buffer += data
        while len(self.buffer) >= 5:
            length = 1 + struct.unpack("!I", self.buffer[1:5])[0]
            if len(self.buffer) < length:
                return
            message, self.buffer = self.buffer[:length], self.buffer[length:]
            yield message

    def held_answers(self):
        return sum(message[:1] == b"Z" for message in self.down)

    def answers_until(self, words):
        """How many whole answers wait up to the one with these bytes in it, with that one; 0: it has not come."""
        answers, found = 0, False
        for message in self.down:
            found = found or words in message
            if message[:1] == b"Z":
                answers += 1
                if found:
                    return answers
        return 0

    def release(self, answers):
        """Passes on so many whole answers. None: everything, in both directions."""
        while self.down and (answers is None or answers > 0):
            message = self.down.popleft()
            self.client_writer.write(message)
            if answers is not None and message[:1] == b"Z":
                answers -= 1
        while answers is None and self.up:
            self.server_writer.write(self.up.popleft())


class Tap:
    def __init__(self, server_path, postgres=True):
        self.server_path, self.postgres = str(server_path), postgres
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tap."))
        self.folder.chmod(0o711)
        self.path = self.folder / pathlib.Path(server_path).name
        self.pairs = set()
        self.held = {}  # name: whether what the client sends is meant
        self.delays = {}  # name: a function that answers seconds, for what the server says
        self.delayed = 0  # how many times something waited
        self.refused = ()  # names of connections that are closed as soon as they are known
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        wait_until(self.path.exists, "the tap listens")
        self.path.chmod(0o777)
        return self

    def __exit__(self, kind, error, trace):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(asyncio.start_unix_server(self._begin, str(self.path)))
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0.01))
        self.loop.close()

    async def _begin(self, reader, writer):
        pair = _Pair(self, reader, writer)
        self.pairs.add(pair)
        await pair.run()

    def _call(self, function, *arguments):
        """In the loop's thread, and answers what it answered."""
        async def run():
            return function(*arguments)
        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    # For pairs

    async def wait(self, name, up):
        delay = next((delay for start, delay in self.delays.items() if name.startswith(start)), None)
        if delay is not None and not up:
            self.delayed += 1
            await asyncio.sleep(delay())

    def is_held(self, pair, up):
        return any(pair.name.startswith(start) and held_up == up for start, held_up in self.held.items())

    def _matching(self, name):
        return [pair for pair in self.pairs if pair.name.startswith(name)]

    # For tests

    def delay(self, name, seconds):
        """What the server says to connections of this name comes later by seconds(). None: no longer."""
        def change():
            if seconds is None:
                self.delays.pop(name, None)
            else:
                self.delays[name] = seconds
        self._call(change)

    def hold(self, name, up=False):
        self._call(self.held.__setitem__, name, up)

    def held_answers(self, name):
        return self._call(lambda: sum(pair.held_answers() for pair in self._matching(name)))

    def held_up(self, name):
        """Pieces that clients have sent and that wait here."""
        return self._call(lambda: sum(len(pair.up) for pair in self._matching(name)))

    def wait_held(self, name, answers=1, patience=20):
        wait_until(lambda: self.held_answers(name) >= answers, f"{answers} answers to {name} are held", patience)

    def wait_held_with(self, name, words):
        """Until an answer with these bytes in it is held; answers how many have to be released for it."""
        return wait_until(lambda: self._call(lambda: max((pair.answers_until(words) for pair in self._matching(name)), default=0)),
                          f"an answer with {words} is held")

    def release(self, name, answers=1):
        """Lets whole answers go, on each connection of the name; what follows them is still held."""
        self._call(lambda: [pair.release(answers) for pair in self._matching(name)])

    def let_go(self, name=None):
        """Holds nothing any more, of this name or at all."""
        def go():
            for start in [start for start in self.held if name in (None, start)]:
                del self.held[start]
            for pair in self.pairs:
                if name is None or pair.name.startswith(name):
                    pair.release(None)
        self._call(go)

    def cut(self, name):
        """Closes the connections of the name; answers how many there were."""
        return self._call(lambda: len([pair.close() for pair in self._matching(name)]))
