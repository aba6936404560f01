/* process: the process table. Master; the only writer. Callbacks only note what happened; forks are made in
 * process_supervise, from the top of the loop, so that a child never returns into the master's event loop. */
#include "master/process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "master/process_table.h"
#include "master/tally.h"
#include "shm/statistics.h"
#include "shm/usage.h"

/* A child that dies before it serves: 100 ms, doubled with each death in a row, at most 30 s. */
#define BACKOFF_FIRST INT64_C(100000)
#define BACKOFF_MOST INT64_C(30000000)
/* One that crashes within a second of serving may do so for ever (a request that somebody repeats, a broken library):
 * the first time it starts again at once, then it backs off like one that never served. */
#define CRASH_SOON INT64_C(1000000)

struct process_table process_table;
#define table process_table

static const char *const role_names[] = {"worker", "refresher", "mailer", "scheduler"};
static const char *const state_names[] = {"starting", "ready", "stopping", "backoff", "failed"};

const char *process_role_name(enum process_role role)
{
    return role_names[role];
}

const char *process_state_name(enum process_state state)
{
    return state_names[state];
}

void process_table_create(const struct process_options *options)
{
    table.options = *options;
    table.workers_wanted = options->configuration->workers;
    table.share_told = configuration_db_share(options->configuration, table.workers_wanted);
    table.ping_due = clock_monotonic();
    table.warmed = !options->refresher;
}

void process_set_state(struct process *process, enum process_state state)
{
    if (process->state == state)
        return;
    log_debug("process state", log_text("role", role_names[process->role]), log_int("of", process->slot),
              log_text("from", state_names[process->state]), log_text("to", state_names[state]));
    process->state = state;
}

static struct process *find_row(enum process_role role, int slot)
{
    struct process *unused = NULL;
    for (size_t i = 0; i < ROWS_MAX; i++) {
        struct process *process = &table.rows[i];
        if (process->used && process->role == role && process->slot == slot)
            return process;
        if (!process->used && unused == NULL)
            unused = process;
    }
    INVARIANT(unused != NULL);
    *unused = (struct process){
        .magic = PROCESS_MAGIC, .used = true, .role = role, .slot = slot, .channel = -1, .state = PROCESS_BACKOFF};
    return unused;
}

/* Returns the exit status in the child, -1 in the master. */
static int fork_child(struct process *process)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
        log_error("no channel for a child", log_text("error", strerror(errno)));
        process->restart_at = clock_monotonic() + BACKOFF_FIRST;
        process_set_state(process, PROCESS_BACKOFF);
        return -1;
    }
    struct child_start start = {.slot = process->slot,
                                .channel = ends[1],
                                .master = getpid(),
                                .db_share = table.share_told,
                                .distrust = process->distrust};
    pid_t pid = fork();
    if (pid == 0) {
        table.options.enter(process->role, &start);
        return table.options.main_of[process->role](&start);
    }
    close(ends[1]);
    if (pid < 0) {
        log_error("fork failed", log_text("error", strerror(errno)));
        close(ends[0]);
        process->restart_at = clock_monotonic() + BACKOFF_FIRST;
        process_set_state(process, PROCESS_BACKOFF);
        return -1;
    }
    process->pid = pid;
    tally_holder(process, pid);
    process->channel = ends[0];
    process->started_at = clock_realtime();
    process->started_clock = clock_monotonic();
    process->serves_since = 0;
    process->silent = false;
    process->last_pong = process->started_clock;
    process->last_number = table.ping_number; /* earlier pings are not its to answer */
    process->report = (struct child_report){.db_share = start.db_share};
    process->reload_sent = process->reload_done = table.reload_number; /* it was born with these values */
    process->reload_error[0] = '\0';
    process->log_owed = false;
    process_set_state(process, PROCESS_STARTING);
    process->channel_event = event_new(table.options.base, ends[0], EV_READ | EV_PERSIST, process_on_channel, process);
    INVARIANT(process->channel_event != NULL);
    event_add(process->channel_event, NULL);
    return -1;
}

/* The obituary: who died, of what, doing what. */
static void log_death(const struct process *process, int status, bool expected)
{
    char cause[64];
    if (WIFSIGNALED(status))
        snprintf(cause, sizeof cause, "signal %d (%s)", WTERMSIG(status), sigabbrev_np(WTERMSIG(status)));
    else
        snprintf(cause, sizeof cause, "exit status %d", WEXITSTATUS(status));
    log_at(expected ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, expected ? "child ended" : "child died",
           log_text("role", role_names[process->role]), log_int("of", process->slot), log_int("child", process->pid),
           log_text("cause", cause), log_text("state", state_names[process->state]),
           log_int("lived_us", clock_monotonic() - process->started_clock),
           log_int("requests", process->report.requests), log_int("in_flight", process->report.in_flight),
           log_int("connections", process->report.connections));
}

/* How long its successor waits. Who was killed has not failed. */
static int64_t pause_after(struct process *process, int status)
{
    bool killed = WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM);
    bool served = process->serves_since != 0;
    if (served && (killed || clock_monotonic() - process->serves_since >= CRASH_SOON)) {
        process->failures = 0;
        return 0;
    }
    int failures = process->failures++;
    if (served && failures == 0)
        return 0;
    int64_t wait = BACKOFF_FIRST << (failures < 9 ? failures : 9);
    return wait < BACKOFF_MOST ? wait : BACKOFF_MOST;
}

/* Who was killed has written nothing wrong, and neither has who ended when it was told to. A refresher that crashed may
 * have: nobody believes what it left until a successor has put it right. */
static void judge_cache(struct process *process, int status)
{
    bool killed = WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM);
    bool done = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_STATUS_DONE;
    if (process->role != PROCESS_REFRESHER || killed || done || process->distrust)
        return;
    process->distrust = true;
    statistics_count(STATISTICS_CACHE_DISTRUSTED, LABEL_NONE_ONE);
    log_warning("the hot cache is distrusted: its successor keeps nothing of it");
}

static void bury(struct process *process, int status)
{
    bool told = process->state == PROCESS_STOPPING;
    log_death(process, status, told && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_STATUS_DONE);
    event_free(process->channel_event);
    process->channel_event = NULL;
    close(process->channel);
    process->channel = -1;
    process->pid = 0;
    tally_holder(process, 0);
    table.options.buried(process->role, process->slot);
    judge_cache(process, status);
    if (table.stopping || process->removed) {
        process->used = false;
        return;
    }
    process->restarts++;
    tally_restart(process, status);
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_STATUS_DO_NOT_RESTART) {
        log_error("child must not be started again", log_text("role", role_names[process->role]),
                  log_int("of", process->slot));
        process_set_state(process, PROCESS_FAILED);
        table.bad_start = table.bad_start || !table.ever_ready || process_workers_ready() == 0;
        return;
    }
    process->restart_at = clock_monotonic() + (told ? 0 : pause_after(process, status));
    process_set_state(process, PROCESS_BACKOFF);
}

static struct process *row_of(pid_t pid)
{
    for (size_t i = 0; i < ROWS_MAX; i++) {
        if (process_is_alive(&table.rows[i]) && table.rows[i].pid == pid)
            return &table.rows[i];
    }
    return NULL;
}

static void reap(void)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct process *process = row_of(pid);
        if (process == NULL) {
            table.options.reaped(table.options.context, pid, status);
            continue;
        }
        /* what it said last is still in the channel */
        process_on_channel(process->channel, EV_READ, process);
        bury(process, status);
        table.options.changed(table.options.context);
    }
}

static void kill_silent(int64_t now)
{
    for (size_t i = 0; i < ROWS_MAX; i++) {
        struct process *process = &table.rows[i];
        if (!process_is_alive(process) || now - process->last_pong < table.options.configuration->ping_timeout)
            continue;
        log_error("child does not answer; killing it", log_text("role", role_names[process->role]),
                  log_int("of", process->slot), log_int("child", process->pid),
                  log_int("silent_us", now - process->last_pong));
        kill(process->pid, SIGKILL);
        process->silent = true;
        process->last_pong = now;
    }
}

/* A master that was itself stopped or starved must not blame its children. */
static void ping_when_due(void)
{
    int64_t interval = table.options.configuration->ping_interval;
    if (table.options.ping_interval_max > 0 && interval > table.options.ping_interval_max)
        interval = table.options.ping_interval_max;
    int64_t now = clock_monotonic();
    if (table.ping_due > now + interval) /* it was longer until a reload */
        table.ping_due = now + interval;
    if (now < table.ping_due)
        return;
    if (now - table.ping_due > interval) {
        log_warning("the master was late; the clocks of its children start again",
                    log_int("late_us", now - table.ping_due));
        for (size_t i = 0; i < ROWS_MAX; i++)
            table.rows[i].last_pong = now;
    }
    table.ping_due = now + interval;
    kill_silent(now);
    process_ping();
    usage_sample();
}

/* /readyz is answered by workers: they hear at once when one of them begins or ceases to serve. */
static void tell_readiness(void)
{
    int64_t ready = process_workers_ready();
    if (ready == table.ready_told)
        return;
    table.ready_told = ready;
    process_ping();
}

static void tell_share(int64_t share)
{
    if (share == table.share_told)
        return;
    table.share_told = share;
    for (size_t i = 0; i < ROWS_MAX; i++) {
        if (process_is_alive(&table.rows[i]) && table.rows[i].role == PROCESS_WORKER)
            process_send(&table.rows[i], CHILD_MESSAGE_DB_SHARE, share);
    }
    table.share_ping = process_ping();
}

static int64_t open_connections(const struct process *process)
{
    int64_t open = 0;
    for (int64_t i = 0; i < process->report.pool_count; i++)
        open += process->report.pools[i].open;
    return open;
}

/* Is there room for one more worker: nobody who is leaving holds connections, and all keep to the share that leaves
 * room. */
static bool budget_is_free(int64_t share)
{
    for (size_t i = 0; i < ROWS_MAX; i++) {
        const struct process *process = &table.rows[i];
        if (!process_is_alive(process) || process->role != PROCESS_WORKER)
            continue;
        if (process->removed || process->last_number < table.share_ping || process->report.db_share > share ||
            open_connections(process) > share)
            return false;
    }
    return true;
}

static void adjust_workers(void)
{
    int64_t rows = 0;
    int64_t leaving = 0;
    for (size_t i = 0; i < ROWS_MAX; i++) {
        struct process *process = &table.rows[i];
        if (!process->used || process->role != PROCESS_WORKER)
            continue;
        if (process->slot >= table.workers_wanted && !process->removed) {
            process->removed = true;
            if (process_is_alive(process)) {
                process_send(process, CHILD_MESSAGE_STOP, CHILD_STOP_LEAVE);
                process_set_state(process, PROCESS_STOPPING);
            } else {
                process->used = false;
                continue;
            }
        }
        rows += process->removed ? 0 : 1;
        leaving += process->removed ? 1 : 0;
    }
    int64_t share = configuration_db_share(table.options.configuration, table.workers_wanted);
    if (rows < table.workers_wanted) {
        if (share < table.share_told)
            tell_share(share);
        if (!budget_is_free(share))
            return;
        for (int slot = 0; slot < table.workers_wanted; slot++)
            find_row(PROCESS_WORKER, slot);
    } else if (leaving == 0) {
        tell_share(share);
    }
}

static int start_due(void)
{
    int64_t now = clock_monotonic();
    for (size_t i = 0; i < ROWS_MAX; i++) {
        struct process *process = &table.rows[i];
        if (!process->used || process->state != PROCESS_BACKOFF || process->pid != 0 || process->restart_at > now)
            continue;
        int status = fork_child(process);
        if (status >= 0)
            return status;
    }
    return -1;
}

int64_t process_next_due(void)
{
    int64_t due = table.ping_due;
    for (size_t i = 0; i < ROWS_MAX; i++) {
        const struct process *process = &table.rows[i];
        if (process->used && process->state == PROCESS_BACKOFF && process->restart_at < due)
            due = process->restart_at;
    }
    return due;
}

int process_supervise(void)
{
    reap();
    process_send_owed();
    if (table.stopping)
        return -1;
    ping_when_due();
    tell_readiness();
    if (table.options.refresher)
        find_row(PROCESS_REFRESHER, 0);
    if (table.options.mailer)
        find_row(PROCESS_MAILER, 0);
    find_row(PROCESS_SCHEDULER, 0);
    adjust_workers();
    int status = start_due();
    if (status < 0)
        tally_states(table.rows, ROWS_MAX, table.workers_wanted);
    return status;
}

void process_set_workers(int64_t workers)
{
    INVARIANT(workers >= 1 && workers <= WORKERS_MAX);
    table.workers_wanted = workers;
}

int64_t process_workers_wanted(void)
{
    return table.workers_wanted;
}

int64_t process_workers_ready(void)
{
    int64_t ready = 0;
    for (size_t i = 0; i < ROWS_MAX; i++)
        ready += process_is_alive(&table.rows[i]) && table.rows[i].role == PROCESS_WORKER &&
                 table.rows[i].state == PROCESS_READY;
    return ready;
}

void process_stop_all(bool now)
{
    table.stopping = true;
    for (size_t i = 0; i < ROWS_MAX; i++) {
        struct process *process = &table.rows[i];
        if (!process_is_alive(process)) {
            process->used = false;
            continue;
        }
        process_send(process, CHILD_MESSAGE_STOP, now ? CHILD_STOP_NOW : CHILD_STOP_DRAIN);
        process_set_state(process, PROCESS_STOPPING);
    }
}

void process_kill_all(void)
{
    for (size_t i = 0; i < ROWS_MAX; i++) {
        if (process_is_alive(&table.rows[i]))
            kill(table.rows[i].pid, SIGKILL);
    }
}

bool process_all_gone(void)
{
    for (size_t i = 0; i < ROWS_MAX; i++) {
        if (process_is_alive(&table.rows[i]))
            return false;
    }
    return true;
}

bool process_bad_start(void)
{
    return table.bad_start;
}

bool process_is_meant(const struct process_target *target, const struct process *process)
{
    return target->role < 0 || (target->role == (int)process->role && target->slot == process->slot);
}

const struct process *process_find(const struct process_target *target)
{
    for (size_t i = 0; i < ROWS_MAX; i++) {
        if (table.rows[i].used && process_is_meant(target, &table.rows[i]))
            return &table.rows[i];
    }
    return NULL;
}

void process_each(const struct process_target *target, void (*row)(void *context, const struct process *process),
                  void *context)
{
    for (int role = 0; role < PROCESS_ROLE_COUNT; role++) {
        for (int slot = 0; slot < WORKERS_MAX; slot++) {
            for (size_t i = 0; i < ROWS_MAX; i++) {
                const struct process *process = &table.rows[i];
                if (process->used && (int)process->role == role && process->slot == slot &&
                    process_is_meant(target, process))
                    row(context, process);
            }
        }
    }
}
