"""Each option that can be reloaded takes effect in the processes that run, and no process is replaced for it."""

import json
import os
import secrets
import signal
import socket
import time

import psycopg
import pytest

from metrics import scrape
from reloading import refuses_body, reload
from server import encode
from sql_harness import wait_until
from traffic import add_event, pids

# What a reload does to the processes is looked at with sanitizers in test_reload.py.
pytestmark = pytest.mark.nosan


@pytest.fixture(scope="module")
def changing(turnout, postgres):
    """The module's daemon, with an event, and a session that can hold things up."""
    with psycopg.connect(postgres.dsn(turnout.database, "postgres"), autocommit=True) as connection:
        add_event(connection, 100)
        turnout.sql = connection
        yield turnout


def http(bytes_sent, turnout, enough=None):
    return turnout.raw(bytes_sent, timeout=30, enough=enough)


def status_of(answer):
    return int(answer.split(b" ", 2)[1]) if answer else None


def get_with(turnout, extra):
    return status_of(http(b"GET /api/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + extra + b"\r\n", turnout))


def closes_by_itself(turnout, sent):
    """Seconds until the server closes, or answers and closes, after these bytes and no more."""
    with turnout.connect(60) as bare:
        bare.sendall(sent)
        begun = time.monotonic()
        received = b""
        while part := bare.recv(65536):
            received += part
        return time.monotonic() - begun, received


def check_request_line_size(turnout):
    return status_of(http(b"GET /api/events?q=" + b"x" * 400 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", turnout)) == 414


def check_header_size(turnout):
    return get_with(turnout, b"X-Long: " + b"x" * 900 + b"\r\n") == 431


def check_header_count(turnout):
    return get_with(turnout, b"".join(b"X-%d: 1\r\n" % number for number in range(70))) == 200


def check_header_timeout(turnout):
    return b" 408 " in closes_by_itself(turnout, b"GET /api/events HTTP/1.1\r\n")[1]


def check_body_timeout(turnout):
    return b" 408 " in closes_by_itself(turnout, b"POST /api/registrations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                                                 b"Content-Length: 9\r\n\r\n{")[1]


def check_idle_timeout(turnout):
    return closes_by_itself(turnout, b"GET /api/events HTTP/1.1\r\nHost: x\r\n\r\n")[1].count(b"HTTP/1.1 200") == 1


def check_public_read(turnout):
    return turnout.get("/api/events").status == 401


def check_issuer(turnout):
    return turnout.get("/api/users/me", turnout.token("issuer@example.com", iss="other")).status == 200


def check_audience(turnout):
    return turnout.get("/api/users/me", turnout.token("audience@example.com", aud="other")).status == 200


def check_leeway(turnout):
    return turnout.get("/api/users/me", turnout.token("late@example.com", exp=int(time.time()) - 100)).status == 200


def check_trust_role_claim(turnout):
    return turnout.get("/api/users/me", turnout.token("claims@example.com", role="admin")).json()["role"] == "participant"


def check_log_format(turnout):
    turnout.get("/api/events?limit=7")
    return any(line.startswith('{"time"') and '"request"' in line for line in turnout.log_text().splitlines())


def check_log_level(turnout):
    turnout.get("/api/events")
    return any("level=debug" in line and "process=worker" in line for line in turnout.log_lines("level=debug"))


def check_access_log(turnout):
    before = len(turnout.log_lines("message=request"))
    for _ in range(3):
        turnout.get("/api/events")
    turnout.ctl("ping")
    return len(turnout.log_lines("message=request")) == before


def check_workers(turnout):
    return wait_until(lambda: len(turnout.processes("worker")) == 3, "three workers")


def check_ping_interval(turnout):
    """The master's clock of each answer: none is older than a ping or two."""
    turnout.ctl("ping")
    return wait_until(lambda: turnout.processes("worker")[0]["last_pong_us"] > 1_500_000, "no ping came for longer than before")


def check_db_connections(turnout):
    return wait_until(lambda: sum(row["max"] for row in turnout.show("pools") if row["role"] == "worker") == 12, "more connections")


def check_db_connections_min(turnout):
    return wait_until(lambda: all(row["open"] >= 2 for row in turnout.show("pools") if row["pool"] == "read"), "two each are open")


def check_statement_timeout(turnout):
    """Of new connections, which take the place of the old ones."""
    def times_out():
        with psycopg.connect(turnout.sql.info.dsn, dbname=turnout.database) as holder:
            holder.execute("lock table turnout.event_seats in access exclusive mode")
            begun = time.monotonic()
            answer = turnout.get("/api/events?q=event")
            return answer.status == 503 and time.monotonic() - begun < 4
    return wait_until(times_out, "a statement times out sooner than before")


def check_lifetime(turnout):
    def connects():
        return sum(row["connects"] for row in turnout.show("pools"))
    before = connects()
    return wait_until(lambda: connects() >= before + 4, "connections are replaced")


def check_public_url(turnout):
    answer = turnout.post("/api/users/me/calendar-feed", turnout.token("feed@example.com"))
    assert answer.status == 201, answer
    return answer.json()["url"].startswith("https://events.example.com/api/")


def check_job(job):
    def check(turnout):
        before = runs(turnout, job)
        return wait_until(lambda: runs(turnout, job) >= before + 3, f"{job} runs more often")
    return check


def check_event_work(turnout):
    """Nothing to do leaves no record: the metric counts it."""
    def ran():
        return scrape(turnout).sum("job_runs_total", job_name="event-work", result="ok")
    before = ran()
    return wait_until(lambda: ran() >= before + 3, "it looks for work more often")


def runs(turnout, job):
    return turnout.sql.execute("select count(*) from turnout.job_runs where job = %s", (job,)).fetchone()[0]


def check_outbox_keep(turnout):
    """Of the mail of an event that ended five days ago, which the default keeps."""
    event = add_event(turnout.sql, 10, starts_in="-5 days")
    turnout.sql.execute("update turnout.events set end_datetime = now() - interval '5 days' + interval '1 hour' where id = %s", (event,))
    turnout.sql.execute("insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id)"
                        " values ('reminder', gen_random_uuid() || ':reminder:1', %s, gen_random_uuid(), gen_random_uuid())", (event,))
    left = "select count(*) from turnout.outbox where event_id = %s"
    return wait_until(lambda: turnout.sql.execute(left, (event,)).fetchone()[0] == 0, "the mail is forgotten")


def check_audit_rows(turnout):
    """100 rows are four events: with more of them, a round is seen under way between two steps."""
    if turnout.sql.execute("select count(*) from turnout.events").fetchone()[0] < 20:
        for _ in range(20):
            add_event(turnout.sql, 100)
    place = "select after_event is not null from turnout.audit_round"
    return wait_until(lambda: turnout.sql.execute(place).fetchone()[0], "the audit makes small steps")


# Option → (another value, how its effect is seen, and other options that it needs).
EFFECTS = {
    "request_line_size": ("300", check_request_line_size),
    "header_size": ("900", check_header_size, {"request_line_size": "600"}),
    "header_count": ("100", check_header_count),
    "header_timeout": ("100ms", check_header_timeout),
    "body_timeout": ("100ms", check_body_timeout),
    "idle_timeout": ("100ms", check_idle_timeout),
    "body_size": ("1k", lambda turnout: refuses_body(turnout, 1025) and not refuses_body(turnout, 1024)),
    "public_read": ("no", check_public_read),
    "jwt_issuer": ("other", check_issuer),
    "jwt_audience": ("other", check_audience),
    "jwt_leeway": ("5m", check_leeway),
    "trust_role_claim": ("no", check_trust_role_claim),
    "public_url": ("https://events.example.com", check_public_url),
    "log_format": ("json", check_log_format),
    "log_level": ("debug", check_log_level),
    "access_log": ("no", check_access_log),
    "workers": ("3", check_workers),
    "ping_interval": ("3s", check_ping_interval),
    "db_connections": ("17", check_db_connections),
    "db_connections_min": ("2", check_db_connections_min, {"db_connections": "17"}),
    "db_statement_timeout": ("300ms", check_statement_timeout),
    "db_lifetime": ("1s", check_lifetime),
    "complete_interval": ("20ms", check_job("complete-events")),
    "event_work_interval": ("20ms", check_event_work),
    "prune_interval": ("20ms", check_job("prune-changes")),
    "outbox_keep": ("4d", check_outbox_keep, {"prune_interval": "20ms"}),
    "partition_interval": ("20ms", check_job("partitions")),
    "audit_interval": ("20ms", check_job("audit")),
    "audit_rows": ("100", check_audit_rows, {"audit_interval": "20ms"}),
}

# Those whose effect, or the lack of it, is seen at once: it must not be there before.
AT_ONCE = {"request_line_size", "header_size", "header_count", "body_size", "public_read", "jwt_issuer", "jwt_audience", "jwt_leeway",
           "trust_role_claim", "public_url", "log_format", "log_level", "access_log"}


@pytest.mark.parametrize("name", EFFECTS)
def test_it_takes_effect_in_a_running_process(changing, name):
    text, check, *beside = EFFECTS[name]
    workers = pids(changing, "worker")
    good = dict(changing.options)
    # A line of the log may come a moment after the answer that it is about: each check is asked again until it holds.
    if name in AT_ONCE:
        wait_until(lambda: not check(changing), f"{name} has no effect yet")
    try:
        said = reload(changing, **{name: text, **(beside[0] if beside else {})})
        assert said[name][2] == "now"
        wait_until(lambda: check(changing), f"{name} takes effect")
        assert set(workers) <= set(pids(changing, "worker"))
    finally:
        changing.options = good
        changing.disconnect()
    assert name in reload(changing)
    wait_until(lambda: len(changing.processes("worker")) == 2, "two workers")


# --- those that need a scene of their own --------------------------------------------------------------------------------------------


def test_write_timeout_and_idle_timeout_hold_for_connections_that_are_open_already(changing):
    """A reader who reads nothing, and one who asks nothing: both came when the time-outs were half a minute and more."""
    with changing.connect(60) as idle, socket.socket() as reader:
        idle.sendall(b"GET /api/events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.settimeout(60)
        reader.connect(("127.0.0.1", changing.port))
        reader.sendall(b"GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
        first = reader.recv(1)
        reload(changing, write_timeout="100ms", idle_timeout="100ms")
        try:
            wait_until(lambda: sum(row["open"] for row in changing.show("connections")) == 0, "both are closed")
            assert first == b"H" and idle.recv(1) == b""
        finally:
            changing.configure(write_timeout=None, idle_timeout=None)
            changing.disconnect()
            reload(changing)


def test_connection_memory_is_less_from_now_on(changing):
    """Three bodies that hang hold more together than is allowed after the reload, and less than before."""
    head = b"POST /api/registrations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 200000\r\n\r\n"
    token = changing.token("holder@example.com").encode()
    head = head.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer " + token + b"\r\n\r\n")
    reload(changing, connection_memory="64k")
    try:
        with changing.connect(60) as slow:
            slow.sendall(head + b" " * 150000)
            # Cut off: with what it held, or after the rest of it was asked for.
            assert b" 201 " not in (received := drained(slow)) and (received == b"" or b" 408 " in received)
    finally:
        reload(changing, connection_memory=None)
    with changing.connect(60) as slow:
        slow.sendall(head + b" " * 150000)
        slow.sendall(b" " * 50000)
        assert slow.recv(65536).startswith(b"HTTP/1.1 400")


def drained(connection):
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received


def test_a_write_that_waits_for_a_connection_waits_no_longer_than_is_said_now(new_turnout, postgres):
    """db_acquire_timeout: from a minute to a tenth of a second, while the write waits."""
    turnout = new_turnout(workers=1, db_acquire_timeout="60s", db_statement_timeout="60s")
    with psycopg.connect(postgres.dsn(turnout.database, "postgres"), autocommit=True) as connection:
        events = [add_event(connection, 10) for _ in range(2)]
    with psycopg.connect(postgres.dsn(turnout.database, "postgres")) as holder:
        holder.execute("lock table turnout.outbox in exclusive mode")
        clients = []
        for number, event in enumerate(events):
            body = b'{"event_id":"%s"}' % event.encode()
            clients.append(turnout.connect(60))
            clients[-1].sendall(
                b"POST /api/registrations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer "
                + turnout.token(f"waits{number}@example.com").encode() + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            wait_until(lambda: pool(turnout, "write")["in_flight"] + pool(turnout, "write")["waiting"] == len(clients), "it has come")  # pylint: disable=cell-var-from-loop
        assert pool(turnout, "write")["waiting"] == 1
        reload(turnout, db_acquire_timeout="100ms")
        assert clients[1].recv(65536).startswith(b"HTTP/1.1 503")
        assert pool(turnout, "write")["in_flight"] == 1, "the other one is not affected"
        holder.rollback()
    assert clients[0].recv(65536).startswith(b"HTTP/1.1 201")
    for client in clients:
        client.close()


def pool(turnout, name):
    row, = [row for row in turnout.show("pools") if row["pool"] == name and row["role"] == "worker"]
    return row


def test_connections_that_are_not_needed_close_sooner(new_turnout, postgres):
    """db_idle_time. A statement that waits makes the pool open more."""
    turnout = new_turnout(workers=1, db_connections=15)
    with psycopg.connect(postgres.dsn(turnout.database, "postgres"), autocommit=True) as connection:
        add_event(connection, 10)
    with psycopg.connect(postgres.dsn(turnout.database, "postgres")) as holder:
        holder.execute("lock table turnout.event_seats in access exclusive mode")
        clients = [turnout.connect(60) for _ in range(3)]
        for client in clients:
            # A search asks PostgreSQL, whatever is cached.
            client.sendall(b"GET /api/events?q=event HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: pool(turnout, "read")["open"] >= 2, "another connection is open")
        holder.rollback()
    for client in clients:
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        client.close()
    assert pool(turnout, "read")["open"] >= 2
    reload(turnout, db_idle_time="50ms")
    wait_until(lambda: pool(turnout, "read")["open"] == 1, "the minimum is left")


def test_an_attempt_to_connect_is_given_up_sooner(new_turnout):
    """db_connect_timeout: the database's address takes connections and says nothing."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        turnout = new_turnout(start=False, db_connect_timeout="5m")
        turnout.configure(database=f"host=127.0.0.1 port={silent.getsockname()[1]} dbname=none user=none")
        turnout.start(ready=False)
        wait_until(lambda: len(turnout.log_lines('message="child serves"', "role=worker")) == 2, "the workers serve")
        assert not turnout.log_lines("did not answer the attempt to connect")
        reload(turnout, db_connect_timeout="50ms")
        wait_until(lambda: turnout.log_lines("did not answer the attempt to connect"), "it gives up")


def test_password_files_are_others_from_the_next_connection_on(new_turnout):
    """Here the server asks for none; what shows is that the file is read: it is not there any more."""
    turnout = new_turnout(db_lifetime="1s")
    for name in ("database_password_file", "database_owner_password_file"):
        path = turnout.folder / name
        path.touch(mode=0o600)
        path.write_text("secret", encoding="utf-8")
    reload(turnout, database_password_file=turnout.folder / "database_password_file",
           database_owner_password_file=turnout.folder / "database_owner_password_file", partition_interval="50ms")
    assert turnout.get("/api/events").status == 200
    # The owner's first: without the other one no job begins.
    for name, process in (("database_owner_password_file", "process=scheduler"), ("database_password_file", "process=worker")):
        (turnout.folder / name).unlink()
        wait_until(lambda: turnout.log_lines(process, str(turnout.folder / name)), f"{name} is missed")  # pylint: disable=cell-var-from-loop


def test_pages_are_signed_with_the_new_cursor_key(changing):
    """Another file, and another content of the same one."""
    def page(cursor=""):
        return changing.get(f"/api/events?limit=1{cursor and '&cursor=' + cursor}")
    add_event(changing.sql, 5)
    add_event(changing.sql, 5)
    path = changing.folder / "other.key"
    path.touch(mode=0o600)
    path.write_text("a key that is longer than 32 bytes", encoding="utf-8")
    good = dict(changing.options)
    following = page().json()["next_cursor"]
    assert page(following).status == 200
    try:
        assert set(reload(changing, cursor_key_file=path)) == {"cursor_key_file"}
        assert page(following).status == 422
        following = page().json()["next_cursor"]
        assert page(following).status == 200
        path.write_text("another key that is longer than 32 bytes", encoding="utf-8")
        assert reload(changing) == {}
        assert page(following).status == 422
    finally:
        changing.options = good
        reload(changing)


def key_set(turnout, kid):
    """Writes a key set of one key; answers how tokens are signed by it."""
    key = secrets.token_bytes(32)
    path = turnout.folder / f"{kid}.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"keys": [{"kty": "oct", "kid": kid, "use": "sig", "alg": "HS256", "k": encode(key).decode()}]}),
                    encoding="utf-8")
    return path, {"key": key, "header": {"alg": "HS256", "kid": kid, "typ": "JWT"}}


def test_tokens_are_looked_at_with_the_keys_of_the_new_file(changing):
    """jwt_keys_file; and jwt_keys_min_interval, which says how soon the file is read again for the sake of an unknown key."""
    def status(signed):
        return changing.get("/api/users/me", changing.token("keys@example.com", **signed)).status
    first, second = key_set(changing, "first"), key_set(changing, "second")
    good = dict(changing.options)
    try:
        assert (status({}), status(first[1])) == (200, 401)
        assert set(reload(changing, jwt_keys_file=first[0], jwt_keys_min_interval="1h")) == {"jwt_keys_file", "jwt_keys_min_interval"}
        assert (status({}), status(first[1])) == (401, 200)
        os.replace(second[0], first[0])
        for _ in range(10):
            changing.disconnect()
            assert status(second[1]) == 401, "the file is not read so soon"
        assert set(reload(changing, jwt_keys_min_interval="10ms")) == {"jwt_keys_min_interval"}
        assert (status(first[1]), status(second[1])) == (401, 200)
        third = key_set(changing, "third")
        os.replace(third[0], first[0])
        wait_until(lambda: status(third[1]) == 200, "the file is read again")
    finally:
        changing.options = good
        changing.disconnect()
        reload(changing)


def test_who_is_trusted_and_by_which_headers_follows_the_file(changing):
    """trusted_proxies, client_address_header and the headers of who is signed in."""
    def me(**headers):
        headers = {f"X-Gate-{name}": text for name, text in headers.items()}
        return changing.get("/api/users/me", headers={"X-Gate-Address": "10.1.2.3", **headers})

    def addresses():
        return [line for line in changing.log_lines("message=request", "10.1.2.3")]
    person = {"Subject": "gate-1", "Email": "gate@example.com", "Name": "Somebody", "Department": "Gates", "Kind": "guest",
              "Role": "organizer"}
    good = dict(changing.options)
    assert me(**person).status == 401 and addresses() == []
    try:
        reload(changing, trusted_proxies="127.0.0.1", client_address_header="X-Gate-Address", proxy_subject_header="X-Gate-Subject",
               proxy_email_header="X-Gate-Email", proxy_name_header="X-Gate-Name", proxy_department_header="X-Gate-Department",
               proxy_kind_header="X-Gate-Kind", proxy_role_header="X-Gate-Role", proxy_issuer="gateway")
        answer = me(**person)
        assert answer.status == 200, answer
        assert {name: answer.json()[name] for name in ("email", "name", "department", "kind", "role")} == {
            "email": "gate@example.com", "name": "Somebody", "department": "Gates", "kind": "guest", "role": "organizer"}
        assert changing.sql.execute("select issuer from turnout.users where subject = 'gate-1'").fetchall() == [("gateway",)]
        wait_until(addresses, "the client's address is in the log")
        said = reload(changing, trusted_proxies="10.0.0.0/8")
        assert said == {"trusted_proxies": ("127.0.0.1", "10.0.0.0/8", "now")}
        assert me(**person).status == 401
    finally:
        changing.options = good
        changing.disconnect()
        reload(changing)


def test_shutdown_timeout_is_what_was_said_last(new_turnout):
    turnout = new_turnout(shutdown_timeout="10m", header_timeout="10m")
    with turnout.connect(60) as stuck:
        stuck.sendall(b"GET /api/events HTTP/1.1\r\n")
        wait_until(lambda: sum(row["open"] for row in turnout.show("connections")) == 1, "it is connected")
        reload(turnout, shutdown_timeout="50ms")
        turnout.process.send_signal(signal.SIGTERM)
        assert turnout.process.wait(50) == 0
    assert turnout.log_lines("connections did not end within shutdown_timeout")


def test_what_is_kept_and_made_ahead_follows_the_file(changing):
    """changes_keep, idempotency_keep and partition_years, which the scheduler hands to the database."""
    sql = changing.sql
    add_event(sql, 5)
    person = sql.execute("select id from turnout.users limit 1").fetchone()[0]
    sql.execute("update turnout.changes set at = now() - interval '10 minutes'")
    sql.execute("insert into turnout.idempotency_keys (user_id, key, request_hash, outcome, created_at)"
                " values (%s, 'old', 'x', 'ok', now() - interval '10 minutes')", (person,))

    def left():
        return (sql.execute("select count(*) from turnout.changes where at < now() - interval '9 minutes'").fetchone()[0],
                sql.execute("select count(*) from turnout.idempotency_keys where key = 'old'").fetchone()[0])

    def years():
        return sql.execute("select count(*) from pg_inherits where inhparent = 'turnout.registrations'::regclass").fetchone()[0]
    good, ahead = dict(changing.options), years()
    try:
        reload(changing, prune_interval="20ms", partition_interval="20ms")
        assert check_job("prune-changes")(changing) and check_job("prune-idempotency-keys")(changing)
        assert left()[0] > 0 and left()[1] == 1 and years() == ahead
        reload(changing, changes_keep="1m", idempotency_keep="1m", partition_years="5")
        wait_until(lambda: left() == (0, 0), "old rows are gone")
        wait_until(lambda: years() == ahead + 2, "two more years are there")
    finally:
        changing.options = good
        reload(changing)


def test_every_option_that_can_be_reloaded_is_tested_for_it(changing):
    here = open(os.path.abspath(__file__), encoding="utf-8").read()
    elsewhere = {"log_file",  # test_log_files.py
                 "mail_from", "mail_reply_to", "mail_templates", "template_directory", "public_url",  # test_mail_messages.py
                 "mail_connections", "mail_rate", "mail_attempts", "mail_retry_min", "mail_retry_max", "mail_interval",
                 "mail_lease_time", "smtp_timeout",  # test_mail_settings.py
                 "smtp_password_file",  # test_mail_faults.py
                 "reminder_interval",  # test_reminders.py
                 "ping_timeout",  # test_reload.py
                 "stale_max",  # test_cache.py
                 "batch_max", "queue_max", "queue_timeout",  # test_registration_queue.py
                 "user_writes", "user_writes_burst", "user_reads", "user_reads_burst", "address_requests",
                 "address_requests_burst",  # test_limits.py
                 "changes_poll", "coherent_time", "fill_timeout", "redis_password_file", "redis_timeout"}  # test_cache_control.py
    for row in changing.show("config"):
        if row["applies_at"] == "reload" and row["name"] not in EFFECTS and row["name"] not in elsewhere:
            assert f"{row['name']}=" in here, f"no test changes {row['name']} in a running daemon"
