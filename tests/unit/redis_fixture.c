/* redis_fixture: a private Redis, what somebody else says to it, and a store that talks to it. */
#include "redis_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define PATIENCE (20 * SECOND)

struct heard heard;

void redis_fixture_need(char **arguments)
{
    fixture_need("TURNOUT_TEST_REDIS", "with_redis.sh", arguments);
    signal(SIGPIPE, SIG_IGN); /* as in each process of ours */
}

const char *redis_fixture_path(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", getenv("TURNOUT_TEST_REDIS"), name);
    return path;
}

static void pause_until(int64_t deadline, const char *waited_for)
{
    ck_assert_msg(clock_monotonic() < deadline, "waited in vain until %s", waited_for);
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

/* NULL: it does not answer. */
static redisContext *talk(void)
{
    char password[128] = "";
    redisContext *context = redisConnectUnix(redis_fixture_path("redis.sock"));
    FILE *file = fopen(redis_fixture_path("password"), "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(fgets(password, sizeof password, file));
    fclose(file);
    password[strcspn(password, "\n")] = '\0';
    redisReply *reply = context->err != 0 ? NULL : redisCommand(context, "AUTH %s", password);
    bool well = reply != NULL && reply->type == REDIS_REPLY_STATUS;
    freeReplyObject(reply);
    if (well)
        return context;
    redisFree(context);
    return NULL;
}

const char *redis_fixture_say(const char *format, ...)
{
    static char text[256];
    va_list arguments;
    redisContext *context = talk();
    ck_assert_ptr_nonnull(context);
    va_start(arguments, format);
    redisReply *reply = redisvCommand(context, format, arguments);
    va_end(arguments);
    ck_assert_ptr_nonnull(reply);
    ck_assert_msg(reply->type != REDIS_REPLY_ERROR, "%s: %s", format, reply->str);
    text[0] = '\0';
    if (reply->type == REDIS_REPLY_INTEGER)
        snprintf(text, sizeof text, "%lld", reply->integer);
    else if (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS)
        snprintf(text, sizeof text, "%.255s", reply->str);
    freeReplyObject(reply);
    redisFree(context);
    return text;
}

static pid_t server(void)
{
    int id = 0;
    FILE *file = fopen(redis_fixture_path("pid"), "re");
    if (file != NULL && fscanf(file, "%d", &id) != 1)
        id = 0;
    if (file != NULL)
        fclose(file);
    return id;
}

void redis_fixture_signal(int number)
{
    ck_assert_int_gt(server(), 0);
    ck_assert_int_eq(kill(server(), number), 0);
}

void redis_fixture_stop(void)
{
    int64_t deadline = clock_monotonic() + PATIENCE;
    redis_fixture_signal(SIGKILL);
    redisContext *context;
    while ((context = redisConnectUnix(redis_fixture_path("redis.sock")))->err == 0) {
        redisFree(context);
        pause_until(deadline, "Redis is gone");
    }
    redisFree(context);
    (void)unlink(redis_fixture_path("pid"));
}

void redis_fixture_start(void)
{
    redisContext *context;
    int64_t deadline = clock_monotonic() + PATIENCE;
    ck_assert_int_eq(system(getenv("TURNOUT_TEST_REDIS_START")), 0);
    while ((context = talk()) == NULL)
        pause_until(deadline, "Redis answers");
    redisFree(context);
}

void redis_fixture_fresh(void)
{
    heard = (struct heard){.opened = 0};
    if (server() != 0) /* that of the test before, it may stand still */
        redis_fixture_stop();
    (void)unlink(redis_fixture_path("dump.rdb"));
    redis_fixture_start();
}

static void on_ended(void *context, enum store_call call, enum store_end end, int64_t microseconds)
{
    (void)context;
    ck_assert_int_ge(microseconds, 0);
    heard.ends[call][end]++;
}

static void on_circuit(void *context, enum circuit_state state)
{
    (void)context;
    if (heard.circuit == CIRCUIT_CLOSED && state == CIRCUIT_OPEN)
        heard.opened++;
    if (state == CIRCUIT_PROBING)
        heard.probes++;
    heard.circuit = state;
}

struct store_options redis_fixture_options(void)
{
    static const struct store_observer observer = {.ended = on_ended, .circuit = on_circuit};
    static char socket[512], password[512];
    snprintf(socket, sizeof socket, "%s", redis_fixture_path("redis.sock"));
    snprintf(password, sizeof password, "%s", redis_fixture_path("password"));
    return (struct store_options){.base = fixture_base(),
                                  .socket = socket,
                                  .password_file = password,
                                  .timeout = 2 * SECOND,
                                  .observer = &observer};
}

struct store *redis_fixture_store(const struct store_options *options)
{
    struct store *store = store_create(options);
    heard.circuit = CIRCUIT_OPEN;
    store_name(store, "7000000000000000001", "16384", "abc");
    fixture_wait_for(heard.circuit == CIRCUIT_CLOSED);
    return store;
}

struct store_entry redis_fixture_entry(uint64_t epoch, uint64_t xmax, uint64_t in_progress, const char *body)
{
    int64_t now = clock_realtime();
    return (struct store_entry){.version = {.epoch = epoch, .xmax = xmax, .in_progress = in_progress},
                                .rendered_at = now,
                                .expires_at = now + 60 * SECOND,
                                .body = {body, strlen(body)},
                                .etag = {"1.2.3", 5},
                                .lines = {"ETag: \"1.2.3\"\r\n", 15},
                                .meta = {NULL, 0}};
}

struct end *redis_fixture_begin(struct end *end)
{
    *end = (struct end){.began_at = clock_monotonic()};
    return end;
}

void redis_fixture_done(void *context, enum store_result result, const struct store_entry *entry)
{
    struct end *end = context;
    ck_assert_msg(!end->done, "answered twice");
    end->done = true;
    end->result = result;
    end->after = clock_monotonic() - end->began_at;
    if (entry == NULL)
        return;
    end->version = entry->version;
    end->expires_at = entry->expires_at;
    end->body_length = entry->body.length;
    snprintf(end->body, sizeof end->body, "%.*s", (int)(entry->body.length < 63 ? entry->body.length : 63),
             entry->body.bytes == NULL ? "" : entry->body.bytes);
}

void redis_fixture_get(struct store *store, struct end *end)
{
    store_get(store, KEY, strlen(KEY), redis_fixture_done, redis_fixture_begin(end));
    ck_assert_msg(!end->done, "answered from within the call");
}

struct end redis_fixture_got(struct store *store)
{
    struct end end;
    redis_fixture_get(store, &end);
    fixture_wait_for(end.done);
    ck_assert(end.result == STORE_DONE || end.body_length == 0);
    return end;
}

void redis_fixture_put(struct store *store, const struct store_entry *entry, struct end *end)
{
    store_put(store, KEY, strlen(KEY), entry, redis_fixture_done, redis_fixture_begin(end));
    ck_assert_msg(!end->done, "answered from within the call");
}

enum store_result redis_fixture_was_put(struct store *store, const struct store_entry *entry)
{
    struct end end;
    redis_fixture_put(store, entry, &end);
    fixture_wait_for(end.done);
    return end.result;
}

enum store_result redis_fixture_leased(struct store *store, int64_t milliseconds, uint64_t *lease)
{
    struct end end;
    *lease = store_lease(store, KEY, strlen(KEY), milliseconds, redis_fixture_done, redis_fixture_begin(&end));
    fixture_wait_for(end.done);
    return end.result;
}
