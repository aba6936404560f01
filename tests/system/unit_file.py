"""What a systemd unit says, and what strace saw, in a form that can be compared."""

import functools
import re
import subprocess


def settings(text, section="Service"):
    """Name → list of values, in order; an empty value takes back what stood before it, as systemd has it."""
    found = {}
    current = None
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("["):
            current = line.strip("[]")
        elif current == section and "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[name] = [*found.get(name, []), value] if value else []
    return found


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|min|h)?", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, None: 1}[unit]


@functools.cache
def group(name):
    """The system calls of a group as this systemd has it."""
    shown = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", name], capture_output=True, text=True, check=True).stdout
    calls = set()
    for word in (line.strip() for line in shown.splitlines()[1:]):
        if word.startswith("@"):
            calls |= group(word)
        elif word and not word.startswith("#"):
            calls.add(word)
    return calls


def allowed_calls(text):
    """What SystemCallFilter= leaves: the first line allows, ~ takes away, what follows adds and takes away in turn. What systemd
    needs to start a program is always let through."""
    calls = set(group("@default"))
    for line in settings(text)["SystemCallFilter"]:
        named = set()
        for word in line.lstrip("~").split():
            named |= group(word) if word.startswith("@") else {word}
        calls = calls - named if line.startswith("~") else calls | named
    return calls


class Trace:
    """A file of `strace -f -o`: which calls there were, and of some of them with what."""

    def __init__(self, path):
        self.calls = set()
        self.families = set()
        self.written = set()  # paths opened for writing
        self.devices = set()
        self.writable_code = []  # memory that is written and executed
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            match = re.match(r"\d+ +(\w+)\((.*)", line)
            if not match:
                continue
            name, rest = match.groups()
            self.calls.add(name)
            if name in ("socket", "socketpair"):
                self.families.add(rest.split(",")[0])
            elif name in ("open", "openat", "creat") and re.search(r"\bO_(WRONLY|RDWR|CREAT)\b", rest):
                self.written.add(re.search(r'"([^"]*)"', rest)[1])
            elif name in ("mmap", "mprotect", "pkey_mprotect") and "PROT_WRITE" in rest and "PROT_EXEC" in rest:
                self.writable_code.append(line)
            if name in ("open", "openat") and '"/dev/' in rest:
                self.devices.add(re.search(r'"([^"]*)"', rest)[1])
