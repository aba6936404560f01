/* encodings: Accept-Encoding. Worker process; pure functions, no memory: each request of a client that compresses comes
 * through here. */
#include "api/encodings.h"

#include <string.h>
#include <strings.h>

#define WEIGHT_ONE 1000 /* of q=1: weights have three decimals */
#define NOT_SAID (-1)

/* What a client says of each. */
struct weights {
    int of[HOT_ENCODING_COUNT];
    int any; /* of "*" */
};

static const char *skip_space(const char *at)
{
    return at + strspn(at, " \t");
}

/* The end of a token (RFC 9110, 5.6.2), as far as it may be a coding here. */
static const char *token_end(const char *at)
{
    return at + strcspn(at, " \t,;=\"");
}

/* qvalue (12.4.2): 0 to 1 with at most three decimals. NOT_SAID: it is none. */
static int read_weight(const char **at)
{
    const char *digit = *at;
    if (*digit != '0' && *digit != '1')
        return NOT_SAID;
    int weight = (*digit++ - '0') * WEIGHT_ONE;
    if (*digit == '.') {
        digit++;
        for (int unit = WEIGHT_ONE / 10; unit > 0 && *digit >= '0' && *digit <= '9'; unit /= 10)
            weight += (*digit++ - '0') * unit;
    }
    *at = digit;
    return weight <= WEIGHT_ONE ? weight : NOT_SAID;
}

/* What stands behind a coding, up to the next comma. NOT_SAID: nothing that can be read, so that the coding is as good
 * as not named. */
static int read_parameters(const char **at)
{
    int weight = WEIGHT_ONE;
    const char *next = skip_space(*at);
    if (*next == ';') {
        next = skip_space(next + 1);
        if ((*next == 'q' || *next == 'Q') && next[1] == '=') {
            next += 2;
            weight = read_weight(&next);
        } else {
            weight = NOT_SAID;
        }
        next = skip_space(next);
    }
    if (*next != '\0' && *next != ',')
        weight = NOT_SAID;
    *at = next + strcspn(next, ",");
    return weight;
}

static bool is_named(const char *name, size_t length, const char *coding)
{
    return strlen(coding) == length && strncasecmp(name, coding, length) == 0;
}

static int *weight_of(struct weights *weights, const char *name, size_t length)
{
    if (is_named(name, length, "gzip") || is_named(name, length, "x-gzip"))
        return &weights->of[HOT_GZIP];
    if (is_named(name, length, "br"))
        return &weights->of[HOT_BROTLI];
    if (is_named(name, length, "identity"))
        return &weights->of[HOT_IDENTITY];
    return is_named(name, length, "*") ? &weights->any : NULL;
}

/* Who names a coding twice means the higher weight. */
static void read_header(const char *header, struct weights *weights)
{
    for (const char *at = header; *at != '\0';) {
        const char *name = at + strspn(at, " \t,");
        const char *end = token_end(name);
        int *weight = weight_of(weights, name, (size_t)(end - name));
        at = end;
        int said = read_parameters(&at);
        if (weight != NULL && said > *weight)
            *weight = said;
    }
}

enum hot_encoding encodings_choose(const char *header, const bool offered[HOT_ENCODING_COUNT])
{
    /* by preference, where weights do not decide */
    static const enum hot_encoding order[] = {HOT_BROTLI, HOT_GZIP};
    struct weights weights = {.of = {NOT_SAID, NOT_SAID, NOT_SAID}, .any = NOT_SAID};
    enum hot_encoding chosen = HOT_IDENTITY;
    if (header == NULL)
        return HOT_IDENTITY;
    read_header(header, &weights);
    /* Identity that is not named is acceptable, but whatever is named is liked better. */
    int most = weights.of[HOT_IDENTITY] != NOT_SAID ? weights.of[HOT_IDENTITY]
               : weights.any != NOT_SAID            ? weights.any
                                                    : 0;
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        int weight = weights.of[order[i]] == NOT_SAID ? weights.any : weights.of[order[i]];
        bool better = chosen == HOT_IDENTITY ? weight >= most : weight > most;
        if (offered[order[i]] && weight > 0 && better) {
            chosen = order[i];
            most = weight;
        }
    }
    return chosen;
}
