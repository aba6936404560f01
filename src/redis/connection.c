/* connection: hiredis on the libevent loop. Refresher.
 *
 * hiredis frees its context by itself when the connection ends, right after it has called what waits for replies, and
 * in a callback it is freed only when that has returned. So what belongs to one context stands in an attachment, which
 * lives until hiredis says that it is done (its cleanup hook); a connection that has let go of an attachment may have
 * the next one already. */
#include "redis/connection.h"

#include <errno.h>
#include <hiredis/async.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/resolver.h"
#include "base/secret.h"

#define CONNECTION_MAGIC 0x72646973u
#define ATTACHMENT_MAGIC 0x72646174u
#define COMMAND_MAGIC 0x7264636du
/* A name server that is silent for as long will not be quicker than the next attempt. */
#define LOOKUP_TIMEOUT ((int64_t)5 * 1000 * 1000) /* µs */
#define REASON_SIZE 256

/* What belongs to one context of hiredis; freed by on_cleanup. */
struct attachment {
    OBJECT_HEADER;
    struct redis_connection *connection; /* NULL: it has let go */
    redisAsyncContext *context;
    struct event *read, *write;
    const char *complaint; /* static; why we refused what came, or NULL */
};

struct redis_connection {
    OBJECT_HEADER;
    struct redis_connection_options options;
    enum redis_connection_state state;
    struct resolver *resolver;     /* REDIS_RESOLVING */
    struct attachment *attachment; /* REDIS_CONNECTING, REDIS_READY */
    struct event *timer;           /* the end of an attempt; at once, where that has failed already */
    unsigned int attempts;         /* so that the next one begins with another address */
    int64_t timeout;
    char *password_file;
    char reason[REASON_SIZE]; /* of an attempt that has failed */
};

/* On its way; freed when it is answered. */
struct command {
    OBJECT_HEADER;
    redis_replied *replied;
    void *context;
};

static void change(struct redis_connection *connection, enum redis_connection_state state);
static void on_resolved(void *context, const struct resolver_answer *answer);
static void attach(struct redis_connection *connection, redisAsyncContext *context);
static void greet(struct redis_connection *connection);
static void on_greeted(redisAsyncContext *context, void *reply, void *last);
static void on_timer(evutil_socket_t descriptor, short what, void *argument);
static void fail_presently(struct redis_connection *connection);
static void end(struct redis_connection *connection, const char *reason);
static void lose(struct attachment *attachment);
static void on_reply(redisAsyncContext *context, void *reply, void *argument);

struct redis_connection *redis_connection_create(const struct redis_connection_options *options)
{
    struct redis_connection *connection = calloc(1, sizeof *connection);
    INVARIANT(connection != NULL);
    connection->magic = CONNECTION_MAGIC;
    connection->options = *options;
    connection->timer = evtimer_new(options->base, on_timer, connection);
    INVARIANT(connection->timer != NULL);
    return connection;
}

void redis_connection_destroy(struct redis_connection *connection)
{
    redis_connection_close(connection);
    event_free(connection->timer);
    free(connection->password_file);
    OBJECT_BURY(connection);
    free(connection);
}

enum redis_connection_state redis_connection_state(const struct redis_connection *connection)
{
    return connection->state;
}

void redis_connection_open(struct redis_connection *connection, const char *password_file, int64_t timeout)
{
    OBJECT_CHECK(connection, CONNECTION_MAGIC);
    INVARIANT(connection->state == REDIS_CLOSED);
    free(connection->password_file);
    connection->password_file = password_file == NULL ? NULL : strdup(password_file);
    INVARIANT(password_file == NULL || connection->password_file != NULL);
    connection->timeout = timeout;
    connection->attempts++;
    connection->reason[0] = '\0';
    if (connection->options.socket != NULL) {
        change(connection, REDIS_CONNECTING);
        attach(connection, redisAsyncConnectUnix(connection->options.socket));
        return;
    }
    change(connection, REDIS_RESOLVING);
    connection->resolver = resolver_start(connection->options.base, (const char *const[]){connection->options.name}, 1,
                                          LOOKUP_TIMEOUT, on_resolved, connection);
}

static void on_resolved(void *context, const struct resolver_answer *answer)
{
    struct redis_connection *connection = context;
    OBJECT_CHECK(connection, CONNECTION_MAGIC);
    connection->resolver = NULL;
    if (answer->error != NULL) {
        end(connection, answer->error);
        return;
    }
    const char *address = answer->addresses[connection->attempts % (unsigned int)answer->count].text;
    change(connection, REDIS_CONNECTING);
    attach(connection, redisAsyncConnect(address, connection->options.port));
}

void redis_connection_close(struct redis_connection *connection)
{
    OBJECT_CHECK(connection, CONNECTION_MAGIC);
    struct attachment *attachment = connection->attachment;
    if (connection->resolver != NULL)
        resolver_cancel(connection->resolver);
    connection->resolver = NULL;
    connection->attachment = NULL;
    event_del(connection->timer);
    change(connection, REDIS_CLOSED);
    if (attachment == NULL)
        return;
    attachment->connection = NULL;
    redisAsyncFree(attachment->context); /* answers what waits, now or when the callback that we are in has returned */
}

bool redis_connection_send(struct redis_connection *connection, int count, const char *words[], const size_t lengths[],
                           redis_replied *replied, void *context)
{
    OBJECT_CHECK(connection, CONNECTION_MAGIC);
    INVARIANT(connection->state == REDIS_READY);
    struct command *command = calloc(1, sizeof *command);
    INVARIANT(command != NULL);
    command->magic = COMMAND_MAGIC;
    command->replied = replied;
    command->context = context;
    if (redisAsyncCommandArgv(connection->attachment->context, on_reply, command, count, words, lengths) == REDIS_OK)
        return true;
    free(command);
    return false;
}

static void on_reply(redisAsyncContext *context, void *reply, void *argument)
{
    struct command *command = argument;
    OBJECT_CHECK(command, COMMAND_MAGIC);
    if (reply == NULL)
        lose(context->data);
    redis_replied *replied = command->replied;
    void *whose = command->context;
    OBJECT_BURY(command);
    free(command);
    replied(whose, reply);
}

/* The only place that changes the state. */
static void change(struct redis_connection *connection, enum redis_connection_state state)
{
    static const char allowed[REDIS_STATE_COUNT][REDIS_STATE_COUNT] = {
        [REDIS_CLOSED] = {[REDIS_CLOSED] = 1, [REDIS_RESOLVING] = 1, [REDIS_CONNECTING] = 1},
        [REDIS_RESOLVING] = {[REDIS_CLOSED] = 1, [REDIS_CONNECTING] = 1},
        [REDIS_CONNECTING] = {[REDIS_CLOSED] = 1, [REDIS_READY] = 1},
        [REDIS_READY] = {[REDIS_CLOSED] = 1},
    };
    static const char *const names[REDIS_STATE_COUNT] = {[REDIS_CLOSED] = "closed",
                                                         [REDIS_RESOLVING] = "resolving",
                                                         [REDIS_CONNECTING] = "connecting",
                                                         [REDIS_READY] = "ready"};
    INVARIANT(allowed[connection->state][state]);
    if (state != connection->state)
        log_debug("Redis", log_text("connection", names[state]));
    connection->state = state;
}

/* ---- an attempt, and its end ---- */

static void greet(struct redis_connection *connection)
{
    redisAsyncContext *context = connection->attachment->context;
    const char *path = connection->password_file;
    int failed = 0;
    if (path != NULL) {
        size_t length;
        char *secret = secret_read(path, &length, connection->reason, sizeof connection->reason);
        if (secret == NULL) {
            fail_presently(connection);
            return;
        }
        char *line_end = memchr(secret, '\n', length);
        const char *words[] = {"AUTH", secret, line_end == NULL ? NULL : line_end + 1};
        size_t user = line_end == NULL ? length : (size_t)(line_end - secret);
        const size_t lengths[] = {4, user, line_end == NULL ? 0 : length - user - 1};
        failed |= redisAsyncCommandArgv(context, on_greeted, NULL, line_end == NULL ? 2 : 3, words, lengths);
        secret_free(secret, length);
    }
    /* the only one whose reply has an argument: the last */
    failed |= redisAsyncCommand(context, on_greeted, connection, "PING");
    if (failed != 0) {
        snprintf(connection->reason, sizeof connection->reason, "the connection is gone already");
        fail_presently(connection);
    }
}

static void on_greeted(redisAsyncContext *context, void *argument, void *last)
{
    struct attachment *attachment = context->data;
    OBJECT_CHECK(attachment, ATTACHMENT_MAGIC);
    const redisReply *reply = argument;
    if (reply == NULL)
        lose(attachment);
    struct redis_connection *connection = attachment->connection;
    if (connection == NULL)
        return;
    if (reply->type == REDIS_REPLY_ERROR) {
        snprintf(connection->reason, sizeof connection->reason, "%s: %s", last == NULL ? "AUTH" : "PING", reply->str);
        end(connection, connection->reason);
    } else if (reply->type != REDIS_REPLY_STATUS || strcmp(reply->str, last == NULL ? "OK" : "PONG") != 0) {
        end(connection, "it does not answer as Redis does");
    } else if (last != NULL) {
        event_del(connection->timer);
        change(connection, REDIS_READY);
        connection->options.changed(connection->options.context, NULL);
    }
}

static void on_timer(evutil_socket_t descriptor, short what, void *argument)
{
    (void)descriptor;
    (void)what;
    struct redis_connection *connection = argument;
    OBJECT_CHECK(connection, CONNECTION_MAGIC);
    end(connection, connection->reason[0] != '\0' ? connection->reason : "it took too long to connect");
}

/* Its end is told from the loop, not from within open. */
static void fail_presently(struct redis_connection *connection)
{
    event_active(connection->timer, EV_TIMEOUT, 0);
}

/* Of an attempt or of a connection that stood; closes what there is. */
static void end(struct redis_connection *connection, const char *reason)
{
    char copy[REASON_SIZE];
    snprintf(copy, sizeof copy, "%s", reason);
    redis_connection_close(connection);
    connection->options.changed(connection->options.context, copy);
}

/* ---- what hiredis wants of a loop ---- */

static void on_readable(evutil_socket_t descriptor, short what, void *argument)
{
    (void)descriptor;
    (void)what;
    struct attachment *attachment = argument;
    OBJECT_CHECK(attachment, ATTACHMENT_MAGIC);
    redisAsyncHandleRead(attachment->context); /* may free it */
}

static void on_writable(evutil_socket_t descriptor, short what, void *argument)
{
    (void)descriptor;
    (void)what;
    struct attachment *attachment = argument;
    OBJECT_CHECK(attachment, ATTACHMENT_MAGIC);
    redisAsyncHandleWrite(attachment->context); /* may free it */
}

static void add(struct event *event)
{
    INVARIANT(event_add(event, NULL) == 0);
}

static void add_read(void *argument)
{
    add(((struct attachment *)argument)->read);
}

static void delete_read(void *argument)
{
    event_del(((struct attachment *)argument)->read);
}

static void add_write(void *argument)
{
    add(((struct attachment *)argument)->write);
}

static void delete_write(void *argument)
{
    event_del(((struct attachment *)argument)->write);
}

/* The last that hiredis does with it: everything that waited has been answered. */
static void on_cleanup(void *argument)
{
    struct attachment *attachment = argument;
    OBJECT_CHECK(attachment, ATTACHMENT_MAGIC);
    lose(attachment);
    event_free(attachment->read);
    event_free(attachment->write);
    OBJECT_BURY(attachment);
    free(attachment);
}

/* hiredis has ended the connection by itself. Told before those who wait for replies are: none of them sends anything
 * more on it. */
static void lose(struct attachment *attachment)
{
    OBJECT_CHECK(attachment, ATTACHMENT_MAGIC);
    struct redis_connection *connection = attachment->connection;
    if (connection == NULL)
        return;
    char reason[REASON_SIZE];
    const redisAsyncContext *context = attachment->context;
    snprintf(reason, sizeof reason, "%s",
             attachment->complaint != NULL                  ? attachment->complaint
             : context->err != 0 && context->errstr != NULL ? context->errstr
                                                            : "connection closed");
    attachment->connection = NULL;
    connection->attachment = NULL;
    redis_connection_close(connection);
    connection->options.changed(connection->options.context, reason);
}

/* ---- replies are not believed either ----
 *
 * None of our commands is answered with an array, whose announced size hiredis would allocate at once; and a reply that
 * nobody has asked for would end the process (an assertion in hiredis). Both end the connection instead. */

static redisReplyObjectFunctions usual;

static bool is_wanted(const redisReadTask *task)
{
    struct attachment *attachment = task->privdata;
    OBJECT_CHECK(attachment, ATTACHMENT_MAGIC);
    if (attachment->context->replies.head != NULL)
        return true;
    attachment->complaint = "it said something that nobody has asked for";
    return false;
}

static void *create_text(const redisReadTask *task, char *text, size_t length)
{
    return is_wanted(task) ? usual.createString(task, text, length) : NULL;
}

static void *create_integer(const redisReadTask *task, long long value)
{
    return is_wanted(task) ? usual.createInteger(task, value) : NULL;
}

static void *create_nil(const redisReadTask *task)
{
    return is_wanted(task) ? usual.createNil(task) : NULL;
}

static void *create_array(const redisReadTask *task, int elements)
{
    (void)elements;
    struct attachment *attachment = task->privdata;
    OBJECT_CHECK(attachment, ATTACHMENT_MAGIC);
    attachment->complaint = "it answered with an array, which no command of ours is answered with";
    return NULL;
}

static void attach(struct redis_connection *connection, redisAsyncContext *context)
{
    static redisReplyObjectFunctions functions = {.createString = create_text,
                                                  .createArray = create_array,
                                                  .createInteger = create_integer,
                                                  .createNil = create_nil};
    struct timeval timeout = clock_timeval(connection->timeout);
    INVARIANT(event_add(connection->timer, &timeout) == 0);
    INVARIANT(context != NULL);
    if (context->err != 0) {
        snprintf(connection->reason, sizeof connection->reason, "%s", context->errstr);
        redisAsyncFree(context);
        fail_presently(connection);
        return;
    }
    struct attachment *attachment = calloc(1, sizeof *attachment);
    INVARIANT(attachment != NULL);
    attachment->magic = ATTACHMENT_MAGIC;
    attachment->connection = connection;
    attachment->context = context;
    attachment->read =
        event_new(connection->options.base, context->c.fd, EV_READ | EV_PERSIST, on_readable, attachment);
    attachment->write =
        event_new(connection->options.base, context->c.fd, EV_WRITE | EV_PERSIST, on_writable, attachment);
    INVARIANT(attachment->read != NULL && attachment->write != NULL);
    context->data = attachment;
    context->ev.data = attachment;
    context->ev.addRead = add_read;
    context->ev.delRead = delete_read;
    context->ev.addWrite = add_write;
    context->ev.delWrite = delete_write;
    context->ev.cleanup = on_cleanup;
    usual = *context->c.reader->fn;
    functions.freeObject = usual.freeObject;
    context->c.reader->fn = &functions;
    context->c.reader->privdata = attachment;
    if (connection->options.socket == NULL)
        (void)redisEnableKeepAlive(&context->c);
    connection->attachment = attachment;
    greet(connection);
}
