/* control_show: the rows of "show" and "ping", from the process table and the children's last reports. Master; it reads
 * and changes nothing. */
#include "master/control_show.h"

#include <inttypes.h>
#include <unistd.h>

#include "base/clock.h"
#include "config.h"
#include "master/control_cache.h"
#include "shm/buckets.h"
#include "shm/statistics_read.h"

/* Of the answer that is being made; the configuration is the one in force. */
static struct {
    const struct configuration *configuration;
    int64_t started_at;
    const struct process_target *target;
    int64_t asked_at;
    int64_t number;
    int64_t silent; /* processes that have not answered a ping */
} view;

void control_show_create(const struct configuration *configuration)
{
    view.configuration = configuration;
    view.started_at = clock_realtime();
}

static void add_process(void *context, const struct process *process)
{
    struct protocol_reply *answer = context;
    char started[28];
    clock_rfc3339(process->started_at, started);
    protocol_reply_int(answer, process->pid);
    protocol_reply_text(answer, process_role_name(process->role));
    protocol_reply_int(answer, process->slot);
    protocol_reply_text(answer, process_state_name(process->state));
    protocol_reply_text(answer, process->pid == 0 ? NULL : started);
    protocol_reply_int(answer, process->restarts);
    protocol_reply_int(answer, process->pid == 0 ? 0 : clock_monotonic() - process->last_pong);
    protocol_reply_int(answer, process->report.loop_lag);
}

static void show_processes(struct protocol_reply *answer)
{
    static const char *const columns[] = {"pid",      "role",         "slot",        "state", "started_at",
                                          "restarts", "last_pong_us", "loop_lag_us", NULL};
    char started[28];
    protocol_reply_begin(answer, columns);
    if (view.target->role < 0) {
        clock_rfc3339(view.started_at, started);
        protocol_reply_int(answer, getpid());
        protocol_reply_text(answer, "master");
        protocol_reply_int(answer, 0);
        protocol_reply_text(answer, "ready");
        protocol_reply_text(answer, started);
        protocol_reply_int(answer, 0);
        protocol_reply_int(answer, 0);
        protocol_reply_int(answer, 0);
    }
    process_each(view.target, add_process, answer);
}

static void add_option(void *context, const char *name, const char *value, const char *preset, const char *origin)
{
    struct protocol_reply *answer = context;
    protocol_reply_text(answer, name);
    protocol_reply_text(answer, value);
    protocol_reply_text(answer, preset);
    protocol_reply_text(answer, origin);
    protocol_reply_text(answer, configuration_reloadable(name) ? "reload" : "restart");
}

static void show_config(struct protocol_reply *answer)
{
    static const char *const columns[] = {"name", "value", "default", "origin", "applies_at", NULL};
    protocol_reply_begin(answer, columns);
    configuration_each(view.configuration, add_option, answer);
}

static void add_pools(void *context, const struct process *process)
{
    struct protocol_reply *answer = context;
    for (int64_t i = 0; i < process->report.pool_count; i++) {
        const struct child_pool_report *pool = &process->report.pools[i];
        protocol_reply_text(answer, process_role_name(process->role));
        protocol_reply_int(answer, process->slot);
        protocol_reply_int(answer, process->pid);
        protocol_reply_text(answer, pool->name);
        protocol_reply_int(answer, pool->open);
        protocol_reply_int(answer, pool->idle);
        protocol_reply_int(answer, pool->max);
        protocol_reply_int(answer, pool->in_flight);
        protocol_reply_int(answer, pool->waiting);
        protocol_reply_int(answer, pool->connects);
        protocol_reply_int(answer, pool->lost);
        protocol_reply_int(answer, pool->timeouts);
        protocol_reply_text(answer, pool->reachable ? "yes" : "no");
    }
}

static void show_pools(struct protocol_reply *answer)
{
    static const char *const columns[] = {"role",      "slot",    "pid",      "pool", "open",     "idle",      "max",
                                          "in_flight", "waiting", "connects", "lost", "timeouts", "reachable", NULL};
    protocol_reply_begin(answer, columns);
    process_each(view.target, add_pools, answer);
}

static void add_connections(void *context, const struct process *process)
{
    struct protocol_reply *answer = context;
    if (process->role != PROCESS_WORKER)
        return;
    protocol_reply_int(answer, process->slot);
    protocol_reply_int(answer, process->pid);
    protocol_reply_int(answer, process->report.connections);
    protocol_reply_int(answer, process->report.accepted);
    protocol_reply_int(answer, process->report.in_flight);
    protocol_reply_int(answer, process->report.requests);
}

static void show_connections(struct protocol_reply *answer)
{
    static const char *const columns[] = {"worker", "pid", "open", "accepted", "in_flight", "requests", NULL};
    protocol_reply_begin(answer, columns);
    process_each(view.target, add_connections, answer);
}

static void add_memory(void *context, const struct process *process)
{
    struct protocol_reply *answer = context;
    protocol_reply_text(answer, process_role_name(process->role));
    protocol_reply_int(answer, process->slot);
    protocol_reply_int(answer, process->pid);
    protocol_reply_int(answer, process->report.memory_allocated);
    protocol_reply_int(answer, process->report.memory_resident);
    protocol_reply_int(answer, process->report.memory_http);
}

static void show_memory(struct protocol_reply *answer)
{
    static const char *const columns[] = {"role", "slot", "pid", "allocated", "resident", "http", NULL};
    protocol_reply_begin(answer, columns);
    process_each(view.target, add_memory, answer);
}

/* `in_use`: of all limits of the table; those who are at their limit are among them. */
static void show_limits(struct protocol_reply *answer)
{
    static const char *const columns[] = {"limit", "rate", "burst", "refused", "uncounted", "in_use", "room", NULL};
    static const struct {
        unsigned label;
        enum buckets_table table;
    } limits[CONFIGURATION_LIMIT_COUNT] = {
        [CONFIGURATION_USER_WRITES] = {LABEL_LIMIT_USER_WRITES, BUCKETS_OF_USERS},
        [CONFIGURATION_USER_READS] = {LABEL_LIMIT_USER_READS, BUCKETS_OF_USERS},
        [CONFIGURATION_ADDRESS_REQUESTS] = {LABEL_LIMIT_ADDRESS_REQUESTS, BUCKETS_OF_ADDRESSES},
    };
    struct configuration_limit told[CONFIGURATION_LIMIT_COUNT];
    configuration_limits(view.configuration, told);
    protocol_reply_begin(answer, columns);
    for (size_t i = 0; i < CONFIGURATION_LIMIT_COUNT; i++) {
        protocol_reply_text(answer, told[i].name);
        protocol_reply_int(answer, told[i].rate);
        protocol_reply_int(answer, told[i].burst);
        protocol_reply_int(answer, statistics_total(STATISTICS_RATE_LIMITED, limits[i].label, LABEL_NONE_ONE));
        protocol_reply_int(answer, statistics_total(STATISTICS_RATE_UNCOUNTED, limits[i].label, LABEL_NONE_ONE));
        protocol_reply_int(answer, (int64_t)buckets_in_use(limits[i].table, clock_monotonic()));
        protocol_reply_int(answer, (int64_t)buckets_room());
    }
}

static void show_version(struct protocol_reply *answer)
{
    static const char *const columns[] = {"program", "version", "pid", "started_at", NULL};
    char started[28];
    clock_rfc3339(view.started_at, started);
    protocol_reply_begin(answer, columns);
    protocol_reply_text(answer, PACKAGE_NAME "d");
    protocol_reply_text(answer, PACKAGE_VERSION);
    protocol_reply_int(answer, getpid());
    protocol_reply_text(answer, started);
}

static void add_answer(void *context, const struct process *process)
{
    struct protocol_reply *answer = context;
    bool answered = process->pid != 0 && process->last_number >= view.number;
    protocol_reply_text(answer, process_role_name(process->role));
    protocol_reply_int(answer, process->slot);
    protocol_reply_int(answer, process->pid);
    protocol_reply_text(answer, process_state_name(process->state));
    if (answered)
        protocol_reply_int(answer, process->last_pong - view.asked_at);
    else
        protocol_reply_text(answer, NULL);
    view.silent += !answered;
}

static void show_answers(struct protocol_reply *answer)
{
    static const char *const columns[] = {"role", "slot", "pid", "state", "answered_after_us", NULL};
    protocol_reply_begin(answer, columns);
    view.silent = 0;
    process_each(view.target, add_answer, answer);
    if (view.silent > 0)
        protocol_reply_say(answer, 1, "%" PRId64 " of them did not answer", view.silent);
}

/* The nouns, and which of them want fresh reports. */
static const struct {
    void (*show)(struct protocol_reply *answer);
    bool reports;
} nouns[COMMAND_COUNT] = {[COMMAND_SHOW_PROCESSES] = {show_processes, false},
                          [COMMAND_SHOW_CONFIG] = {show_config, false},
                          [COMMAND_SHOW_POOLS] = {show_pools, true},
                          [COMMAND_SHOW_CONNECTIONS] = {show_connections, true},
                          [COMMAND_SHOW_MEMORY] = {show_memory, true},
                          [COMMAND_SHOW_VERSION] = {show_version, false},
                          [COMMAND_SHOW_LIMITS] = {show_limits, false},
                          [COMMAND_SHOW_CACHE] = {control_cache_show, true},
                          [COMMAND_PING] = {show_answers, true}};

bool control_show_needs_reports(enum command command)
{
    return nouns[command].reports;
}

bool control_show(enum command command, const struct process_target *target, int64_t asked_at, int64_t number,
                  struct protocol_reply *answer)
{
    view.target = target;
    view.asked_at = asked_at;
    view.number = number;
    if (nouns[command].show == NULL)
        return false;
    nouns[command].show(answer);
    return true;
}
