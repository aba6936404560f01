/* link_token: bytes: form (1) | group (1) | id (16) | seal (16). 34 bytes, 46 characters. Of a feed: id (16) | seal
 * (16). Worker and mailer. */
#include "identity/link_token.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "identity/base64url.h"
#include "identity/seal.h"

#define PURPOSE "turnout unsubscribe"
#define FEED_PURPOSE "turnout calendar feed"
/* Changes with the layout; links of older mails must go on working, so an older form is then read, too. */
#define FORM 1
#define BODY_SIZE 18
#define WHOLE_SIZE (BODY_SIZE + SEAL_SIZE)
#define ID_SIZE 16
#define FEED_SIZE (ID_SIZE + SEAL_SIZE)

/* Those of turnout.mail_group. The place in this table is the byte in the token: only ever appended to. */
static const char *const groups[] = {"reminders", "surveys"};
#define GROUP_COUNT (sizeof groups / sizeof groups[0])

/* GROUP_COUNT: there is none of this name. */
static size_t place_of(const char *group)
{
    size_t place = 0;
    while (place < GROUP_COUNT && strcmp(groups[place], group) != 0)
        place++;
    return place;
}

void link_token_sign(const struct link_token *token, char text[LINK_TOKEN_TEXT_MAX])
{
    unsigned char bytes[WHOLE_SIZE] = {FORM};
    char id[UUID_TEXT_SIZE];
    size_t group = place_of(token->group);
    _Static_assert((WHOLE_SIZE * 4 + 2) / 3 < LINK_TOKEN_TEXT_MAX, "a token fits its text");
    INVARIANT(group < GROUP_COUNT && uuid_parse(token->user_id, strlen(token->user_id), id));
    bytes[1] = (unsigned char)group;
    uuid_to_bytes(id, bytes + 2);
    seal_make(PURPOSE, bytes, BODY_SIZE, NULL, bytes + BODY_SIZE);
    INVARIANT(base64url_encode(bytes, sizeof bytes, text) < LINK_TOKEN_TEXT_MAX);
}

bool link_token_verify(const char *text, struct link_token *token)
{
    unsigned char bytes[WHOLE_SIZE];
    ssize_t size = base64url_decode(text, strnlen(text, LINK_TOKEN_TEXT_MAX), bytes, sizeof bytes);
    if (size != WHOLE_SIZE || bytes[0] != FORM || bytes[1] >= GROUP_COUNT ||
        !seal_fits(PURPOSE, bytes, BODY_SIZE, NULL, bytes + BODY_SIZE))
        return false;
    uuid_from_bytes(bytes + 2, token->user_id);
    token->group = groups[bytes[1]];
    return true;
}

void link_token_feed(const char *id, char text[LINK_TOKEN_TEXT_MAX])
{
    unsigned char bytes[FEED_SIZE];
    char canonical[UUID_TEXT_SIZE];
    INVARIANT(uuid_parse(id, strlen(id), canonical));
    uuid_to_bytes(canonical, bytes);
    seal_make(FEED_PURPOSE, bytes, ID_SIZE, NULL, bytes + ID_SIZE);
    INVARIANT(base64url_encode(bytes, sizeof bytes, text) < LINK_TOKEN_TEXT_MAX);
}

bool link_token_is_feed(const char *text, char id[UUID_TEXT_SIZE])
{
    unsigned char bytes[FEED_SIZE];
    ssize_t size = base64url_decode(text, strnlen(text, LINK_TOKEN_TEXT_MAX), bytes, sizeof bytes);
    if (size != FEED_SIZE || !seal_fits(FEED_PURPOSE, bytes, ID_SIZE, NULL, bytes + ID_SIZE))
        return false;
    uuid_from_bytes(bytes, id);
    return true;
}

void link_token_hash(const char *text, char hash[LINK_TOKEN_HASH_SIZE])
{
    unsigned char bytes[32];
    unsigned length = 0;
    INVARIANT(EVP_Digest(text, strlen(text), bytes, &length, EVP_sha256(), NULL) == 1 && length == sizeof bytes);
    hash += snprintf(hash, LINK_TOKEN_HASH_SIZE, "\\x");
    for (size_t i = 0; i < sizeof bytes; i++)
        hash += snprintf(hash, 3, "%02x", bytes[i]);
}

bool link_token_unsubscribe_url(const char *public_url, const char *user_id, const char *group, char *url, size_t size)
{
    struct link_token token;
    char text[LINK_TOKEN_TEXT_MAX];
    if (public_url == NULL || place_of(group) == GROUP_COUNT || !uuid_parse(user_id, strlen(user_id), token.user_id))
        return false;
    token.group = group;
    link_token_sign(&token, text);
    return (size_t)snprintf(url, size, "%s/api/mail/unsubscribe?token=%s", public_url, text) < size;
}
