/* Host names are looked up beside the loop, and the loop goes on whatever the lookup does. getaddrinfo is ours here: it
 * knows a few names, and counts who asks. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/resolver.h"
#include "pg/dsn.h"
#include "pg_fixture.h"

static const struct pg_statement echo = {"echo", "select $1::text, pg_backend_pid()", 1};

static pthread_t loop_thread;
static atomic_int lookups_in_the_loop;
static atomic_bool hanging;
static atomic_bool let_go;

typedef int getaddrinfo_function(const char *node, const char *service, const struct addrinfo *hints,
                                 struct addrinfo **result);

static getaddrinfo_function *real;

static bool is_literal(const char *node)
{
    unsigned char bytes[16];
    return inet_pton(AF_INET, node, bytes) == 1 || inet_pton(AF_INET6, node, bytes) == 1;
}

int getaddrinfo(const char *restrict node, const char *restrict service, const struct addrinfo *restrict hints,
                struct addrinfo **restrict result)
{
    if (node != NULL && !is_literal(node) && pthread_equal(pthread_self(), loop_thread))
        lookups_in_the_loop++;
    if (node != NULL && strcmp(node, "hangs.example") == 0) {
        hanging = true;
        while (!let_go)
            usleep(1000);
        return EAI_AGAIN;
    }
    if (node != NULL && strcmp(node, "found.example") == 0)
        return real("127.0.0.1", service, hints, result);
    if (node != NULL && strcmp(node, "two.example") == 0) { /* two addresses */
        int failure = real("127.0.0.2", service, hints, result);
        if (failure == 0)
            failure = real("127.0.0.3", service, hints, &(*result)->ai_next);
        return failure;
    }
    if (node != NULL && !is_literal(node))
        return EAI_NONAME;
    return real(node, service, hints, result);
}

struct found {
    bool done;
    char error[200];
    int count;
    struct resolver_address addresses[RESOLVER_ADDRESSES_MAX];
};

static void on_found(void *context, const struct resolver_answer *answer)
{
    struct found *found = context;
    ck_assert(!found->done);
    ck_assert(pthread_equal(pthread_self(), loop_thread));
    found->done = true;
    snprintf(found->error, sizeof found->error, "%s", answer->error == NULL ? "" : answer->error);
    found->count = answer->count;
    memcpy(found->addresses, answer->addresses, sizeof found->addresses);
}

static struct found look_up(const char *const names[], int count, int64_t timeout)
{
    struct found found = {.done = false};
    resolver_start(fixture_base(), names, count, timeout, on_found, &found);
    ck_assert(!found.done);
    fixture_wait_for(found.done);
    return found;
}

static void begin(void)
{
    loop_thread = pthread_self();
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    memcpy(&real, &symbol, sizeof real);
}

START_TEST(test_names_become_addresses_each_with_its_number)
{
    struct found found = look_up((const char *const[]){"two.example", "found.example"}, 2, 2 * SECOND);
    ck_assert_str_eq(found.error, "");
    ck_assert_int_eq(found.count, 3);
    ck_assert_str_eq(found.addresses[0].text, "127.0.0.2");
    ck_assert_str_eq(found.addresses[1].text, "127.0.0.3");
    ck_assert_int_eq(found.addresses[1].name, 0);
    ck_assert_str_eq(found.addresses[2].text, "127.0.0.1");
    ck_assert_int_eq(found.addresses[2].name, 1);
}
END_TEST

START_TEST(test_one_name_that_is_unknown_does_not_hide_the_other)
{
    struct found found = look_up((const char *const[]){"nowhere.example", "found.example"}, 2, 2 * SECOND);
    ck_assert_str_eq(found.error, "");
    ck_assert_int_eq(found.count, 1);
    ck_assert_int_eq(found.addresses[0].name, 1);
    found = look_up((const char *const[]){"nowhere.example"}, 1, 2 * SECOND);
    ck_assert_int_eq(found.count, 0);
    ck_assert_ptr_nonnull(strstr(found.error, "nowhere.example"));
}
END_TEST

static void count_tick(evutil_socket_t descriptor, short what, void *argument)
{
    (void)descriptor;
    (void)what;
    ++*(int *)argument;
}

START_TEST(test_a_lookup_that_hangs_stops_neither_the_loop_nor_the_end)
{
    int ticks = 0;
    struct event *ticker = event_new(fixture_base(), -1, EV_PERSIST, count_tick, &ticks);
    event_add(ticker, &(struct timeval){.tv_usec = 10000});
    int64_t began = clock_monotonic();
    struct found found = look_up((const char *const[]){"hangs.example"}, 1, 300 * MILLISECOND);
    ck_assert(hanging);
    ck_assert_ptr_nonnull(strstr(found.error, "too long"));
    ck_assert_int_ge(ticks, 10);
    ck_assert_int_lt(clock_monotonic() - began, 2 * SECOND);
    event_free(ticker);
    /* the thread still hangs; the end of this test's process is the proof that it does not block exit */
}
END_TEST

START_TEST(test_lookups_that_hang_are_few_and_give_way_when_they_end)
{
    for (int i = 0; i < 16; i++)
        look_up((const char *const[]){"hangs.example"}, 1, 10 * MILLISECOND);
    struct found found = look_up((const char *const[]){"found.example"}, 1, 2 * SECOND);
    ck_assert_ptr_nonnull(strstr(found.error, "too many lookups hang"));
    let_go = true;
    int64_t end = fixture_deadline();
    while ((found = look_up((const char *const[]){"found.example"}, 1, 2 * SECOND)).count == 0)
        fixture_turn(end, "the threads to end");
    ck_assert_str_eq(found.error, "");
}
END_TEST

START_TEST(test_a_cancelled_lookup_says_nothing)
{
    struct found cancelled = {.done = false};
    struct resolver *resolver =
        resolver_start(fixture_base(), (const char *const[]){"found.example"}, 1, 2 * SECOND, on_found, &cancelled);
    resolver_cancel(resolver);
    struct found other = look_up((const char *const[]){"found.example"}, 1, 2 * SECOND);
    ck_assert_int_eq(other.count, 1);
    ck_assert(!cancelled.done);
}
END_TEST

START_TEST(test_a_pool_whose_host_cannot_be_found_answers_and_libpq_looks_up_nothing)
{
    static const char *const hosts[] = {"hangs.example", "nowhere.example", "found.example"};
    for (int i = 0; i < 3; i++) {
        char dsn[200];
        snprintf(dsn, sizeof dsn, "host=%s port=1 user=x dbname=x", hosts[i]); /* nobody listens on port 1 */
        struct pg_pool_options options = fixture_options();
        options.dsn = dsn;
        options.acquire_timeout = 300 * MILLISECOND;
        options.connect_timeout = 200 * MILLISECOND;
        struct pg_pool *pool = fixture_pool(&options);
        int64_t began = clock_monotonic();
        struct outcome outcome = fixture_ask(pool, &echo, "x", PG_RETRY_READ);
        ck_assert_int_eq(outcome.status, PG_STATUS_UNAVAILABLE);
        ck_assert_int_lt(clock_monotonic() - began, 2 * SECOND);
        if (i == 2)
            ck_assert_ptr_nonnull(strstr(fixture_statistics(pool).last_error, "127.0.0.1"));
        pg_pool_destroy(pool);
    }
    ck_assert_int_eq(lookups_in_the_loop, 0);
}
END_TEST

START_TEST(test_a_socket_folder_and_literal_addresses_are_not_looked_up)
{
    char error[300], *list;
    const char *names[RESOLVER_NAMES_MAX];
    static const char *const dsns[] = {"host=/tmp", "host=10.0.0.1,::1,fe80::1%lo", "hostaddr=10.0.0.1",
                                       "host=name.example hostaddr=10.0.0.1"};
    for (size_t i = 0; i < sizeof dsns / sizeof dsns[0]; i++) {
        struct pg_dsn dsn;
        ck_assert(pg_dsn_read(&dsn, dsns[i], error, sizeof error));
        ck_assert_int_eq(pg_dsn_names(&dsn, &list, names), 0);
        free(list);
        pg_dsn_free(&dsn);
    }
    struct pg_dsn dsn;
    ck_assert(pg_dsn_read(&dsn, "postgresql://u@/d?host=a.example,/tmp,10.0.0.1,b.example", error, sizeof error));
    ck_assert_int_eq(pg_dsn_names(&dsn, &list, names), 2);
    ck_assert_str_eq(names[0], "a.example");
    ck_assert_str_eq(names[1], "b.example");
    free(list);
    pg_dsn_free(&dsn);
}
END_TEST

START_TEST(test_each_address_gets_its_host_and_port_and_the_list_turns)
{
    char error[300];
    struct resolver_answer answer = {.count = 3, .addresses = {{0, "10.1.0.1"}, {0, "10.1.0.2"}, {1, "10.2.0.1"}}};
    struct pg_dsn dsn;
    ck_assert(pg_dsn_read(&dsn, "host=a.example,/run/x,b.example port=1,2,3", error, sizeof error));
    ck_assert(pg_dsn_set_addresses(&dsn, &answer, 0));
    ck_assert_str_eq(pg_dsn_get(&dsn, "host"), "a.example,a.example,/run/x,b.example");
    ck_assert_str_eq(pg_dsn_get(&dsn, "hostaddr"), "10.1.0.1,10.1.0.2,,10.2.0.1");
    ck_assert_str_eq(pg_dsn_get(&dsn, "port"), "1,1,2,3");
    pg_dsn_free(&dsn);

    ck_assert(pg_dsn_read(&dsn, "host=a.example,b.example", error, sizeof error));
    ck_assert(pg_dsn_set_addresses(&dsn, &answer, 1));
    ck_assert_str_eq(pg_dsn_get(&dsn, "hostaddr"), "10.1.0.2,10.2.0.1,10.1.0.1");
    ck_assert_str_eq(pg_dsn_get(&dsn, "host"), "a.example,b.example,a.example");
    ck_assert_ptr_null(pg_dsn_get(&dsn, "port"));
    pg_dsn_free(&dsn);

    /* nothing was found: the names must not reach libpq */
    ck_assert(pg_dsn_read(&dsn, "host=a.example", error, sizeof error));
    ck_assert(!pg_dsn_set_addresses(&dsn, &(struct resolver_answer){.error = "no"}, 0));
    pg_dsn_free(&dsn);
    /* but a host that needs no lookup is left */
    ck_assert(pg_dsn_read(&dsn, "host=a.example,10.9.9.9", error, sizeof error));
    ck_assert(pg_dsn_set_addresses(&dsn, &(struct resolver_answer){.error = "no"}, 0));
    ck_assert_str_eq(pg_dsn_get(&dsn, "hostaddr"), "10.9.9.9");
    pg_dsn_free(&dsn);
}
END_TEST

START_TEST(test_a_connection_string_with_a_password_is_refused_without_repeating_it)
{
    static const char *const refused[] = {
        "host=x password=hunter2", "postgresql://u:hunter2@x/d", "host=x sslpassword=hunter2", "service=x",
        "host=x hunter2",          "host='x password=hunter2",   "postgresql://u:hunter2@[x/d"};
    static const char *const taken[] = {"host=x passfile=/etc/x user=u dbname=d",
                                        "postgresql://u@x,y/d?sslmode=require", "", "host=/run/postgresql"};
    char error[300];
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        error[0] = '\0';
        ck_assert_msg(!pg_dsn_check(refused[i], error, sizeof error), "%s", refused[i]);
        ck_assert_str_ne(error, "");
        ck_assert_ptr_null(strstr(error, "hunter2"));
    }
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        ck_assert_msg(pg_dsn_check(taken[i], error, sizeof error), "%s: %s", taken[i], error);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pg_resolver");
    TCase *tests = tcase_create("resolver");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, begin, NULL);
    tcase_add_test(tests, test_names_become_addresses_each_with_its_number);
    tcase_add_test(tests, test_one_name_that_is_unknown_does_not_hide_the_other);
    tcase_add_test(tests, test_a_lookup_that_hangs_stops_neither_the_loop_nor_the_end);
    tcase_add_test(tests, test_lookups_that_hang_are_few_and_give_way_when_they_end);
    tcase_add_test(tests, test_a_cancelled_lookup_says_nothing);
    tcase_add_test(tests, test_a_pool_whose_host_cannot_be_found_answers_and_libpq_looks_up_nothing);
    tcase_add_test(tests, test_a_socket_folder_and_literal_addresses_are_not_looked_up);
    tcase_add_test(tests, test_each_address_gets_its_host_and_port_and_the_list_turns);
    tcase_add_test(tests, test_a_connection_string_with_a_password_is_refused_without_repeating_it);
    suite_add_tcase(suite, tests);
    return fixture_run(suite);
}
