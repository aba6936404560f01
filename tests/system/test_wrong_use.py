"""turnoutctl and turnoutd used wrongly, or with files that are not what they should be: one line says so, and the right use works."""

import grp
import json
import os
import stat
import time

import pytest

from server import encode, run

ROW = "title,start_datetime,end_datetime,timezone,venue,capacity,organizers\n"
DAY = f"{time.gmtime().tm_year + 1}-05-01"
EVENT = f"Talk,{DAY}T10:00:00Z,{DAY}T11:00:00Z,UTC,,10,"


@pytest.mark.parametrize("arguments, said", [
    (["migrate", "now"], "migrate: unexpected argument"), (["events", "import"], "events import: expected one file"),
    (["users", "import", "a", "b"], "users import: expected one file"), (["--now", "show", "version"], "--now belongs to"),
    (["--role", "admin", "show", "version"], "--email, --emails, --role and --ttl belong to"),
    (["-s", "/tmp/" + 110 * "x", "show", "version"], "longer than a Unix socket"), (["show", "version"], None)])
def test_what_does_not_belong_to_a_command_is_refused(turnout, arguments, said):
    done = turnout.ctl(*arguments, check=False)
    assert (done.returncode == 0) == (said is None), done.stderr
    assert said is None or (said in done.stderr and len(done.stderr.splitlines()) <= 2), done.stderr


def test_an_argument_of_turnoutd_is_refused(turnout):
    done = run("turnoutd", "-c", turnout.configuration_file, "start", check=False)
    assert done.returncode == 2 and 'unexpected argument "start"' in done.stderr
    assert run("turnoutd", "-c", turnout.configuration_file, "--check-config").returncode == 0


# --- tokens ---

def test_tokens_need_a_key_that_signs_and_addresses_that_are_there(new_turnout):
    turnout = new_turnout(start=False)
    addresses = turnout.folder / "addresses"
    addresses.write_text("a@example.com\r\n\nb@example.com\n", encoding="utf-8")
    good = turnout.ctl("token", "--emails", addresses)
    assert len(good.stdout.split()) == 2
    missing = turnout.ctl("token", "--emails", turnout.folder / "nobody", check=False)
    assert missing.returncode == 1 and "No such file" in missing.stderr
    folder = turnout.ctl("token", "--emails", turnout.folder, check=False)
    assert folder.returncode == 1 and "Is a directory" in folder.stderr
    addresses.write_text("a@example.com\nnobody\n", encoding="utf-8")
    bad = turnout.ctl("token", "--emails", addresses, check=False)
    assert bad.returncode == 1 and f"{addresses}:2: expected an e-mail address" in bad.stderr
    # Only the public half of a key.
    public = {"kty": "EC", "crv": "P-256", "kid": "public", "use": "sig", "alg": "ES256",
              "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}
    keys = turnout.folder / "jwks.json"
    keys.write_text(json.dumps({"keys": [public]}), encoding="utf-8")
    none = turnout.ctl("token", "--email", "a@example.com", check=False)
    assert none.returncode == 1 and "can sign" in none.stderr
    keys.write_text("{", encoding="utf-8")
    broken = turnout.ctl("token", "--email", "a@example.com", check=False)
    assert broken.returncode == 2 and broken.stderr.startswith("turnoutctl: ") and "jwt_keys_file" in broken.stderr


def test_a_key_that_is_left_out_is_named_and_the_others_count(new_turnout):
    turnout = new_turnout(start=False)
    good = {"kty": "oct", "kid": "test", "use": "sig", "alg": "HS256", "k": encode(turnout.key).decode()}
    odd = {"kty": "OKP", "crv": "Ed448", "kid": "odd", "use": "sig", "alg": "EdDSA", "x": "AAAA"}
    (turnout.folder / "jwks.json").write_text(json.dumps({"keys": [odd, good]}), encoding="utf-8")
    turnout.start()
    turnout.wait_logged("a key of jwt_keys_file is left out", "kid=odd")
    assert not turnout.log_lines("a key of jwt_keys_file is left out", "kid=test")
    assert turnout.get("/api/users/me", turnout.token("a@example.com")).status == 200


# --- files of rows ---

@pytest.fixture
def organizer(turnout):
    assert turnout.get("/api/users/me", turnout.token("wrong-use@example.com", role="organizer")).status == 200
    return "wrong-use@example.com"


def test_files_that_are_no_files_or_hold_no_text_are_refused(turnout, tmp_path, organizer):
    rows = tmp_path / "events.csv"
    for path, said in ((tmp_path, "expected a file of at most"), (tmp_path / "absent.csv", "No such file")):
        done = turnout.ctl("events", "import", path, check=False)
        assert done.returncode != 0 and said in done.stderr, done.stderr
    rows.write_bytes((ROW + EVENT + organizer + "\n").encode() + b"Caf\xe9" + EVENT[4:].encode() + organizer.encode() + b"\n")
    done = turnout.ctl("events", "import", rows, check=False)
    assert done.returncode == 1 and f"{rows}:3" in done.stderr and "UTF-8" in done.stderr, done.stderr
    # An empty cell is a field that is not given.
    rows.write_text(ROW + EVENT + organizer + "\n", encoding="utf-8")
    assert turnout.ctl("events", "import", rows).returncode == 0
    listed = turnout.get("/api/events?q=Talk&status=draft", turnout.token(organizer, role="organizer")).json()["events"]
    assert [event["venue"] for event in listed] == [""]


def test_an_array_with_something_else_between_its_events_is_refused(turnout, tmp_path):
    path = tmp_path / "events.json"
    path.write_text("[{} {}]", encoding="utf-8")
    done = turnout.ctl("events", "import", path, check=False)
    assert done.returncode == 1 and "expected ',' or ']'" in done.stderr
    path.write_text("[]", encoding="utf-8")
    assert turnout.ctl("events", "import", path).returncode == 0


# --- the control socket's group ---

def test_the_control_socket_goes_to_its_group(new_turnout):
    group = next((one for one in grp.getgrall() if one.gr_gid != os.getgid() and (os.geteuid() == 0 or one.gr_gid in os.getgroups())), None)
    if group is None:
        pytest.skip("this user is in no second group")
    turnout = new_turnout(control_group=group.gr_name)
    status = os.stat(turnout.control_socket)
    assert status.st_gid == group.gr_gid and stat.S_IMODE(status.st_mode) == 0o660
    turnout.stop()
    turnout.configure(control_group="no-such-group")
    turnout.start(ready=False)
    assert turnout.process.wait(20) == 2
    assert len(turnout.log_lines("control_group: no-such-group: no such group")) == 1


# --- listeners ---

@pytest.mark.parametrize("listen, said", [
    (",".join(["[::1]:0"] * 20), "addresses"), ("nowhere.invalid:80", "nowhere.invalid"), ("unix:/nowhere/at/all.sock", "No such file"), (None, None)])
def test_addresses_where_nobody_can_listen_are_a_bad_start(new_turnout, listen, said):
    turnout = new_turnout(start=False)
    if listen is not None:
        turnout.configure(listen=listen)
    turnout.start(ready=listen is None)
    if listen is not None:
        assert turnout.process.wait(20) == 2
        assert said in turnout.log_text() and len(turnout.log_text().splitlines()) == 1, turnout.log_text()
