"""/metrics, as Prometheus reads it: what has happened is counted, exactly, and nothing else."""

import re
import shutil
import subprocess

import pytest

SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Page:
    """What one scrape said: `samples` by name and labels, `types` and `helps` by name."""

    def __init__(self, text):
        self.text = text
        self.samples, self.types, self.helps = {}, {}, {}
        for line in text.splitlines():
            if line.startswith("# "):
                _, kind, name, rest = line.split(" ", 3)
                table = {"HELP": self.helps, "TYPE": self.types}[kind]
                assert name not in table, f"{kind} of {name} stands twice"
                table[name] = rest
                continue
            match = SAMPLE.match(line)
            assert match, f"no sample: {line!r}"
            key = (match[1], frozenset(LABEL.findall(match[2] or "")))
            assert key not in self.samples, f"twice: {line!r}"
            self.samples[key] = float(match[3])

    def sum(self, name, **labels):
        """Of all samples of the name that have these labels, whatever others they have."""
        wanted = set(labels.items())
        return sum(value for (found, has), value in self.samples.items() if found == f"turnout_{name}" and wanted <= has)

    def labels(self, name):
        return [dict(has) for found, has in self.samples if found == f"turnout_{name}"]


def scrape(turnout):
    answer = turnout.internal("/metrics")
    assert answer.status == 200, answer
    return Page(answer.body.decode())


def promtool(*arguments, stdin=None):
    """Runs promtool and holds it to have nothing to say."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    checked = subprocess.run(["promtool", *arguments], input=stdin, capture_output=True, check=False)
    assert checked.returncode == 0, checked
    return (checked.stdout + checked.stderr).decode()


def test_the_page_is_prometheus_text(turnout):
    answer = turnout.internal("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert promtool("check", "metrics", stdin=answer.body) == ""


def test_every_request_is_counted_by_its_route(turnout):
    before = scrape(turnout)
    for _ in range(10):
        assert turnout.request("GET", "/api/events").status == 200
    grown = scrape(turnout)
    labels = {"route": "/api/events", "method": "GET"}
    assert grown.sum("http_requests_total", **labels) - before.sum("http_requests_total", **labels) == 10
