/* load: a load generator for turnout. Closed loop: each connection asks again as soon as it is answered. Open loop
 * (--rate): requests are due at set moments, whatever the server does, and latency counts from the moment at which a
 * request was due, so that a server that stands still is charged for all whom it kept waiting (coordinated omission).
 * One process, one thread; it touches nothing but the address that it is given. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "client.h"
#include "options.h"
#include "report.h"
#include "retry.h"

#define PROGRESS_INTERVAL INT64_C(100000)

static struct {
    struct options options;
    struct client_owner owner;
    struct mix mix;
    struct report report;
    struct client *clients;
    struct event **again; /* of each client: it is free */
    struct client *free;  /* who has been free for the longest comes first: all connections are used, in turn */
    struct client **free_end;
    struct event *arrivals;
    struct event *progress;
    bool drawn_out;      /* nothing new is asked; what has been asked is followed to its final answer */
    bool ending;         /* nothing is asked any more, not again either */
    int64_t asked;       /* new ones */
    int64_t outstanding; /* asked, without a final answer */
    int64_t next_due;    /* of the next arrival, to the microsecond */
    double next_exact;
    /* Arrivals for which no client was free, oldest first. */
    int64_t *backlog;
    size_t backlog_first;
    size_t backlog_count;
    size_t backlog_capacity;
} load = {.free_end = &load.free};

static void on_end(evutil_socket_t descriptor, short what, void *context);

/* --- who asks when --- */

static void push_due(int64_t due)
{
    if (load.backlog_count == load.backlog_capacity) {
        size_t capacity = load.backlog_capacity == 0 ? 1024 : 2 * load.backlog_capacity;
        int64_t *grown = malloc(capacity * sizeof *grown);
        INVARIANT(grown != NULL);
        for (size_t i = 0; i < load.backlog_count; i++)
            grown[i] = load.backlog[(load.backlog_first + i) % load.backlog_capacity];
        free(load.backlog);
        load.backlog = grown;
        load.backlog_first = 0;
        load.backlog_capacity = capacity;
    }
    load.backlog[(load.backlog_first + load.backlog_count++) % load.backlog_capacity] = due;
}

static int64_t pop_due(void)
{
    int64_t due = load.backlog[load.backlog_first];
    load.backlog_first = (load.backlog_first + 1) % load.backlog_capacity;
    load.backlog_count--;
    return due;
}

static struct client *take_free(void)
{
    struct client *client = load.free;
    load.free = client->next;
    if (load.free == NULL)
        load.free_end = &load.free;
    return client;
}

static void end_soon(int64_t pause)
{
    struct timeval wait = clock_timeval(pause);
    INVARIANT(event_base_once(load.owner.base, -1, EV_TIMEOUT, on_end, NULL, &wait) == 0);
}

static void draw_out(void)
{
    load.drawn_out = true;
    load.backlog_count = 0;
    if (load.outstanding == 0)
        end_soon(0);
}

/* One of those asked has its final answer, or will never have one. */
static void conclude(void)
{
    load.outstanding--;
    if (load.drawn_out && load.outstanding == 0)
        end_soon(0);
}

/* false: the client stays free, there is nothing more to ask. */
static bool ask(struct client *client, int64_t due)
{
    if (load.drawn_out)
        return false;
    load.outstanding++; /* before: a refused connection concludes it from within */
    load.asked++;
    if (!client_ask(client, due)) {
        load.outstanding--;
        draw_out();
        return false;
    }
    if (load.asked == load.options.requests)
        draw_out();
    return true;
}

static void repeat(struct client *client, struct retry *retry)
{
    client_repeat(client, retry);
    retry_free(retry);
}

static void give_back(struct client *client)
{
    client->next = NULL;
    *load.free_end = client;
    load.free_end = &client->next;
}

static void advance(void)
{
    load.next_exact += load.options.poisson ? -log(1 - drand48()) * 1e6 / load.options.rate : 1e6 / load.options.rate;
    load.next_due = (int64_t)load.next_exact;
}

/* What is due goes to whoever is free, first come first served. */
static void dispatch(void)
{
    if (load.ending || load.drawn_out)
        return;
    int64_t now = clock_monotonic();
    for (; load.next_due <= now; advance())
        push_due(load.next_due);
    while (load.backlog_count > 0 && load.free != NULL) {
        struct client *client = take_free();
        if (!ask(client, pop_due())) {
            give_back(client);
            return;
        }
    }
    struct timeval wait = clock_timeval(load.next_due - clock_monotonic());
    evtimer_add(load.arrivals, &wait);
}

static void on_arrival(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    (void)context;
    dispatch();
}

/* Never from within client_ask, as a refused connection would call itself without end. */
static void on_free(evutil_socket_t descriptor, short what, void *context)
{
    struct client *client = context;
    (void)descriptor;
    (void)what;
    if (load.ending)
        return;
    struct retry *retry = retry_pop();
    if (retry != NULL)
        repeat(client, retry);
    else if (load.options.rate == 0 && ask(client, clock_monotonic()))
        return;
    else if (load.backlog_count > 0 && ask(client, pop_due()))
        return;
    else
        give_back(client);
}

static void on_ripe(void)
{
    while (!load.ending && load.free != NULL) {
        struct retry *retry = retry_pop();
        if (retry == NULL)
            return;
        repeat(take_free(), retry);
    }
}

static void is_free(struct client *client, int64_t pause)
{
    struct event *again = load.again[client - load.clients];
    struct timeval wait = clock_timeval(pause);
    if (pause > 0)
        evtimer_add(again, &wait);
    else
        event_active(again, EV_TIMEOUT, 0);
}

static void answered(struct client *client, int status, const char *body, size_t length)
{
    struct mix_request *request = client->drawn.request;
    int64_t now = clock_monotonic();
    load.report.answered++;
    request->answered++;
    request->statuses[status < MIX_STATUS_MOST ? status : 0]++;
    histogram_add(&request->latency, now - client->due);
    histogram_add(&request->service, now - client->sent);
    if (request->tells || load.options.answers != NULL) {
        char name[KIND_SIZE];
        kind_name(status, body, length, name);
        kind_count(&request->kinds, name);
        if (load.options.answers != NULL)
            fprintf(load.options.answers, "%zu %.3f %s\n", client->drawn.token, (double)(now - client->due) / 1000,
                    name);
    }
    if (request->keeps && status < 300)
        mix_keep(&load.mix, &client->drawn, body, length);
    is_free(client, 0);
    conclude();
}

static void postponed(struct client *client, int status, int64_t retry_after, const char *body, size_t length)
{
    struct mix_request *request = client->drawn.request;
    char name[KIND_SIZE];
    kind_name(status, body, length, name);
    kind_count(&request->not_now, name);
    request->retries++;
    retry_keep(client, retry_after < 0 ? 1 : retry_after);
    is_free(client, 0);
}

static void failed(struct client *client, enum client_failure failure, int status, const char *detail)
{
    struct mix_request *request = client->drawn.request;
    request->failed++;
    if (status > 0 && status < MIX_STATUS_MOST)
        request->statuses[status]++;
    report_note(&load.report, client, failure, status, detail);
    /* nobody is helped by a client that knocks at a closed door as fast as it can */
    is_free(client, failure == CLIENT_REFUSED ? 5000 : 0);
    conclude();
}

static void on_progress(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    (void)context;
    fprintf(stderr, "%lld %lld\n", (long long)load.report.answered, (long long)load.report.failed);
}

static bool anybody_asks(void)
{
    for (int i = 0; i < load.report.connections; i++) {
        if (load.clients[i].state != CLIENT_FREE)
            return true;
    }
    return false;
}

/* What has been asked is waited for, then the loop ends. */
static void on_end(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    (void)context;
    if (!load.ending) {
        load.ending = true;
        load.report.ended = clock_monotonic();
        load.report.in_time = load.report.answered;
        load.report.never_sent = (int64_t)load.backlog_count;
    }
    if (!anybody_asks()) {
        event_base_loopbreak(load.owner.base);
        return;
    }
    end_soon(1000);
}

/* --- life --- */

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)load.report.connections + 64;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
        options_wrong("--connections", "more than this process may open (ulimit -n)");
}

static void watch(void)
{
    struct event_base *base = load.owner.base;
    load.arrivals = evtimer_new(base, on_arrival, NULL);
    load.progress = event_new(base, -1, EV_PERSIST, on_progress, NULL);
    INVARIANT(load.arrivals != NULL && load.progress != NULL);
    end_soon(load.options.duration);
    static const int signals[] = {SIGINT, SIGTERM};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        struct event *event = evsignal_new(base, signals[i], on_end, NULL);
        INVARIANT(event != NULL && event_add(event, NULL) == 0);
    }
    load.clients = calloc((size_t)load.report.connections, sizeof *load.clients);
    load.again = calloc((size_t)load.report.connections, sizeof *load.again);
    INVARIANT(load.clients != NULL && load.again != NULL);
    for (int i = 0; i < load.report.connections; i++) {
        client_create(&load.clients[i], &load.owner);
        load.again[i] = evtimer_new(base, on_free, &load.clients[i]);
        INVARIANT(load.again[i] != NULL);
        is_free(&load.clients[i], 0);
    }
}

int main(int argc, char **argv)
{
    load.options.mix = &load.mix;
    options_read(argc, argv, &load.options);
    load.report.connections = load.options.connections;
    raise_descriptor_limit();
    signal(SIGPIPE, SIG_IGN);
    /* libevent's timers are to the millisecond otherwise */
    struct event_config *precise = event_config_new();
    INVARIANT(precise != NULL && event_config_set_flag(precise, EVENT_BASE_FLAG_PRECISE_TIMER) == 0);
    load.owner.base = event_base_new_with_config(precise);
    INVARIANT(load.owner.base != NULL);
    event_config_free(precise);
    load.owner.mix = &load.mix;
    load.owner.address = (struct sockaddr *)&load.options.address;
    load.owner.address_length = load.options.address_length;
    load.owner.timeout = load.options.timeout;
    load.owner.fresh = load.options.fresh;
    load.owner.answered = answered;
    load.owner.failed = failed;
    load.owner.postponed = postponed;
    retry_tell(on_ripe);
    load.report.rate = load.options.rate;
    load.report.began = clock_monotonic();
    load.next_exact = (double)load.report.began;
    watch();
    if (load.options.progress) {
        struct timeval every = clock_timeval(PROGRESS_INTERVAL);
        event_add(load.progress, &every);
    }
    if (load.options.rate > 0) {
        advance();
        dispatch();
    }
    event_base_dispatch(load.owner.base);
    load.report.connects = load.owner.connects;
    load.report.unasked = load.owner.unasked;
    load.report.unanswered = load.outstanding;
    if (load.options.answers != NULL && fclose(load.options.answers) != 0)
        options_wrong("--answers", strerror(errno));
    (load.options.json ? report_json : report_text)(&load.report, &load.mix, stdout);
    return load.report.failed > 0 || load.report.unasked > 0 || load.report.unanswered > 0;
}
