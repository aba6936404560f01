/* smtp_settings: how to reach the SMTP server. Mailer; the master checks with it. */
#include "mailer/smtp_settings.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/secret.h"

void smtp_settings_free(struct smtp_settings *settings)
{
    free(settings->url);
    free(settings->ca_file);
    free(settings->user);
    if (settings->password != NULL)
        secret_free(settings->password, strlen(settings->password));
    free(settings);
}

static char *copy(const char *text)
{
    char *own = text == NULL ? NULL : strdup(text);
    INVARIANT(text == NULL || own != NULL);
    return own;
}

bool smtp_check_url(const char *url, char *error, size_t error_size)
{
    CURLU *parts = curl_url();
    INVARIANT(parts != NULL);
    char *scheme = NULL, *host = NULL, *path = NULL, *user = NULL;
    bool good = curl_url_set(parts, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
                curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
                curl_url_get(parts, CURLUPART_PATH, &path, 0) == CURLUE_OK &&
                (strcmp(scheme, "smtp") == 0 || strcmp(scheme, "smtps") == 0) && strcmp(path, "/") == 0 &&
                curl_url_get(parts, CURLUPART_USER, &user, 0) == CURLUE_NO_USER;
    curl_free(scheme);
    curl_free(host);
    curl_free(path);
    curl_free(user);
    curl_url_cleanup(parts);
    if (!good) /* it may hold a password */
        snprintf(error, error_size, "expected smtp://host:port or smtps://host:port, without user and path");
    return good;
}

struct smtp_settings *smtp_settings_make(const struct smtp_options *options, char *error, size_t error_size)
{
    char host[65] = "";
    if (!smtp_check_url(options->url, error, error_size))
        return NULL;
    if (options->ca_file != NULL && access(options->ca_file, R_OK) != 0) {
        snprintf(error, error_size, "smtp_ca_file: %s: %s", options->ca_file, strerror(errno));
        return NULL;
    }
    struct smtp_settings *settings = calloc(1, sizeof *settings);
    INVARIANT(settings != NULL);
    if (options->user != NULL) {
        char why[384];
        size_t length;
        char *password = secret_read(options->password_file, &length, why, sizeof why);
        if (password == NULL) {
            snprintf(error, error_size, "smtp_password_file: %s", why);
            smtp_settings_free(settings);
            return NULL;
        }
        settings->password = copy(password);
        secret_free(password, length);
    }
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0')
        snprintf(host, sizeof host, "localhost");
    size_t length = strlen(options->url);
    while (length > 0 && options->url[length - 1] == '/')
        length--;
    INVARIANT(asprintf(&settings->url, "%.*s/%s", (int)length, options->url, host) > 0);
    settings->tls = options->tls;
    settings->ca_file = copy(options->ca_file);
    settings->user = copy(options->user);
    settings->timeout = options->timeout;
    settings->users = 1;
    return settings;
}
