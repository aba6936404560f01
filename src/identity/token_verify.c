/* token_verify: what a signed token must say before anybody is let in by it: times, issuer, audience, and claims whose
 * types and lengths the users table can hold (RFC 7519, 8725). Worker. Reads the key set, writes the request's arena.
 */
#include "identity/token.h"

#include <math.h>
#include <string.h>

#include "identity/claim.h"

#define MICROSECONDS INT64_C(1000000)
/* 9999-12-31T23:59:59Z: what RFC 3339 can write. Also finds an exp that was given in milliseconds. */
#define SECONDS_MAX INT64_C(253402300799)

enum need { OPTIONAL, REQUIRED };

static enum token_result check_times(json_t *json, const struct token_policy *policy, int64_t now, int64_t *expires);
static enum token_result check_issuer(json_t *json, const struct token_policy *policy);
static enum token_result check_audience(json_t *json, const struct token_policy *policy);
static enum token_result read_claims(json_t *json, struct arena *arena, struct token_claims *claims);
static bool read_moment(json_t *number, int64_t *microseconds);
static bool read_verified(json_t *flag, bool *verified);

/* The texts that we take from a token, each with its place in struct token_claims and what it must look like. */
static const struct {
    const char *claim;
    size_t offset;
    enum need need;
    bool (*is_fine)(const char *text, size_t length);
} text_claims[] = {
    {"iss", offsetof(struct token_claims, issuer), REQUIRED, claim_is_name},
    {"sub", offsetof(struct token_claims, subject), REQUIRED, claim_is_name},
    {"email", offsetof(struct token_claims, email), REQUIRED, claim_is_email},
    {"name", offsetof(struct token_claims, name), OPTIONAL, claim_is_name},
    {"department", offsetof(struct token_claims, department), OPTIONAL, claim_is_name},
    {"kind", offsetof(struct token_claims, kind), OPTIONAL, claim_is_kind},
    {"role", offsetof(struct token_claims, role), OPTIONAL, claim_is_role},
    {"locale", offsetof(struct token_claims, locale), OPTIONAL, claim_is_short},
    {"zoneinfo", offsetof(struct token_claims, zoneinfo), OPTIONAL, claim_is_short},
};

enum token_result token_verify(const struct key_set *keys, const struct token_policy *policy, const char *token,
                               size_t length, int64_t now, struct arena *arena, struct token_claims *claims)
{
    const char *payload;
    size_t payload_length;
    json_t *json;
    int64_t expires;
    struct token_claims found = {.email_verified = true};
    enum token_result result = token_check_signature(keys, token, length, arena, &payload, &payload_length);

    *claims = found;
    if (result != TOKEN_OK)
        return result;
    json = json_loadb(payload, payload_length, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(json)) {
        json_decref(json);
        return TOKEN_MALFORMED;
    }
    result = check_times(json, policy, now, &expires);
    if (result == TOKEN_OK)
        result = check_issuer(json, policy);
    if (result == TOKEN_OK)
        result = check_audience(json, policy);
    if (result == TOKEN_OK)
        result = read_claims(json, arena, &found);
    if (result == TOKEN_OK) {
        found.expires_at = expires / MICROSECONDS;
        *claims = found;
    }
    json_decref(json);
    return result;
}

/* exp is asked for: a token that never ends cannot be taken back. */
static enum token_result check_times(json_t *json, const struct token_policy *policy, int64_t now, int64_t *expires)
{
    json_t *not_before = json_object_get(json, "nbf");
    json_t *issued = json_object_get(json, "iat");
    int64_t present = now * MICROSECONDS;
    int64_t moment;

    if (!read_moment(json_object_get(json, "exp"), expires))
        return TOKEN_INCOMPLETE;
    if (present >= *expires + policy->leeway)
        return TOKEN_EXPIRED;
    if (not_before != NULL) {
        if (!read_moment(not_before, &moment))
            return TOKEN_INCOMPLETE;
        if (present + policy->leeway < moment)
            return TOKEN_NOT_YET_VALID;
    }
    if (issued != NULL) {
        if (!read_moment(issued, &moment))
            return TOKEN_INCOMPLETE;
        if (present + policy->leeway < moment)
            return TOKEN_NOT_YET_VALID;
    }
    return TOKEN_OK;
}

static enum token_result check_issuer(json_t *json, const struct token_policy *policy)
{
    const char *issuer = json_string_value(json_object_get(json, "iss"));

    if (policy->issuer != NULL && (issuer == NULL || strcmp(issuer, policy->issuer) != 0))
        return TOKEN_WRONG_ISSUER;
    return TOKEN_OK;
}

/* One text or a list of texts (RFC 7519, 4.1.3); ours must be among them. */
static enum token_result check_audience(json_t *json, const struct token_policy *policy)
{
    json_t *audience = json_object_get(json, "aud");
    json_t *one;
    size_t i;

    if (policy->audience == NULL)
        return TOKEN_OK;
    if (json_is_string(audience) && strcmp(json_string_value(audience), policy->audience) == 0)
        return TOKEN_OK;
    json_array_foreach(audience, i, one)
    {
        if (json_is_string(one) && strcmp(json_string_value(one), policy->audience) == 0)
            return TOKEN_OK;
    }
    return TOKEN_WRONG_AUDIENCE;
}

static enum token_result read_claims(json_t *json, struct arena *arena, struct token_claims *claims)
{
    for (size_t i = 0; i < sizeof text_claims / sizeof text_claims[0]; i++) {
        json_t *value = json_object_get(json, text_claims[i].claim);
        bool is_empty =
            value == NULL || json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0);

        /* Providers write null or "" for what they do not know. */
        if (is_empty && text_claims[i].need == OPTIONAL)
            continue;
        if (is_empty || !json_is_string(value) ||
            !text_claims[i].is_fine(json_string_value(value), json_string_length(value)))
            return TOKEN_INCOMPLETE;
        *(const char **)((char *)claims + text_claims[i].offset) = arena_strdup(arena, json_string_value(value));
    }
    if (!read_verified(json_object_get(json, "email_verified"), &claims->email_verified))
        return TOKEN_INCOMPLETE;
    return TOKEN_OK;
}

/* NumericDate (RFC 7519, 2): seconds, with a fraction allowed. */
static bool read_moment(json_t *number, int64_t *microseconds)
{
    if (json_is_integer(number)) {
        json_int_t seconds = json_integer_value(number);

        if (seconds < 0 || seconds > SECONDS_MAX)
            return false;
        *microseconds = seconds * MICROSECONDS;
        return true;
    }
    if (json_is_real(number)) {
        double seconds = json_real_value(number);

        if (!isfinite(seconds) || seconds < 0 || seconds > (double)SECONDS_MAX)
            return false;
        *microseconds = (int64_t)(seconds * (double)MICROSECONDS);
        return true;
    }
    return false;
}

/* Some providers (Amazon Cognito) write the flag as a text. */
static bool read_verified(json_t *flag, bool *verified)
{
    const char *text = json_string_value(flag);

    if (flag == NULL || json_is_null(flag))
        return true;
    if (json_is_boolean(flag)) {
        *verified = json_is_true(flag);
        return true;
    }
    if (text == NULL || (strcmp(text, "true") != 0 && strcmp(text, "false") != 0))
        return false;
    *verified = strcmp(text, "true") == 0;
    return true;
}
