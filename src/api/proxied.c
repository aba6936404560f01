/* proxied: identities that a proxy which signs people in puts into headers. Worker process; touches nothing but the
 * request's arena, the statistics, and its own moments of complaint.
 *
 * A header counts by its exact name only (X_Remote_User is none), once only, and only from a peer of trusted_proxies
 * that came by the public listener. Values are UTF-8 as they stand: nothing is decoded, so that a value has one
 * spelling. */
#include "api/proxied.h"

#include <string.h>
#include <strings.h>

#include "api/api.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "identity/claim.h"
#include "shm/statistics.h"

#define COMPLAINT_INTERVAL INT64_C(60000000)
#define HEADERS 6

/* What is read, with its place in the configuration and in the claims. One that decides refuses the person when it
 * cannot be used; one that describes is left out. */
static const struct {
    size_t option;
    size_t claim;
    bool (*is_fine)(const char *text, size_t length);
    bool decides;
} headers[HEADERS] = {
#define HEADER(name, is_fine, decides)                                                                               \
    {                                                                                                                \
        offsetof(struct configuration, proxy_##name##_header), offsetof(struct token_claims, name), is_fine, decides \
    }
    HEADER(subject, claim_is_name, true),     HEADER(email, claim_is_email, true), HEADER(name, claim_is_name, false),
    HEADER(department, claim_is_name, false), HEADER(kind, claim_is_kind, true),   HEADER(role, claim_is_role, true),
#undef HEADER
};

/* When the log last said so; 0: not yet. */
static struct {
    int64_t untrusted;
    int64_t unusable;
} complained;

static bool is_due(int64_t *at)
{
    int64_t now = clock_monotonic();
    if (*at != 0 && now - *at < COMPLAINT_INTERVAL)
        return false;
    *at = now;
    return true;
}

static const char *header_name(size_t which)
{
    return *(const char *const *)((const char *)api_get()->configuration + headers[which].option);
}

static void note_unusable(const struct http_request *request, const char *name)
{
    statistics_count(STATISTICS_PROXY_HEADERS_DROPPED, LABEL_DROP_IDENTITY_UNUSABLE);
    if (is_due(&complained.unusable))
        log_warning("a trusted proxy sends a header of identity that cannot be used", log_text("header", name),
                    log_text("client", request->client_address));
}

/* One line of the header, if there is one, and how many there are. */
static const struct http_pair *find_header(const struct http_request *request, const char *name, size_t *count)
{
    const struct http_pair *found = NULL;
    *count = 0;
    for (size_t i = 0; i < request->header_count; i++) {
        if (strcasecmp(request->headers[i].name, name) == 0) {
            found = &request->headers[i];
            ++*count;
        }
    }
    return found;
}

static void drop_untrusted(const struct http_request *request)
{
    for (size_t i = 0; i < HEADERS; i++) {
        size_t count;
        if (header_name(i) == NULL || find_header(request, header_name(i), &count) == NULL)
            continue;
        statistics_count(STATISTICS_PROXY_HEADERS_DROPPED, LABEL_DROP_IDENTITY_UNTRUSTED);
        if (is_due(&complained.untrusted))
            log_warning("a peer that is not trusted sends a header of identity: it is not believed",
                        log_text("header", header_name(i)), log_text("peer", request->client_address));
        return;
    }
}

static enum proxied read_headers(const struct http_request *request, struct token_claims *claims)
{
    for (size_t i = 0; i < HEADERS; i++) {
        size_t count = 0;
        const char *name = header_name(i);
        const struct http_pair *pair = name == NULL ? NULL : find_header(request, name, &count);
        if (count > 1) {
            note_unusable(request, name);
            return PROXIED_TWICE;
        }
        if (pair == NULL || pair->value_length == 0)
            continue; /* a proxy has no value for what it does not know */
        if (text_is_utf8(pair->value, pair->value_length) && headers[i].is_fine(pair->value, pair->value_length)) {
            *(const char **)((char *)claims + headers[i].claim) = pair->value;
            continue;
        }
        note_unusable(request, name);
        if (headers[i].decides)
            return PROXIED_UNUSABLE;
    }
    if (claims->subject == NULL)
        return PROXIED_NOBODY;
    if (claims->email != NULL)
        return PROXIED_SOMEBODY;
    note_unusable(request, api_get()->configuration->proxy_email_header);
    return PROXIED_UNUSABLE;
}

enum proxied proxied_read(const struct http_request *request, struct token_claims *claims)
{
    const struct configuration *configuration = api_get()->configuration;
    *claims = (struct token_claims){.email_verified = true};
    if (configuration->proxy_subject_header == NULL)
        return PROXIED_NOBODY;
    if (request->from_proxy) {
        /* A copy: a reload may change the option while PostgreSQL is asked. */
        claims->issuer = arena_strdup(request->arena, configuration->proxy_issuer);
        return read_headers(request, claims);
    }
    drop_untrusted(request);
    return PROXIED_NOBODY;
}

/* Neither a header's value nor a token holds a line end. */
const char *proxied_spelling(const struct http_request *request, const struct token_claims *claims, size_t *length)
{
    const char *spelling = arena_printf(request->arena, "\n%s", claims->issuer);
    for (size_t i = 0; i < HEADERS; i++) {
        const char *value = *(const char *const *)((const char *)claims + headers[i].claim);
        spelling = arena_printf(request->arena, "%s\n%s", spelling, value == NULL ? "" : value);
    }
    *length = strlen(spelling);
    return spelling;
}

/* Whether an origin (scheme://host[:port]) is at the host that the request asks for. Ports are left out: proxies hand
 * on Host without its own. */
static bool is_same_host(const char *origin, const char *host)
{
    const char *start = strstr(origin, "://");
    if (start == NULL || host == NULL)
        return false;
    start += 3;
    size_t length = *start == '[' ? strcspn(start, "]") + 1 : strcspn(start, ":/");
    size_t wanted = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    return length == wanted && strncasecmp(start, host, length) == 0;
}

bool proxied_is_forged(const struct http_request *request)
{
    if (request->method == HTTP_METHOD_GET || request->method == HTTP_METHOD_HEAD)
        return false;
    const char *site = http_request_header(request, "sec-fetch-site");
    if (site != NULL)
        return strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0;
    /* A browser that is older than that header sends Origin with every write; what sends neither is none. */
    const char *origin = http_request_header(request, "origin");
    return origin != NULL && !is_same_host(origin, http_request_header(request, "host"));
}
