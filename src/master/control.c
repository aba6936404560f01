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
#include "base/option.h"
#include "base/text.h"
#include "ctl/command.h"
#include "ctl/protocol.h"
#include "master/control_client.h"
#include "master/control_show.h"
#include "master/listener.h"
#include "master/process.h"
#include "master/reload.h"

#define CONTROL_MAGIC 0x4354524cU
#define CLIENTS_MAX 32
/* Microseconds. */
#define CLIENT_TIME INT64_C(10000000)
static struct {
    struct control_options options;
    int listener;
    gid_t group;
    struct event *acceptable;
    LIST_HEAD(, client) clients;
    int client_count;
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
    buffer_free(&client->pieces);
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

void client_reply(struct client *client, struct protocol_reply *answer)
{
    protocol_reply_put(answer, &client->out);
    client_write(client);
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
                           " connections to PostgreSQL (3 per worker + 5), "
                           "db_connections is %" PRId64,
                           wanted, configuration_db_minimum(wanted), have);
        return;
    }
    log_info("number of workers changed", log_int("from", process_workers_wanted()), log_int("to", wanted));
    protocol_reply_say(answer, 0, "workers: %" PRId64 " from now on, instead of %" PRId64, wanted,
                       process_workers_wanted());
    process_set_workers(wanted);
    INVARIANT(configuration_change(option_find("workers"), argument, "turnoutctl"));
}

static void set_log_level(const char *argument, const struct process_target *target, struct protocol_reply *answer)
{
    enum log_level level;
    protocol_reply_begin(answer, NULL);
    if (!log_level_parse(argument, &level)) {
        protocol_reply_say(answer, 1, "expected debug, info, warning or error");
        return;
    }
    process_log_level(level, target);
    if (target->role < 0) {
        log_set_level(level);
        INVARIANT(configuration_change(option_find("log_level"), argument, "turnoutctl"));
    }
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
    client_reply(client, &answer);
}

void client_refuse(struct client *client, const char *why)
{
    struct protocol_reply answer;
    protocol_reply_begin(&answer, NULL);
    protocol_reply_say(&answer, 2, "%s", why);
    client_reply(client, &answer);
}

/* What stands before the command. false: nobody is meant by it, and the client has been told so. */
static bool find_target(struct client *client, const struct protocol_request *request)
{
    size_t words = command_address(request->words, request->count);
    const char *wrong = "expected @worker N, @refresher, @mailer or @scheduler before the command";
    int64_t slot = 0;
    client->target = PROCESS_ALL;
    if (words == 0)
        return true;
    for (int role = 0; role < PROCESS_ROLE_COUNT; role++) {
        if (strcmp(request->words[0] + 1, process_role_name((enum process_role)role)) != 0)
            continue;
        bool numbered = role == PROCESS_WORKER;
        if (words != (numbered ? 2 : 1) || (numbered && !text_parse_int64(request->words[1], 0, INT32_MAX, &slot)))
            break;
        client->target = (struct process_target){.role = role, .slot = (int)slot};
        if (process_find(&client->target) != NULL)
            return true;
        struct protocol_reply answer;
        protocol_reply_begin(&answer, NULL);
        protocol_reply_say(&answer, 1, "there is no %s %d; see show processes", request->words[0] + 1, (int)slot);
        client_reply(client, &answer);
        return false;
    }
    client_refuse(client, wrong);
    return false;
}

/* Commands that take arguments. false: `client` is not about one of them. */
static bool run_with_arguments(struct client *client, char *const *words, size_t count)
{
    const char *argument = count == 1 ? words[0] : NULL;
    bool now = argument != NULL && strcmp(argument, "--now") == 0;
    struct protocol_reply answer;
    switch (client->command) {
    case COMMAND_STOP:
    case COMMAND_RESTART:
        if (count > 0 && !now)
            client_refuse(client, "expected: stop [--now], @worker N restart [--now]");
        else if (client->command == COMMAND_STOP)
            stop(client, now);
        else
            client_wait_restart(client, now, control.options.configuration->shutdown_timeout);
        return true;
    case COMMAND_WORKERS:
    case COMMAND_LOG_LEVEL:
        if (argument == NULL) {
            client_refuse(client, "expected exactly one argument");
            return true;
        }
        if (client->command == COMMAND_WORKERS)
            set_workers(argument, &answer);
        else
            set_log_level(argument, &client->target, &answer);
        client_reply(client, &answer);
        return true;
    case COMMAND_SHOW_CACHE:
    case COMMAND_CACHE_DROP:
    case COMMAND_CACHE_WARM:
        client_wait_cache(client, words, count);
        return true;
    case COMMAND_SHOW_MAIL:
    case COMMAND_MAIL_TEST:
        client_wait_mail(client, words, count, control.options.configuration->smtp_url != NULL);
        return true;
    default:
        return false;
    }
}

static void run(struct client *client, const struct protocol_request *request)
{
    size_t used;
    client->command = command_find(request->words, request->count, &used);
    if (client->command == COMMAND_COUNT || command_table[client->command].where != COMMAND_MASTER) {
        client_refuse(client, "unknown command");
        return;
    }
    if (!find_target(client, request))
        return;
    enum command_whom whom = command_table[client->command].whom;
    if (whom == COMMAND_ALL && client->target.role >= 0)
        client_refuse(client, "the command is about the whole daemon: leave out the process before it");
    else if (whom == COMMAND_ONE && client->target.role < 0)
        client_refuse(client,
                      "the command is about one process: put @worker N, @refresher, @mailer or @scheduler before it");
    else if (run_with_arguments(client, request->words + used, request->count - used))
        return;
    else if (request->count > used)
        client_refuse(client, "expected no argument");
    else if (client->command == COMMAND_RELOAD)
        client_wait_reload(client);
    else if (control_show_needs_reports(client->command))
        client_wait_reports(client);
    else
        client_show(client);
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
        client_refuse(client, "unreadable request");
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
    if (!client_give_up(client))
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
        client_look(client);
    }
}

void control_answered(const struct process_answer *answer)
{
    struct client *next;
    for (struct client *client = LIST_FIRST(&control.clients); client != NULL; client = next) {
        next = LIST_NEXT(client, link);
        client_take_piece(client, answer);
    }
}

bool control_open(const struct control_options *options, char *error, size_t error_size)
{
    const char *path = options->configuration->control_socket;
    control.options = *options;
    control_show_create(options->configuration);
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
