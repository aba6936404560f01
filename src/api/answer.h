/* answer: from the row that a function of sql/rules returns to the HTTP answer, by one table of outcomes. Worker
 * process. */
#ifndef API_ANSWER_H
#define API_ANSWER_H

#include "http/problem.h"
#include "http/request.h"
#include "pg/pool.h"

/* Makes a body, in arena memory, from the one that a rule gave, of `*length` bytes; sets its length. */
typedef const char *answer_body(struct http_request *request, const char *body, size_t *length);

/* How one resource answers. All may be zero. */
struct answer_style {
    const char *location; /* what stands before the ref in Location; used for 201 */
    const char *headers;  /* further lines for 2xx and 304, each ended by CRLF */
    enum problem lost;    /* what a lost connection means here: PROBLEM_OUTCOME_UNKNOWN for a write; set it always */
    bool conditional;     /* If-None-Match is heard */
    answer_body *body;    /* makes the body of a 2xx from the row's; NULL: that is the body */
};

/* Answers with row 0 of (outcome, body, etag, ref), or with what went wrong; clears the result. */
void answer_row(struct http_request *request, const struct pg_answer *answer, const struct answer_style *style);

/* The same with one row of a result that others share: nothing of it is kept. */
void answer_shared_row(struct http_request *request, const PGresult *result, int row, const struct answer_style *style);

/* Whether row 0, or the row named, will be answered with a 2xx. */
bool answer_is_success(const struct pg_answer *answer) MUST_CHECK;
bool answer_row_is_success(const PGresult *result, int row) MUST_CHECK;

/* The problem that an outcome is; PROBLEM_INTERNAL where it is none. */
enum problem answer_problem(const char *outcome);

/* Answers with what went wrong; not to be called with PG_STATUS_ROWS. */
void answer_failure(struct http_request *request, const struct pg_answer *answer, enum problem lost);

/* Answers 200 with a JSON body in arena memory and its strong ETag (without quotes); 304 where the request has it. */
void answer_json(struct http_request *request, const char *body, size_t length, const char *etag, const char *headers);

/* The same with another media type. */
void answer_typed(struct http_request *request, const char *type, const char *body, size_t length, const char *etag,
                  const char *headers);

/* As answer_json, copied, with a hash of the body as its ETag: as the hot cache tags what has no version. */
void answer_hashed_json(struct http_request *request, const char *body, size_t length, const char *headers);

/* true: one of the tags in If-None-Match is `etag` (weak comparison, RFC 9110, 13.1.2). */
bool answer_matches(const char *if_none_match, const char *etag, size_t length);

#endif
