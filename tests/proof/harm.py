"""The faults of the proof: processes killed, PostgreSQL crashed, connections cut. Each is written to faults.jsonl with what was in
flight and what it hit; only those that hit work in flight count.
"""

import collections
import contextlib
import os
import pathlib
import random
import signal
import time

import psycopg

from own_postgres import connect
from traffic import children

# How often each comes, relative to the others. `restart` and `crash` cost a recovery of PostgreSQL each, `master` a whole start.
WEIGHTS = {"worker": 60, "backend": 8, "terminate": 10, "refresher": 8, "scheduler": 6, "master": 4, "restart": 1, "cut": 15, "statement": 15}
BATCHES = ("registration_batch", "registration_batch_keyed")  # as the server prepares them
# What is done by kill -9; the others are counted beside them.
KILLS = ("worker", "master", "refresher", "scheduler", "backend")
# Requests that are to be in flight when something dies, and seconds in which what is to be hit may come to be at work.
IN_FLIGHT = 10
MOMENT = 1


def role_of(pid):
    """worker, refresher or scheduler, from the title of the process."""
    try:
        title = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return next((role for role in ("worker", "refresher", "scheduler") if role in title), None)


class Harm:
    def __init__(self, cluster, proxy, daemons, crowd, notes, seed):
        self.cluster, self.proxy, self.daemons, self.crowd, self.notes = cluster, proxy, daemons, crowd, notes
        self.random = random.Random(f"harm {seed}")
        self.done = collections.Counter()
        self.hits = collections.Counter()
        self.session = None

    @property
    def kills(self):
        """Processes ended by kill -9 while they had work in flight."""
        return sum(self.hits[kind] for kind in KILLS)

    def choose(self):
        """Each kind until it has hit something, then by weight: also the shortest run has all of them."""
        missing = [kind for kind in WEIGHTS if not self.hits[kind]]
        return self.random.choice(missing) if missing else self.random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]

    def is_due(self):
        """Whether there is enough to be hit; where there is not, people hurry. However fast the server is and however few they are,
        there is something in flight a moment later."""
        if len(self.crowd.in_flight) >= min(IN_FLIGHT, len(self.crowd.people) // 2):
            return True
        self.crowd.hurry()
        return False

    def _hurried(self, look):
        """What look() finds as soon as it finds anything, people being in a hurry meanwhile; None where it takes too long."""
        deadline = time.monotonic() + MOMENT
        while time.monotonic() < deadline:
            found = look()
            if found:
                return found
            self.crowd.hurry()
            time.sleep(0.002)
        return None

    def one(self, kind):
        """One fault of a kind. A victim that is not there just now (it is being restarted) is no fault."""
        in_flight, lost, at = len(self.crowd.in_flight), self.crowd.lost, time.time()
        try:
            found = getattr(self, kind)()
        except psycopg.OperationalError:
            self.session = None
            return
        if found is None:
            return
        victim, hit = found
        if kind == "worker":
            # Its clients hear of it at once: the connections are closed with it. Those of a master's workers may still be answered.
            deadline = time.monotonic() + MOMENT
            while self.crowd.lost == lost and time.monotonic() < deadline:
                time.sleep(0.002)
            hit = self.crowd.lost - lost
        self.done[kind] += 1
        self.hits[kind] += hit > 0
        self.notes.write(at=at, fault=kind, victim=victim, in_flight=in_flight, hit=hit)

    def _child(self, role):
        daemon = self.random.choice(self.daemons)
        found = [pid for pid in children(daemon.pid) if role_of(pid) == role]
        if not found:
            return None
        pid = self.random.choice(found)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            return pid, len(self.crowd.in_flight)
        return None

    def worker(self):
        return self._child("worker")

    def refresher(self):
        return self._child("refresher")

    def scheduler(self):
        return self._child("scheduler")

    def master(self):
        """Its children end with it; the supervisor starts it again on the sockets that it holds."""
        daemon, in_flight = self.random.choice(self.daemons), len(self.crowd.in_flight)
        victim = daemon.pid
        os.kill(victim, signal.SIGKILL)
        daemon.process.wait(10)
        daemon.start(ready=False)
        return victim, in_flight

    def supervise(self):
        """A daemon that has ended by itself is a finding; answers the exit statuses."""
        return [daemon.process.returncode for daemon in self.daemons if daemon.process.poll() is not None]

    def _sql(self, query):
        if self.session is None:
            self.session = connect(self.cluster, self.daemons[0])
        return self.session.execute(query, (self.daemons[0].database,)).fetchall()

    def _busy(self):
        """Backends at work, as soon as there are any."""
        return self._hurried(lambda: self._sql(
            "select pid from pg_stat_activity where datname = %s and application_name like 'turnout%%' and state = 'active'"))

    def backend(self):
        """kill -9 of a backend that is at work: PostgreSQL ends all others, too, and recovers."""
        busy = self._busy()
        if not busy:
            return None
        victim = self.random.choice(busy)[0]
        os.kill(victim, signal.SIGKILL)
        self._wait_for_postgres()
        return victim, len(busy)

    def terminate(self):
        """Cuts the connection of a daemon to PostgreSQL from that side, in the statement that sees it at work."""
        rows = self._hurried(lambda: self._sql("""
            select v.pid, pg_terminate_backend(v.pid)
            from (select pid from pg_stat_activity
                  where datname = %s and application_name like 'turnout%%' and state = 'active' order by random() limit 1) v"""))
        return (rows[0][0], 1) if rows else None

    def statement(self):
        """Cuts the connection on which the next batch runs: before PostgreSQL has read it, during its run, or between its commit and
        the answer."""
        moment, name = self.random.choice(("before", "during", "after")), self.random.choice(BATCHES)
        self.proxy.cut(name, moment)
        self._hurried(lambda: self.proxy.fired)
        hit = len(self.proxy.fired)
        self.proxy.cuts = []
        return f"{name} {moment}", hit

    def cut(self):
        """Clients let go in the middle of their requests."""
        hit = self.crowd.cut(self.random.randrange(1, 20))
        return (None, hit) if hit else None

    def restart(self):
        busy = self._busy()
        if not busy:
            return None
        self.session.close()
        self.cluster.stop("immediate")
        self.cluster.start()
        self.session = None
        return self.cluster.folder.name, len(busy)

    def _wait_for_postgres(self):
        """Until it has noticed and is there again."""
        deadline = time.monotonic() + 60
        with contextlib.suppress(psycopg.OperationalError):
            while time.monotonic() < deadline:
                self.session.execute("select 1")
        self.session = None
        while time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError):
                self.session = connect(self.cluster, self.daemons[0])
                return
            time.sleep(0.02)
        raise AssertionError("PostgreSQL does not come back")
