/* users: who am I. Worker process; from the hot cache, by the id and the role that holds for this caller. */
#include "api/answer.h"
#include "api/caller.h"
#include "api/hot.h"
#include "api/parameters.h"
#include "api/resources.h"
#include "api/statements.h"

#define PERSONAL "Cache-Control: private, no-store\r\n"

static void answer_cached_user(struct http_request *request, const PGresult *row)
{
    answer_hashed_json(request, PQgetvalue(row, 0, HOT_ROW_BODY), (size_t)PQgetlength(row, 0, HOT_ROW_BODY), PERSONAL);
}

static void on_user(void *context, const struct pg_answer *answer)
{
    struct http_request *request = context;
    OBJECT_CHECK(request, HTTP_REQUEST_MAGIC);
    answer_row(request, answer, &(struct answer_style){.headers = PERSONAL, .lost = PROBLEM_DATABASE_UNAVAILABLE});
}

static void me_plain(struct http_request *request, const struct caller *caller);
static const struct hot_resource user_resource = {.lines = PERSONAL, .answer = answer_cached_user, .plain = me_plain};

static void me_plain(struct http_request *request, const struct caller *caller)
{
    struct hot_key key;
    hot_key_of(&key, HOT_PATTERN_USER, caller->user_id, caller->role);
    struct pg_query query = {.statement = &statement_user_get,
                             .parameters = {caller->user_id, caller->role},
                             .retry = PG_RETRY_READ,
                             .done = on_user,
                             .context = request};
    hot_query(&key, &user_resource, &query);
}

static void me_as(struct http_request *request, const struct caller *caller)
{
    struct hot_key key;
    if (!parameters_check(request, (const char *const[]){NULL}))
        return;
    if (!hot_is_on()) {
        me_plain(request, caller);
        return;
    }
    hot_key_of(&key, HOT_PATTERN_USER, caller->user_id, caller->role);
    hot_serve(request, caller, &key, &user_resource);
}

void users_me(struct http_request *request)
{
    caller_identify(request, CALLER_USER, me_as);
}
