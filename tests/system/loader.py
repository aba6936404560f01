"""The load generator (tests/bench/load) beside a test.

    with Loader(turnout, events, rate=300) as load:
        load.wait_for_answers(500)
        ...
    assert load.report["failed"] == 0, load.report["failures"]
"""

import json
import os
import pathlib
import signal
import subprocess
import threading

from server import programs
from sql_harness import TOP, wait_until

MIXES = TOP / "tests" / "bench" / "load"


def generator():
    return pathlib.Path(programs()) / "tests" / "bench" / "load" / "load"


class Loader:
    """`mix`: a file, or the text of one. Ends with the block; `report` is then what load --json printed."""

    def __init__(self, turnout, events=(), people=200, mix=MIXES / "everyday.mix", address=None, **options):
        self.turnout, self.report = turnout, None
        self.answered, self.failed = 0, 0
        self.address = address or f"127.0.0.1:{turnout.port}"
        self.files = []
        self.arguments = [str(generator()), "--json", "--progress", "--address", self.address]
        if isinstance(mix, str):
            mix = self._file("mix", mix)
        self.arguments += ["--mix", str(mix)]
        if people:
            tokens = [turnout.token(f"load{number}@example.com", department=f"Department {number % 5}") for number in range(people)]
            self.arguments += ["--tokens", str(self._file("tokens", "\n".join(tokens)))]
        if events:
            self.arguments += ["--events", str(self._file("events", "\n".join(events)))]
        for name, value in {"duration": "10m", "connections": 40, **options}.items():
            self.arguments += [f"--{name}"] if value is True else [f"--{name}", str(value)]

    def _file(self, name, text):
        path = self.turnout.folder / f"load.{name}.{id(self):x}"
        path.write_text(text + "\n", encoding="utf-8")
        self.files.append(path)
        return path

    def __enter__(self):
        # Reports of a sanitizer go to files; its load generator must not end with 1 for a leak of what lives as long as it does.
        environment = {**os.environ, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
        self.process = subprocess.Popen(self.arguments, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self._follow, daemon=True)
        self.reader.start()
        return self

    def _follow(self):
        self.errors = []
        for line in self.process.stderr:
            words = line.split()
            if len(words) == 2 and all(word.isdigit() for word in words):
                self.answered, self.failed = int(words[0]), int(words[1])
            else:
                self.errors.append(line)

    def wait_for_answers(self, count, patience=60):
        """Waits until so many more requests have been answered."""
        enough = self.answered + count
        wait_until(lambda: self.answered >= enough or self.process.poll() is not None, f"{count} more answers", patience)
        assert self.answered >= enough or self.process.poll() is None, f"the load generator has ended: {self.errors}"

    def wait(self, patience=700):
        """Until it has run for its duration."""
        output = self.process.stdout.read()
        self.process.wait(patience)
        self.reader.join(10)
        assert self.process.returncode in (0, 1), f"{self.process.returncode}: {self.errors}"
        self.report = json.loads(output)
        return self.report

    def stop(self):
        if self.report is None:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
            self.wait()
        return self.report

    def __exit__(self, kind, error, trace):
        if kind is None:
            self.stop()
        else:
            self.process.kill()
            self.process.wait(10)
        for path in self.files:
            path.unlink(missing_ok=True)
