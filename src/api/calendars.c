/* calendars: an event as a file for calendar programs. Worker process; what everybody may see comes from the hot cache.
 */
#include <xxhash.h>

#include "api/answer.h"
#include "api/caller.h"
#include "api/hot.h"
#include "api/parameters.h"
#include "api/resources.h"
#include "api/statements.h"
#include "base/log.h"
#include "mail/calendar.h"

/* As the refresher makes it. */
static void answer_cached_calendar(struct http_request *request, const PGresult *row)
{
    struct buffer text = {0};
    if (!calendar_write_json(&(struct calendar){0}, PQgetvalue(row, 0, HOT_ROW_BODY),
                             (size_t)PQgetlength(row, 0, HOT_ROW_BODY), &text)) {
        log_error("a rule gave what is no event", log_text("request_id", request->request_id));
        problem_respond(request, PROBLEM_INTERNAL, NULL);
        return;
    }
    size_t length = buffer_length(&text);
    const char *etag =
        arena_printf(request->arena, "%016llx", (unsigned long long)XXH3_64bits(buffer_bytes(&text), length));
    const char *body = arena_memdup(request->arena, buffer_bytes(&text), length);
    buffer_free(&text);
    answer_typed(request, CALENDAR_CONTENT_TYPE, body, length, etag, caller_lines(request)->text);
}

static void on_calendar(void *context, const struct pg_answer *answer)
{
    struct http_request *request = context;
    OBJECT_CHECK(request, HTTP_REQUEST_MAGIC);
    if (!answer_is_success(answer)) {
        answer_row(request, answer, &(struct answer_style){.lost = PROBLEM_DATABASE_UNAVAILABLE});
        return;
    }
    answer_cached_calendar(request, answer->result);
    PQclear(answer->result);
}

static void calendar_plain(struct http_request *request, const struct caller *caller);
static const struct hot_resource calendar_resource = {.answer = answer_cached_calendar, .plain = calendar_plain};

/* What is not public has no calendar, for nobody: the same question, where the cache is off or has heard of no such
 * event. */
static void calendar_plain(struct http_request *request, const struct caller *caller)
{
    struct hot_key key;
    const char *id = parameters_path_id(request);
    (void)caller;
    if (id == NULL)
        return;
    hot_key_of(&key, HOT_PATTERN_CALENDAR, id, NULL);
    struct pg_query query = {.statement = &statement_cache_calendar,
                             .parameters = {id},
                             .retry = PG_RETRY_READ,
                             .done = on_calendar,
                             .context = request};
    hot_query(&key, &calendar_resource, &query);
}

static void event_as(struct http_request *request, const struct caller *caller)
{
    struct hot_key key;
    const char *id = parameters_path_id(request);
    if (id == NULL || !parameters_check(request, (const char *const[]){NULL}))
        return;
    if (!hot_is_on()) {
        calendar_plain(request, caller);
        return;
    }
    hot_key_of(&key, HOT_PATTERN_CALENDAR, id, NULL);
    hot_serve(request, caller, &key, &calendar_resource);
}

void calendars_event(struct http_request *request)
{
    caller_identify(request, CALLER_ANYBODY, event_as);
}
