/* warm: asks PostgreSQL what is worth having, and wants each of it. Refresher. */
#include "refresher/warm.h"

#include <stdio.h>
#include <string.h>

#include "api/statements.h"
#include "base/log.h"
#include "base/uuid.h"
#include "refresher/render.h"

/* What is wanted at a time: changes and who waits pass between. */
#define AT_A_TIME 8

enum { WHAT, VALUE };

/* Boot lifetime. */
static struct {
    struct pg_pool *pool;
    char limit[24];
    void (*done)(void);
    bool asking;
    bool again;     /* asked for while it is asking */
    PGresult *rows; /* what is worth having; NULL: no round */
    int next;       /* of these */
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
        return hot_key_list(key, value, LIST_STATUS_DEFAULT, PAGE_LIMIT_DEFAULT, 0, NULL);
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

static void end_round(void)
{
    PQclear(warm.rows);
    warm.rows = NULL;
}

static void on_rows(void *context, const struct pg_answer *answer)
{
    (void)context;
    warm.asking = false;
    if (warm.again) {
        PQclear(answer->result);
        warm_begin();
        return;
    }
    if (answer->status != PG_STATUS_ROWS) {
        log_warning("what to warm up is not known", log_text("error", answer->message));
        return;
    }
    warm.rows = answer->result;
    warm.next = 0;
    warm_look();
}

void warm_begin(void)
{
    warm.again = warm.asking;
    if (warm.asking)
        return;
    warm.asking = true;
    end_round();
    struct pg_query query = {
        .statement = &statement_cache_warm, .parameters = {warm.limit}, .retry = PG_RETRY_READ, .done = on_rows};
    pg_pool_submit(warm.pool, &query);
}

void warm_look(void)
{
    while (warm.rows != NULL && render_wanted() < AT_A_TIME) {
        if (warm.next < PQntuples(warm.rows)) {
            want(PQgetvalue(warm.rows, warm.next, WHAT), PQgetvalue(warm.rows, warm.next, VALUE));
            warm.next++;
        } else if (render_wanted() == 0) {
            end_round();
            warm.done();
        } else {
            return;
        }
    }
}
