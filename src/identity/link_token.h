/* link_token: links in mails that act for somebody who is not signed in (RFC 8058: the mail program follows them). A
 * link says who and from what, signed with the hosts' key; it never expires, as mails are kept, and can do nothing
 * else. A new key in cursor_key_file makes the links of older mails useless. Worker and mailer, after seal_set_key. */
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

/* The address at which this person unsubscribes from what a mail of `kind` belongs to, into `url`. false: nobody can
 * unsubscribe from that kind, or `public_url` is NULL, or it does not fit. */
bool link_token_unsubscribe_url(const char *public_url, const char *user_id, const char *kind, char *url,
                                size_t size) MUST_CHECK;

#endif
