"""The clients of the proof: thousands of people who register, cancel, ask again and give up, and write down all that happens to them.

A request is written down before it is sent and again when its answer is there, or its connection is lost: clients.jsonl is what a
court would have of them. Nothing is kept back and nothing is judged here; the checker does that, from the files.
"""

import asyncio
import contextlib
import json
import os
import random
import time
import uuid

from load import Client, ConnectionLost

# Seconds until a request that is not answered counts as lost and its connection is closed.
PATIENCE = 60


class Notes:
    """A file of JSON lines, each written to the kernel at once."""

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)

    def write(self, **line):
        os.write(self.file, json.dumps(line).encode() + b"\n")

    def close(self):
        os.close(self.file)


class Crowd:
    """Everybody, and what they have in common. `addresses`: of the daemons; each connection takes one of them."""

    def __init__(self, world, addresses, sign, notes, seed, think):
        self.world, self.addresses, self.notes, self.think, self.seed = world, addresses, notes, think, seed
        self.random = random.Random(seed)
        self.going = True
        self.asked = self.decided = self.lost = 0
        # Requests in flight: number → (person, client).
        self.in_flight = {}
        self.people = [Person(self, person, sign(person)) for person in world["people"]]
        self.organizer = Organizer(self, {"email": world["organizers"][0]}, sign({"email": world["organizers"][0], "kind": "employee",
                                                                                 "department": None}))
        self.error = self.loop = self.thinking = None

    async def live(self):
        """Until `going` is false, and everybody has ended what they began."""
        self.loop, self.thinking = asyncio.get_running_loop(), asyncio.Event()
        everybody = [*self.people, self.organizer]
        try:
            await asyncio.gather(*(person.live() for person in everybody))
        except BaseException as error:
            self.error = error
            self.going = False
            raise
        finally:
            for person in everybody:
                person.close()
            await asyncio.sleep(0)

    async def read_all(self):
        """Everybody reads what they have, when all is quiet."""
        waiting = list(self.people)

        async def reader():
            while waiting:
                await waiting.pop().read()
        await asyncio.gather(*(reader() for _ in range(50)))
        for person in self.people:
            person.close()
        await asyncio.sleep(0)

    def hurry(self):
        """Everybody who thinks about what they want next comes at once. From any thread."""
        with contextlib.suppress(RuntimeError):  # the clients have just ended
            if self.loop is not None:
                self.loop.call_soon_threadsafe(self._hurry)

    def _hurry(self):
        self.thinking.set()
        self.thinking = asyncio.Event()

    async def pause(self, seconds):
        """To think, or until all are in a hurry."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.thinking.wait(), seconds)

    def cut(self, count):
        """Clients let go in the middle of a request; answers how many there were. From any thread."""
        return asyncio.run_coroutine_threadsafe(self._cut(count), self.loop).result()

    async def _cut(self, count):
        chosen = self.random.sample(sorted(self.in_flight), min(count, len(self.in_flight)))
        for number in chosen:
            person, client = self.in_flight[number]
            person.cut.add(number)
            if client.wire is not None:
                client.wire.transport.abort()
        return len(chosen)


class Person:
    def __init__(self, crowd, settings, token):
        self.crowd, self.email, self.token = crowd, settings["email"], token
        self.random = random.Random(f"{crowd.random.random()} {self.email}")
        self.clients = []
        self.cut = set()
        self.held = {}  # event → registration, where the person believes to have one

    def close(self):
        for client in self.clients:
            client.close()

    async def live(self):
        # Not everybody at the same moment, but nearly.
        await self.crowd.pause(self.random.uniform(0, 2 * self.crowd.think))
        while self.crowd.going:
            event = self.pick()
            if event not in self.held:
                await self.order("register", event)
            elif self.random.random() < 0.85:
                await self.order("cancel", event, registration=self.held[event])
            else:
                await self.order("register", event)
            if self.crowd.going:
                await self.crowd.pause(self.random.expovariate(1 / self.crowd.think))

    def pick(self):
        events = self.crowd.world["events"]
        return self.random.choices(events, [event["popularity"] for event in events])[0]["id"]

    async def order(self, what, event, **details):
        """One thing that the person wants, with as many requests as it takes or as they have the patience for."""
        key = str(uuid.UUID(int=self.random.getrandbits(128))) if self.random.random() < 0.5 else None
        while True:
            if self.random.random() < 0.08:
                # Impatient: the same thing twice at once, on two connections.
                request, other = await asyncio.gather(self.ask(0, what, event, key=key, **details),
                                                      self.ask(1, what, event, key=key, **details))
                if not request.decided:
                    request = other
            else:
                request = await self.ask(0, what, event, key=key, **details)
            if request.decided:
                break
            if not self.crowd.going or (request.unknown and self.random.random() < (0.1 if key else 0.3)):
                return  # gives up, and may not know
            await asyncio.sleep(min(request.retry_after, 1) * self.random.uniform(0.1, 1) or self.random.uniform(0.005, 0.05))
        self.learn(what, event, request)
        if key is not None and request.status < 300 and self.random.random() < 0.3:
            # As somebody whose answer was lost on the way: the same again, here or elsewhere.
            await self.ask(self.random.randrange(2), what, event, key=key, **details)

    def learn(self, what, event, request):
        if request.status < 300 and what == "register":
            self.held[event] = request.answer["id"]
        elif what == "cancel" and request.status < 300:
            self.held.pop(event, None)

    async def read(self):
        while True:
            request = await self.ask(0, "mine", None, final=True)
            if request.status == 200:
                return
            await asyncio.sleep(0.05)

    async def connect(self, which):
        """An open connection; the longer nobody listens, the longer the pause."""
        while len(self.clients) <= which:
            self.clients.append(Client(self.random.choice(self.crowd.addresses)))
        client = self.clients[which]
        while True:
            with contextlib.suppress(OSError):
                await client.connect()
                return client
            client.address = self.random.choice(self.crowd.addresses)
            await asyncio.sleep(self.random.uniform(0.01, 0.05))

    async def ask(self, which, what, event, key=None, **details):
        """One request: written down, sent, and written down again."""
        client = await self.connect(which)
        crowd = self.crowd
        crowd.asked += 1
        number = crowd.asked
        request = Told(f"proof-{crowd.seed}-{number}")
        method, path, body = {
            "register": lambda: ("POST", "/api/registrations", {"event_id": event}),
            "cancel": lambda: ("DELETE", f"/api/registrations/{details['registration']}", None),
            "mine": lambda: ("GET", "/api/registrations?limit=100", None),
            "edit": lambda: ("PATCH", f"/api/events/{event}", {"capacity": details["capacity"]}),
        }[what]()
        headers = [("X-Request-Id", request.id)]
        if key is not None:
            headers.append(("Idempotency-Key", f'"{key}"'))
        if what == "edit":
            headers.append(("If-Match", "*"))
        crowd.in_flight[number] = (self, client)
        crowd.notes.write(t="ask", n=number, at=time.time(), request=request.id, who=self.email, what=what, event=event, key=key, **details)
        try:
            answer = await asyncio.wait_for(client.request(method, path, body, token=self.token, headers=headers), PATIENCE)
        except (ConnectionLost, OSError, asyncio.TimeoutError) as error:
            by = "client" if number in self.cut or isinstance(error, asyncio.TimeoutError) else "server"
            crowd.notes.write(t="lost", n=number, at=time.time(), by=by)
            crowd.lost += by == "server"
            client.close()
            client.address = self.random.choice(crowd.addresses)
            return request
        finally:
            del crowd.in_flight[number]
        head = [line.partition(b":") for line in answer.head.split(b"\r\n")[1:]]
        crowd.notes.write(t="told", n=number, at=time.time(), status=answer.status, body=answer.body.decode(),
                          headers=[(name.decode(), value.strip().decode()) for name, _, value in head])
        request.take(answer)
        crowd.decided += request.decided
        return request


class Told:
    """What a person makes of an answer."""

    def __init__(self, number):
        self.id, self.status, self.answer, self.retry_after, self.unknown, self.decided = number, None, {}, 0, True, False

    def take(self, answer):
        self.status, self.answer = answer.status, answer.json() if answer.body else {}
        problem = self.answer.get("type", "").removeprefix("/problems/") if self.status >= 400 else None
        self.retry_after = float(answer.header("retry-after") or 0)
        self.unknown = problem == "outcome-unknown"
        self.decided = self.status < 500 and problem != "key-in-use"


class Organizer(Person):
    """Raises the capacity of an event again and again, and sometimes tries to lower it below what is taken."""

    async def live(self):
        growing = [event for event in self.crowd.world["events"] if event["grows"]]
        capacity = {event["id"]: event["capacity"] for event in growing}
        while self.crowd.going and growing:
            event = self.random.choice(growing)["id"]
            if self.random.random() < 0.2:
                await self.order("edit", event, capacity=1)
            else:
                capacity[event] += self.random.randrange(1, 4)
                await self.order("edit", event, capacity=capacity[event])
            await asyncio.sleep(self.random.uniform(0.1, 0.6))
