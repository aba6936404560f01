/* metrics: from requests to statistics, and the page of /metrics. Worker process; it counts in the worker's page and
 * reads all of them. */
#include "api/metrics.h"

#include <stdio.h>
#include <string.h>

#include "api/resources.h"
#include "base/text.h"
#include "registration/engine.h"
#include "shm/statistics.h"
#include "shm/statistics_read.h"

static const char *const method_names[] = {
    [HTTP_METHOD_GET] = "GET",         [HTTP_METHOD_HEAD] = "HEAD",   [HTTP_METHOD_POST] = "POST",
    [HTTP_METHOD_PUT] = "PUT",         [HTTP_METHOD_PATCH] = "PATCH", [HTTP_METHOD_DELETE] = "DELETE",
    [HTTP_METHOD_OPTIONS] = "OPTIONS", [HTTP_METHOD_OTHER] = "other",
};

/* Places in the statistics: one for each method where no route fits, then for each line of the route tables one, and
 * for GET a second one behind it, for HEAD. Boot lifetime. */
#define NO_ROUTE_PLACES (HTTP_METHOD_OTHER + 1)
static struct {
    const struct http_route *routes;
    size_t count;
    unsigned char places[STATISTICS_ROUTES_MAX];
} tables[2];
static char labels[STATISTICS_ROUTES_MAX][96];

static void name_place(size_t place, const char *route, enum http_method method)
{
    INVARIANT(place < STATISTICS_ROUTES_MAX); /* else: raise it in statistics_table.h */
    int length =
        snprintf(labels[place], sizeof labels[place], "route=\"%s\",method=\"%s\"", route, method_names[method]);
    INVARIANT(length > 0 && (size_t)length < sizeof labels[place] && strpbrk(route, "\"\\\n") == NULL);
}

void metrics_start(void)
{
    size_t place = 0;
    for (enum http_method method = HTTP_METHOD_GET; method <= HTTP_METHOD_OTHER; method++)
        name_place(place++, "none", method);
    tables[0].routes = api_routes();
    tables[1].routes = api_internal_routes();
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        for (const struct http_route *route = tables[i].routes; route->path != NULL; route++) {
            tables[i].places[tables[i].count++] = (unsigned char)place;
            name_place(place++, route->path, route->method);
            if (route->method == HTTP_METHOD_GET)
                name_place(place++, route->path, HTTP_METHOD_HEAD);
        }
    }
    static const char *texts[STATISTICS_ROUTES_MAX];
    for (size_t i = 0; i < place; i++)
        texts[i] = labels[i];
    statistics_set_routes(texts, place);
}

static unsigned place_of(const struct http_request *request)
{
    const struct http_route *route = request->route;
    if (route == NULL)
        return request->method;
    const size_t table = route >= tables[0].routes && route < tables[0].routes + tables[0].count ? 0 : 1;
    unsigned place = tables[table].places[route - tables[table].routes];
    return request->method == HTTP_METHOD_HEAD && route->method == HTTP_METHOD_GET ? place + 1 : place;
}

static unsigned listener_of(const void *context)
{
    return *(const unsigned *)context;
}

static void on_answered(void *context, const struct http_request *request, int status, size_t bytes,
                        int64_t microseconds)
{
    unsigned place = place_of(request);
    statistics_add(STATISTICS_HTTP_REQUESTS, place, status == 0 ? LABEL_CODE_NONE : statistics_code(status), 1);
    statistics_observe(STATISTICS_HTTP_DURATION, place, microseconds);
    statistics_add(STATISTICS_HTTP_SENT, listener_of(context), LABEL_NONE_ONE, (int64_t)bytes);
}

static void on_refused(void *context, enum guard_verdict verdict)
{
    static const unsigned char refusals[] = {
#define REFUSAL_OF(symbol, status, detail) [GUARD_##symbol] = LABEL_REFUSAL_##symbol,
        GUARD_LIST(REFUSAL_OF)
#undef REFUSAL_OF
    };
    (void)context;
    statistics_count(STATISTICS_HTTP_REFUSALS, refusals[verdict]);
}

static void on_happened(void *context, enum http_occurrence what, int64_t n)
{
    if (what == HTTP_ADDRESS_UNTRUSTED || what == HTTP_ADDRESS_UNUSABLE) {
        statistics_count(STATISTICS_PROXY_HEADERS_DROPPED,
                         what == HTTP_ADDRESS_UNTRUSTED ? LABEL_DROP_ADDRESS_UNTRUSTED : LABEL_DROP_ADDRESS_UNUSABLE);
        return;
    }
    static const struct {
        enum statistics_family family;
        unsigned second;
    } counters[HTTP_OCCURRENCE_COUNT] = {
        [HTTP_CLOSED_CLIENT] = {STATISTICS_HTTP_CLOSED, LABEL_CLOSING_CLIENT},
        [HTTP_CLOSED_ANSWERED] = {STATISTICS_HTTP_CLOSED, LABEL_CLOSING_ANSWERED},
        [HTTP_CLOSED_REFUSED] = {STATISTICS_HTTP_CLOSED, LABEL_CLOSING_REFUSED},
        [HTTP_CLOSED_IDLE_TIME] = {STATISTICS_HTTP_CLOSED, LABEL_CLOSING_IDLE_TIMEOUT},
        [HTTP_CLOSED_HEADER_TIME] = {STATISTICS_HTTP_CLOSED, LABEL_CLOSING_HEADER_TIMEOUT},
        [HTTP_CLOSED_BODY_TIME] = {STATISTICS_HTTP_CLOSED, LABEL_CLOSING_BODY_TIMEOUT},
        [HTTP_CLOSED_WRITE_TIME] = {STATISTICS_HTTP_CLOSED, LABEL_CLOSING_WRITE_TIMEOUT},
        [HTTP_CLOSED_ROOM] = {STATISTICS_HTTP_CLOSED, LABEL_CLOSING_ROOM},
        [HTTP_CLOSED_SHUTDOWN] = {STATISTICS_HTTP_CLOSED, LABEL_CLOSING_SHUTDOWN},
        [HTTP_ACCEPTED] = {STATISTICS_HTTP_ACCEPTED, LABEL_NONE_ONE},
        [HTTP_RECEIVED] = {STATISTICS_HTTP_RECEIVED, LABEL_NONE_ONE},
        [HTTP_FULL] = {STATISTICS_HTTP_PAUSES, LABEL_PAUSE_FULL},
        [HTTP_EXHAUSTED] = {STATISTICS_HTTP_PAUSES, LABEL_PAUSE_DESCRIPTORS},
        [HTTP_CUT_OFF] = {STATISTICS_HTTP_CUT_OFF, LABEL_NONE_ONE},
        [HTTP_PUT_OFF] = {STATISTICS_HTTP_PUT_OFF, LABEL_NONE_ONE},
    };
    statistics_add(counters[what].family, listener_of(context), counters[what].second, n);
}

const struct http_observer *metrics_observer(unsigned listener)
{
    static unsigned listeners[] = {LABEL_LISTENER_PUBLIC, LABEL_LISTENER_INTERNAL};
    static const struct http_observer observers[] = {
        [LABEL_LISTENER_PUBLIC] = {on_answered, on_refused, on_happened, &listeners[LABEL_LISTENER_PUBLIC]},
        [LABEL_LISTENER_INTERNAL] = {on_answered, on_refused, on_happened, &listeners[LABEL_LISTENER_INTERNAL]}};
    return &observers[listener];
}

static unsigned registration_label(const char *outcome)
{
    static const struct {
        const char *text; /* outcome="registered" */
        unsigned label;
    } outcomes[] = {
#define OUTCOME(symbol, text) {text, LABEL_##symbol},
        STATISTICS_REGISTRATION_LABELS(OUTCOME)
#undef OUTCOME
    };
    static const size_t prefix = sizeof "outcome=\"" - 1;
    size_t length = strlen(outcome);
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        const char *text = outcomes[i].text + prefix;
        if (strncmp(text, outcome, length) == 0 && text[length] == '"')
            return outcomes[i].label;
    }
    return LABEL_REGISTRATION_OTHER;
}

void metrics_registration(const struct order_decision *decision)
{
    unsigned label = LABEL_REGISTRATION_FAILED;
    switch (decision->end) {
    case ORDER_DECIDED:
        label = registration_label(PQgetvalue(decision->result, decision->row, 0));
        break;
    case ORDER_OVERLOADED:
    case ORDER_BUSY:
        label = LABEL_REGISTRATION_BUSY;
        break;
    case ORDER_UNKNOWN:
        label = LABEL_REGISTRATION_UNKNOWN;
        break;
    case ORDER_FAILED:
    case ORDER_UNAVAILABLE:
    case ORDER_TIMED_OUT:
        break;
    }
    statistics_count(STATISTICS_REGISTRATIONS, label);
}

void metrics_orders_call(int orders, int64_t microseconds)
{
    statistics_add(STATISTICS_ORDERS_SENT, LABEL_NONE_ONE, LABEL_NONE_ONE, orders);
    statistics_observe(STATISTICS_ORDERS_CALL, LABEL_NONE_ONE, microseconds);
}

void metrics_orders_sample(void)
{
    struct engine_statistics now;
    engine_statistics(&now);
    statistics_set(STATISTICS_ORDERS_WAITING, LABEL_NONE_ONE, LABEL_NONE_ONE, now.waiting);
    statistics_set(STATISTICS_ORDERS_IN_FLIGHT, LABEL_NONE_ONE, LABEL_NONE_ONE, now.in_flight);
    statistics_set(STATISTICS_ORDERS_BUSY_EVENTS, LABEL_NONE_ONE, LABEL_NONE_ONE, now.busy);
    statistics_set(STATISTICS_ORDERS_STUCK_EVENTS, LABEL_NONE_ONE, LABEL_NONE_ONE, now.stuck);
}

void metrics_registration_outcome(const char *outcome)
{
    statistics_count(STATISTICS_REGISTRATIONS, registration_label(outcome));
}

static void free_text(void *owner)
{
    buffer_free(owner);
}

void metrics_read(struct http_request *request)
{
    struct buffer *text = arena_zalloc(request->arena, sizeof *text);
    api_get()->sample();
    statistics_write(text);
    http_respond(request, &(struct http_response){.status = 200,
                                                  .content_type = STATISTICS_CONTENT_TYPE,
                                                  .headers = "Cache-Control: no-store\r\n",
                                                  .body = buffer_bytes(text),
                                                  .body_length = buffer_length(text),
                                                  .release = free_text,
                                                  .owner = text});
}
