/* mix: what the load generator asks for: requests with weights, read from an ini file, and what is put into them. The
 * load generator; README.md beside this file describes the format. */
#ifndef LOAD_MIX_H
#define LOAD_MIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/object.h"
#include "histogram.h"
#include "kind.h"

#define MIX_REQUESTS_MAX 64
#define MIX_EXPECTED_MAX 16
#define MIX_STATUS_MOST 600

enum mix_token {
    MIX_TOKEN_NONE,
    MIX_TOKEN_ANY,  /* one of --tokens, by chance */
    MIX_TOKEN_KEPT, /* that of the kept registration which the request names */
    MIX_TOKEN_EACH, /* each of --tokens once, in the order of the file */
};

/* One section of the file, and what became of its requests. Boot lifetime. */
struct mix_request {
    const char *name;
    double weight;
    const char *method;
    const char *path;
    const char *body;    /* NULL: none */
    const char *headers; /* lines, each ended by CRLF; NULL: none */
    enum mix_token token;
    bool keeps; /* the "id" of a 2xx answer is remembered with its token, for {registration} */
    int expected[MIX_EXPECTED_MAX];
    int expected_count;            /* 0: any 2xx */
    int retried[MIX_EXPECTED_MAX]; /* statuses that say "not now": asked again, the same, after Retry-After */
    int retried_count;
    bool tells;         /* what the answers said is counted by kind */
    struct buffer text; /* all of it, where each is the same as the last; else empty */

    int64_t answered;
    int64_t failed;
    int64_t statuses[MIX_STATUS_MOST]; /* of final answers */
    int64_t retries;
    struct kinds kinds;       /* of final answers */
    struct kinds not_now;     /* of those after which it was asked again */
    struct histogram latency; /* from the moment at which it was due */
    struct histogram service; /* from the moment at which it was sent */
};

/* A line of a file of tokens or ids. */
struct mix_lines {
    char **lines;
    size_t count;
};

/* A registration that an answer named; whose token it was. */
struct mix_kept {
    char id[37];
    size_t token;
};

struct mix {
    struct mix_request requests[MIX_REQUESTS_MAX];
    int count;
    double weight; /* of all */
    struct mix_lines tokens;
    struct mix_lines events;
    size_t next_token; /* the first that no MIX_TOKEN_EACH has used */
    struct mix_kept *kept;
    size_t kept_count;
    size_t kept_capacity;
    uint64_t number; /* {number}: one more with each use */
    const char *host;
};

/* What one request was made of; needed when its answer comes. */
struct mix_drawn {
    struct mix_request *request;
    size_t token;
};

/* Reads the file; false: one line in `error`. */
bool mix_read(struct mix *mix, const char *path, char *error, size_t error_size) MUST_CHECK;
/* Reads lines; empty ones are left out. false: one line in `error`. */
bool mix_read_lines(struct mix_lines *lines, const char *path, char *error, size_t error_size) MUST_CHECK;
/* Draws a request by the weights and writes it into `out`. false: there is none that could be asked any more (each
 * token has been used). */
bool mix_draw(struct mix *mix, bool close, struct mix_drawn *drawn, struct buffer *out) MUST_CHECK;
/* true: the status is what the file expects of this request. */
bool mix_expects(const struct mix_request *request, int status) MUST_CHECK;
/* true: after this status the request is to be sent again. */
bool mix_retries(const struct mix_request *request, int status) MUST_CHECK;
/* Remembers the "id" in the body of a 2xx answer, where the request wants that. */
void mix_keep(struct mix *mix, const struct mix_drawn *drawn, const char *body, size_t length);

#endif
