/* caller: who asks. Reads the bearer token, remembers it for a while, and makes the user at first sight. Worker
 * process. */
#ifndef API_CALLER_H
#define API_CALLER_H

#include "http/request.h"

/* Texts live as long as the request. */
struct caller {
    const char *user_id; /* NULL: a caller without a token */
    const char *role;    /* the token's role where it is trusted; NULL: PostgreSQL takes the users table's in the same
                            transaction */
};

enum caller_need {
    CALLER_ANYBODY, /* a token is looked at where there is one; without: only while public_read = yes */
    CALLER_USER,    /* 401 without */
};

typedef void caller_continue(struct http_request *request, const struct caller *caller);

/* Identifies the caller and goes on with `next`, at once or after a look into PostgreSQL; or answers 401, 403 or 503.
 */
void caller_identify(struct http_request *request, enum caller_need need, caller_continue *next);

/* Has the token that came with the request been found valid a moment ago? For what asks nobody who he is. */
bool caller_is_remembered(const struct http_request *request) MUST_CHECK;

/* Cache-Control and Vary for what everybody may see: shared caches may keep what came without a token. Ended by CRLF.
 * Made once for all requests by caller_prepare; valid until it is called again. */
#define CALLER_LINES_SIZE 256
struct caller_lines {
    char text[CALLER_LINES_SIZE];
    size_t length;
};
const struct caller_lines *caller_lines(const struct http_request *request);
/* Before the first request, and when the configuration has changed. */
void caller_prepare(void);

#endif
