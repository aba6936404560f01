/* worker: serves HTTP on the inherited listeners; the API's handlers use two pools of connections to PostgreSQL, one
 * for reads and one for writes. It may write to PostgreSQL, and to nothing that another process reads. */
#include "worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/api.h"
#include "api/caller.h"
#include "api/hot.h"
#include "api/identity.h"
#include "api/limits.h"
#include "api/metrics.h"
#include "api/pool_metrics.h"
#include "api/statements.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/server.h"
#include "pg/pool.h"
#include "pg/report.h"
#include "registration/engine.h"
#include "shm/statistics.h"
#include "shm/usage.h"

/* Queries that may wait for a connection in each pool: at a few thousand statements a second they are gone within the
 * acquire time-out; more would only be answered late. */
#define QUEUE_MAX 10000
/* A write that stands behind another one on its connection begins when that has ended, and be it long after this
 * process has died: too late for the rules to see that it was asked for before what its person did since
 * (last_action_at against the start of the transaction). So writes wait here, not there; a commit takes longer than the
 * way back and forth. */
#define WRITE_DEPTH 1
/* Calls of the registration engine for busy events go one after another. */
#define BUSY_CONNECTIONS 1

/* Boot lifetime. */
static struct {
    struct child *child;
    struct api api;
    struct http_server *server;
    struct http_server *internal;
    bool stopping;
    int draining; /* servers that still have connections */
} worker;

/* The master has looked at the secrets before it started anything: what is wrong with them now went wrong since, and
 * will be mended. */
static void read_secrets(void)
{
    char error[512];
    if (identity_start(error, sizeof error))
        return;
    log_error("the keys of tokens and cursors cannot be read", log_text("error", error));
    exit(EXIT_STATUS_RESTART);
}

static void on_drained(void *context)
{
    (void)context;
    if (--worker.draining == 0)
        child_exit(worker.child, EXIT_STATUS_DONE);
}

static void leave_now(void)
{
    http_server_close_all(worker.server);
    http_server_close_all(worker.internal);
    child_exit(worker.child, EXIT_STATUS_DONE);
}

static void on_shutdown_timeout(evutil_socket_t unused, short events, void *context)
{
    struct http_statistics statistics;
    (void)unused;
    (void)events;
    (void)context;
    http_server_statistics(worker.server, &statistics);
    log_warning("connections did not end within shutdown_timeout", log_int("connections", statistics.connections),
                log_int("in_flight", statistics.in_flight));
    leave_now();
}

static void on_stop(void *context, enum child_stop how)
{
    (void)context;
    if (how == CHILD_STOP_NOW) {
        leave_now();
        return;
    }
    if (!worker.stopping) {
        struct timeval limit = clock_timeval(worker.api.configuration->shutdown_timeout);
        INVARIANT(event_base_once(worker.api.base, -1, EV_TIMEOUT, on_shutdown_timeout, NULL, &limit) == 0);
        worker.stopping = true;
        worker.draining = 2;
        hot_stop();
    }
    http_server_drain(worker.server, how == CHILD_STOP_LEAVE);
    http_server_drain(worker.internal, how == CHILD_STOP_LEAVE);
}

static void sample_server(unsigned listener, const struct http_server *server)
{
    struct http_statistics now;
    http_server_statistics(server, &now);
    statistics_set(STATISTICS_HTTP_CONNECTIONS, listener, LABEL_NONE_ONE, now.connections);
    statistics_set(STATISTICS_HTTP_IN_FLIGHT, listener, LABEL_NONE_ONE, now.in_flight);
    statistics_set(STATISTICS_HTTP_MEMORY, listener, LABEL_NONE_ONE, now.memory);
}

/* Gauges: as old as the last ping at most, and fresh in the process that answers /metrics. */
static void sample(void)
{
    sample_server(LABEL_LISTENER_PUBLIC, worker.server);
    sample_server(LABEL_LISTENER_INTERNAL, worker.internal);
    pool_metrics_sample(LABEL_POOL_WORKER_READ, worker.api.read);
    pool_metrics_sample(LABEL_POOL_WORKER_WRITE, worker.api.write);
    pool_metrics_sample(LABEL_POOL_WORKER_BUSY, worker.api.busy);
    metrics_orders_sample();
    usage_sample();
}

static void on_lag(void *context, int64_t microseconds)
{
    (void)context;
    statistics_observe(STATISTICS_LOOP_LAG, LABEL_ROLE_WORKER, microseconds);
}

static void on_report(void *context, struct child_report *report)
{
    struct http_statistics statistics;
    (void)context;
    http_server_statistics(worker.server, &statistics);
    report->connections = statistics.connections;
    report->accepted = statistics.accepted;
    report->requests = statistics.requests;
    report->in_flight = statistics.in_flight;
    report->memory_http = statistics.memory;
    pg_pool_report(worker.api.read, "read", report);
    pg_pool_report(worker.api.write, "write", report);
    pg_pool_report(worker.api.busy, "busy", report);
    sample();
    report->db_share = report->pools[0].max + report->pools[1].max + report->pools[2].max;
}

/* One for busy events; half of the others for writes, rounded down: reads are the most of the traffic. */
static int64_t share_of_writes(int64_t share)
{
    return (share - BUSY_CONNECTIONS) / 2;
}

static int64_t share_of_reads(int64_t share)
{
    return share - BUSY_CONNECTIONS - share_of_writes(share);
}

static void on_db_share(void *context, int64_t share)
{
    (void)context;
    pg_pool_set_max(worker.api.write, share_of_writes(share));
    pg_pool_set_max(worker.api.read, share_of_reads(share));
}

static struct pg_pool *open_pool(unsigned label, const char *name, int64_t most, int depth)
{
    const struct configuration *configuration = worker.api.configuration;
    struct pg_pool_options options = {.base = worker.api.base,
                                      .role = "worker",
                                      .name = name,
                                      .dsn = configuration->database,
                                      .password_file = configuration->database_password_file,
                                      .connections_min = configuration->db_connections_min,
                                      .connections_max = most,
                                      .connect_timeout = configuration->db_connect_timeout,
                                      .acquire_timeout = configuration->db_acquire_timeout,
                                      .statement_timeout = configuration->db_statement_timeout,
                                      .idle_time = configuration->db_idle_time,
                                      .lifetime = configuration->db_lifetime,
                                      .depth = depth,
                                      .queue_max = QUEUE_MAX,
                                      .observer = pool_metrics_observer(label)};
    return pg_pool_create(&options);
}

static void change_pools(const struct configuration *configuration)
{
    struct pg_pool_settings settings = {.password_file = configuration->database_password_file,
                                        .connections_min = configuration->db_connections_min,
                                        .connect_timeout = configuration->db_connect_timeout,
                                        .acquire_timeout = configuration->db_acquire_timeout,
                                        .statement_timeout = configuration->db_statement_timeout,
                                        .idle_time = configuration->db_idle_time,
                                        .lifetime = configuration->db_lifetime};
    pg_pool_change(worker.api.read, &settings);
    pg_pool_change(worker.api.write, &settings);
    pg_pool_change(worker.api.busy, &settings);
}

/* What stands in the configuration has changed in place: everything that is looked up there at each use needs no word
 * here. */
static bool on_reload(void *context, char *error, size_t error_size)
{
    (void)context;
    bool read = identity_reload(error, error_size);
    caller_prepare();
    limits_prepare();
    memo_forget_all(identity_memo());
    change_pools(worker.api.configuration);
    http_server_reload(worker.server);
    http_server_reload(worker.internal);
    return read;
}

static struct http_server *serve(unsigned listener, const struct http_route *routes, const int *listeners, size_t count,
                                 bool stay)
{
    struct http_server_options options = {.base = worker.api.base,
                                          .configuration = worker.api.configuration,
                                          .routes = routes,
                                          .listeners = listeners,
                                          .listener_count = count,
                                          .behind_proxies = listener == LABEL_LISTENER_PUBLIC,
                                          .observer = metrics_observer(listener),
                                          .listeners_stay = stay,
                                          .drained = on_drained};
    return http_server_create(&options);
}

int worker_main(const struct worker_options *options)
{
    worker.child = child_create(options->start);
    worker.api.base = child_base(worker.child);
    worker.api.configuration = options->configuration;
    worker.api.host = child_host(worker.child);
    worker.api.sample = sample;
    worker.api.schema_expected = options->schema_expected;
    srandom((unsigned)getpid()); /* jitter only */
    int64_t share = options->start->db_share;
    worker.api.read = open_pool(LABEL_POOL_WORKER_READ, "read", share_of_reads(share), 0);
    worker.api.write = open_pool(LABEL_POOL_WORKER_WRITE, "write", share_of_writes(share), WRITE_DEPTH);
    worker.api.busy = open_pool(LABEL_POOL_WORKER_BUSY, "busy", BUSY_CONNECTIONS, WRITE_DEPTH);
    engine_start(&(const struct engine_options){.base = worker.api.base,
                                                .configuration = worker.api.configuration,
                                                .main = worker.api.write,
                                                .busy = worker.api.busy,
                                                .plain = &statement_registration_batch,
                                                .keyed = &statement_registration_batch_keyed,
                                                .observe = metrics_orders_call});
    api_set(&worker.api);
    caller_prepare();
    limits_prepare();
    hot_start(worker.api.base, options->fill);
    read_secrets();
    metrics_start();
    worker.server = serve(LABEL_LISTENER_PUBLIC, api_routes(), options->listeners, options->listener_count,
                          options->listeners_stay);
    worker.internal = serve(LABEL_LISTENER_INTERNAL, api_internal_routes(), options->internal, options->internal_count,
                            options->internal_stay);

    static const struct child_callbacks callbacks = {
        .stop = on_stop, .report = on_report, .db_share = on_db_share, .lag = on_lag, .reload = on_reload};
    child_ready(worker.child);
    int status = child_run(worker.child, &callbacks);
    pg_pool_destroy(worker.api.read);
    pg_pool_destroy(worker.api.write);
    pg_pool_destroy(worker.api.busy);
    return status;
}
