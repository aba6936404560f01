/* limits: how much one user, or one address without a valid token, may ask of this host. Worker process. */
#ifndef API_LIMITS_H
#define API_LIMITS_H

#include "http/request.h"

/* Before the first request, and when the configuration has changed. */
void limits_prepare(void);

/* Counts a request of a user, by its method as a read or a write. false: it was too much, and has been answered. The
 * answer to a write says what is left. */
bool limits_admit_user(struct http_request *request, const char *user_id) MUST_CHECK;
/* Counts a request that brings no valid token. false: as above. Whoever has no address is admitted. */
bool limits_admit_address(struct http_request *request) MUST_CHECK;

#endif
