/* body: reads a request body as one JSON object (RFC 8259, 7493): UTF-8 only, no duplicate keys, no U+0000, size and
 * depth capped. Worker process. */
#ifndef HTTP_BODY_H
#define HTTP_BODY_H

#include <jansson.h>
#include <stdbool.h>

#include "http/request.h"

#define BODY_DEPTH_MAX 32

enum body_result { BODY_OK, BODY_INVALID, BODY_NOT_OBJECT };

/* Parses bytes. BODY_OK: `*object` is a new reference. Else `error` says what and where. Any process. */
enum body_result body_parse(const char *bytes, size_t length, json_t **object, char *error,
                            size_t error_size) MUST_CHECK;

/* Checks the content type (application/json; also application/merge-patch+json with `merge_patch`) and parses. NULL:
 * the request has been answered with 415 or 400. */
json_t *body_object(struct http_request *request, bool merge_patch) MUST_CHECK;

#endif
