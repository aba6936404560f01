/* idempotency: reads the Idempotency-Key header. Worker process; it may read the request and refuse it. */
#include "api/idempotency.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "http/problem.h"

/* Characters; what fits the table. */
#define KEY_MOST 255
#define EXAMPLE "\"8e03978e-40d5-43dd-bc93-6894a57f9324\""

/* The text of a string in quotes into `key`, or why it is none. */
static const char *read_quoted(const char *text, char *key)
{
    const char *at = text + 1;
    for (; *at != '"'; at++) {
        if (*at == '\\' && *++at != '"' && *at != '\\')
            return "In Idempotency-Key only a quote or a backslash may stand behind a backslash.";
        if (*at < ' ' || *at > '~') /* the end, too; what is not ASCII is below, where char has a sign, or above */
            return "Send Idempotency-Key as one string of printable ASCII characters in double quotes, like " EXAMPLE
                   ".";
        *key++ = *at;
    }
    *key = '\0';
    return at[1] == '\0' ? NULL : "Send nothing behind the closing quote of Idempotency-Key.";
}

/* Many clients send the key without quotes. */
static const char *read_bare(const char *text, char *key)
{
    for (const char *at = text; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~' || strchr("\"\\,;", *at) != NULL)
            return "Send Idempotency-Key in double quotes, like " EXAMPLE
                   "; bare it may only hold printable ASCII characters other than space, quote, backslash, comma and "
                   "semicolon.";
    }
    memcpy(key, text, strlen(text) + 1);
    return NULL;
}

bool idempotency_read(struct http_request *request, const char **key)
{
    const struct http_pair *header = NULL;
    const char *wrong = NULL;
    *key = NULL;
    for (size_t i = 0; i < request->header_count; i++) {
        if (strcmp(request->headers[i].name, "idempotency-key") != 0)
            continue;
        if (header != NULL)
            wrong = "Send one Idempotency-Key.";
        header = &request->headers[i];
    }
    if (header == NULL)
        return true;
    char *text = arena_alloc(request->arena, header->value_length + 1);
    if (wrong == NULL)
        wrong = *header->value == '"' ? read_quoted(header->value, text) : read_bare(header->value, text);
    if (wrong == NULL && *text == '\0')
        wrong = "The Idempotency-Key is empty: send a new one for each new request, like " EXAMPLE ".";
    if (wrong == NULL && strlen(text) > KEY_MOST)
        wrong = "Send an Idempotency-Key of at most 255 characters.";
    if (wrong != NULL) {
        problem_respond(request, PROBLEM_BAD_REQUEST, &(const struct problem_details){.detail = wrong});
        return false;
    }
    *key = text;
    return true;
}

/* With its length before it, so that no two lists of texts are the same bytes; as text, as hosts may differ. */
static void add(EVP_MD_CTX *hasher, const char *bytes, size_t length)
{
    char size[24];
    size_t digits = (size_t)snprintf(size, sizeof size, "%zu:", length);
    INVARIANT(EVP_DigestUpdate(hasher, size, digits) == 1 && EVP_DigestUpdate(hasher, bytes, length) == 1);
}

static void add_text(EVP_MD_CTX *hasher, const char *text)
{
    add(hasher, text == NULL ? "" : text, text == NULL ? 0 : strlen(text));
}

const char *idempotency_hash(const struct http_request *request)
{
    EVP_MD_CTX *hasher = EVP_MD_CTX_new();
    INVARIANT(hasher != NULL && EVP_DigestInit_ex(hasher, EVP_sha256(), NULL) == 1);
    add_text(hasher, request->method_name);
    add_text(hasher, request->route->path);
    for (size_t i = 0; i < HTTP_ROUTE_PARAMETERS_MAX; i++)
        add_text(hasher, request->parameters[i]);
    add_text(hasher, http_request_header(request, "if-match"));
    add(hasher, request->body, request->body_length);
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned length;
    INVARIANT(EVP_DigestFinal_ex(hasher, hash, &length) == 1);
    EVP_MD_CTX_free(hasher);

    static const char digits[] = "0123456789abcdef";
    char *text = arena_zalloc(request->arena, 2 + 2 * (size_t)length + 1);
    memcpy(text, "\\x", 2);
    for (unsigned i = 0; i < length; i++) {
        text[2 + 2 * i] = digits[hash[i] >> 4];
        text[3 + 2 * i] = digits[hash[i] & 15];
    }
    return text;
}

void idempotency_name(const struct http_request *request, const char *key, char name[IDEMPOTENCY_NAME_SIZE])
{
    const char *text = arena_printf(request->arena, "%s %s", request->user_id, key);
    XXH128_hash_t hash = XXH3_128bits(text, strlen(text));
    snprintf(name, IDEMPOTENCY_NAME_SIZE, "%016" PRIx64 "%016" PRIx64, (uint64_t)hash.high64, (uint64_t)hash.low64);
}
