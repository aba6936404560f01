/* users: who am I. Worker process. */
#include "api/answer.h"
#include "api/caller.h"
#include "api/parameters.h"
#include "api/resources.h"
#include "api/statements.h"

static void on_user(void *context, const struct pg_answer *answer)
{
    struct http_request *request = context;
    OBJECT_CHECK(request, HTTP_REQUEST_MAGIC);
    answer_row(request, answer,
               &(struct answer_style){.headers = "Cache-Control: private, no-store\r\n",
                                      .lost = PROBLEM_DATABASE_UNAVAILABLE});
}

static void me_as(struct http_request *request, const struct caller *caller)
{
    if (!parameters_check(request, (const char *const[]){NULL}))
        return;
    struct pg_query query = {.statement = &statement_user_get,
                             .parameters = {caller->user_id, caller->role},
                             .retry = PG_RETRY_READ,
                             .done = on_user,
                             .context = request};
    pg_pool_submit(api_get()->read, &query);
}

void users_me(struct http_request *request)
{
    caller_identify(request, CALLER_USER, me_as);
}
