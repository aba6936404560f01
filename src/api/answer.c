/* answer: outcomes of the rules become HTTP answers by one table. Worker process; it may read the result and answer the
 * request. */
#include "api/answer.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/log.h"

enum { COLUMN_OUTCOME, COLUMN_BODY, COLUMN_ETAG, COLUMN_REF };

/* Seconds for Retry-After. */
#define RETRY_DATABASE 2
#define RETRY_BUSY 1

static const struct outcome {
    const char *name;
    int status;           /* 2xx: the body is the answer */
    enum problem problem; /* else: the body's members go into the problem */
} outcomes[] = {
    {"ok", 200, PROBLEM_COUNT},
    {"created", 201, PROBLEM_COUNT},
    {"registered", 201, PROBLEM_COUNT},
    {"waitlisted", 201, PROBLEM_COUNT},
    {"existing", 200, PROBLEM_COUNT},
    {"unchanged", 200, PROBLEM_COUNT},
    {"deleted", 204, PROBLEM_COUNT},
    {"not_found", 0, PROBLEM_NOT_FOUND},
    {"forbidden", 0, PROBLEM_FORBIDDEN},
    {"not_published", 0, PROBLEM_NOT_PUBLISHED},
    {"event_closed", 0, PROBLEM_EVENT_CLOSED},
    {"not_open_yet", 0, PROBLEM_NOT_OPEN_YET},
    {"registration_closed", 0, PROBLEM_REGISTRATION_CLOSED},
    {"not_eligible", 0, PROBLEM_NOT_ELIGIBLE},
    {"full", 0, PROBLEM_EVENT_FULL},
    {"not_registered", 0, PROBLEM_NOT_REGISTERED},
    {"already_registered", 0, PROBLEM_ALREADY_REGISTERED},
    {"capacity_below_count", 0, PROBLEM_CAPACITY_BELOW_COUNT},
    {"wrong_status", 0, PROBLEM_WRONG_STATUS},
    {"version_conflict", 0, PROBLEM_VERSION_CONFLICT},
    {"invalid_fields", 0, PROBLEM_INVALID_FIELDS},
    {"busy", 0, PROBLEM_OVERLOADED},
    {"key_in_use", 0, PROBLEM_KEY_IN_USE},
    {"key_reused", 0, PROBLEM_KEY_REUSED},
};

static const struct outcome *find_outcome(const char *name)
{
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        if (strcmp(outcomes[i].name, name) == 0)
            return &outcomes[i];
    }
    return NULL;
}

static const struct outcome *outcome_of(const PGresult *result, int row)
{
    return row < PQntuples(result) ? find_outcome(PQgetvalue(result, row, COLUMN_OUTCOME)) : NULL;
}

static bool is_one_row(const struct pg_answer *answer)
{
    return answer->status == PG_STATUS_ROWS && PQntuples(answer->result) == 1;
}

bool answer_row_is_success(const PGresult *result, int row)
{
    const struct outcome *outcome = outcome_of(result, row);
    return outcome != NULL && outcome->status != 0;
}

bool answer_is_success(const struct pg_answer *answer)
{
    return is_one_row(answer) && answer_row_is_success(answer->result, 0);
}

enum problem answer_problem(const char *name)
{
    const struct outcome *outcome = find_outcome(name);
    return outcome == NULL || outcome->status != 0 ? PROBLEM_INTERNAL : outcome->problem;
}

static void clear_result(void *owner)
{
    PQclear(owner);
}

bool answer_matches(const char *if_none_match, const char *etag, size_t length)
{
    for (const char *at = if_none_match; *at != '\0';) {
        at += strspn(at, " \t,");
        if (*at == '*')
            return true;
        if (strncmp(at, "W/", 2) == 0)
            at += 2;
        if (*at != '"')
            return false;
        const char *end = strchr(at + 1, '"');
        if (end == NULL)
            return false;
        if ((size_t)(end - at - 1) == length && memcmp(at + 1, etag, length) == 0)
            return true;
        at = end + 1;
    }
    return false;
}

static const char *header_lines(struct http_request *request, const char *etag, const char *location, const char *more)
{
    return arena_printf(request->arena, "%s%s%s%s%s%s%s", etag == NULL ? "" : "ETag: \"", etag == NULL ? "" : etag,
                        etag == NULL ? "" : "\"\r\n",
                        location == NULL ? "" : "Location: ", location == NULL ? "" : location,
                        location == NULL ? "" : "\r\n", more == NULL ? "" : more);
}

static bool is_not_modified(const struct http_request *request, const char *etag)
{
    const char *tags = http_request_header(request, "if-none-match");
    return etag != NULL && tags != NULL && answer_matches(tags, etag, strlen(etag));
}

void answer_json(struct http_request *request, const char *body, size_t length, const char *etag, const char *headers)
{
    answer_typed(request, "application/json", body, length, etag, headers);
}

void answer_typed(struct http_request *request, const char *type, const char *body, size_t length, const char *etag,
                  const char *headers)
{
    struct http_response response = {.status = 200,
                                     .content_type = type,
                                     .headers = header_lines(request, etag, NULL, headers),
                                     .body = body,
                                     .body_length = length};
    if (is_not_modified(request, etag))
        response = (struct http_response){.status = 304, .headers = response.headers};
    http_respond(request, &response);
}

void answer_hashed_json(struct http_request *request, const char *body, size_t length, const char *headers)
{
    const char *etag = arena_printf(request->arena, "%016llx", (unsigned long long)XXH3_64bits(body, length));
    answer_json(request, arena_memdup(request->arena, body, length), length, etag, headers);
}

void answer_failure(struct http_request *request, const struct pg_answer *answer, enum problem lost)
{
    struct problem_details details = {.retry_after = RETRY_DATABASE};
    switch (answer->status) {
    case PG_STATUS_UNAVAILABLE:
        problem_respond(request, PROBLEM_DATABASE_UNAVAILABLE, &details);
        return;
    case PG_STATUS_LOST:
        problem_respond(request, lost, &details);
        return;
    case PG_STATUS_TIMED_OUT:
        problem_respond(request, PROBLEM_OVERLOADED, &details);
        return;
    case PG_STATUS_ROWS:
    case PG_STATUS_FAILED:
        break;
    }
    log_error("a statement failed", log_text("sqlstate", answer->sqlstate), log_text("error", answer->message),
              log_text("request_id", request->request_id));
    problem_respond(request, PROBLEM_INTERNAL, NULL);
}

/* A moment that the rule named ("opens_at") becomes seconds to wait. */
static int retry_after(const char *members, size_t length)
{
    json_t *object = json_loadb(members, length, 0, NULL);
    json_int_t seconds = json_integer_value(json_object_get(object, "retry_after"));
    json_decref(object);
    return seconds > 0 && seconds < 1000000000 ? (int)seconds : 0;
}

static void refuse(struct http_request *request, const struct outcome *outcome, const PGresult *result, int row)
{
    struct problem_details details = {0};
    if (!PQgetisnull(result, row, COLUMN_BODY)) {
        details.members_length = (size_t)PQgetlength(result, row, COLUMN_BODY);
        details.members = arena_memdup(request->arena, PQgetvalue(result, row, COLUMN_BODY), details.members_length);
        details.retry_after = retry_after(details.members, details.members_length);
    }
    if (outcome->problem == PROBLEM_OVERLOADED || outcome->problem == PROBLEM_KEY_IN_USE)
        details.retry_after = RETRY_BUSY;
    problem_respond(request, outcome->problem, &details);
}

static const char *value_or_null(struct http_request *request, const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? NULL : arena_strdup(request->arena, PQgetvalue(result, row, column));
}

/* Everything but the body, which the caller puts in where `has_body` says so. false: refused, and answered. */
static bool begin_row(struct http_request *request, const PGresult *result, int row, const struct answer_style *style,
                      struct http_response *response, bool *has_body)
{
    const struct outcome *outcome = outcome_of(result, row);
    if (outcome == NULL) {
        log_error("a rule gave no known outcome", log_int("rows", PQntuples(result)),
                  log_text("request_id", request->request_id));
        problem_respond(request, PROBLEM_INTERNAL, NULL);
        return false;
    }
    if (outcome->status == 0) {
        refuse(request, outcome, result, row);
        return false;
    }
    const char *etag = value_or_null(request, result, row, COLUMN_ETAG);
    const char *reference = value_or_null(request, result, row, COLUMN_REF);
    const char *location = NULL;
    if (outcome->status == 201 && style->location != NULL && reference != NULL)
        location = arena_printf(request->arena, "%s%s", style->location, reference);
    *response = (struct http_response){.status = outcome->status,
                                       .headers = header_lines(request, etag, location, style->headers)};
    if (style->conditional && is_not_modified(request, etag))
        response->status = 304;
    *has_body = response->status != 304 && response->status != 204;
    if (*has_body)
        response->content_type = "application/json";
    return true;
}

void answer_shared_row(struct http_request *request, const PGresult *result, int row, const struct answer_style *style)
{
    struct http_response response;
    bool has_body;
    if (!begin_row(request, result, row, style, &response, &has_body))
        return;
    if (has_body) {
        response.body_length = (size_t)PQgetlength(result, row, COLUMN_BODY);
        response.body = arena_memdup(request->arena, PQgetvalue(result, row, COLUMN_BODY), response.body_length);
    }
    http_respond(request, &response);
}

void answer_row(struct http_request *request, const struct pg_answer *answer, const struct answer_style *style)
{
    if (answer->status != PG_STATUS_ROWS) {
        answer_failure(request, answer, style->lost);
        return;
    }
    PGresult *result = answer->result;
    struct http_response response;
    bool has_body = false;
    /* More than one row is as wrong as none: then there is no row to look at. */
    int row = PQntuples(result) == 1 ? 0 : PQntuples(result);
    bool begun = begin_row(request, result, row, style, &response, &has_body);
    if (begun && has_body) {
        response.body = PQgetvalue(result, 0, COLUMN_BODY);
        response.body_length = (size_t)PQgetlength(result, 0, COLUMN_BODY);
        if (style->body != NULL) {
            response.body = style->body(request, response.body, &response.body_length);
        } else {
            response.release = clear_result;
            response.owner = result;
        }
    }
    if (!begun || response.release == NULL)
        PQclear(result);
    if (begun)
        http_respond(request, &response);
}
