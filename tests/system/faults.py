"""Faults on demand: strace makes system calls of running processes fail, and a shim makes their memory run out.

    with FailingCalls(pids, {"read": "EIO", "accept4": "EMFILE"}, points=20) as calls:
        wait_until(lambda: calls.enough, "every call has failed often enough")
    print(calls.fired)

Both count what really fired: a test that injects nothing must not pass.
"""

import collections
import ctypes
import mmap
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import time

from sql_harness import wait_until

# Of each call of a process every so many-th fails. Where a failure costs a connection to PostgreSQL there is more room between
# two of them: a new one takes some ten calls, and one that fails before it has served makes its pool back off.
STEPS = {"accept4": 5, "read": 11, "sendmsg": 11, "recvmsg": 5, "write": 7, "recvfrom": 61, "sendto": 37}


class FailingCalls:
    """Makes system calls of processes fail from outside. `errors`: call → errno's name. `fired`: call → how often it did."""

    def __init__(self, pids, errors, points, folder):
        self.errors, self.points = errors, points
        self.trace = pathlib.Path(folder) / f"strace.{time.monotonic_ns()}"
        self.complaints = self.trace.with_suffix(".errors")
        self.command = ["strace", "-o", str(self.trace), "-e", "trace=" + ",".join(errors), "-e", "signal=none"]
        for call, error in errors.items():
            self.command += ["-e", f"inject={call}:error={error}:when=2+{STEPS[call]}"]
        for pid in pids:
            self.command += ["-p", str(pid)]
        self.pids = pids
        self.process = None
        self.position = 0
        self.fired = collections.Counter()
        # (pid, call) → how often; the calls of each process have numbers of their own.
        self.by_process = collections.Counter()

    def __enter__(self):
        with open(self.complaints, "wb") as complaints:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=complaints, stderr=complaints)
        wait_until(self._is_attached, "strace is attached")
        return self

    def __exit__(self, kind, error, trace):
        # It lets go of all of them before it ends.
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        self.count()
        self.trace.unlink()

    def _is_attached(self):
        said = self.complaints.read_text(encoding="utf-8", errors="replace")
        assert self.process.poll() is None, said
        return said.count("attached") >= len(self.pids)

    def count(self):
        """Reads on in what strace has written."""
        with open(self.trace, "rb") as trace:
            trace.seek(self.position)
            text = trace.read()
        end = text.rfind(b"\n") + 1
        self.position += end
        for line in text[:end].splitlines():
            if b"(INJECTED)" not in line:
                continue
            # "123 read(4, 0x7f, 16384) = -1 EIO (Input/output error) (INJECTED)", or "... <... read resumed>..."
            found = re.match(rb"(?:(\d+) +)?(?:<\.\.\. )?(\w+)", line)
            pid = int(found.group(1) or self.pids[0])
            self.fired[found.group(2).decode()] += 1
            self.by_process[(pid, found.group(2).decode())] += 1
        return self.fired

    @property
    def enough(self):
        assert self.process.poll() is None, self.complaints.read_text(encoding="utf-8", errors="replace")
        fired = self.count()
        return all(fired[call] >= self.points for call in self.errors)


def can_trace():
    """Whether strace may attach to a process of ours: not without the permission to, in some containers."""
    if shutil.which("strace") is None:
        return False
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            with FailingCalls([sleeper.pid], {"read": "EIO"}, 1, "/tmp"):
                return True
        except AssertionError:
            return False
        finally:
            sleeper.kill()


# --- memory ---

SHIM = r"""
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Shared with the test: whose allocations are counted down to the one that fails, and how many have failed. */
static volatile struct { int64_t pid; int64_t left; int64_t fired; int64_t seen; } *faults;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("TURNOUT_TEST_FAULTS");
    int file = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return;
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    faults = memory == MAP_FAILED ? NULL : memory;
}

static int fails(void)
{
    if (faults == NULL || faults->pid != getpid())
        return 0;
    faults->seen++;
    if (faults->left <= 0 || --faults->left > 0)
        return 0;
    faults->fired++;
    return 1;
}

void *mallocx(size_t size, int flags)
{
    static void *(*next)(size_t, int);
    if (next == NULL)
        next = (void *(*)(size_t, int))dlsym(RTLD_NEXT, "mallocx");
    return fails() ? NULL : next(size, flags);
}

void *rallocx(void *memory, size_t size, int flags)
{
    static void *(*next)(void *, size_t, int);
    if (next == NULL)
        next = (void *(*)(void *, size_t, int))dlsym(RTLD_NEXT, "rallocx");
    return fails() ? NULL : next(memory, size, flags);
}
"""


class FailingMemory:
    """Lets the n-th allocation of one process fail. turnoutd is to be started with `environment`."""

    def __init__(self, folder):
        self.library = pathlib.Path(folder) / "shim.so"
        self.page = pathlib.Path(folder) / "faults"
        source = pathlib.Path(folder) / "shim.c"
        source.write_text(SHIM, encoding="ascii")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(self.library), str(source), "-ldl"], check=True)
        self.page.write_bytes(bytes(4096))
        with open(self.page, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 4096)
        self.environment = {"LD_PRELOAD": str(self.library), "TURNOUT_TEST_FAULTS": str(self.page)}

    def arm(self, pid, number):
        """The number-th allocation from now on fails in this process; the counts begin again."""
        # The pid is written last: until then the process does not look at the rest.
        struct.pack_into("=q", self.memory, 0, 0)
        struct.pack_into("=qqq", self.memory, 8, number, 0, 0)
        struct.pack_into("=q", self.memory, 0, pid)

    @property
    def fired(self):
        return struct.unpack_from("=q", self.memory, 16)[0]

    @property
    def seen(self):
        """Allocations of the armed process."""
        return struct.unpack_from("=q", self.memory, 24)[0]
