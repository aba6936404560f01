/* warm: asks PostgreSQL what is worth having, and wants each of it. Refresher. */
#include "refresher/warm.h"

#include <stdio.h>
#include <string.h>

#include "api/statements.h"
#include "base/log.h"
#include "base/uuid.h"
#include "refresher/render.h"

#define STATUS "published"
#define LIMIT_DEFAULT 50

enum { WHAT, VALUE };

/* Boot lifetime. */
static struct {
    struct pg_pool *pool;
    char limit[24];
    void (*done)(void);
    bool asking;
    bool again; /* asked for while it is asking */
    bool waiting;
} warm;

void warm_create(struct pg_pool *pool, int64_t limit, void (*done)(void))
{
    warm.pool = pool;
    warm.done = done;
    snprintf(warm.limit, sizeof warm.limit, "%lld", (long long)limit);
}

static bool key_of(const char *what, const char *value, struct hot_key *key)
{
    char id[UUID_TEXT_SIZE];
    if (strcmp(what, "list") == 0)
        return hot_key_list(key, value, STATUS, LIMIT_DEFAULT, 0, NULL);
    if (strcmp(what, "event") != 0 || !uuid_parse(value, strlen(value), id))
        return false;
    hot_key_of(key, HOT_PATTERN_EVENT, id, NULL);
    return true;
}

static void want(const char *what, const char *value)
{
    struct hot_key key;
    if (!key_of(what, value, &key))
        return;
    struct item *item = directory_add(&key);
    if (!item->published)
        render_want(item);
}

static void on_rows(void *context, const struct pg_answer *answer)
{
    (void)context;
    warm.asking = false;
    if (answer->status == PG_STATUS_ROWS && !warm.again) {
        int count = PQntuples(answer->result);
        for (int i = 0; i < count; i++)
            want(PQgetvalue(answer->result, i, WHAT), PQgetvalue(answer->result, i, VALUE));
        warm.waiting = true;
        log_debug("warming up", log_int("keys", count));
    } else if (!warm.again) {
        log_warning("warming up failed", log_text("error", answer->message));
    }
    PQclear(answer->result);
    if (warm.again)
        warm_begin();
    warm_look();
}

void warm_begin(void)
{
    warm.again = warm.asking;
    if (warm.asking)
        return;
    warm.asking = true;
    warm.waiting = false;
    struct pg_query query = {
        .statement = &statement_cache_warm, .parameters = {warm.limit}, .retry = PG_RETRY_READ, .done = on_rows};
    pg_pool_submit(warm.pool, &query);
}

void warm_look(void)
{
    if (!warm.waiting || render_wanted() > 0)
        return;
    warm.waiting = false;
    warm.done();
}
