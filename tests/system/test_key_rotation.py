"""Keys come and go while turnoutd runs: a new one is known at its first token, one that has left the file is refused."""

import json
import os
import secrets
import signal
import time

import pytest

from server import encode, sign
from sql_harness import wait_until

# Far below the default, so that tests needn't wait for it; what is counted within it is counted with the default.
SOON = "20ms"


class Keys:
    """The JWK Set file of a turnoutd."""

    def __init__(self, turnout):
        self.turnout = turnout
        self.path = turnout.folder / "jwks.json"
        self.secrets = {}

    def secret(self, kid):
        return self.secrets.setdefault(kid, secrets.token_bytes(32))

    def write(self, *kids, text=None):
        """Replaces the file as a whole, as whoever writes keys should."""
        if text is None:
            text = json.dumps({"keys": [{"kty": "oct", "kid": kid, "alg": "HS256", "k": encode(self.secret(kid)).decode()} for kid in kids]})
        fresh = self.path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(text, encoding="utf-8")
        os.replace(fresh, self.path)

    def token(self, kid, email="keys@example.com", secret=None, **claims):
        return self.turnout.token(email, key=secret or self.secret(kid), header={"alg": "HS256", "kid": kid, "typ": "JWT"}, **claims)


@pytest.fixture
def started(new_turnout):
    """A function that starts a turnoutd with a key `old`; options as usual. One worker, so that what it knows is what is asked for."""
    def make(**options):
        turnout = new_turnout(start=False, **{"workers": 1, "jwt_keys_min_interval": SOON, **options})
        keys = Keys(turnout)
        keys.write("old")
        turnout.start()
        return turnout, keys
    return make


def status(turnout, token):
    return turnout.get("/api/users/me", token).status


def wait_for(turnout, token, wanted):
    """Asks until the answer is the wanted one: the interval between two readings may have to pass."""
    wait_until(lambda: status(turnout, token) == wanted, f"the token is answered {wanted}")


def readings(turnout, result="ok"):
    name = f'turnout_key_set_reads_total{{result="{result}"}} '
    lines = [line for line in turnout.internal("/metrics").body.decode().splitlines() if line.startswith(name)]
    return int(lines[0].split()[-1]) if lines else 0


def test_a_token_of_a_new_key_is_accepted_without_a_reload_and_one_of_a_key_that_is_nowhere_is_not(started):
    turnout, keys = started()
    new = keys.token("new")
    assert status(turnout, new) == 401
    assert status(turnout, keys.token("old")) == 200
    keys.write("old", "new")
    wait_for(turnout, new, 200)
    assert status(turnout, keys.token("old")) == 200
    assert status(turnout, keys.token("nowhere")) == 401


def test_a_remembered_token_of_a_key_that_has_left_the_file_is_refused(started):
    turnout, keys = started()
    keys.write("old", "kept")
    old, kept = keys.token("old"), keys.token("kept", "kept@example.com")
    wait_for(turnout, kept, 200)
    assert (status(turnout, old), status(turnout, old)) == (200, 200)
    keys.write("kept", "new")
    wait_for(turnout, keys.token("new"), 200)
    assert status(turnout, old) == 401
    assert status(turnout, kept) == 200
    keys.write("kept", "new", "old")
    wait_for(turnout, old, 200)


def test_another_key_behind_the_same_kid_takes_the_place_of_the_first(started):
    turnout, keys = started()
    first = keys.token("old")
    assert status(turnout, first) == 200
    del keys.secrets["old"]
    second = keys.token("old")
    assert status(turnout, second) == 401
    keys.write("old")
    wait_for(turnout, second, 200)
    assert status(turnout, first) == 401


def test_a_flood_of_unknown_kids_costs_one_reading(started):
    turnout, keys = started(jwt_keys_min_interval="1h", access_log="no")
    before = readings(turnout)
    started_at = time.monotonic()
    for number in range(2000):
        assert status(turnout, keys.token(f"made-up-{number}", secret=b"x" * 32)) == 401
    print(f"\n{2000 / (time.monotonic() - started_at):,.0f} tokens of unknown keys a second, {readings(turnout) - before} readings")
    # The start was a reading, too, less than an hour ago.
    assert readings(turnout) == before
    assert status(turnout, keys.token("old")) == 200
    # The twin: where the interval is over, a reading follows.
    other, its_keys = started()
    wait_until(lambda: status(other, its_keys.token("made-up")) == 401 and readings(other) > 0, "the file is read again")


BROKEN = {"no JSON": "{", "no keys": '{"keys": []}', "too large": " " * (1 << 20) + "{}", "a FIFO": None}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_leaves_the_old_keys_in_force_and_is_told_once(started, name):
    turnout, keys = started()
    old, new = keys.token("old"), keys.token("new")
    text = BROKEN[name]
    if text is None:
        keys.path.unlink()
        os.mkfifo(keys.path, 0o600)
    else:
        keys.write(text=text)
    # Several readings have failed, and the line stands once a minute.
    wait_until(lambda: status(turnout, new) == 401 and readings(turnout, "failed") >= 3, f"{name}: the file was read again")
    assert status(turnout, old) == 200
    assert 1 <= len(turnout.log_lines("cannot be read again", "jwks.json")) < 3
    if text is None:
        keys.path.unlink()
    keys.write("new")
    wait_for(turnout, new, 200)
    assert status(turnout, old) == 401


def test_a_worker_that_dies_while_the_file_is_broken_comes_back_once_it_is_mended(started):
    turnout, keys = started(workers=2)
    keys.write(text="broken")
    killed = turnout.kill("worker", how=signal.SIGKILL)
    wait_until(lambda: turnout.log_lines("keys of tokens and cursors cannot be read"), "its successor finds the file broken")
    # The other one serves meanwhile.
    assert status(turnout, keys.token("old")) == 200
    keys.write("old")
    wait_until(lambda: [worker["state"] for worker in turnout.processes("worker")] == ["ready", "ready"], "the worker is back")
    assert killed not in [worker["pid"] for worker in turnout.processes("worker")]
    assert status(turnout, keys.token("old")) == 200


def test_keys_without_a_kid_rotate_as_well(started):
    turnout, keys = started()
    secret = secrets.token_bytes(32)
    token = sign({"iss": "turnout", "aud": "turnout", "sub": "nameless", "email": "nameless@example.com", "exp": int(time.time()) + 600},
                 secret, {"alg": "HS256"})
    assert status(turnout, token) == 401
    keys.write(text=json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "k": encode(secret).decode()}]}))
    wait_for(turnout, token, 200)


# By a reload

def statuses(turnout, token, times=30):
    """What that many requests are answered, each on a connection of its own, so that every worker is asked."""
    seen = set()
    for _ in range(times):
        turnout.disconnect()
        seen.add(status(turnout, token))
    return seen


def test_a_reload_takes_new_keys_and_forgets_the_old_ones_in_every_worker(started):
    turnout, keys = started(workers=2, jwt_keys_min_interval="1h")
    old, new = keys.token("old"), keys.token("new")
    assert statuses(turnout, old) == {200}
    assert statuses(turnout, new) == {401}
    keys.write("new")
    # Nobody has looked yet.
    assert statuses(turnout, old) == {200}
    turnout.ctl("reload")
    assert statuses(turnout, old) == {401}
    assert statuses(turnout, new) == {200}


def test_a_reload_with_a_broken_file_of_keys_is_refused_and_changes_nothing(started):
    turnout, keys = started(workers=2, jwt_keys_min_interval="1h")
    old = keys.token("old")
    for text in ("{", '{"keys": []}'):
        keys.write(text=text)
        done = turnout.ctl("reload", check=False)
        assert done.returncode == 1 and "jwks.json" in done.stderr and done.stderr.count("\n") == 1, done
        assert statuses(turnout, old) == {200}
    keys.write("new")
    turnout.ctl("reload")
    assert statuses(turnout, old) == {401}
    assert statuses(turnout, keys.token("new")) == {200}


def test_what_tokens_must_say_changes_with_a_reload_for_remembered_ones_too(started):
    turnout, keys = started(workers=2)
    token, other = keys.token("old"), keys.token("old", aud="elsewhere")
    assert statuses(turnout, token) == {200}
    turnout.configure(jwt_audience="elsewhere")
    turnout.ctl("reload")
    assert statuses(turnout, token) == {401}
    assert statuses(turnout, other) == {200}
