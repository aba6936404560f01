"""/metrics, as Prometheus reads it: what has happened is counted exactly, whoever counted it has died meanwhile, and nothing that a
client sends makes a label."""

import json
import os
import random
import re
import shutil
import signal
import statistics
import string
import subprocess
import time

import pytest
import yaml

from api import Person
from conftest import run_turnout
from load import run_clients
from metrics import Page, scrape
from server import run
from sql_harness import TOP, wait_until
from traffic import Traffic
from wire import Wire, get, request

WORKERS = 4
DOCUMENT = TOP / "docs" / "metrics.md"
RULES = TOP / "contrib" / "prometheus"
DASHBOARD = TOP / "contrib" / "grafana" / "turnout.json"


@pytest.fixture(scope="module")
def turnout(postgres, make_database):
    """Several workers whose gauges are never old."""
    one = run_turnout(postgres, make_database(), workers=WORKERS, ping_interval="50ms", shutdown_timeout="2s")
    try:
        yield one.start()
    finally:
        one.remove()


def promtool(*arguments, stdin=None):
    """What promtool has to say, which must not be that something is wrong."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run(["promtool", *map(str, arguments)], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done
    return (done.stdout + done.stderr).decode()


def documented():
    """The lines of the table: (type, set of labels, meaning) by name."""
    lines = re.findall(r"^\| `turnout_(\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    table = {name: (kind, set(re.findall(r"`(\w+)`", labels)), meaning) for name, kind, labels, meaning in lines}
    assert len(table) == len(lines) > 30
    return table


def check_selectors(expressions):
    """Every metric that they name is documented, and so are the labels by which they choose among its samples."""
    table = documented()
    assert len(expressions) > 10
    for expression in expressions:
        selectors = re.findall(r"\bturnout_(\w+)(?:\{([^}]*)\})?", expression)
        assert selectors, expression
        for name, labels in selectors:
            if name not in table:
                name = re.sub(r"_(bucket|sum|count)$", "", name)
                assert table[name][0] == "histogram", (name, expression)
            chosen = set(re.findall(r"(\w+)[=!]", labels)) - {"instance", "job"}
            assert chosen <= table[name][1], (name, labels)


def all_serve_but(turnout, gone):
    """All workers serve, and none of them is one of these."""
    serving = [process["pid"] for process in turnout.processes("worker") if process["state"] == "ready"]
    return len(serving) == WORKERS and not set(serving) & set(gone)


def show_everything(turnout):
    """Makes something of each kind that is only told once it has happened."""
    assert Person(turnout, "organizer").get("/api/events").status == 200


# --- the page ---

def test_the_page_is_prometheus_text(turnout):
    show_everything(turnout)
    answer = turnout.internal("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert promtool("check", "metrics", stdin=answer.body) == ""
    assert Page(answer.body.decode()).check_histograms() >= 8


def test_head_says_what_get_would(turnout):
    answer = turnout.internal("/metrics", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == turnout.internal("/metrics").headers["content-type"]
    assert int(answer.headers["content-length"]) > 10000


def test_only_the_internal_listener_has_it(turnout):
    assert turnout.get("/metrics").status == 404
    assert turnout.internal("/metrics").status == 200
    assert turnout.internal("/metrics", method="POST").status == 405


def test_the_document_and_the_page_say_the_same(turnout):
    show_everything(turnout)
    page, table = scrape(turnout), documented()
    assert set(table) == set(page.types) == set(page.helps)
    for name, (kind, labels, meaning) in table.items():
        assert (page.types[name], page.helps[name]) == (kind, meaning), name
        sets = page.label_sets(name + ("_count" if kind == "histogram" else ""))
        assert sets, f"no sample of {name}"
        assert all(set(one) == labels for one in sets), (name, sets)


def test_the_rules_for_prometheus_are_good_and_name_metrics_that_there_are(tmp_path):
    assert "SUCCESS" in promtool("check", "rules", RULES / "turnout.rules.yml")
    for file in ("turnout.yml", "turnout.rules.yml"):
        shutil.copy(RULES / file, tmp_path)
    assert "SUCCESS" in promtool("check", "config", tmp_path / "turnout.yml")
    groups = yaml.safe_load((RULES / "turnout.rules.yml").read_text(encoding="utf-8"))["groups"]
    # `up` is Prometheus' own.
    check_selectors([rule["expr"] for group in groups for rule in group["rules"] if not rule["expr"].startswith("up{")])


def test_the_dashboard_names_metrics_that_there_are(tmp_path):
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    check_selectors(expressions)
    # As promtool reads expressions: by way of rules.
    rules = [{"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
             for number, expression in enumerate(expressions)]
    (tmp_path / "rules.json").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    assert "SUCCESS" in promtool("check", "rules", tmp_path / "rules.json")


def test_it_says_what_runs_since_when(turnout):
    page = scrape(turnout)
    version = run("turnoutd", "--version").stdout.split()[1]
    assert page.sum("build_info", version=version) == 1
    assert 0 <= time.time() - page.sum("start_time_seconds") < 3600
    wait_until(lambda: scrape(turnout).sum("processes", role="worker", state="ready") == WORKERS, "all workers are shown ready")
    for role in ("master", "worker", "refresher", "scheduler"):
        wait_until(lambda role=role: scrape(turnout).sum("process_resident_memory_bytes", role=role) > 1 << 20, f"memory of {role}")
        assert scrape(turnout).sum("process_open_descriptors", role=role) >= 4
        assert scrape(turnout).sum("process_cpu_seconds_total", role=role) > 0


# --- what is counted ---

def test_every_request_is_counted_once_by_its_route_whichever_worker_answers(turnout):
    person = Person(turnout)
    assert person.get("/api/users/me").status == 200
    before = scrape(turnout)

    async def script(client, _):
        sent = received = 0
        for _ in range(25):
            for path, token, status in (("/api/events?limit=3", None, 200), ("/api/users/me", person.token, 200),
                                        ("/api/users/me", None, 401), ("/api/nothing", None, 404)):
                answer = await client.get(path, token=token)
                assert answer.status == status
                received += len(answer.head) + 4 + len(answer.body)
            assert (await client.request("HEAD", "/api/events")).status == 200
            sent += 5
        return sent, received

    totals = run_clients(turnout.port, 16, script)
    assert sum(sent for sent, _ in totals) == 2000
    after = scrape(turnout)
    for count, labels in ((400, {"route": "/api/events", "method": "GET", "code": "200"}),
                          (400, {"route": "/api/events", "method": "HEAD", "code": "200"}),
                          (400, {"route": "/api/users/me", "method": "GET", "code": "200"}),
                          (400, {"route": "/api/users/me", "method": "GET", "code": "401"}),
                          (400, {"route": "none", "method": "GET", "code": "404"})):
        assert after.sum("http_requests_total", **labels) - before.sum("http_requests_total", **labels) == count, labels
        del labels["code"]
        timed = after.sum("http_request_duration_seconds_count", **labels) - before.sum("http_request_duration_seconds_count", **labels)
        assert timed == (800 if labels["route"] == "/api/users/me" else 400), labels
    bytes_sent = after.sum("http_sent_bytes_total", listener="public") - before.sum("http_sent_bytes_total", listener="public")
    assert bytes_sent >= sum(received for _, received in totals)
    before.check_growth(after)
    after.check_histograms()


def test_counters_stay_when_workers_are_killed_and_replaced(turnout):
    def ask(count):
        async def script(client, _):
            for _ in range(count // 10):
                assert (await client.get("/api/openapi.json")).status == 200
        run_clients(turnout.port, 10, script)

    labels = {"route": "/api/openapi.json", "method": "GET", "code": "200"}
    pages = [scrape(turnout)]
    for round_number in range(1, 4):
        ask(500)
        killed = [process["pid"] for process in turnout.processes("worker")]
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: all_serve_but(turnout, killed), "the workers are back")
        pages.append(scrape(turnout))
        assert pages[-1].sum("http_requests_total", **labels) - pages[0].sum("http_requests_total", **labels) == 500 * round_number
        assert pages[-1].sum("process_restarts_total", role="worker", cause="SIGKILL") - pages[0].sum(
            "process_restarts_total", role="worker", cause="SIGKILL") == WORKERS * round_number
        pages[-2].check_growth(pages[-1])


def test_counters_stay_and_gauges_fall_when_there_are_fewer_workers(turnout):
    assert turnout.get("/api/events").status == 200
    wait_until(lambda: scrape(turnout).sum("db_connections_allowed", role="worker") > 2, "the pools are shown")
    before = scrape(turnout)
    turnout.disconnect()
    turnout.ctl("workers", "1")
    try:
        wait_until(lambda: len(turnout.processes("worker")) == 1, "one worker is left")
        wait_until(lambda: scrape(turnout).sum("processes", role="worker") == 1, "one worker is shown")
        after = scrape(turnout)
        before.check_growth(after)
        assert after.sum("workers_wanted") == 1
        assert after.sum("process_resident_memory_bytes", role="worker") < before.sum("process_resident_memory_bytes", role="worker")
        # Those who were told to end did not die.
        assert after.sum("process_restarts_total") == before.sum("process_restarts_total")
    finally:
        turnout.ctl("workers", str(WORKERS))
    wait_until(lambda: scrape(turnout).sum("processes", role="worker", state="ready") == WORKERS, "the workers are back")


def test_what_clients_were_answered_is_counted_while_workers_are_killed_under_load(turnout):
    async def reader(client, _, traffic):
        while traffic.going:
            await traffic.ask(client, "GET", "/api/openapi.json")

    labels = {"route": "/api/openapi.json"}
    before = scrape(turnout)
    pages = [before]
    kills = 8
    with Traffic(turnout.unix_socket, 20, reader) as traffic:
        for _ in range(kills):
            traffic.wait_for_answers(200)
            killed = turnout.kill("worker", random.randrange(WORKERS))
            wait_until(lambda: all_serve_but(turnout, [killed]), "its successor serves")  # pylint: disable=cell-var-from-loop
            pages.append(scrape(turnout))
    pages.append(scrape(turnout))
    for earlier, later in zip(pages, pages[1:]):
        earlier.check_growth(later)
        later.check_histograms()
    counted = pages[-1].sum("http_requests_total", **labels) - before.sum("http_requests_total", **labels)
    timed = pages[-1].sum("http_request_duration_seconds_count", **labels) - before.sum("http_request_duration_seconds_count", **labels)
    print(f"\n  {traffic.answered} answered, {len(traffic.lost)} lost with {kills} kills, {counted:.0f} counted")
    assert traffic.answered <= counted <= traffic.answered + len(traffic.lost)
    # Who is killed between the counter and the histogram leaves one more in the first.
    assert 0 <= counted - timed <= kills


@pytest.mark.alone
@pytest.mark.nosan
def test_a_scrape_under_load_is_fast(turnout):
    async def reader(client, _, traffic):
        while traffic.going:
            await traffic.ask(client, "GET", "/api/events?limit=5")

    times = []
    with Traffic(turnout.port, 20, reader) as traffic:
        traffic.wait_for_answers(100)
        for _ in range(30):
            start = time.monotonic()
            answer = turnout.internal("/metrics")
            times.append(time.monotonic() - start)
            Page(answer.body.decode()).check_histograms()
    assert traffic.failures == []
    print(f"\n  {len(answer.body)} bytes; median {statistics.median(times) * 1000:.1f} ms, slowest {max(times) * 1000:.1f} ms")
    assert statistics.median(times) < 0.25  # 50 ms are promised


# --- what clients cannot do ---

def test_no_client_makes_a_label(turnout):
    with Wire.tcp(turnout) as wire:
        wire.send(get("/api/events"))
        assert wire.answer().status == 200
    before = scrape(turnout)
    seen = {frozenset(one.items()) for one in before.label_sets("http_requests_total")}
    chance = random.Random(7)

    def word():
        return "".join(chance.choice(string.ascii_letters + '"\\{}=,%') for _ in range(chance.randrange(1, 30)))

    methods = ["GET", "DELETE", "OPTIONS", "PUT"]
    with Wire.tcp(turnout) as wire:
        for number in range(300):
            path = "/" + "".join(character if character not in '"\\{}%' else f"%{ord(character):02X}" for character in word())
            wire.send(get(path) if number % 2 else request(chance.choice(methods), "/api/events/" + path, "Content-Length: 0"))
            answer = wire.answer()
            assert 400 <= answer.status < 500, (path, answer)
            if answer.headers.get("connection") == "close":
                wire.bare.close()
                wire = Wire.tcp(turnout)
    # The parser knows the first one.
    for method, status in (("PROPFIND", 405), ("BREW", 501), ("".join(chance.choice(string.ascii_uppercase) for _ in range(12)), 501)):
        with Wire.tcp(turnout) as wire:
            wire.send(request(method, "/api/events"))
            assert wire.answer().status == status
    after = scrape(turnout)
    assert after.sum("http_requests_total") - before.sum("http_requests_total") == 303 + 1  # the scrape before
    new = [dict(one) for one in {frozenset(one.items()) for one in after.label_sets("http_requests_total")} - seen]
    print(f"\n  {new}")
    assert {one["route"] for one in new} <= {"none", "/metrics", "/api/events/{id}"}
    assert {one["method"] for one in new} <= {"GET", "DELETE", "OPTIONS", "PUT", "other"}
    assert after.sum("http_refused_requests_total", problem="method") - before.sum("http_refused_requests_total", problem="method") == 2
