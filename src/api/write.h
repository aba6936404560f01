/* write: sends a writing statement, and again where the rule says `busy`: the seats row is held by somebody else. No
 * statement of a worker waits for a seats row, as it would hold up all behind it on its connection. Worker process. */
#ifndef API_WRITE_H
#define API_WRITE_H

#include "api/answer.h"
#include "api/lane.h"
#include "http/request.h"
#include "pg/pool.h"

/* A write under way. Request lifetime; made by write_start, filled, then write_send. */
struct write {
    OBJECT_HEADER;
    struct http_request *request;
    struct pg_query query; /* statement, parameters (arena or static memory) and retry are the caller's to fill */
    struct answer_style style;
    const char *event_id;  /* writes to the same event go one after another; NULL: nobody knows which it is */
    const char *action_id; /* a new one; ties the audit log to this action, whatever connection it went over */
    struct lane_place place;
    const char *key;             /* Idempotency-Key, read by write_send; NULL: none */
    struct lane_place key_place; /* a lane of its own: who finds it taken is answered at once, nobody waits there */
    struct event *timer;
    int64_t deadline;
    int attempts;
    /* counts what a success decided; not called where an answer is given again. NULL: nothing to count */
    void (*count)(const struct pg_answer *answer);
    bool in_doubt; /* some try was lost with its connection: until a rule decides, nobody knows what it did */
};

/* A new write with a new action id; the statement is one that has a `_keyed` twin (statements.h). Its request id and
 * action id stand at parameters 0 and 1, where most functions take them. */
struct write *write_start(struct http_request *request, const struct pg_statement *statement);
/* Sends it, now or after those before it at the same event, and answers the request when it is decided. Where the
 * request has an Idempotency-Key, the `_keyed` statement is sent in place of the plain one. */
void write_send(struct write *write);

#endif
