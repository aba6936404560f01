/* identity: the keys and the memory of a worker, and when they are read again: at a reload, and when a token names a
 * key that is not known. Worker process; it reads the files of keys, and nothing else. */
#include "api/identity.h"

#include <time.h>

#include "api/api.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "identity/cursor.h"
#include "identity/key_file.h"
#include "shm/statistics.h"

/* Everybody who comes when something popular opens, on each worker: with as many places as people every fourth would be
 * pushed out by others, and cost a signature and a question again. 4 MiB, of which only what is used is in memory. */
#define MEMO_ENTRIES 32768
#define COMPLAINT_INTERVAL INT64_C(60000000)

/* Boot lifetime. */
static struct {
    struct key_file *keys;
    struct memo *memo;
    int64_t complained_at; /* that the file of keys is broken; 0: not yet */
} identity;

static void warn_of_key(void *context, const char *kid, const char *reason)
{
    (void)context;
    log_warning("a key of jwt_keys_file is left out", log_text("kid", kid), log_text("reason", reason));
}

static char *read_cursor_key(size_t *length, char *error, size_t error_size)
{
    char *secret = secret_read(api_get()->configuration->cursor_key_file, length, error, error_size);
    if (secret != NULL && *length < CURSOR_KEY_SIZE_MIN) {
        snprintf(error, error_size, "cursor_key_file: expected at least %d bytes, found %zu", CURSOR_KEY_SIZE_MIN,
                 *length);
        secret_free(secret, *length);
        return NULL;
    }
    return secret;
}

static void take_cursor_key(char *secret, size_t length)
{
    cursor_set_key(secret, length);
    secret_free(secret, length);
}

bool identity_start(char *error, size_t error_size)
{
    size_t length;
    char *secret = read_cursor_key(&length, error, error_size);
    if (secret == NULL)
        return false;
    identity.keys = key_file_open(api_get()->configuration->jwt_keys_file, clock_monotonic(), error, error_size);
    if (identity.keys == NULL) {
        secret_free(secret, length);
        return false;
    }
    take_cursor_key(secret, length);
    key_set_each_left_out(key_file_keys(identity.keys), warn_of_key, NULL);
    identity.memo = memo_create(MEMO_ENTRIES);
    return true;
}

/* What follows from a reading of the key set. Remembered tokens may have been signed with a key that is gone. */
static void took_keys(enum key_file_result result)
{
    statistics_count(STATISTICS_KEY_SET_READS, result == KEY_FILE_BROKEN ? LABEL_RESULT_FAILED : LABEL_RESULT_OK);
    if (result != KEY_FILE_CHANGED)
        return;
    memo_forget_all(identity.memo);
    log_info("jwt_keys_file has changed: its keys are in force",
             log_int("keys", key_set_count(key_file_keys(identity.keys))));
    key_set_each_left_out(key_file_keys(identity.keys), warn_of_key, NULL);
}

bool identity_reload(char *error, size_t error_size)
{
    const struct configuration *configuration = api_get()->configuration;
    size_t length;
    char *secret = read_cursor_key(&length, error, error_size);
    if (secret == NULL)
        return false;
    enum key_file_result result =
        key_file_read(identity.keys, configuration->jwt_keys_file, clock_monotonic(), error, error_size);
    took_keys(result);
    if (result == KEY_FILE_BROKEN) {
        secret_free(secret, length);
        return false;
    }
    take_cursor_key(secret, length);
    memo_forget_all(identity.memo);
    identity.complained_at = 0;
    return true;
}

/* Are there other keys than a moment ago? */
static bool found_other_keys(void)
{
    const struct configuration *configuration = api_get()->configuration;
    char error[512];
    int64_t now = clock_monotonic();
    enum key_file_result result = key_file_look(identity.keys, configuration->jwt_keys_file,
                                                configuration->jwt_keys_min_interval, now, error, sizeof error);
    if (result == KEY_FILE_EARLY)
        return false;
    took_keys(result);
    if (result == KEY_FILE_BROKEN &&
        (identity.complained_at == 0 || now - identity.complained_at >= COMPLAINT_INTERVAL)) {
        identity.complained_at = now;
        log_error("jwt_keys_file cannot be read again: the keys read before stay in force", log_text("error", error));
    }
    return result == KEY_FILE_CHANGED;
}

/* A new key may also stand behind a kid that is in use, or be nameless; its tokens then look forged. */
static bool may_be_new_key(enum token_result result)
{
    return result == TOKEN_UNKNOWN_KEY || result == TOKEN_BAD_SIGNATURE;
}

enum token_result identity_verify(const char *token, size_t length, struct arena *arena, struct token_claims *claims)
{
    const struct configuration *configuration = api_get()->configuration;
    struct token_policy policy = {.issuer = configuration->jwt_issuer,
                                  .audience = configuration->jwt_audience,
                                  .leeway = configuration->jwt_leeway};
    int64_t now = time(NULL);
    enum token_result result = token_verify(key_file_keys(identity.keys), &policy, token, length, now, arena, claims);
    if (may_be_new_key(result) && found_other_keys())
        result = token_verify(key_file_keys(identity.keys), &policy, token, length, now, arena, claims);
    return result;
}

struct memo *identity_memo(void)
{
    return identity.memo;
}
