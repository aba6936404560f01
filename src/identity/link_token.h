/* link_token: links that act for somebody who is not signed in: in mails (RFC 8058: the mail program follows them), and
 * the address of a calendar feed. A link in a mail says who and from what, signed with the hosts' key; it never
 * expires, as mails are kept, and can do nothing else. A new key in cursor_key_file makes the links of older mails
 * useless; feeds go on. Worker and mailer, after seal_set_key. */
#ifndef IDENTITY_LINK_TOKEN_H
#define IDENTITY_LINK_TOKEN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/object.h"
#include "base/uuid.h"

#define LINK_TOKEN_TEXT_MAX 64

/* To unsubscribe. */
struct link_token {
    char user_id[UUID_TEXT_SIZE];
    const char *group; /* of mails, as turnout.mail_group names it; static memory where link_token_verify set it */
};

/* `group` must be one of turnout.mail_group's. */
void link_token_sign(const struct link_token *token, char text[LINK_TOKEN_TEXT_MAX]);
/* false, and `token` untouched, for anything that link_token_sign did not make with this key. */
bool link_token_verify(const char *text, struct link_token *token) MUST_CHECK;

/* The token in the address of a calendar feed, made of the feed's id alone, so that who has the key can say it again.
 * What counts is whether turnout.calendar_feeds has its hash: that the key has made it only says that it is worth a
 * look. */
void link_token_feed(const char *id, char text[LINK_TOKEN_TEXT_MAX]);
/* Whether the present key has made it; `id` is then the feed's. */
bool link_token_is_feed(const char *text, char id[UUID_TEXT_SIZE]) MUST_CHECK;
/* SHA-256 of a token, as PostgreSQL reads a bytea. */
#define LINK_TOKEN_HASH_SIZE (2 + 64 + 1)
void link_token_hash(const char *text, char hash[LINK_TOKEN_HASH_SIZE]);

/* The address at which this person unsubscribes from a group of mails, into `url`. false: there is no such group (of a
 * newer host), or `public_url` is NULL, or it does not fit. */
bool link_token_unsubscribe_url(const char *public_url, const char *user_id, const char *group, char *url,
                                size_t size) MUST_CHECK;

#endif
