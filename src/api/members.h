/* members: what is wrong with the members of a body that C reads itself, all of it at once. Worker process.
 *
 *     json_t *errors = members_errors();
 *     members_wrong(errors, "event_id", "must be a string");
 *     if (!members_good(request, errors))
 *         return;
 */
#ifndef API_MEMBERS_H
#define API_MEMBERS_H

#include <jansson.h>
#include <stdbool.h>

#include "http/request.h"

/* An empty list; members_good takes it. */
json_t *members_errors(void) MUST_CHECK;
/* Adds one, with the JSON pointer (RFC 6901) of the member. */
void members_wrong(json_t *errors, const char *name, const char *detail);
/* The same of an item, from 0, of a member that is a list. */
void members_wrong_item(json_t *errors, const char *name, size_t item, const char *detail);
/* Ends the list. false: it was not empty, and the request has been answered with 422 and all of it. */
bool members_good(struct http_request *request, json_t *errors) MUST_CHECK;

/* For a request that takes no body: there is none, or an empty object. false: the request has been answered. */
bool members_none(struct http_request *request) MUST_CHECK;

#endif
