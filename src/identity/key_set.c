/* key_set: reads a JWK Set (RFC 7517). The master checks it at start; workers and turnoutctl use it. Touches the file
 * that it is told to read, and wipes what it read. */
#include "identity/key_set.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "identity/jwk.h"
#include "identity/key.h"

#define FILE_SIZE_MAX (1024 * 1024)
/* Keys of the text, used or not. */
#define LISTED_MAX 256

static struct key_set *set_from_list(json_t *list, char *error, size_t error_size);
static bool add_key(struct key_set *keys, json_t *jwk, char *error, size_t error_size);
static void note_left_out(struct key_set *keys, json_t *jwk, const char *reason);
static json_t *load_wiping(const char *text, size_t length, json_error_t *problem);
static void drop_wiping(json_t *json);
static void free_wiped(void *memory);
static char *read_file(const char *path, size_t *length, mode_t *mode, char *error, size_t error_size);

struct key_set *key_set_parse(const char *text, size_t length, char *error, size_t error_size)
{
    json_error_t problem;
    json_t *json = load_wiping(text, length, &problem);
    json_t *list = json_object_get(json, "keys");
    struct key_set *keys = NULL;

    /* jansson's own text quotes what it stumbled over, and that may be a secret. */
    if (json == NULL)
        snprintf(error, error_size, "line %d: %s", problem.line,
                 json_error_code(&problem) == json_error_duplicate_key ? "a member stands twice" : "not valid JSON");
    else if (!json_is_array(list))
        snprintf(error, error_size, "not a JWK Set: an object with a list \"keys\" was expected");
    else if (json_array_size(list) > LISTED_MAX)
        snprintf(error, error_size, "more than %d keys", LISTED_MAX);
    else
        keys = set_from_list(list, error, error_size);
    drop_wiping(json);
    if (keys != NULL)
        INVARIANT(EVP_Digest(text, length, keys->digest, NULL, EVP_sha256(), NULL) == 1);
    return keys;
}

struct key_set *key_set_read(const char *path, char *error, size_t error_size)
{
    char why[256];
    size_t length = 0;
    mode_t mode = 0;
    struct key_set *keys;
    char *text = read_file(path, &length, &mode, why, sizeof why);

    if (text == NULL) {
        snprintf(error, error_size, "%s: %s", path, why);
        return NULL;
    }
    keys = key_set_parse(text, length, why, sizeof why);
    OPENSSL_cleanse(text, length);
    free(text);
    if (keys == NULL) {
        snprintf(error, error_size, "%s: %s", path, why);
    } else if (keys->has_secret && (mode & S_IROTH) != 0) {
        snprintf(error, error_size, "%s: holds secret keys and is readable for everybody: chmod o-rwx it", path);
        key_set_free(keys);
        keys = NULL;
    }
    return keys;
}

void key_set_free(struct key_set *keys)
{
    if (keys == NULL)
        return;
    for (size_t i = 0; i < keys->count; i++)
        jwk_drop(&keys->keys[i]);
    free(keys->left_out);
    free(keys);
}

bool key_set_is_same(const struct key_set *one, const struct key_set *other)
{
    return CRYPTO_memcmp(one->digest, other->digest, sizeof one->digest) == 0;
}

size_t key_set_count(const struct key_set *keys)
{
    return keys->count;
}

bool key_set_can_sign(const struct key_set *keys)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (keys->keys[i].can_sign)
            return true;
    }
    return false;
}

void key_set_each_left_out(const struct key_set *keys, key_set_row *row, void *context)
{
    for (size_t i = 0; i < keys->left_out_count; i++)
        row(context, keys->left_out[i].kid, keys->left_out[i].reason);
}

static struct key_set *set_from_list(json_t *list, char *error, size_t error_size)
{
    struct key_set *keys = calloc(1, sizeof *keys);
    json_t *jwk;
    size_t i;

    INVARIANT(keys != NULL);
    keys->left_out = calloc(json_array_size(list) + 1, sizeof *keys->left_out);
    INVARIANT(keys->left_out != NULL);
    json_array_foreach(list, i, jwk)
    {
        if (!json_is_object(jwk)) {
            snprintf(error, error_size, "key %zu is no object", i + 1);
            key_set_free(keys);
            return NULL;
        }
        if (!add_key(keys, jwk, error, error_size)) {
            key_set_free(keys);
            return NULL;
        }
    }
    if (keys->count > 0)
        return keys;
    if (keys->left_out_count == 0)
        snprintf(error, error_size, "no key in the set");
    else
        snprintf(error, error_size, "no usable key in the set; of the first%s%s: %s",
                 keys->left_out[0].kid[0] == '\0' ? "" : ", ", keys->left_out[0].kid, keys->left_out[0].reason);
    key_set_free(keys);
    return NULL;
}

static bool add_key(struct key_set *keys, json_t *jwk, char *error, size_t error_size)
{
    struct key key;
    const char *reason = jwk_read(jwk, &key);
    size_t same = 0;

    keys->has_secret = keys->has_secret || jwk_has_secret(jwk);
    if (reason != NULL) {
        note_left_out(keys, jwk, reason);
        return true;
    }
    for (size_t i = 0; i < keys->count; i++)
        same += keys->keys[i].algorithm == key.algorithm;
    if (same == KEY_TRIES_MAX) {
        snprintf(error, error_size, "more than %d keys for %s", KEY_TRIES_MAX, key_algorithm_name(key.algorithm));
        jwk_drop(&key);
        return false;
    }
    keys->keys[keys->count++] = key;
    return true;
}

static void note_left_out(struct key_set *keys, json_t *jwk, const char *reason)
{
    struct key_left_out *left_out = &keys->left_out[keys->left_out_count++];
    const char *kid = json_string_value(json_object_get(jwk, "kid"));

    snprintf(left_out->kid, sizeof left_out->kid, "%s", kid == NULL ? "" : kid);
    left_out->reason = reason;
}

/* jansson's copies of the secrets are wiped as well: while it reads, and while it frees, its memory goes back through a
 * function that clears it first. What is made between the two calls is freed between them, whatever allocator is set.
 */
static json_t *load_wiping(const char *text, size_t length, json_error_t *problem)
{
    json_malloc_t allocate;
    json_free_t release;
    json_t *json;

    json_get_alloc_funcs(&allocate, &release);
    json_set_alloc_funcs(malloc, free_wiped);
    json = json_loadb(text, length, JSON_REJECT_DUPLICATES, problem);
    json_set_alloc_funcs(allocate, release);
    return json;
}

static void drop_wiping(json_t *json)
{
    json_malloc_t allocate;
    json_free_t release;

    json_get_alloc_funcs(&allocate, &release);
    json_set_alloc_funcs(malloc, free_wiped);
    json_decref(json);
    json_set_alloc_funcs(allocate, release);
}

static void free_wiped(void *memory)
{
    if (memory != NULL)
        OPENSSL_cleanse(memory, malloc_usable_size(memory));
    free(memory);
}

/* New memory, to be wiped and freed. NULL: `error` says why. */
static char *read_file(const char *path, size_t *length, mode_t *mode, char *error, size_t error_size)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;
    char *text = NULL;
    ssize_t got = 0;

    *length = 0;
    if (descriptor < 0 || fstat(descriptor, &status) != 0) {
        snprintf(error, error_size, "%s", strerror(errno));
    } else if (!S_ISREG(status.st_mode)) {
        snprintf(error, error_size, "is not a regular file");
    } else if (status.st_size > FILE_SIZE_MAX) {
        snprintf(error, error_size, "is larger than 1 MiB");
    } else {
        *mode = status.st_mode;
        text = malloc(FILE_SIZE_MAX);
        INVARIANT(text != NULL);
        while (*length < FILE_SIZE_MAX) {
            got = read(descriptor, text + *length, FILE_SIZE_MAX - *length);
            if (got < 0 && errno == EINTR)
                continue;
            if (got <= 0)
                break;
            *length += (size_t)got;
        }
        if (got < 0) {
            snprintf(error, error_size, "%s", strerror(errno));
            OPENSSL_cleanse(text, *length);
            free(text);
            text = NULL;
        }
    }
    if (descriptor >= 0)
        close(descriptor);
    return text;
}
