/* master: the loop of the master process. Everything that forks is done from the top of the loop (process_supervise),
 * never from a callback; signals come through a signalfd, so that no handler of the master is alive in a child. */
#include "master/master.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/child.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/title.h"
#include "config.h"
#include "mailer/mailer.h"
#include "master/control.h"
#include "master/handover.h"
#include "master/hot_cache.h"
#include "master/listener.h"
#include "master/process.h"
#include "master/reload.h"
#include "master/service.h"
#include "master/tally.h"
#include "pg/migrate.h"
#include "refresher/refresher.h"
#include "scheduler/scheduler.h"
#include "shm/buckets.h"
#include "shm/statistics.h"
#include "worker/worker.h"

/* Microseconds that children get to leave by themselves after their own limit, and after "now". */
#define STOP_GRACE INT64_C(1000000)
#define STOP_NOW_GRACE INT64_C(500000)
/* Between refusing new handshakes and closing: those that have begun end in the queue, and are served. Microseconds,
 * more than a round trip to a client of this site. */
#define HANDSHAKE_TIME INT64_C(50000)

static struct {
    const struct configuration *configuration;
    struct event_base *base;
    struct event *timer;
    struct listeners listeners;
    struct listeners internal;
    /* Read once: when the next version's files are put in place, workers of this one that start again go on as they
     * were. */
    int schema_expected;
    char lease_owner[96]; /* by which the outbox knows what this master's mailers hold */
    int signals;
    bool stopping;
    bool told; /* the children know that they shall end */
    bool killed;
    int64_t tell_at;
    int64_t kill_at;
} master;

static int compare_int(const void *left, const void *right)
{
    return *(const int *)left - *(const int *)right;
}

/* Closes every descriptor but those listed: an inherited end of another child's channel would hide the master's death
 * from it. */
static void close_all_but(int *keep, size_t count)
{
    qsort(keep, count, sizeof *keep, compare_int);
    unsigned first = 0;
    for (size_t i = 0; i < count; i++) {
        if ((unsigned)keep[i] > first)
            INVARIANT(close_range(first, (unsigned)keep[i] - 1, 0) == 0);
        first = (unsigned)keep[i] + 1;
    }
    INVARIANT(close_range(first, ~0U, 0) == 0);
}

static void enter_child(enum process_role role, const struct child_start *start)
{
    if (role == PROCESS_WORKER)
        buckets_attach();
    else
        buckets_detach();
    int keep[5 + 2 * LISTENERS_MAX + HOT_CACHE_DESCRIPTORS] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO,
                                                               log_descriptor(), start->channel};
    size_t count = 5;
    if (role == PROCESS_WORKER) {
        for (size_t i = 0; i < master.listeners.count; i++)
            keep[count++] = master.listeners.descriptors[i];
        for (size_t i = 0; i < master.internal.count; i++)
            keep[count++] = master.internal.descriptors[i];
    }
    count += hot_cache_enter(role, start->slot, keep + count);
    close_all_but(keep, count);
    statistics_begin(tally_role(role), start->slot);
    char title[32];
    const char *name = process_role_name(role);
    if (role == PROCESS_WORKER)
        snprintf(title, sizeof title, "%s %d", name, start->slot);
    else
        snprintf(title, sizeof title, "%s", name);
    title_set(title);
    log_set_process(name, role == PROCESS_WORKER ? start->slot : -1);
}

static void enter_check(int complaint)
{
    int keep[] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, log_descriptor(), complaint};
    hot_cache_leave();
    buckets_detach();
    close_all_but(keep, sizeof keep / sizeof keep[0]);
}

static int run_worker(const struct child_start *start)
{
    struct worker_options options = {.start = start,
                                     .configuration = master.configuration,
                                     .listeners = master.listeners.descriptors,
                                     .listener_count = master.listeners.count,
                                     .listeners_stay = master.listeners.handed_over,
                                     .internal = master.internal.descriptors,
                                     .internal_count = master.internal.count,
                                     .internal_stay = master.internal.handed_over,
                                     .fill = hot_cache_worker_end(start->slot),
                                     .schema_expected = master.schema_expected};
    return worker_main(&options);
}

static int run_refresher(const struct child_start *start)
{
    size_t count;
    const int *ends = hot_cache_refresher_ends(&count);
    struct refresher_options options = {.start = start,
                                        .configuration = master.configuration,
                                        .fills = ends,
                                        .fill_count = count,
                                        .distrust = start->distrust};
    return refresher_main(&options);
}

static int run_mailer(const struct child_start *start)
{
    static struct mailer_options options;
    options =
        (struct mailer_options){.start = start, .configuration = master.configuration, .owner = master.lease_owner};
    return mailer_main(&options);
}

static int run_scheduler(const struct child_start *start)
{
    struct scheduler_options options = {.start = start, .configuration = master.configuration};
    return scheduler_main(&options);
}

static void tell(bool now)
{
    master.told = true;
    listeners_close(&master.listeners);
    listeners_close(&master.internal);
    process_stop_all(now);
}

static void stop(void *context, bool now)
{
    (void)context;
    int64_t clock = clock_monotonic();
    if (!master.stopping) {
        log_info(now ? "stopping now" : "stopping");
        master.stopping = true;
        listeners_refuse_handshakes(&master.listeners);
        listeners_refuse_handshakes(&master.internal);
        /* who comes to a socket that was handed over is the next daemon's */
        bool all_handed_over = master.listeners.handed_over && master.internal.handed_over;
        master.tell_at = clock + (all_handed_over ? 0 : HANDSHAKE_TIME);
        master.kill_at = master.tell_at + master.configuration->shutdown_timeout + STOP_GRACE;
        service_stopping(master.kill_at + STOP_GRACE - clock);
        reload_abandon();
    } else if (!now && master.kill_at <= clock + STOP_NOW_GRACE) {
        return;
    } else {
        log_info("stopping now");
        now = true;
    }
    if (now) {
        tell(true);
        master.kill_at = clock + STOP_NOW_GRACE;
    }
}

/* Who rotates logs has moved the file away. */
static void reopen_log(void)
{
    if (!log_reopen()) {
        log_error("the log cannot be opened again; it stays where it is",
                  log_text("file", master.configuration->log_file), log_text("error", strerror(errno)));
        return;
    }
    process_reopen_log();
    log_info(
        "log opened again",
        log_text("file", master.configuration->log_file == NULL ? "standard error" : master.configuration->log_file));
}

static void on_signal(evutil_socket_t descriptor, short events, void *context)
{
    (void)events;
    (void)context;
    struct signalfd_siginfo info;
    while (read(descriptor, &info, sizeof info) == (ssize_t)sizeof info) {
        /* SIGCHLD only wakes the loop; process_supervise reaps */
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            stop(NULL, false);
        else if (info.ssi_signo == SIGQUIT)
            stop(NULL, true);
        else if (info.ssi_signo == SIGHUP)
            (void)reload_ask();
        else if (info.ssi_signo == SIGUSR1)
            reopen_log();
    }
}

static void on_timer(evutil_socket_t unused, short events, void *context)
{
    (void)unused;
    (void)events;
    (void)context;
}

static void on_change(void *context)
{
    (void)context;
    control_changed();
}

static void on_reaped(void *context, pid_t pid, int status)
{
    (void)context;
    reload_reaped(pid, status);
}

static void on_answered(void *context, const struct process_answer *answer)
{
    (void)context;
    control_answered(answer);
}

static int64_t earlier(int64_t one, int64_t other)
{
    return one < other ? one : other;
}

/* Wakes the loop when something is due. */
static void arm_timer(void)
{
    int64_t due = !master.stopping ? process_next_due() : master.told ? master.kill_at : master.tell_at;
    due = earlier(due, earlier(reload_next_due(), service_next_due()));
    int64_t wait = due - clock_monotonic();
    struct timeval delay = clock_timeval(wait < 1000 ? 1000 : wait);
    evtimer_add(master.timer, &delay);
}

static void take_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    static const int wanted[] = {SIGTERM, SIGINT, SIGQUIT, SIGCHLD, SIGHUP, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        sigaddset(&set, wanted[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    master.signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    INVARIANT(master.signals >= 0);
    struct event *event = event_new(master.base, master.signals, EV_READ | EV_PERSIST, on_signal, NULL);
    INVARIANT(event != NULL);
    event_add(event, NULL);
}

/* Each worker may hold max_connections clients, its listeners and its database connections; the master, beside its own,
 * both ends of a pair of sockets for each worker that there may be. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)master.configuration->max_connections + 256;
    rlim_t pairs = 2 * (rlim_t)master.configuration->workers_max + 256;
    if (wanted < pairs)
        wanted = pairs;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
        log_warning("the limit of open files is lower than max_connections needs",
                    log_int("limit", (int64_t)limit.rlim_cur), log_int("wanted", (int64_t)wanted));
}

static void open_everything(const struct configuration *configuration)
{
    char error[512];
    if (!pg_schema_expected(configuration->sql_directory, &master.schema_expected, error, sizeof error))
        log_bad_start("sql_directory: %s", error);
    if (configuration->log_file != NULL && !log_open(configuration->log_file))
        log_bad_start("log_file: %s: %s", configuration->log_file, strerror(errno));
    if (!hot_cache_create(configuration, error, sizeof error))
        log_bad_start("%s", error);
    if (!buckets_create(clock_monotonic(), error, sizeof error))
        log_bad_start("%s", error);
    if (!handover_take(&master.listeners, &master.internal, error, sizeof error))
        log_bad_start("LISTEN_FDS: %s", error);
    unsigned mode = (unsigned)configuration->listen_mode;
    if (!master.listeners.handed_over &&
        !listeners_open(&master.listeners, configuration->listen, mode, error, sizeof error))
        log_bad_start("listen: %s", error);
    if (!master.internal.handed_over &&
        !listeners_open(&master.internal, configuration->internal_listen, mode, error, sizeof error)) {
        listeners_close(&master.listeners);
        log_bad_start("internal_listen: %s", error);
    }
    struct control_options control = {.base = master.base, .configuration = configuration, .stop = stop};
    if (!control_open(&control, error, sizeof error)) {
        listeners_close(&master.listeners);
        listeners_close(&master.internal);
        log_bad_start("control_socket: %s", error);
    }
}

static int end(int status)
{
    control_close();
    listeners_close(&master.listeners);
    listeners_close(&master.internal);
    log_info("ended", log_int("status", status));
    return status;
}

/* The number makes it one that no other master has, on this host or another one, before or after. */
static void name_lease_owner(void)
{
    char host[65] = "";
    uint64_t number;
    if (gethostname(host, sizeof host - 1) != 0)
        snprintf(host, sizeof host, "unknown");
    INVARIANT(getrandom(&number, sizeof number, 0) == (ssize_t)sizeof number);
    snprintf(master.lease_owner, sizeof master.lease_owner, "%s/%016" PRIx64, host, number);
}

static void create_table(const struct configuration *configuration)
{
    struct process_options options = {.base = master.base,
                                      .configuration = configuration,
                                      .main_of = {[PROCESS_WORKER] = run_worker,
                                                  [PROCESS_REFRESHER] = run_refresher,
                                                  [PROCESS_MAILER] = run_mailer,
                                                  [PROCESS_SCHEDULER] = run_scheduler},
                                      .enter = enter_child,
                                      .buried = hot_cache_buried,
                                      .changed = on_change,
                                      .reaped = on_reaped,
                                      .answered = on_answered,
                                      .refresher = hot_cache_is_on(),
                                      .mailer = configuration->smtp_url != NULL,
                                      .ping_interval_max = service_pong_interval()};
    process_table_create(&options);
    reload_create(
        &(const struct reload_options){.configuration = configuration, .enter = enter_check, .ended = control_changed});
}

static void tell_start(const struct configuration *configuration)
{
    char http[512];
    char internal[512];
    listeners_describe(&master.listeners, http, sizeof http);
    listeners_describe(&master.internal, internal, sizeof internal);
    log_info("started", log_text("version", PACKAGE_VERSION), log_text("listen", http),
             log_text("internal_listen", internal), log_int("workers", configuration->workers),
             log_text("handed_over", master.listeners.handed_over && master.internal.handed_over ? "http, internal"
                                     : master.listeners.handed_over                              ? "http"
                                     : master.internal.handed_over                               ? "internal"
                                                                                                 : NULL));
}

int master_run(const struct configuration *configuration)
{
    master.configuration = configuration;
    master.base = event_base_new();
    INVARIANT(master.base != NULL);
    master.timer = evtimer_new(master.base, on_timer, NULL);
    INVARIANT(master.timer != NULL);
    title_set("master");
    log_set_process("master", -1);
    raise_descriptor_limit();
    if (!service_open())
        log_warning("NOTIFY_SOCKET is no address of a socket that can be reached; going on without");
    statistics_create();
    statistics_set(STATISTICS_BUILD_INFO, LABEL_VERSION_OWN, LABEL_NONE_ONE, 1);
    statistics_set(STATISTICS_START_TIME, LABEL_NONE_ONE, LABEL_NONE_ONE, clock_realtime());
    statistics_set(STATISTICS_RELOAD_TIME, LABEL_NONE_ONE, LABEL_NONE_ONE, clock_realtime());
    statistics_set(STATISTICS_RELOAD_SUCCEEDED, LABEL_NONE_ONE, LABEL_NONE_ONE, 1);
    open_everything(configuration);
    name_lease_owner();
    take_signals();
    create_table(configuration);
    tell_start(configuration);

    for (;;) {
        int status = process_supervise();
        if (status >= 0)
            return status; /* a child has ended */
        if (master.stopping && process_all_gone())
            return end(process_bad_start() ? EXIT_STATUS_DO_NOT_RESTART : EXIT_STATUS_DONE);
        if (process_bad_start() && !master.stopping)
            stop(NULL, true);
        if (master.stopping && !master.told && clock_monotonic() >= master.tell_at)
            tell(false);
        if (master.stopping && !master.killed && clock_monotonic() >= master.kill_at) {
            log_warning("children did not leave in time; killing them");
            process_kill_all();
            master.killed = true;
            master.kill_at += STOP_GRACE;
        }
        reload_supervise();
        service_supervise();
        arm_timer();
        INVARIANT(event_base_loop(master.base, EVLOOP_ONCE) == 0);
    }
}
