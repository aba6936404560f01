"""Reads /metrics as Prometheus does.

    before = scrape(turnout)
    ...
    assert grown(turnout, before, "http_requests_total", route="/api/events") == 10
"""

import re

SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
LABELS = re.compile(r'(?:^|,)(\w+)="((?:[^"\\]|\\["\\n])*)"')


class Page:
    """What one scrape said. `samples`: values by (name, labels); `types` and `helps` by name. Names are without their prefix."""

    def __init__(self, text):
        self.text = text
        self.samples, self.types, self.helps = {}, {}, {}
        assert text.endswith("\n")
        family = None
        for line in text.splitlines():
            comment = re.match(r"^# (HELP|TYPE) turnout_(\w+) (.+)$", line)
            if comment:
                family = comment[2]
                table = self.helps if comment[1] == "HELP" else self.types
                assert family not in table, f"twice: {line!r}"
                table[family] = comment[3]
                continue
            sample = SAMPLE.match(line)
            assert sample, f"no sample: {line!r}"
            labels = LABELS.findall(sample[2] or "")
            assert ",".join(f'{name}="{value}"' for name, value in labels) == (sample[2] or ""), f"labels: {line!r}"
            name = sample[1].removeprefix("turnout_")
            assert re.fullmatch(family + r"(_bucket|_sum|_count)?", name), f"{line!r} stands below {family}"
            key = (name, frozenset(labels))
            assert key not in self.samples, f"twice: {line!r}"
            self.samples[key] = float(sample[3])

    def sum(self, name, **labels):
        """Of all samples of the name that have these labels, whatever others they have. A label of None is any."""
        wanted = set(labels.items())
        return sum(value for (found, has), value in self.samples.items() if found == name and wanted <= has)

    def label_sets(self, name):
        return [dict(has) for found, has in self.samples if found == name]

    def check_histograms(self):
        """Buckets never fall, the last one is the count, and the sum fits."""
        found = 0
        for name in [name for name, kind in self.types.items() if kind == "histogram"]:
            series = {}
            for (sample, has), value in self.samples.items():
                if sample == f"{name}_bucket":
                    limit = float(dict(has)["le"])
                    series.setdefault(frozenset(pair for pair in has if pair[0] != "le"), []).append((limit, value))
            for labels, buckets in series.items():
                buckets.sort()
                assert buckets[-1][0] == float("inf") and buckets[0][0] == 0.0001
                values = [value for _, value in buckets]
                assert values == sorted(values), (name, labels, buckets)
                assert values[-1] == self.samples[(f"{name}_count", labels)], (name, labels)
                # Each observation is above the limit below its bucket.
                least = sum((value - before) * limit for (limit, before), value in zip(buckets, values[1:]))
                assert self.samples[(f"{name}_sum", labels)] >= least * 0.999999, (name, labels, buckets)
                found += 1
        return found

    def check_growth(self, later):
        """No counter has gone back, and none has gone."""
        for (name, has), value in self.samples.items():
            family = re.sub(r"_(bucket|sum|count)$", "", name)
            if self.types.get(name) == "counter" or self.types.get(family) == "histogram":
                assert later.samples.get((name, has), -1) >= value, (name, has, value)


def scrape(turnout):
    for attempt in range(3):
        try:
            answer = turnout.internal("/metrics")
            break
        except ConnectionError:
            # A worker that a test has just killed may have taken it.
            if attempt == 2:
                raise
    assert answer.status == 200, answer
    return Page(answer.body.decode())


def grown(turnout, before, name, **labels):
    """By how much the sum of the samples has grown since."""
    return scrape(turnout).sum(name, **labels) - before.sum(name, **labels)
