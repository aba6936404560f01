/* identity: what a worker knows of keys and tokens: the key set in force, the tokens verified a moment ago, the key of
 * page cursors. Worker process. */
#ifndef API_IDENTITY_H
#define API_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "identity/memo.h"
#include "identity/token.h"

/* Reads the secrets that the configuration names. Once, before the first request. false: `error` says why. */
bool identity_start(char *error, size_t error_size) MUST_CHECK;
/* Reads them again and forgets every token that was verified, so that the options of identity count from the next
 * request on. false: `error` says why, and everything stays as it was. */
bool identity_reload(char *error, size_t error_size) MUST_CHECK;

/* Looks at a token. One whose key is not known has the key set read again, though not each time. */
enum token_result identity_verify(const char *token, size_t length, struct arena *arena,
                                  struct token_claims *claims) MUST_CHECK;

/* Of tokens that were verified a moment ago. */
struct memo *identity_memo(void);

#endif
