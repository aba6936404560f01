/* people: asks PostgreSQL who verified identities are, many in one call. Worker process; uses both pools.
 * With nothing in flight a question leaves at once, alone; while a call is in flight those that come form the next one.
 * So thousands of people who send their first request in the same seconds cost some dozens of transactions, and one who
 * comes alone waits for nobody. */
#ifndef API_PEOPLE_H
#define API_PEOPLE_H

#include <sys/queue.h>

#include "base/object.h"
#include "identity/token.h"
#include "pg/pool.h"

/* What is said about one person; valid during the call. */
struct people_answer {
    const struct pg_answer *failure; /* not NULL: who it is is not known; no result in it, and never PG_STATUS_ROWS */
    const char *outcome;             /* ok, forbidden, busy */
    const char *body;                /* forbidden: members of the problem; else NULL */
    const char *role;                /* ok */
    const char *user_id;             /* ok */
};

/* The caller's, until it is answered. */
struct people_question {
    OBJECT_HEADER;
    const struct token_claims *claims;
    const char *role; /* that wins over the table's; NULL: none does */
    /* Exactly once, never from within people_ask. */
    void (*answered)(struct people_question *question, const struct people_answer *answer);
    void *context;

    /* people's */
    TAILQ_ENTRY(people_question) link;
    int64_t asked_at;
};

/* Who waits behind others for longer than db_acquire_timeout is answered busy when the call before it has ended. */
void people_ask(struct people_question *question);

#endif
