/* child: what every process that the master forks does alike. Worker, refresher, scheduler. It may touch its own
 * channel and signals, nothing else of the master. Signals are read from a signalfd; the two handlers here only end the
 * process. */
#include "base/child.h"

#include <errno.h>
#include <jemalloc/jemalloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

#include "base/clock.h"
#include "base/configuration.h"
#include "base/log.h"
#include "base/option.h"
#include "base/pieces.h"

#define CHILD_MAGIC 0x4348494cU
#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)
/* The master is gone: requests in flight get this long (microseconds); then SIGALRM ends even a process whose loop
 * hangs. Together they keep the promise that all children are gone within a second. */
#define ORPHAN_DRAIN 400000
#define ORPHAN_END 700000

struct child {
    OBJECT_HEADER;
    struct event_base *base;
    struct event *channel_event;
    struct event *signal_event;
    struct event *orphan_timer;
    struct event *lag_timer;
    struct pieces *answers;
    int channel;
    int signals;
    int64_t lag_due;
    int64_t lag_most;
    struct child_host host;
    const struct child_callbacks *callbacks;
    enum exit_status status;
    bool stopping;
    enum child_stop told; /* while stopping */
    bool exiting;
    bool log_moved; /* its file could not be opened again yet */
    int64_t reload_number;
    bool warmed;      /* the master has to be told, and could not be yet */
    bool unconfirmed; /* the master has not been told of that reload yet */
    char reload_error[512];
};

static struct {
    const char *what;
    const char *request_id;
} activity;

static void (*on_crash_first)(void);

void child_on_crash(void (*crashed)(void))
{
    on_crash_first = crashed;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_set_death_callback(crashed);
#endif
}

void child_set_activity(const char *what, const char *request_id)
{
    activity.what = what;
    activity.request_id = request_id;
}

/* The death signal: a hung loop must not outlive the master. Only async-signal-safe calls. */
static void on_master_death(int number)
{
    (void)number;
    struct itimerval end = {.it_value = clock_timeval(ORPHAN_END)};
    setitimer(ITIMER_REAL, &end, NULL);
}

#ifndef __SANITIZE_ADDRESS__ /* it has its own report */
static void on_crash(int number)
{
    if (on_crash_first != NULL)
        on_crash_first();
    /* not by log_record, which may be what crashed; no activity and no id holds what would have to be escaped */
    static const char logfmt[] = "level=error pid=%d message=\"crashed\" signal=%d activity=\"%s\" request_id=\"%s\"\n";
    static const char json[] = "{\"level\":\"error\",\"pid\":%d,\"message\":\"crashed\",\"signal\":%d,"
                               "\"activity\":\"%s\",\"request_id\":\"%s\"}\n";
    const char *what = activity.what == NULL ? "idle" : activity.what;
    const char *request_id = activity.request_id == NULL ? "" : activity.request_id;
    char line[512];
    int length = log_current_format() == LOG_FORMAT_JSON
                     ? snprintf(line, sizeof line, json, (int)getpid(), number, what, request_id)
                     : snprintf(line, sizeof line, logfmt, (int)getpid(), number, what, request_id);
    ssize_t written = write(log_descriptor(), line, (size_t)length);
    (void)written;
    raise(number); /* SA_RESETHAND: now with the default action */
}
#endif

static void arm_signals(struct child *child)
{
    signal(SIGPIPE, SIG_IGN);
    struct sigaction death = {.sa_handler = on_master_death};
    sigaction(SIGUSR2, &death, NULL);
    signal(SIGALRM, SIG_DFL);
#ifndef __SANITIZE_ADDRESS__
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    struct sigaction crash = {.sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND};
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
        sigaction(crashes[i], &crash, NULL);
#endif
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGQUIT);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_SETMASK, &set, NULL);
    child->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    INVARIANT(child->signals >= 0);
}

/* Told again, a process can only be told more: to empty the queues after all, as nobody is left for them; or "now". */
static void stop(struct child *child, enum child_stop how)
{
    bool more = how == CHILD_STOP_NOW || (how == CHILD_STOP_DRAIN && child->told == CHILD_STOP_LEAVE);
    if (child->stopping && !more)
        return;
    child->stopping = true;
    child->told = how;
    child->callbacks->stop(child->callbacks->context, how);
}

static void on_orphan_timer(evutil_socket_t unused, short events, void *context)
{
    struct child *child = context;
    (void)unused;
    (void)events;
    OBJECT_CHECK(child, CHILD_MAGIC);
    child_exit(child, EXIT_STATUS_RESTART);
}

static void master_is_gone(struct child *child)
{
    event_del(child->channel_event);
    log_warning("the master is gone; ending");
    on_master_death(0);
    struct timeval drain = clock_timeval(ORPHAN_DRAIN);
    evtimer_add(child->orphan_timer, &drain);
    stop(child, CHILD_STOP_DRAIN);
}

static void on_signal(evutil_socket_t descriptor, short events, void *context)
{
    struct child *child = context;
    (void)events;
    OBJECT_CHECK(child, CHILD_MAGIC);
    struct signalfd_siginfo info;
    while (read(descriptor, &info, sizeof info) == (ssize_t)sizeof info) {
        /* sent to this process, or to all of them at once, as a service manager may: then nobody is left for the queues
         */
        if (info.ssi_signo == SIGTERM)
            stop(child, CHILD_STOP_DRAIN);
        else if (info.ssi_signo == SIGQUIT)
            stop(child, CHILD_STOP_NOW);
        /* SIGINT of a terminal, SIGHUP and SIGUSR1 are the master's to act on */
    }
}

/* A process that is out of descriptors tries again with each ping; until then it goes on writing where it did. */
static void reopen_log(struct child *child, bool again)
{
    bool opened = log_reopen();
    if (!opened && !again)
        log_error("the log cannot be opened again; it stays where it is", log_text("error", strerror(errno)));
    else if (opened && again)
        log_info("the log is open again");
    child->log_moved = !opened;
}

/* Tried again with the next ping where the channel is full. */
static void confirm_reload(struct child *child)
{
    struct message_writer *writer = message_begin(CHILD_MESSAGE_RELOADED);
    message_put_int(writer, child->reload_number);
    message_put_text(writer, child->reload_error);
    child->unconfirmed = !message_send(writer, child->channel);
}

static void answer_ping(struct child *child, struct message_reader *reader)
{
    int64_t number;
    if (!message_get_int(reader, &number) || !message_get_int(reader, &child->host.workers_ready) ||
        !message_get_int(reader, &child->host.workers_wanted) || !message_get_int(reader, &child->host.warmed))
        return;
    struct child_report report = {.loop_lag = child->lag_most};
    child->lag_most = 0;
    size_t size = sizeof report.memory_allocated;
    uint64_t epoch = 1;
    size_t epoch_size = sizeof epoch;
    if (mallctl("epoch", &epoch, &epoch_size, &epoch, epoch_size) == 0) {
        size_t allocated = 0;
        size_t resident = 0;
        if (mallctl("stats.allocated", &allocated, &size, NULL, 0) == 0)
            report.memory_allocated = (int64_t)allocated;
        if (mallctl("stats.resident", &resident, &size, NULL, 0) == 0)
            report.memory_resident = (int64_t)resident;
    }
    child->callbacks->report(child->callbacks->context, &report);
    /* jemalloc gives memory back while it is asked for more: an idle process would keep what a rush has left */
    (void)mallctl("arena." TEXT(MALLCTL_ARENAS_ALL) ".decay", NULL, NULL, NULL, 0);
    struct message_writer *writer = message_begin(CHILD_MESSAGE_PONG);
    message_put_int(writer, number);
    child_report_put(writer, &report);
    if (!message_send(writer, child->channel))
        log_debug("pong not sent", log_text("error", strerror(errno)));
    if (child->log_moved)
        reopen_log(child, true);
    if (child->unconfirmed)
        confirm_reload(child);
    if (child->warmed)
        child_warmed(child);
}

void child_reload_put(struct message_writer *writer)
{
    for (const struct option *option = option_table(); option->name != NULL; option++) {
        char value[OPTION_TEXT_MAX];
        if (!option->reloadable)
            continue;
        option_show(option, configuration_get(), value, sizeof value);
        message_put_text(writer, option->name);
        message_put_text(writer, value);
    }
}

static bool get_text(struct message_reader *reader, char *text, size_t size)
{
    const char *value;
    size_t length;
    if (!message_get_text(reader, &value, &length) || length >= size)
        return false;
    if (length > 0)
        memcpy(text, value, length);
    text[length] = '\0';
    return true;
}

static void move_log(const char *from, char *error, size_t error_size)
{
    const char *to = configuration_get()->log_file;
    if (strcmp(from, to == NULL ? "" : to) != 0 && !log_open(to))
        snprintf(error, error_size, "log_file: %s", strerror(errno));
}

static void reload(struct child *child, struct message_reader *reader)
{
    int64_t number;
    char name[64];
    char value[OPTION_TEXT_MAX];
    char log_file[OPTION_TEXT_MAX];
    char *error = child->reload_error;
    if (!message_get_int(reader, &number))
        return;
    error[0] = '\0';
    option_show(option_find("log_file"), configuration_get(), log_file, sizeof log_file);
    while (get_text(reader, name, sizeof name) && get_text(reader, value, sizeof value)) {
        const struct option *option = option_find(name);
        if (option == NULL || !configuration_change(option, value, NULL))
            snprintf(error, sizeof child->reload_error, "%s: not understood", name);
    }
    const struct configuration *configuration = configuration_get();
    log_configure(configuration->log_level, configuration->log_format);
    move_log(log_file, error, sizeof child->reload_error);
    char failed[sizeof child->reload_error];
    if (!child->callbacks->reload(child->callbacks->context, failed, sizeof failed))
        memcpy(error, failed, sizeof failed);
    if (error[0] != '\0')
        log_error("a part of the configuration could not be taken over", log_text("error", error));
    child->reload_number = number;
    confirm_reload(child);
}

static void take_question(struct child *child, struct message_reader *reader)
{
    int64_t number;
    int64_t what;
    char argument[1100]; /* a word of the control protocol */
    if (!message_get_int(reader, &number) || !message_get_int(reader, &what) ||
        !get_text(reader, argument, sizeof argument))
        return;
    if (child->callbacks->ask != NULL)
        child->callbacks->ask(child->callbacks->context, number, (enum child_question)what, argument);
}

static void take_message(struct child *child, struct message_reader *reader)
{
    int64_t value;
    switch (message_kind(reader)) {
    case CHILD_MESSAGE_PING:
        answer_ping(child, reader);
        break;
    case CHILD_MESSAGE_STOP:
        if (message_get_int(reader, &value) && value >= CHILD_STOP_DRAIN && value <= CHILD_STOP_LEAVE)
            stop(child, (enum child_stop)value);
        break;
    case CHILD_MESSAGE_LOG_LEVEL:
        if (message_get_int(reader, &value) && value >= LOG_LEVEL_DEBUG && value <= LOG_LEVEL_ERROR)
            log_set_level((enum log_level)value);
        break;
    case CHILD_MESSAGE_DB_SHARE:
        if (message_get_int(reader, &value) && value > 0)
            child->callbacks->db_share(child->callbacks->context, value);
        break;
    case CHILD_MESSAGE_RELOAD:
        reload(child, reader);
        break;
    case CHILD_MESSAGE_LOG:
        reopen_log(child, false);
        break;
    case CHILD_MESSAGE_ASK:
        take_question(child, reader);
        break;
    default:
        log_warning("unknown message from the master", log_int("kind", message_kind(reader)));
    }
}

static void on_channel(evutil_socket_t descriptor, short events, void *context)
{
    struct child *child = context;
    (void)events;
    OBJECT_CHECK(child, CHILD_MAGIC);
    struct message_reader *reader;
    for (;;) {
        switch (message_receive(descriptor, &reader)) {
        case MESSAGE_OK:
            take_message(child, reader);
            break;
        case MESSAGE_NONE:
            return;
        case MESSAGE_CLOSED:
            master_is_gone(child);
            return;
        case MESSAGE_BROKEN:
            log_warning("unreadable message from the master");
            break;
        }
    }
}

static void on_lag_timer(evutil_socket_t unused, short events, void *context)
{
    struct child *child = context;
    (void)unused;
    (void)events;
    OBJECT_CHECK(child, CHILD_MAGIC);
    int64_t now = clock_monotonic();
    child->callbacks->lag(child->callbacks->context, now - child->lag_due);
    if (now - child->lag_due > child->lag_most)
        child->lag_most = now - child->lag_due;
    int64_t wait = configuration_get()->ping_interval;
    child->lag_due = now + wait;
    struct timeval interval = clock_timeval(wait);
    evtimer_add(child->lag_timer, &interval);
}

struct child *child_create(const struct child_start *start)
{
    struct child *child = calloc(1, sizeof *child);
    INVARIANT(child != NULL);
    child->magic = CHILD_MAGIC;
    child->channel = start->channel;
    arm_signals(child);
    /* the master may have died between the fork and this line */
    if (prctl(PR_SET_PDEATHSIG, SIGUSR2) != 0 || getppid() != start->master)
        exit(EXIT_STATUS_RESTART);

    child->base = event_base_new();
    INVARIANT(child->base != NULL);
    child->channel_event = event_new(child->base, start->channel, EV_READ | EV_PERSIST, on_channel, child);
    child->signal_event = event_new(child->base, child->signals, EV_READ | EV_PERSIST, on_signal, child);
    child->orphan_timer = evtimer_new(child->base, on_orphan_timer, child);
    child->lag_timer = evtimer_new(child->base, on_lag_timer, child);
    child->answers = pieces_create(child->base, start->channel);
    INVARIANT(child->channel_event != NULL && child->signal_event != NULL && child->orphan_timer != NULL &&
              child->lag_timer != NULL);
    return child;
}

struct event_base *child_base(const struct child *child)
{
    return child->base;
}

const struct child_host *child_host(const struct child *child)
{
    return &child->host;
}

void child_ready(struct child *child)
{
    if (!message_send(message_begin(CHILD_MESSAGE_READY), child->channel))
        log_warning("could not tell the master", log_text("error", strerror(errno)));
}

void child_warmed(struct child *child)
{
    child->warmed = !message_send(message_begin(CHILD_MESSAGE_WARMED), child->channel);
}

void child_answer(struct child *child, int64_t number, int status, const char *text, size_t length)
{
    pieces_send(child->answers, CHILD_MESSAGE_ANSWER, number, status, text, length);
}

int child_run(struct child *child, const struct child_callbacks *callbacks)
{
    child->callbacks = callbacks;
    event_add(child->channel_event, NULL);
    event_add(child->signal_event, NULL);
    child->lag_due = clock_monotonic();
    on_lag_timer(-1, 0, child);
    while (!child->exiting)
        INVARIANT(event_base_loop(child->base, EVLOOP_ONCE) == 0);
    return (int)child->status;
}

void child_exit(struct child *child, enum exit_status status)
{
    child->status = status;
    child->exiting = true;
    event_base_loopbreak(child->base);
}
