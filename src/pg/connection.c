/* connection: one connection to PostgreSQL in pipeline mode on the loop. Worker, scheduler.
 *
 * Each query is Bind and Execute of a prepared statement (with its Parse before it, where this connection has not seen
 * it yet) and a Sync, hence a transaction of its own that is committed when PGRES_PIPELINE_SYNC arrives and not before:
 * rows that came without it may still be undone.
 *
 * Two things about libpq's socket. It may change at each PQconnectPoll, and it may be closed by any call that reads
 * (PQflush may read, too); its number is then free for the next socket of this process, and an event that was left on
 * it would keep libevent from watching that one. So while connecting all events are one-shot, and afterwards each call
 * that may close the socket is followed by disarm_if_closed. */
#include "pg/connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/resolver.h"
#include "pg/dsn.h"

static void on_kick(evutil_socket_t descriptor, short what, void *argument);
static void start(struct pg_connection *connection);
static void on_resolved(void *context, const struct resolver_answer *answer);
static void connect_to(struct pg_connection *connection, struct pg_dsn *dsn, const struct resolver_answer *answer);
static void poll_connect(evutil_socket_t socket, short what, void *argument);
static void await_poll(struct pg_connection *connection, short what);
static void become_ready(struct pg_connection *connection);
static void on_readable(evutil_socket_t socket, short what, void *argument);
static void on_writable(evutil_socket_t socket, short what, void *argument);
static void converse(struct pg_connection *connection);
static void flush(struct pg_connection *connection);
static void read_answers(struct pg_connection *connection);
static void take_notifications(struct pg_connection *connection);
static void take_result(struct pg_connection *connection, PGresult *result);
static void finish_head(struct pg_connection *connection);
static void look_for_the_end(struct pg_connection *connection);
static void lose(struct pg_connection *connection);
static void give_up(struct pg_connection *connection, const char *reason);
static void disarm(struct pg_connection *connection);
static void disarm_if_closed(struct pg_connection *connection);
static void on_notice(void *argument, const PGresult *notice);
static void remember_prepared(struct pg_connection *connection, const struct pg_statement *statement);
static void forget_prepared(struct pg_connection *connection, const struct pg_statement *statement);
static bool is_last_word(const PGresult *error);

struct pg_connection *pg_connection_open(const struct pg_connection_options *options,
                                         const struct pg_connection_owner *owner, void *context, unsigned int rotation)
{
    struct pg_connection *connection = calloc(1, sizeof *connection);
    INVARIANT(connection != NULL);
    connection->magic = PG_CONNECTION_MAGIC;
    connection->options = options;
    connection->owner = owner;
    connection->context = context;
    connection->rotation = rotation;
    connection->opened_at = clock_monotonic();
    connection->state = PG_CONNECTION_RESOLVING;
    TAILQ_INIT(&connection->in_flight);
    connection->kick_event = event_new(options->base, -1, 0, on_kick, connection);
    INVARIANT(connection->kick_event != NULL);
    event_active(connection->kick_event, EV_TIMEOUT, 0);
    return connection;
}

bool pg_connection_send(struct pg_connection *connection, struct pg_entry *entry)
{
    OBJECT_CHECK(connection, PG_CONNECTION_MAGIC);
    INVARIANT(connection->state == PG_CONNECTION_READY);
    if (connection->depth == 0 && !connection->reading && !connection->broken)
        look_for_the_end(connection);
    if (connection->broken)
        return false;
    const struct pg_statement *statement = entry->query.statement;
    const char *const *values = entry->query.parameters;
    PGconn *pg = connection->pg;
    bool prepares = !entry->alone && !pg_connection_knows(connection, statement);
    int sent;
    if (entry->alone)
        sent = PQsendQueryParams(pg, statement->sql, statement->parameter_count, NULL, values, NULL, NULL, 0);
    else
        sent = (!prepares || PQsendPrepare(pg, statement->name, statement->sql, 0, NULL)) &&
               PQsendQueryPrepared(pg, statement->name, statement->parameter_count, values, NULL, NULL, 0);
    if (!sent) {
        /* without its Sync nothing of it can be committed */
        give_up(connection, PQerrorMessage(pg));
        return false;
    }
    if (prepares)
        remember_prepared(connection, statement);
    entry->prepares = prepares;
    TAILQ_INSERT_TAIL(&connection->in_flight, entry, link);
    if (connection->depth++ == 0)
        connection->head_since = clock_monotonic();
    if (!PQpipelineSync(pg))
        give_up(connection, PQerrorMessage(pg)); /* it may have gone out: in flight */
    else
        flush(connection);
    /* libpq reads while it can't write: what it has read then will make no event of its own */
    if (!connection->reading && !connection->broken && !PQisBusy(pg))
        event_active(connection->kick_event, EV_TIMEOUT, 0);
    return true;
}

void pg_connection_cut(struct pg_connection *connection, const char *reason)
{
    OBJECT_CHECK(connection, PG_CONNECTION_MAGIC);
    give_up(connection, reason);
}

void pg_connection_close(struct pg_connection *connection)
{
    OBJECT_CHECK(connection, PG_CONNECTION_MAGIC);
    disarm(connection);
    event_del(connection->kick_event);
    if (connection->resolver != NULL)
        resolver_cancel(connection->resolver);
    connection->resolver = NULL;
    PQclear(connection->rows);
    PQclear(connection->error);
    connection->rows = connection->error = NULL;
    PQfinish(connection->pg);
    connection->pg = NULL;
    connection->state = PG_CONNECTION_CLOSED;
}

void pg_connection_free(struct pg_connection *connection)
{
    OBJECT_CHECK(connection, PG_CONNECTION_MAGIC);
    INVARIANT(!connection->reading && TAILQ_EMPTY(&connection->in_flight));
    pg_connection_close(connection);
    event_free(connection->kick_event);
    free(connection->prepared);
    OBJECT_BURY(connection);
    free(connection);
}

/* The first step, what libpq read on the side, and bad news from calls that must not call back. */
static void on_kick(evutil_socket_t descriptor, short what, void *argument)
{
    (void)descriptor;
    (void)what;
    struct pg_connection *connection = argument;
    OBJECT_CHECK(connection, PG_CONNECTION_MAGIC);
    if (connection->broken)
        lose(connection);
    else if (connection->state == PG_CONNECTION_READY)
        converse(connection);
    else if (connection->state == PG_CONNECTION_RESOLVING && connection->resolver == NULL)
        start(connection);
}

static void start(struct pg_connection *connection)
{
    struct pg_dsn dsn;
    if (!pg_dsn_read(&dsn, connection->options->dsn, connection->reason, sizeof connection->reason)) {
        lose(connection);
        return;
    }
    char *list;
    const char *names[RESOLVER_NAMES_MAX];
    int count = pg_dsn_names(&dsn, &list, names);
    if (count > 0)
        connection->resolver = resolver_start(connection->options->base, names, count,
                                              connection->options->connect_timeout, on_resolved, connection);
    free(list);
    if (count == 0)
        connect_to(connection, &dsn, &(const struct resolver_answer){.count = 0});
    pg_dsn_free(&dsn);
}

static void on_resolved(void *context, const struct resolver_answer *answer)
{
    struct pg_connection *connection = context;
    OBJECT_CHECK(connection, PG_CONNECTION_MAGIC);
    connection->resolver = NULL;
    struct pg_dsn dsn;
    if (!pg_dsn_read(&dsn, connection->options->dsn, connection->reason, sizeof connection->reason)) {
        lose(connection);
        return;
    }
    connect_to(connection, &dsn, answer);
    pg_dsn_free(&dsn);
}

static void connect_to(struct pg_connection *connection, struct pg_dsn *dsn, const struct resolver_answer *answer)
{
    const struct pg_connection_options *options = connection->options;
    if (!pg_dsn_set_addresses(dsn, answer, connection->rotation)) {
        snprintf(connection->reason, sizeof connection->reason, "%s", answer->error);
        lose(connection);
        return;
    }
    if (!pg_dsn_set_password(dsn, options->password_file, connection->reason, sizeof connection->reason)) {
        lose(connection);
        return;
    }
    connection->statement_timeout = options->statement_timeout;
    pg_dsn_set_session(dsn, options->application_name, options->statement_timeout);
    connection->pg = PQconnectStartParams(pg_dsn_keywords(dsn), pg_dsn_values(dsn), 0);
    INVARIANT(connection->pg != NULL);
    PQsetNoticeReceiver(connection->pg, on_notice, connection);
    connection->state = PG_CONNECTION_CONNECTING;
    if (PQstatus(connection->pg) == CONNECTION_BAD) {
        give_up(connection, PQerrorMessage(connection->pg));
        lose(connection);
        return;
    }
    await_poll(connection, EV_WRITE);
}

static void poll_connect(evutil_socket_t socket, short what, void *argument)
{
    (void)socket;
    (void)what;
    struct pg_connection *connection = argument;
    OBJECT_CHECK(connection, PG_CONNECTION_MAGIC);
    event_free(connection->read_event); /* one-shot: it is off the socket already */
    connection->read_event = NULL;
    switch (PQconnectPoll(connection->pg)) {
    case PGRES_POLLING_READING:
        await_poll(connection, EV_READ);
        break;
    case PGRES_POLLING_OK:
        become_ready(connection);
        break;
    case PGRES_POLLING_FAILED:
        give_up(connection, PQerrorMessage(connection->pg));
        lose(connection);
        break;
    default:
        await_poll(connection, EV_WRITE);
        break;
    }
}

static void await_poll(struct pg_connection *connection, short what)
{
    connection->read_event =
        event_new(connection->options->base, PQsocket(connection->pg), what, poll_connect, connection);
    INVARIANT(connection->read_event != NULL && event_add(connection->read_event, NULL) == 0);
}

static void become_ready(struct pg_connection *connection)
{
    PGconn *pg = connection->pg;
    if (PQsetnonblocking(pg, 1) != 0 || PQenterPipelineMode(pg) != 1) {
        give_up(connection, PQerrorMessage(pg));
        lose(connection);
        return;
    }
    int socket = PQsocket(pg);
    connection->read_event =
        event_new(connection->options->base, socket, EV_READ | EV_PERSIST, on_readable, connection);
    connection->write_event =
        event_new(connection->options->base, socket, EV_WRITE | EV_PERSIST, on_writable, connection);
    INVARIANT(connection->read_event != NULL && connection->write_event != NULL);
    INVARIANT(event_add(connection->read_event, NULL) == 0);
    connection->state = PG_CONNECTION_READY;
    connection->ready_at = connection->idle_since = clock_monotonic();
    connection->owner->ready(connection->context, connection);
}

static void on_readable(evutil_socket_t socket, short what, void *argument)
{
    (void)socket;
    (void)what;
    struct pg_connection *connection = argument;
    OBJECT_CHECK(connection, PG_CONNECTION_MAGIC);
    converse(connection);
}

static void on_writable(evutil_socket_t socket, short what, void *argument)
{
    (void)socket;
    (void)what;
    struct pg_connection *connection = argument;
    OBJECT_CHECK(connection, PG_CONNECTION_MAGIC);
    converse(connection);
}

/* Reads what there is, sends what is left. What arrived before a loss still counts. */
static void converse(struct pg_connection *connection)
{
    if (!PQconsumeInput(connection->pg))
        give_up(connection, PQerrorMessage(connection->pg));
    disarm_if_closed(connection);
    read_answers(connection);
    take_notifications(connection);
    if (!connection->broken)
        flush(connection);
    if (connection->broken)
        lose(connection);
}

/* While something is left to be sent both events are wanted: the server may have to be read from before it reads. */
static void flush(struct pg_connection *connection)
{
    int left = PQflush(connection->pg);
    disarm_if_closed(connection);
    if (left < 0)
        give_up(connection, PQerrorMessage(connection->pg));
    else if (connection->write_event == NULL)
        return;
    else if (left > 0)
        event_add(connection->write_event, NULL);
    else if (event_pending(connection->write_event, EV_WRITE, NULL))
        event_del(connection->write_event);
}

static void read_answers(struct pg_connection *connection)
{
    int nothing = 0;
    connection->reading = true;
    while (!TAILQ_EMPTY(&connection->in_flight) && !PQisBusy(connection->pg)) {
        PGresult *result = PQgetResult(connection->pg);
        if (result != NULL) {
            nothing = 0;
            take_result(connection, result);
        } else if (++nothing > 1) {
            /* one NULL ends each query; with a query in flight libpq is busy after it */
            give_up(connection, "libpq knows of no query where we wait for an answer");
            break;
        }
    }
    connection->reading = false;
}

/* After the answers: libpq comes to those that stand behind an answer only when that has been taken, and the socket
 * says nothing more about them. */
static void take_notifications(struct pg_connection *connection)
{
    PGnotify *notification;
    while ((notification = PQnotifies(connection->pg)) != NULL) {
        if (connection->owner->notified != NULL)
            connection->owner->notified(connection->context, connection, notification->relname, notification->extra);
        PQfreemem(notification);
    }
}

static void take_result(struct pg_connection *connection, PGresult *result)
{
    struct pg_entry *head = TAILQ_FIRST(&connection->in_flight);
    switch (PQresultStatus(result)) {
    case PGRES_PIPELINE_SYNC:
        PQclear(result);
        finish_head(connection);
        break;
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
        if (head->prepares) {
            head->prepares = false;
            PQclear(result);
        } else {
            PQclear(connection->rows);
            connection->rows = result;
        }
        break;
    case PGRES_PIPELINE_ABORTED: /* what followed the error */
        PQclear(result);
        break;
    case PGRES_FATAL_ERROR:
        if (head->prepares)
            forget_prepared(connection, head->query.statement);
        head->prepares = false;
        if (connection->error == NULL)
            connection->error = result;
        else
            PQclear(result);
        if (pg_entry_sqlstate(connection->error)[0] == '\0' || is_last_word(connection->error))
            give_up(connection, PQresultErrorMessage(connection->error));
        break;
    default:
        PQclear(result);
        give_up(connection, "PostgreSQL answered in a way that does not belong into a pipeline (COPY?)");
        break;
    }
}

static void finish_head(struct pg_connection *connection)
{
    struct pg_entry *head = TAILQ_FIRST(&connection->in_flight);
    TAILQ_REMOVE(&connection->in_flight, head, link);
    connection->depth--;
    connection->answers++;
    connection->head_since = clock_monotonic();
    if (connection->depth == 0)
        connection->idle_since = connection->head_since;
    PGresult *rows = connection->rows, *error = connection->error;
    connection->rows = connection->error = NULL;
    if (error == NULL && rows == NULL) {
        rows = PQmakeEmptyPGresult(connection->pg, PGRES_COMMAND_OK);
    } else if (error != NULL) {
        PQclear(rows); /* an error at commit: they never were */
        rows = NULL;
    }
    connection->owner->answered(connection->context, connection, head, rows, error);
}

/* The server may have closed an idle connection since the loop looked last. What is sent then is in doubt for nothing:
 * one recv of less than a microsecond before it spares many a write that. */
static void look_for_the_end(struct pg_connection *connection)
{
    if (!PQconsumeInput(connection->pg))
        give_up(connection, PQerrorMessage(connection->pg));
    else
        PQisBusy(connection->pg); /* reads a last word, if there is one: see on_notice */
    disarm_if_closed(connection);
}

/* Reports the loss. An ERROR whose sync is missing is an answer all the same: nothing can be committed any more. */
static void lose(struct pg_connection *connection)
{
    if (connection->error != NULL && pg_entry_sqlstate(connection->error)[0] != '\0') {
        if (!is_last_word(connection->error))
            finish_head(connection);
        else
            connection->behind_never_ran = strcmp(pg_entry_sqlstate(connection->error), "57P01") == 0;
    }
    pg_connection_close(connection);
    connection->owner->closed(connection->context, connection, connection->reason);
}

/* From now on the connection is only good for being read to its end and reported. The first reason is the one. */
static void give_up(struct pg_connection *connection, const char *reason)
{
    if (connection->broken || connection->state == PG_CONNECTION_CLOSED)
        return;
    connection->broken = true;
    size_t length = 0; /* libpq's messages are several lines, some indented: one line with single spaces */
    for (const char *from = reason; *from != '\0' && length + 1 < sizeof connection->reason; from++) {
        bool space = *from == ' ' || *from == '\n' || *from == '\t';
        if (!space)
            connection->reason[length++] = *from;
        else if (length > 0 && connection->reason[length - 1] != ' ')
            connection->reason[length++] = ' ';
    }
    if (length > 0 && connection->reason[length - 1] == ' ')
        length--;
    connection->reason[length] = '\0';
    disarm_if_closed(connection);
    event_active(connection->kick_event, EV_TIMEOUT, 0);
}

static void disarm(struct pg_connection *connection)
{
    if (connection->read_event != NULL)
        event_free(connection->read_event);
    if (connection->write_event != NULL)
        event_free(connection->write_event);
    connection->read_event = connection->write_event = NULL;
}

static void disarm_if_closed(struct pg_connection *connection)
{
    if (PQsocket(connection->pg) < 0)
        disarm(connection);
}

/* A last word to an idle connection comes as a notice. The log gets the primary message only: details may repeat
 * values. */
static void on_notice(void *argument, const PGresult *notice)
{
    struct pg_connection *connection = argument;
    OBJECT_CHECK(connection, PG_CONNECTION_MAGIC);
    if (connection->state == PG_CONNECTION_READY && is_last_word(notice))
        give_up(connection, PQresultErrorMessage(notice));
    log_debug("notice of PostgreSQL", log_text("application", connection->options->application_name),
              log_text("severity", PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED)),
              log_text("sqlstate", pg_entry_sqlstate(notice)),
              log_text("text", PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY)));
}

/* Statements are some dozens: a walk over their addresses costs less than a hash. */
bool pg_connection_knows(const struct pg_connection *connection, const struct pg_statement *statement)
{
    for (int i = 0; i < connection->prepared_count; i++)
        if (connection->prepared[i] == statement)
            return true;
    return false;
}

static void remember_prepared(struct pg_connection *connection, const struct pg_statement *statement)
{
    if (connection->prepared_count == connection->prepared_size) {
        connection->prepared_size = connection->prepared_size * 2 + 16;
        connection->prepared =
            realloc(connection->prepared, (size_t)connection->prepared_size * sizeof connection->prepared[0]);
        INVARIANT(connection->prepared != NULL);
    }
    connection->prepared[connection->prepared_count++] = statement;
}

static void forget_prepared(struct pg_connection *connection, const struct pg_statement *statement)
{
    for (int i = 0; i < connection->prepared_count; i++)
        if (connection->prepared[i] == statement)
            connection->prepared[i--] = connection->prepared[--connection->prepared_count];
}

/* FATAL or PANIC: the server process has ended with it. */
static bool is_last_word(const PGresult *error)
{
    const char *severity = PQresultErrorField(error, PG_DIAG_SEVERITY_NONLOCALIZED);
    return severity != NULL && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}
