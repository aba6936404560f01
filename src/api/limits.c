/* limits: asks the buckets that all workers share (shm/buckets.h) and says what they answered, by
 * draft-ietf-httpapi-ratelimit-headers. Worker process; where nothing is refused it costs a hash, a look at one cache
 * line and one swap of a word in it. */
#include "api/limits.h"

#include <inttypes.h>
#include <stdio.h>

#include "api/api.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/problem.h"
#include "shm/buckets.h"
#include "shm/statistics.h"

#define SECOND INT64_C(1000000)
#define COMPLAINT_INTERVAL (60 * SECOND)
/* Of an IPv6 address: one subscriber has as many addresses as the rest can say. */
#define NETWORK_BYTES 8

static const struct {
    const char *name; /* of the policy */
    enum buckets_table table;
    unsigned label;
    const char *detail; /* of the refusal */
} kinds[CONFIGURATION_LIMIT_COUNT] = {
    [CONFIGURATION_USER_WRITES] = {"user-writes", BUCKETS_OF_USERS, LABEL_LIMIT_USER_WRITES,
                                   "Nothing was written. Wait as long as Retry-After says, then send the request "
                                   "again."},
    [CONFIGURATION_USER_READS] = {"user-reads", BUCKETS_OF_USERS, LABEL_LIMIT_USER_READS, NULL},
    [CONFIGURATION_ADDRESS_REQUESTS] = {"address-requests", BUCKETS_OF_ADDRESSES, LABEL_LIMIT_ADDRESS_REQUESTS,
                                        "Too many requests without a valid token come from this address. Wait as "
                                        "long as Retry-After says."},
};

/* Boot lifetime; made ready for all requests. */
static struct {
    bool on;
    struct buckets_limit buckets;
    int64_t burst;
    int64_t window;       /* seconds in which the burst flows in, rounded up */
    int64_t complained;   /* when the log last named somebody; 0: not yet */
    int64_t uncomplained; /* refusals since */
} limits[CONFIGURATION_LIMIT_COUNT];

void limits_prepare(void)
{
    struct configuration_limit told[CONFIGURATION_LIMIT_COUNT];
    configuration_limits(api_get()->configuration, told);
    for (unsigned i = 0; i < CONFIGURATION_LIMIT_COUNT; i++) {
        limits[i].on = told[i].rate != 0;
        if (!limits[i].on)
            continue;
        limits[i].buckets = buckets_limit(kinds[i].table, i, told[i].rate, told[i].burst);
        limits[i].burst = told[i].burst;
        limits[i].window = (told[i].burst + told[i].rate - 1) / told[i].rate;
    }
}

static int64_t whole_seconds(int64_t microseconds)
{
    return (microseconds + SECOND - 1) / SECOND;
}

/* The quota of the policy flows in within its window, and what is left within `t`: who spreads it over that time is
 * never refused. With nothing left, `t` is the wait for the next request. */
static const char *lines(const struct http_request *request, unsigned kind, const struct buckets_answer *answer)
{
    int64_t seconds = whole_seconds(answer->left > 0 ? answer->refills : answer->wait);
    return arena_printf(
        request->arena,
        "RateLimit-Policy: \"%s\";q=%" PRId64 ";w=%" PRId64 "\r\nRateLimit: \"%s\";r=%" PRId64 ";t=%" PRId64 "\r\n",
        kinds[kind].name, limits[kind].burst, limits[kind].window, kinds[kind].name, answer->left, seconds);
}

/* Once a minute for each limit: an operator wants to know of somebody, and a flood of refusals must not become one of
 * lines. The access log names everybody. */
static void complain(const struct http_request *request, unsigned kind, const char *user_id, int64_t now)
{
    limits[kind].uncomplained++;
    if (limits[kind].complained != 0 && now - limits[kind].complained < COMPLAINT_INTERVAL)
        return;
    log_info("somebody asks for more than the limit allows", log_text("limit", kinds[kind].name),
             log_text("user", user_id), log_text("client", request->client_address),
             log_int("refused", limits[kind].uncomplained));
    limits[kind].complained = now;
    limits[kind].uncomplained = 0;
}

static void refuse(struct http_request *request, unsigned kind, const struct buckets_answer *answer)
{
    char members[64];
    int length = snprintf(members, sizeof members, "{\"violated-policies\":[\"%s\"]}", kinds[kind].name);
    INVARIANT(length > 0 && (size_t)length < sizeof members);
    statistics_count(STATISTICS_RATE_LIMITED, kinds[kind].label);
    request->answer_lines = lines(request, kind, answer);
    problem_respond(request, PROBLEM_RATE_LIMITED,
                    &(struct problem_details){.detail = kinds[kind].detail,
                                              .members = members,
                                              .members_length = (size_t)length,
                                              .retry_after = (int)whole_seconds(answer->wait)});
}

static bool admit(struct http_request *request, unsigned kind, const char *user_id, const void *key, size_t length)
{
    if (!limits[kind].on)
        return true;
    int64_t now = clock_monotonic();
    struct buckets_answer answer = buckets_take(&limits[kind].buckets, key, length, now);
    if (!answer.counted)
        statistics_count(STATISTICS_RATE_UNCOUNTED, kinds[kind].label);
    else if (answer.admitted && kind == CONFIGURATION_USER_WRITES)
        request->answer_lines = lines(request, kind, &answer);
    if (answer.admitted)
        return true;
    complain(request, kind, user_id, now);
    refuse(request, kind, &answer);
    return false;
}

bool limits_admit_user(struct http_request *request, const char *user_id)
{
    bool reads = request->method == HTTP_METHOD_GET || request->method == HTTP_METHOD_HEAD;
    return admit(request, reads ? CONFIGURATION_USER_READS : CONFIGURATION_USER_WRITES, user_id, user_id,
                 strlen(user_id));
}

bool limits_admit_address(struct http_request *request)
{
    const struct network_peer *client = &request->client;
    if (client->kind != NETWORK_IP)
        return true;
    size_t length = network_address_is_ipv4(&client->address) ? sizeof client->address.bytes : NETWORK_BYTES;
    return admit(request, CONFIGURATION_ADDRESS_REQUESTS, NULL, client->address.bytes, length);
}
