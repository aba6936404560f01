"""What the log says of requests and of the program: one line each, readable by machines, nothing secret, nothing forged."""

import json
import os
import re
import shlex
import signal

import pytest

from sql_harness import wait_until


def fields(line):
    """A logfmt line as a dict."""
    return dict(part.split("=", 1) for part in shlex.split(line))


def line_of(turnout, request_id):
    found = wait_until(lambda: turnout.log_lines("message=request", f"request_id={request_id}"), "the request is logged")
    assert len(found) == 1
    return fields(found[0])


def test_each_request_leaves_one_line_with_all_that_matters(turnout):
    me = turnout.get("/api/users/me", token=turnout.token("log@example.com"), headers={"X-Request-Id": "log-1"})
    line = line_of(turnout, "log-1")
    assert line["method"] == "GET"
    assert line["route"] == "/api/users/me"
    assert line["status"] == "200"
    assert int(line["bytes"]) >= len(me.body)
    assert int(line["microseconds"]) > 0
    assert line["user_id"] == me.json()["id"]
    assert line["process"] == "worker"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"])


def test_the_route_is_logged_as_a_template_never_as_the_path(turnout):
    turnout.get("/api/events/0193b5f0-1c2d-7abc-8def-0123456789ab", headers={"X-Request-Id": "log-2"})
    line = line_of(turnout, "log-2")
    assert (line["route"], line["status"]) == ("/api/events/{id}", "404")


def test_what_the_parser_refuses_is_logged_too(turnout):
    before = len(turnout.log_lines("message=request", "status=400"))
    assert turnout.raw(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    wait_until(lambda: len(turnout.log_lines("message=request", "status=400")) == before + 1, "the refusal is logged")


def test_a_trace_is_passed_into_the_log(turnout):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    turnout.get("/api/events", headers={"X-Request-Id": "log-3", "traceparent": trace})
    assert line_of(turnout, "log-3")["traceparent"] == trace


def test_tokens_and_keys_never_reach_the_log(turnout):
    token = turnout.token("secret@example.com")
    turnout.get("/api/users/me", token=token, headers={"X-Request-Id": "log-4"})
    turnout.get(f"/api/events?q={token}", token=token + "x", headers={"X-Request-Id": "log-5"})
    line_of(turnout, "log-4")
    line_of(turnout, "log-5")
    text = turnout.log_text()
    assert token not in text
    assert token.rsplit(".", 1)[1] not in text
    assert (turnout.folder / "cursor.key").read_text(encoding="ascii") not in text


def test_a_hostile_request_cannot_forge_a_line(turnout):
    lines = turnout.log_text().count("\n")
    turnout.raw(b"GET /x%0alevel=error%1b[31m HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\tb\r\nConnection: close\r\n\r\n")
    wait_until(lambda: turnout.log_text().count("\n") > lines, "the request is logged")
    new = turnout.log_text().split("\n")[lines:]
    assert all(line == "" or line.startswith("time=") for line in new)
    assert "\x1b" not in turnout.log_text()


def test_every_line_of_the_log_has_the_same_form(turnout):
    for line in turnout.log_text().splitlines():
        assert {"time", "level", "pid", "message"} <= fields(line).keys(), line


def test_the_log_can_be_json_and_the_access_log_off(turnout):
    turnout.restart(log_format="json", access_log="no")
    turnout.get("/api/events")
    lines = [line for line in turnout.log_text().splitlines() if line.startswith("{")]
    assert lines and all({"time", "level", "pid", "message"} <= json.loads(line).keys() for line in lines)
    assert not [line for line in lines if json.loads(line)["message"] == "request"]
    turnout.restart(log_format="json", access_log="yes")
    turnout.get("/api/events")
    wait_until(lambda: [line for line in turnout.log_text().splitlines() if line.startswith("{") and json.loads(line)["message"] == "request"],
               "requests are logged again")
    turnout.restart(log_format="logfmt")


@pytest.mark.skipif("TURNOUT_SANITIZER_LOGS" in os.environ, reason="a sanitizer writes a report of its own in place of the last words")
def test_the_last_words_of_a_crash_are_json_where_the_log_is(new_turnout):
    turnout = new_turnout(log_format="json")
    turnout.kill("worker", how=signal.SIGSEGV)
    wait_until(lambda: turnout.log_lines('"crashed"') and turnout.log_lines('"child died"'), "the crash stands in the log")
    records = [json.loads(line) for line in turnout.log_text().splitlines()]
    words, = [record for record in records if record["message"] == "crashed"]
    assert (words["level"], words["signal"], words["activity"]) == ("error", signal.SIGSEGV, "idle")
