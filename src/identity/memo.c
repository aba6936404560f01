/* memo: a table of recently verified tokens, each worker's own. Keyed by the SHA-256 of the token's bytes, compared
 * whole, in buckets of four. Only tokens that were verified come in, so nobody without a good token can push others
 * out. */
#include "identity/memo.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define MEMO_MAGIC 0x4d454d4fu
#define WAYS 4
#define KEY_SIZE 32

struct entry {
    unsigned char key[KEY_SIZE];
    int64_t stored_at;  /* seconds since 1970 */
    int64_t expires_at; /* seconds since 1970; 0: the place is free */
    uint64_t number;    /* of the store that made it: many fall into one second */
    struct memo_person person;
};

struct memo {
    OBJECT_HEADER;
    EVP_MD *sha256; /* fetched once: a lookup by name costs more than the hash of a token */
    EVP_MD_CTX *hasher;
    uint64_t stores;
    uint64_t generation;
    size_t bucket_count; /* a power of two */
    struct entry entries[];
};

static struct entry *bucket_of(struct memo *memo, const char *token, size_t length, unsigned char key[KEY_SIZE]);
static struct entry *place_in(struct entry *bucket, const unsigned char *key, int64_t now);
static bool is_current(const struct entry *entry, int64_t now);
static size_t entry_count(const struct memo *memo);

struct memo *memo_create(size_t entries)
{
    size_t buckets = 1;
    struct memo *memo;

    INVARIANT(entries <= (size_t)1 << 24);
    while (buckets * WAYS < entries)
        buckets *= 2;
    memo = calloc(1, sizeof *memo + buckets * WAYS * sizeof memo->entries[0]);
    INVARIANT(memo != NULL);
    memo->magic = MEMO_MAGIC;
    memo->bucket_count = buckets;
    memo->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    memo->hasher = EVP_MD_CTX_new();
    INVARIANT(memo->sha256 != NULL && memo->hasher != NULL);
    return memo;
}

void memo_free(struct memo *memo)
{
    if (memo == NULL)
        return;
    OBJECT_CHECK(memo, MEMO_MAGIC);
    memo_forget_all(memo);
    EVP_MD_CTX_free(memo->hasher);
    EVP_MD_free(memo->sha256);
    OBJECT_BURY(memo);
    free(memo);
}

bool memo_find(struct memo *memo, const char *token, size_t length, int64_t now, struct memo_person *person)
{
    unsigned char key[KEY_SIZE];
    struct entry *bucket = bucket_of(memo, token, length, key);

    for (size_t i = 0; i < WAYS; i++) {
        if (is_current(&bucket[i], now) && CRYPTO_memcmp(bucket[i].key, key, KEY_SIZE) == 0) {
            *person = bucket[i].person;
            return true;
        }
    }
    return false;
}

void memo_store(struct memo *memo, const char *token, size_t length, int64_t now, int64_t expires_at,
                const struct memo_person *person)
{
    unsigned char key[KEY_SIZE];
    struct entry *entry;

    if (expires_at <= now)
        return;
    entry = place_in(bucket_of(memo, token, length, key), key, now);
    memcpy(entry->key, key, KEY_SIZE);
    entry->stored_at = now;
    entry->number = ++memo->stores;
    entry->expires_at = expires_at - now < MEMO_SECONDS ? expires_at : now + MEMO_SECONDS;
    entry->person = *person;
}

void memo_forget_all(struct memo *memo)
{
    OBJECT_CHECK(memo, MEMO_MAGIC);
    /* Only what was used: to write to the others would make them take memory. */
    for (size_t i = 0; i < entry_count(memo); i++) {
        if (memo->entries[i].stored_at != 0)
            OPENSSL_cleanse(&memo->entries[i], sizeof memo->entries[i]);
    }
    memo->generation++;
}

uint64_t memo_generation(const struct memo *memo)
{
    OBJECT_CHECK(memo, MEMO_MAGIC);
    return memo->generation;
}

static struct entry *bucket_of(struct memo *memo, const char *token, size_t length, unsigned char key[KEY_SIZE])
{
    uint64_t head;

    OBJECT_CHECK(memo, MEMO_MAGIC);
    INVARIANT(EVP_DigestInit_ex2(memo->hasher, memo->sha256, NULL) == 1 &&
              EVP_DigestUpdate(memo->hasher, token, length) == 1 && EVP_DigestFinal_ex(memo->hasher, key, NULL) == 1);
    memcpy(&head, key, sizeof head);
    return &memo->entries[(head & (memo->bucket_count - 1)) * WAYS];
}

/* The same token's place, else one that holds nothing current, else the oldest one's. */
static struct entry *place_in(struct entry *bucket, const unsigned char *key, int64_t now)
{
    struct entry *place = NULL;

    for (size_t i = 0; i < WAYS; i++) {
        if (CRYPTO_memcmp(bucket[i].key, key, KEY_SIZE) == 0)
            return &bucket[i];
    }
    for (size_t i = 0; i < WAYS; i++) {
        if (!is_current(&bucket[i], now))
            return &bucket[i];
        if (place == NULL || bucket[i].number < place->number)
            place = &bucket[i];
    }
    return place;
}

/* A clock that was set back makes an entry unknown, not longer-lived. */
static bool is_current(const struct entry *entry, int64_t now)
{
    return entry->stored_at <= now && now < entry->expires_at;
}

static size_t entry_count(const struct memo *memo)
{
    return memo->bucket_count * WAYS;
}
