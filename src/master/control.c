/* control: the control socket's side in the master. It may read the process table and ask it for changes. A client that
 * sends nothing, or does not read its answer, is cut after CLIENT_TIME and holds up nobody. */
#include "master/control.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "config.h"
#include "ctl/command.h"
#include "ctl/protocol.h"
#include "master/listener.h"
#include "master/process.h"

#define CONTROL_MAGIC 0x4354524cU
#define CLIENTS_MAX 32
/* Microseconds. */
#define CLIENT_TIME INT64_C(10000000)
#define REPORT_TIME INT64_C(1000000)

/* A connection. reading → (waiting for reports) → writing → closed, or held until the end after "stop". */
struct client {
    OBJECT_HEADER;
    LIST_ENTRY(client) link;
    int descriptor;
    struct event *readable;
    struct event *writable;
    struct event *timer;
    struct buffer in;
    struct buffer out;
    bool waiting;
    bool held;
    enum command command;
    int64_t report_number; /* of the ping whose answers it waits for */
};

static struct {
    struct control_options options;
    int listener;
    gid_t group;
    struct event *acceptable;
    LIST_HEAD(, client) clients;
    int client_count;
    int64_t started_at;
} control = {.listener = -1};

static void client_close(struct client *client)
{
    LIST_REMOVE(client, link);
    control.client_count--;
    event_free(client->readable);
    event_free(client->writable);
    event_free(client->timer);
    close(client->descriptor);
    buffer_free(&client->in);
    buffer_free(&client->out);
    OBJECT_BURY(client);
    free(client);
}

static void client_write(struct client *client)
{
    while (buffer_length(&client->out) > 0) {
        ssize_t sent = send(client->descriptor, buffer_bytes(&client->out), buffer_length(&client->out), MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            event_add(client->writable, NULL);
            return;
        }
        if (sent < 0) {
            client_close(client);
            return;
        }
        buffer_consume(&client->out, (size_t)sent);
    }
    if (!client->held)
        client_close(client);
}

static void reply(struct client *client, struct protocol_reply *answer)
{
    protocol_reply_put(answer, &client->out);
    client_write(client);
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
    clock_rfc3339(control.started_at, started);
    protocol_reply_int(answer, getpid());
    protocol_reply_text(answer, "master");
    protocol_reply_int(answer, 0);
    protocol_reply_text(answer, "ready");
    protocol_reply_text(answer, started);
    protocol_reply_int(answer, 0);
    protocol_reply_int(answer, 0);
    protocol_reply_int(answer, 0);
    process_each(add_process, answer);
}

static void add_option(void *context, const char *name, const char *value, const char *preset, const char *origin)
{
    struct protocol_reply *answer = context;
    protocol_reply_text(answer, name);
    protocol_reply_text(answer, value);
    protocol_reply_text(answer, preset);
    protocol_reply_text(answer, origin);
}

static void show_config(struct protocol_reply *answer)
{
    static const char *const columns[] = {"name", "value", "default", "origin", NULL};
    protocol_reply_begin(answer, columns);
    configuration_each(control.options.configuration, add_option, answer);
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
    process_each(add_pools, answer);
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
    process_each(add_connections, answer);
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
    process_each(add_memory, answer);
}

static void show_version(struct protocol_reply *answer)
{
    static const char *const columns[] = {"program", "version", "pid", "started_at", NULL};
    char started[28];
    clock_rfc3339(control.started_at, started);
    protocol_reply_begin(answer, columns);
    protocol_reply_text(answer, PACKAGE_NAME "d");
    protocol_reply_text(answer, PACKAGE_VERSION);
    protocol_reply_int(answer, getpid());
    protocol_reply_text(answer, started);
}

static void set_workers(const char *argument, struct protocol_reply *answer)
{
    const struct configuration *configuration = control.options.configuration;
    int64_t wanted;
    protocol_reply_begin(answer, NULL);
    if (!text_parse_int64(argument, 1, configuration->workers_max, &wanted)) {
        protocol_reply_say(answer, 1, "expected a number of workers from 1 to workers_max, which is %" PRId64,
                           configuration->workers_max);
        return;
    }
    int64_t have = configuration_db_connections(configuration, wanted);
    if (have < configuration_db_minimum(wanted)) {
        protocol_reply_say(answer, 1,
                           "refused: %" PRId64 " workers need %" PRId64
                           " connections to PostgreSQL (2 per worker + 5), "
                           "db_connections is %" PRId64,
                           wanted, configuration_db_minimum(wanted), have);
        return;
    }
    log_info("number of workers changed", log_int("from", process_workers_wanted()), log_int("to", wanted));
    protocol_reply_say(answer, 0, "workers: %" PRId64 " from now on, instead of %" PRId64, wanted,
                       process_workers_wanted());
    process_set_workers(wanted);
}

static void set_log_level(const char *argument, struct protocol_reply *answer)
{
    enum log_level level;
    protocol_reply_begin(answer, NULL);
    if (!log_level_parse(argument, &level)) {
        protocol_reply_say(answer, 1, "expected debug, info, warning or error");
        return;
    }
    log_set_level(level);
    process_log_level(level);
    protocol_reply_say(answer, 0, "log level is %s", log_level_name(level));
}

static void stop(struct client *client, bool now)
{
    struct protocol_reply answer;
    protocol_reply_begin(&answer, NULL);
    protocol_reply_say(&answer, 0, now ? "stopping now" : "stopping");
    client->held = true;
    event_del(client->timer);
    control.options.stop(control.options.context, now);
    reply(client, &answer);
}

/* Commands whose answer stands in the children's reports ask for fresh ones first. */
static bool needs_reports(enum command command)
{
    return command == COMMAND_SHOW_POOLS || command == COMMAND_SHOW_CONNECTIONS || command == COMMAND_SHOW_MEMORY;
}

static void answer_show(struct client *client)
{
    static void (*const show[COMMAND_COUNT])(struct protocol_reply *) = {
        [COMMAND_SHOW_PROCESSES] = show_processes, [COMMAND_SHOW_CONFIG] = show_config,
        [COMMAND_SHOW_POOLS] = show_pools,         [COMMAND_SHOW_CONNECTIONS] = show_connections,
        [COMMAND_SHOW_MEMORY] = show_memory,       [COMMAND_SHOW_VERSION] = show_version};
    struct protocol_reply answer;
    client->waiting = false;
    show[client->command](&answer);
    reply(client, &answer);
}

static void refuse(struct client *client, const char *why)
{
    struct protocol_reply answer;
    protocol_reply_begin(&answer, NULL);
    protocol_reply_say(&answer, 2, "%s", why);
    reply(client, &answer);
}

static void run(struct client *client, const struct protocol_request *request)
{
    size_t used;
    client->command = command_find(request->words, request->count, &used);
    if (client->command == COMMAND_COUNT || command_table[client->command].where != COMMAND_MASTER) {
        refuse(client, "unknown command");
        return;
    }
    size_t left = request->count - used;
    const char *argument = left == 1 ? request->words[used] : NULL;
    struct protocol_reply answer;
    switch (client->command) {
    case COMMAND_STOP:
        if (left == 0 || (argument != NULL && strcmp(argument, "--now") == 0))
            stop(client, left == 1);
        else
            refuse(client, "expected: stop [--now]");
        return;
    case COMMAND_WORKERS:
    case COMMAND_LOG_LEVEL:
        if (argument == NULL) {
            refuse(client, "expected exactly one argument");
            return;
        }
        if (client->command == COMMAND_WORKERS)
            set_workers(argument, &answer);
        else
            set_log_level(argument, &answer);
        reply(client, &answer);
        return;
    default:
        break;
    }
    if (left != 0) {
        refuse(client, "expected no argument");
        return;
    }
    if (needs_reports(client->command)) {
        client->waiting = true;
        client->report_number = process_ping();
        struct timeval limit = clock_timeval(REPORT_TIME);
        evtimer_add(client->timer, &limit);
        return;
    }
    answer_show(client);
}

static void on_readable(evutil_socket_t descriptor, short events, void *context)
{
    struct client *client = context;
    (void)events;
    OBJECT_CHECK(client, CONTROL_MAGIC);
    ssize_t got = recv(descriptor, buffer_reserve(&client->in, 4096), 4096, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        client_close(client);
        return;
    }
    client->in.end += (size_t)got;
    struct protocol_request request;
    switch (protocol_get_request(&client->in, &request)) {
    case PROTOCOL_MORE:
        return;
    case PROTOCOL_BROKEN:
        event_del(client->readable);
        refuse(client, "unreadable request");
        return;
    case PROTOCOL_OK:
        event_del(client->readable);
        run(client, &request);
        protocol_request_free(&request);
        return;
    }
}

static void on_writable(evutil_socket_t descriptor, short events, void *context)
{
    struct client *client = context;
    (void)descriptor;
    (void)events;
    OBJECT_CHECK(client, CONTROL_MAGIC);
    client_write(client);
}

static void on_timer(evutil_socket_t descriptor, short events, void *context)
{
    struct client *client = context;
    (void)descriptor;
    (void)events;
    OBJECT_CHECK(client, CONTROL_MAGIC);
    if (client->waiting)
        answer_show(client); /* who has not reported is shown as it was last known */
    else
        client_close(client);
}

static bool may_speak(int descriptor)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return false;
    if (peer.uid == 0 || peer.uid == geteuid() || peer.gid == control.group)
        return true;
    gid_t groups[256];
    size = sizeof groups;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0) {
        for (size_t i = 0; i < size / sizeof groups[0]; i++) {
            if (groups[i] == control.group)
                return true;
        }
    }
    log_warning("control connection refused", log_int("uid", peer.uid), log_int("gid", peer.gid));
    return false;
}

static void on_acceptable(evutil_socket_t listener, short events, void *context)
{
    (void)events;
    (void)context;
    int descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0)
        return;
    if (control.client_count >= CLIENTS_MAX || !may_speak(descriptor)) {
        close(descriptor);
        return;
    }
    struct client *client = calloc(1, sizeof *client);
    INVARIANT(client != NULL);
    client->magic = CONTROL_MAGIC;
    client->descriptor = descriptor;
    client->readable = event_new(control.options.base, descriptor, EV_READ | EV_PERSIST, on_readable, client);
    client->writable = event_new(control.options.base, descriptor, EV_WRITE, on_writable, client);
    client->timer = evtimer_new(control.options.base, on_timer, client);
    INVARIANT(client->readable != NULL && client->writable != NULL && client->timer != NULL);
    event_add(client->readable, NULL);
    struct timeval limit = clock_timeval(CLIENT_TIME);
    evtimer_add(client->timer, &limit);
    LIST_INSERT_HEAD(&control.clients, client, link);
    control.client_count++;
}

void control_changed(void)
{
    struct client *next;
    for (struct client *client = LIST_FIRST(&control.clients); client != NULL; client = next) {
        next = LIST_NEXT(client, link);
        if (client->waiting && process_answered(client->report_number))
            answer_show(client);
    }
}

bool control_open(const struct control_options *options, char *error, size_t error_size)
{
    const char *path = options->configuration->control_socket;
    control.options = *options;
    control.started_at = clock_realtime();
    LIST_INIT(&control.clients);
    control.listener = listener_open_unix(path, 0660, error, error_size);
    if (control.listener < 0)
        return false;
    if (options->configuration->control_group != NULL) {
        const struct group *group = getgrnam(options->configuration->control_group);
        if (group == NULL || chown(path, (uid_t)-1, group->gr_gid) != 0) {
            snprintf(error, error_size, "control_group: %s: %s", options->configuration->control_group,
                     group == NULL ? "no such group" : strerror(errno));
            control_close();
            return false;
        }
    }
    struct stat status;
    if (stat(path, &status) != 0) {
        snprintf(error, error_size, "%s: %s", path, strerror(errno));
        control_close();
        return false;
    }
    control.group = status.st_gid;
    control.acceptable = event_new(options->base, control.listener, EV_READ | EV_PERSIST, on_acceptable, NULL);
    INVARIANT(control.acceptable != NULL);
    event_add(control.acceptable, NULL);
    return true;
}

void control_close(void)
{
    if (control.listener < 0)
        return;
    while (!LIST_EMPTY(&control.clients))
        client_close(LIST_FIRST(&control.clients));
    if (control.acceptable != NULL)
        event_free(control.acceptable);
    close(control.listener);
    unlink(control.options.configuration->control_socket);
    control.listener = -1;
}
