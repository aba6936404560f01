/* smtp_settings: how to reach the SMTP server, as the threads of smtp.c need it: replaced whole, freed with its last
 * user. Mailer; smtp.c alone. */
#ifndef MAILER_SMTP_SETTINGS_H
#define MAILER_SMTP_SETTINGS_H

#include "mailer/smtp.h"

struct smtp_settings {
    int users; /* under the lock */
    char *url; /* with the name that we say at EHLO */
    enum smtp_tls tls;
    char *ca_file, *user, *password;
    int64_t timeout;
};

/* A copy, with the password read and the name that we say at EHLO; one user. NULL: `error` says what cannot be used. */
struct smtp_settings *smtp_settings_make(const struct smtp_options *options, char *error, size_t error_size) MUST_CHECK;
/* Also wipes the password. */
void smtp_settings_free(struct smtp_settings *settings);

#endif
