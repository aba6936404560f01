/* check: what only a look at the system can say about a configuration. Runs in a short-lived child of the master before
 * it starts anything, and for --check-config: OpenSSL and libpq must not start in the master. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/secret.h"
#include "identity/cursor.h"
#include "identity/key_set.h"
#include "mail/letter.h"
#include "master/listener.h"
#include "master/master.h"
#include "pg/migrate.h"
#include "pg/pool.h"
#include "redis/place.h"

#define CURSOR_KEY_LEAST 32

static bool check_secret(const char *option, const char *path, size_t least, char *error, size_t error_size)
{
    char why[384];
    size_t length;
    if (path == NULL)
        return true;
    char *secret = secret_read(path, &length, why, sizeof why);
    bool enough = secret != NULL && length >= least;
    if (secret == NULL)
        snprintf(error, error_size, "%s: %s", option, why);
    else if (!enough)
        snprintf(error, error_size, "%s: %s: expected at least %zu bytes, found %zu", option, path, least, length);
    secret_free(secret, length);
    return enough;
}

static bool check_dsn(const char *option, const char *dsn, char *error, size_t error_size)
{
    char why[384];
    if (dsn == NULL || pg_dsn_check(dsn, why, sizeof why))
        return true;
    snprintf(error, error_size, "%s: %s", option, why);
    return false;
}

static bool check_listen(const char *option, const char *addresses, char *error, size_t error_size)
{
    char why[384];
    if (listeners_check(addresses, why, sizeof why))
        return true;
    snprintf(error, error_size, "%s: %s", option, why);
    return false;
}

static bool check_redis(const struct configuration *configuration, char *error, size_t error_size)
{
    char why[384];
    const char *socket = configuration->redis_socket, *host = configuration->redis;
    if (socket != NULL && !place_check_socket(socket, why, sizeof why)) {
        snprintf(error, error_size, "redis_socket: %s", why);
        return false;
    }
    if (host != NULL && !place_check_host(host, why, sizeof why)) {
        snprintf(error, error_size, "redis: %s", why);
        return false;
    }
    return check_secret("redis_password_file", configuration->redis_password_file, 1, error, error_size);
}

static bool check_mailbox(const char *option, const char *mailbox, char *error, size_t error_size)
{
    char why[384];
    if (mailbox == NULL || letter_check_address(mailbox, why, sizeof why))
        return true;
    snprintf(error, error_size, "%s: %s", option, why);
    return false;
}

/* Templates of its own are read also where no mail is sent: whoever writes them wants to know. */
static bool check_letters(const struct configuration *configuration, char *error, size_t error_size)
{
    char why[384];
    if (!check_mailbox("mail_from", configuration->mail_from, error, error_size) ||
        !check_mailbox("mail_reply_to", configuration->mail_reply_to, error, error_size))
        return false;
    if (configuration->smtp_url == NULL && configuration->mail_templates == NULL)
        return true;
    struct letters *letters =
        letters_read(configuration->template_directory, configuration->mail_templates, why, sizeof why);
    if (letters == NULL)
        snprintf(error, error_size, "%s: %s",
                 configuration->mail_templates == NULL ? "template_directory" : "mail_templates", why);
    letters_free(letters);
    return letters != NULL;
}

/* Without making the file: who checks may be somebody else than the daemon. */
static bool check_log(const char *path, char *error, size_t error_size)
{
    if (path == NULL)
        return true;
    int descriptor = open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (descriptor >= 0) {
        close(descriptor);
        return true;
    }
    int failed = errno;
    const char *slash = strrchr(path, '/');
    char folder[4096];
    snprintf(folder, sizeof folder, "%.*s", slash == NULL ? 1 : (int)(slash - path) + 1, slash == NULL ? "." : path);
    if (failed == ENOENT && access(folder, W_OK | X_OK) == 0)
        return true;
    snprintf(error, error_size, "log_file: %s: %s", path, strerror(failed == ENOENT ? errno : failed));
    return false;
}

bool master_check(const struct configuration *configuration, char *error, size_t error_size)
{
    char why[384];
    int version;
    if (!check_log(configuration->log_file, error, error_size) ||
        !check_listen("listen", configuration->listen, error, error_size) ||
        !check_listen("internal_listen", configuration->internal_listen, error, error_size) ||
        !check_dsn("database", configuration->database, error, error_size) ||
        !check_dsn("database_owner", configuration->database_owner, error, error_size) ||
        !check_secret("database_password_file", configuration->database_password_file, 1, error, error_size) ||
        !check_secret("database_owner_password_file", configuration->database_owner_password_file, 1, error,
                      error_size) ||
        !check_redis(configuration, error, error_size) || !check_letters(configuration, error, error_size) ||
        !check_secret("cursor_key_file", configuration->cursor_key_file, CURSOR_KEY_LEAST, error, error_size))
        return false;
    struct key_set *keys = key_set_read(configuration->jwt_keys_file, why, sizeof why);
    if (keys == NULL) {
        snprintf(error, error_size, "jwt_keys_file: %s", why);
        return false;
    }
    key_set_free(keys);
    if (!pg_schema_expected(configuration->sql_directory, &version, why, sizeof why)) {
        snprintf(error, error_size, "sql_directory: %s", why);
        return false;
    }
    return true;
}
