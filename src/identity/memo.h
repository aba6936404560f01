/* memo: tokens that were verified a moment ago, so that the next request with the same one costs a hash instead of a
 * signature and a database call. One per worker, never shared, bounded. It never holds a token, only its SHA-256. */
#ifndef IDENTITY_MEMO_H
#define IDENTITY_MEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/object.h"
#include "base/uuid.h"

/* A remembered token is looked at again after so many seconds: how long a changed role or a reload can go unnoticed. */
#define MEMO_SECONDS 60
#define MEMO_ROLE_SIZE 16

/* Who a token turned out to be. Texts are held in place and end with NUL. */
struct memo_person {
    char user_id[UUID_TEXT_SIZE];
    char role[MEMO_ROLE_SIZE];       /* the one that counts */
    char claim_role[MEMO_ROLE_SIZE]; /* the one that the token names; empty where it names none */
};

struct memo;

/* Room for `entries` tokens, rounded up to a power of two of at least 4 (8,192 take 1 MiB). */
struct memo *memo_create(size_t entries);
void memo_free(struct memo *memo);

/* Copies what is remembered of exactly these bytes. `now` in seconds since 1970, here and below. false: not remembered,
 * or no longer. */
bool memo_find(struct memo *memo, const char *token, size_t length, int64_t now, struct memo_person *person) MUST_CHECK;
/* Remembers until MEMO_SECONDS from now or `expires_at` of the token, whichever is first, in the place of the same
 * token, of one that is over, or of the oldest in its bucket. */
void memo_store(struct memo *memo, const char *token, size_t length, int64_t now, int64_t expires_at,
                const struct memo_person *person);
/* Forgets everything: after new keys, or a change of what tokens must say. */
void memo_forget_all(struct memo *memo);
/* How often it has forgotten everything: who verifies a token, waits, and then finds another number must not store it.
 */
uint64_t memo_generation(const struct memo *memo);

#endif
