/* Redis that is away, frozen, restored from an old file, asks for another password, or is not Redis at all: each call
 * ends in time, and it is used again by itself. */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "redis_fixture.h"

static void begin(void)
{
    redis_fixture_fresh();
}

static struct store *make(int64_t timeout)
{
    struct store_options options = redis_fixture_options();
    options.timeout = timeout;
    return redis_fixture_store(&options);
}

static void set_timeout(struct store *store, int64_t timeout)
{
    store_change_settings(store, redis_fixture_options().password_file, timeout);
}

static int64_t in_flight(const struct store *store)
{
    struct store_statistics statistics;
    store_statistics(store, &statistics);
    return statistics.in_flight;
}

/* ---- away ---- */

START_TEST(test_redis_that_is_away_at_the_start_is_used_when_it_comes)
{
    struct store_options options = redis_fixture_options();
    redis_fixture_stop();
    struct store *store = store_create(&options);
    ck_assert_int_eq(redis_fixture_got(store).result, STORE_UNAVAILABLE);
    store_name(store, "7000000000000000001", "16384", "abc");
    fixture_wait_for(heard.probes >= 2); /* one in vain */
    ck_assert_int_eq(redis_fixture_got(store).result, STORE_UNAVAILABLE);
    ck_assert_int_eq(heard.ends[STORE_GET][STORE_END_CIRCUIT_OPEN], 2);
    redis_fixture_start();
    fixture_wait_for(redis_fixture_got(store).result == STORE_MISSING);
    store_destroy(store);
}
END_TEST

START_TEST(test_a_restart_costs_what_was_in_it_and_no_more)
{
    struct store *store = make(2 * SECOND);
    struct store_entry entry = redis_fixture_entry(3, 3, 0, "body");
    struct store_entry lower = redis_fixture_entry(2, 3, 0, "lower");
    ck_assert_int_eq(redis_fixture_was_put(store, &entry), STORE_DONE);
    redis_fixture_stop();
    fixture_wait_for(heard.circuit == CIRCUIT_OPEN);
    ck_assert_int_eq(redis_fixture_got(store).result, STORE_UNAVAILABLE);
    redis_fixture_start();
    fixture_wait_for(heard.circuit == CIRCUIT_CLOSED);
    ck_assert_int_eq(redis_fixture_got(store).result, STORE_MISSING);
    ck_assert_int_eq(redis_fixture_was_put(store, &entry), STORE_DONE);
    ck_assert_int_eq(redis_fixture_was_put(store, &lower), STORE_REFUSED);
    store_destroy(store);
}
END_TEST

START_TEST(test_calls_that_a_lost_connection_takes_along_are_answered_at_once)
{
    enum { CALLS = 8 };
    struct end ends[CALLS];
    struct store *store = make(600 * SECOND);
    redis_fixture_signal(SIGSTOP);
    for (int i = 0; i < CALLS; i++)
        redis_fixture_get(store, &ends[i]);
    redis_fixture_stop();
    for (int i = 0; i < CALLS; i++) {
        fixture_wait_for(ends[i].done);
        ck_assert_int_eq(ends[i].result, STORE_UNAVAILABLE);
    }
    ck_assert_int_eq(heard.ends[STORE_GET][STORE_END_FAILED], CALLS);
    ck_assert_int_eq(in_flight(store), 0);
    store_destroy(store);
}
END_TEST

START_TEST(test_what_is_in_flight_is_answered_when_the_store_goes)
{
    struct end sent, unsent;
    struct store *store = make(600 * SECOND);
    redis_fixture_signal(SIGSTOP);
    redis_fixture_get(store, &sent);
    store_name(store, "", "", "");
    redis_fixture_get(store, &unsent);
    store_destroy(store);
    ck_assert(sent.done && sent.result == STORE_UNAVAILABLE && unsent.done && unsent.result == STORE_UNAVAILABLE);
    store =
        store_create(&(struct store_options){.base = fixture_base(), .host = "nowhere.invalid:1", .timeout = SECOND});
    store_name(store, "1", "2", "3");
    fixture_turn(fixture_deadline(), "the name is being looked up");
    store_destroy(store);
}
END_TEST

/* ---- frozen ---- */

START_TEST(test_calls_to_a_frozen_redis_end_in_time_and_it_is_used_again_by_itself)
{
    const int64_t timeout = 200 * MILLISECOND;
    struct store *store = make(10 * SECOND);
    struct store_entry entry = redis_fixture_entry(1, 1, 0, "body");
    ck_assert_int_eq(redis_fixture_was_put(store, &entry), STORE_DONE);
    set_timeout(store, timeout);
    redis_fixture_signal(SIGSTOP);
    for (int i = 0; i < CIRCUIT_FAILURES; i++) {
        ck_assert_int_eq(heard.opened, 0);
        struct end end = redis_fixture_got(store);
        ck_assert_int_eq(end.result, STORE_UNAVAILABLE);
        ck_assert_int_ge(end.after, timeout);
        ck_assert_msg(end.after < 5 * timeout, "took %ld us", (long)end.after);
    }
    ck_assert_int_eq(heard.ends[STORE_GET][STORE_END_LATE], CIRCUIT_FAILURES);
    ck_assert_int_eq(heard.opened, 1);
    struct end end = redis_fixture_got(store); /* costs nothing now */
    ck_assert_int_eq(end.result, STORE_UNAVAILABLE);
    ck_assert_int_eq(heard.ends[STORE_GET][STORE_END_CIRCUIT_OPEN], 1);
    fixture_wait_for(heard.probes >= 3); /* the first was that of the start, the second in vain */
    redis_fixture_signal(SIGCONT);
    fixture_wait_for(heard.circuit == CIRCUIT_CLOSED);
    ck_assert_str_eq(redis_fixture_got(store).body, "body");
    store_destroy(store);
}
END_TEST

START_TEST(test_a_reply_that_comes_late_belongs_to_nobody)
{
    struct store *store = make(10 * SECOND);
    struct store_entry entry = redis_fixture_entry(1, 1, 0, "body");
    struct end late;
    ck_assert_int_eq(redis_fixture_was_put(store, &entry), STORE_DONE);
    redis_fixture_signal(SIGSTOP);
    set_timeout(store, 50 * MILLISECOND);
    redis_fixture_get(store, &late);
    fixture_wait_for(late.done);
    ck_assert_int_eq(late.result, STORE_UNAVAILABLE);
    ck_assert_int_eq(in_flight(store), 1);
    set_timeout(store, 10 * SECOND);
    redis_fixture_signal(SIGCONT);
    ck_assert_str_eq(redis_fixture_got(store).body, "body"); /* its own, not the one before it */
    ck_assert_int_eq(in_flight(store), 0);
    ck_assert_int_eq(heard.opened, 0);
    store_destroy(store);
}
END_TEST

START_TEST(test_a_shorter_time_out_holds_for_those_that_wait)
{
    struct store *store = make(600 * SECOND);
    struct end end;
    redis_fixture_signal(SIGSTOP);
    redis_fixture_get(store, &end);
    set_timeout(store, 10 * MILLISECOND);
    fixture_wait_for(end.done);
    ck_assert_int_eq(heard.ends[STORE_GET][STORE_END_LATE], 1);
    store_destroy(store);
}
END_TEST

START_TEST(test_an_old_body_that_is_written_late_does_not_replace_the_new_one)
{
    struct store *slow = make(10 * SECOND);
    struct store *quick = make(10 * SECOND);
    struct store_entry old = redis_fixture_entry(1, 1, 0, "old");
    struct store_entry new = redis_fixture_entry(1, 2, 0, "new");
    struct end end;
    ck_assert_int_eq(redis_fixture_was_put(quick, &new), STORE_DONE);
    redis_fixture_signal(SIGSTOP);
    set_timeout(slow, 50 * MILLISECOND);
    redis_fixture_put(slow, &old, &end);
    fixture_wait_for(end.done);
    ck_assert_int_eq(end.result, STORE_UNAVAILABLE);
    ck_assert_int_eq(in_flight(slow), 1);
    redis_fixture_signal(SIGCONT);
    set_timeout(slow, 10 * SECOND);
    ck_assert_str_eq(redis_fixture_got(slow).body, "new"); /* asked behind the late one */
    ck_assert_int_eq(in_flight(slow), 0);                  /* which did arrive */
    store_destroy(slow);
    store_destroy(quick);
}
END_TEST

START_TEST(test_a_lease_that_was_had_too_late_is_let_go)
{
    struct store *slow = make(10 * SECOND);
    struct store *other = make(10 * SECOND);
    uint64_t lease;
    redis_fixture_signal(SIGSTOP);
    set_timeout(slow, 50 * MILLISECOND);
    ck_assert_int_eq(redis_fixture_leased(slow, 600000, &lease), STORE_UNAVAILABLE);
    redis_fixture_signal(SIGCONT);
    fixture_wait_for(in_flight(slow) == 0); /* the lease was had, and whatever was said behind it */
    ck_assert_int_eq(redis_fixture_leased(other, 600000, &lease), STORE_DONE);
    store_destroy(slow);
    store_destroy(other);
}
END_TEST

/* ---- what comes back is old, or wants something else ---- */

START_TEST(test_an_entry_of_an_old_file_says_how_old_it_is_and_gives_way)
{
    struct store *store = make(2 * SECOND);
    struct store_entry old = redis_fixture_entry(1, 1, 0, "old");
    struct store_entry new = redis_fixture_entry(1, 2, 0, "new");
    char dump[512], copy[512];
    ck_assert_int_eq(redis_fixture_was_put(store, &old), STORE_DONE);
    redis_fixture_say("SAVE");
    snprintf(dump, sizeof dump, "%s", redis_fixture_path("dump.rdb"));
    snprintf(copy, sizeof copy, "%s", redis_fixture_path("old.rdb"));
    ck_assert_int_eq(rename(dump, copy), 0);
    ck_assert_int_eq(redis_fixture_was_put(store, &new), STORE_DONE);
    redis_fixture_stop();
    ck_assert_int_eq(rename(copy, dump), 0);
    redis_fixture_start();
    fixture_wait_for(redis_fixture_got(store).result == STORE_DONE);
    struct end end = redis_fixture_got(store);
    ck_assert_str_eq(end.body, "old");
    ck_assert_uint_eq(end.version.xmax, 1);
    ck_assert_int_eq(redis_fixture_was_put(store, &new), STORE_DONE);
    ck_assert_int_eq(redis_fixture_was_put(store, &old), STORE_REFUSED);
    ck_assert_str_eq(redis_fixture_got(store).body, "new");
    store_destroy(store);
}
END_TEST

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fchmod(fileno(file), 0600), 0);
    ck_assert_int_ge(fputs(text, file), 0);
    fclose(file);
}

START_TEST(test_a_password_file_is_read_again_at_each_connect)
{
    static const char *const wrong[] = {"wrong\n", "somebody\na password with spaces\n", NULL};
    struct store_options options = redis_fixture_options();
    char path[512];
    snprintf(path, sizeof path, "%s", redis_fixture_path("other"));
    (void)unlink(path);
    if (wrong[_i] != NULL)
        write_file(path, wrong[_i]);
    options.password_file = path;
    struct store *store = store_create(&options);
    store_name(store, "1", "2", "3");
    fixture_wait_for(heard.probes >= 2);
    struct store_statistics statistics;
    store_statistics(store, &statistics);
    ck_assert_ptr_nonnull(statistics.last_error);
    ck_assert_ptr_null(strstr(statistics.last_error, "with spaces"));
    ck_assert_int_eq(redis_fixture_got(store).result, STORE_UNAVAILABLE);
    write_file(path, "a password with spaces\n");
    fixture_wait_for(heard.circuit == CIRCUIT_CLOSED);
    ck_assert_int_eq(redis_fixture_got(store).result, STORE_MISSING);
    store_destroy(store);
}
END_TEST

START_TEST(test_a_user_and_a_password_or_none_at_all)
{
    struct store_options options = redis_fixture_options();
    char path[512];
    snprintf(path, sizeof path, "%s", redis_fixture_path("other"));
    redis_fixture_say("ACL SETUSER turnout on >secret ~turnout:* +@all");
    write_file(path, "turnout\nsecret\n");
    options.password_file = path;
    struct store *store = redis_fixture_store(&options);
    ck_assert_int_eq(redis_fixture_got(store).result, STORE_MISSING);
    store_destroy(store);
    options.password_file = NULL;
    store = store_create(&options);
    store_name(store, "1", "2", "3");
    int before = heard.probes;
    fixture_wait_for(heard.probes >= before + 2);
    ck_assert_int_ne(heard.circuit, CIRCUIT_CLOSED);
    redis_fixture_say("ACL SETUSER default nopass");
    fixture_wait_for(heard.circuit == CIRCUIT_CLOSED);
    ck_assert_int_eq(redis_fixture_got(store).result, STORE_MISSING);
    store_destroy(store);
}
END_TEST

/* ---- over TCP, and what is not Redis ---- */

START_TEST(test_a_host_by_name_is_looked_up_and_used)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    char host[64];
    int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* a port that is free */
    ck_assert(bind(probe, (struct sockaddr *)&name, length) == 0);
    ck_assert(getsockname(probe, (struct sockaddr *)&name, &length) == 0);
    close(probe);
    redis_fixture_say("CONFIG SET bind 127.0.0.1");
    redis_fixture_say("CONFIG SET port %d", ntohs(name.sin_port));
    struct store_options options = redis_fixture_options();
    options.socket = NULL;
    snprintf(host, sizeof host, "%s:%d", _i == 0 ? "127.0.0.1" : "localhost", ntohs(name.sin_port));
    options.host = host;
    struct store *store = redis_fixture_store(&options);
    ck_assert_int_eq(redis_fixture_got(store).result, STORE_MISSING);
    store_destroy(store);
}
END_TEST

/* Accepts, takes what comes, and says one thing. */
struct impostor {
    struct event *listener, *client;
    const char *says;
    int accepted;
};

static void on_client(evutil_socket_t descriptor, short what, void *argument)
{
    (void)what;
    struct impostor *impostor = argument;
    char bytes[4096];
    if (read(descriptor, bytes, sizeof bytes) > 0) {
        ck_assert_int_gt(write(descriptor, impostor->says, strlen(impostor->says)), 0);
        return;
    }
    close(descriptor);
    event_free(impostor->client);
    impostor->client = NULL;
}

static void on_accept(evutil_socket_t descriptor, short what, void *argument)
{
    (void)what;
    struct impostor *impostor = argument;
    int client = accept4(descriptor, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    ck_assert_int_ge(client, 0);
    impostor->accepted++;
    ck_assert_ptr_null(impostor->client);
    impostor->client = event_new(fixture_base(), client, EV_READ | EV_PERSIST, on_client, impostor);
    event_add(impostor->client, NULL);
}

START_TEST(test_who_is_not_redis_is_left_alone)
{
    static const char *const sayings[] = {
        "220 mail.example ESMTP\r\n",             /* not the protocol */
        "+PONG\r\n+PONG\r\n+PONG\r\n+PONG\r\n",   /* more than was asked for */
        "+OK\r\n",                                /* another answer */
        "+PONG\r\n*100000000\r\n",                /* an array */
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",   /* many of them */
        "-ERR max number of clients reached\r\n", /* it has no place for us */
        ":1\r\n",
        "$-1\r\n",
    };
    struct impostor impostor = {.says = sayings[_i]};
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%s", redis_fixture_path("impostor"));
    (void)unlink(name.sun_path);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert(bind(listener, (struct sockaddr *)&name, sizeof name) == 0 && listen(listener, 8) == 0);
    impostor.listener = event_new(fixture_base(), listener, EV_READ | EV_PERSIST, on_accept, &impostor);
    event_add(impostor.listener, NULL);
    struct store_options options = redis_fixture_options();
    options.socket = name.sun_path;
    options.password_file = NULL;
    struct store *store = store_create(&options);
    store_name(store, "1", "2", "3");
    fixture_wait_for(impostor.accepted >= 2); /* left, and tried again */
    ck_assert_int_eq(redis_fixture_got(store).result, STORE_UNAVAILABLE);
    store_destroy(store);
    event_free(impostor.listener);
    close(listener);
}
END_TEST

int main(int count, char **arguments)
{
    (void)count;
    redis_fixture_need(arguments);
    Suite *suite = suite_create("redis_outage");
    TCase *tests = tcase_create("outage");
    tcase_add_checked_fixture(tests, begin, NULL);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_redis_that_is_away_at_the_start_is_used_when_it_comes);
    tcase_add_test(tests, test_a_restart_costs_what_was_in_it_and_no_more);
    tcase_add_test(tests, test_calls_that_a_lost_connection_takes_along_are_answered_at_once);
    tcase_add_test(tests, test_what_is_in_flight_is_answered_when_the_store_goes);
    tcase_add_test(tests, test_calls_to_a_frozen_redis_end_in_time_and_it_is_used_again_by_itself);
    tcase_add_test(tests, test_a_reply_that_comes_late_belongs_to_nobody);
    tcase_add_test(tests, test_a_shorter_time_out_holds_for_those_that_wait);
    tcase_add_test(tests, test_an_old_body_that_is_written_late_does_not_replace_the_new_one);
    tcase_add_test(tests, test_a_lease_that_was_had_too_late_is_let_go);
    tcase_add_test(tests, test_an_entry_of_an_old_file_says_how_old_it_is_and_gives_way);
    tcase_add_loop_test(tests, test_a_password_file_is_read_again_at_each_connect, 0, 3);
    tcase_add_test(tests, test_a_user_and_a_password_or_none_at_all);
    tcase_add_loop_test(tests, test_a_host_by_name_is_looked_up_and_used, 0, 2);
    tcase_add_loop_test(tests, test_who_is_not_redis_is_left_alone, 0, 8);
    suite_add_tcase(suite, tests);
    return fixture_run(suite);
}
