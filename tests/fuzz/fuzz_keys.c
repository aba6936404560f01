/* fuzz_keys: JWK Sets.
 *
 * What must hold: a text that is refused gives one line; one that is accepted has a usable key, is read the same a
 * second time (but for RSA: OpenSSL finds out by chance that a modulus is no product of two primes, and one of three
 * small ones passes now and then), and what its signing key signs verifies with the same set. */
#include <openssl/err.h>
#include <stdbool.h>

#include "base/arena.h"
#include "identity/key_set.h"
#include "identity/token.h"
#include "target.h"

static void count_row(void *context, const char *kid, const char *reason)
{
    MUST(kid != NULL && reason != NULL && reason[0] != '\0');
    ++*(size_t *)context;
}

static size_t left_out(const struct key_set *keys)
{
    size_t count = 0;
    key_set_each_left_out(keys, count_row, &count);
    return count;
}

static void must_verify_its_own(const struct key_set *keys)
{
    json_t *claims = json_pack("{s:s}", "sub", "somebody");
    char *token = token_sign(keys, claims);
    json_decref(claims);
    MUST(token != NULL);
    struct arena *arena = arena_create(1024);
    const char *payload;
    size_t length;
    MUST(token_check_signature(keys, token, strlen(token), arena, &payload, &length) == TOKEN_OK);
    MUST(strcmp(payload, "{\"sub\":\"somebody\"}") == 0);
    arena_destroy(arena);
    free(token);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char error[512] = "";
    char *text = exact_copy(bytes, size, 0);
    struct key_set *keys = key_set_parse(text, size, error, sizeof error);
    MUST(ERR_peek_error() == 0);
    if (keys == NULL) {
        MUST(error[0] != '\0' && strlen(error) < sizeof error);
    } else {
        struct key_set *again = key_set_parse(text, size, error, sizeof error);
        MUST(key_set_count(keys) > 0);
        if (memmem(text, size, "RSA", 3) == NULL)
            MUST(again != NULL && key_set_count(again) == key_set_count(keys) && left_out(again) == left_out(keys));
        if (key_set_can_sign(keys))
            must_verify_its_own(keys);
        key_set_free(again);
    }
    key_set_free(keys);
    free(text);
    return 0;
}
