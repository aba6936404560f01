/* jwk: one JSON Web Key (RFC 7517, 7518 section 6) made ready for use. Seen only by this folder. */
#ifndef IDENTITY_JWK_H
#define IDENTITY_JWK_H

#include <jansson.h>
#include <stdbool.h>

#include "identity/key.h"

/* Fills `key` from a JSON object. NULL on success; otherwise the reason, a literal, and `key` holds nothing. */
const char *jwk_read(json_t *jwk, struct key *key) MUST_CHECK;
/* Does the object carry a member that must stay secret? */
bool jwk_has_secret(json_t *jwk);
/* Wipes the secrets and frees what the key holds (not the struct). A key of all zeros is fine. */
void jwk_drop(struct key *key);

#endif
