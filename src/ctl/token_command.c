/* token_command: signs tokens for development with a key of the configuration's key set. turnoutctl only. Prints the
 * tokens and nothing else. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buffer.h"
#include "base/option.h"
#include "base/text.h"
#include "ctl/turnoutctl.h"
#include "identity/key_set.h"
#include "identity/token.h"

#define DEFAULT_ROLE "participant"
#define DEFAULT_TTL "8h"
/* Where the configuration asks for none, a token still names one: (issuer, subject) is the identity. */
#define DEFAULT_ISSUER "turnoutctl"

static const char *const roles[] = {"participant", "organizer", "admin", NULL};

static bool is_role(const char *text)
{
    for (const char *const *role = roles; *role != NULL; role++) {
        if (strcmp(text, *role) == 0)
            return true;
    }
    return false;
}

static bool is_address(const char *text)
{
    const char *at = strchr(text, '@');
    return at != NULL && at != text && at[1] != '\0' && strchr(at + 1, '@') == NULL &&
           strpbrk(text, " \t\r\n") == NULL && strlen(text) <= 254 && text_is_utf8(text, strlen(text));
}

struct signer {
    const struct configuration *configuration;
    const struct key_set *keys;
    const char *role;
    int64_t ttl; /* seconds */
    bool json;
    int64_t count;
};

/* true: printed. */
static bool print_token(struct signer *signer, const char *email)
{
    int64_t now = time(NULL);
    json_t *claims =
        json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "sub", email, "email", email, "iss",
                  signer->configuration->jwt_issuer == NULL ? DEFAULT_ISSUER : signer->configuration->jwt_issuer,
                  "role", signer->role, "iat", (json_int_t)now, "exp", (json_int_t)(now + signer->ttl));
    INVARIANT(claims != NULL);
    if (signer->configuration->jwt_audience != NULL)
        INVARIANT(json_object_set_new(claims, "aud", json_string(signer->configuration->jwt_audience)) == 0);
    char *token = token_sign(signer->keys, claims);
    json_decref(claims);
    if (token == NULL) {
        fprintf(stderr, "turnoutctl: no key in %s can sign (an oct key, or one with its private part)\n",
                signer->configuration->jwt_keys_file);
        return false;
    }
    if (signer->json) {
        struct buffer line = {0};
        buffer_append_text(&line, signer->count == 0 ? "[{\"email\":" : ",\n{\"email\":");
        text_append_json(&line, email, strlen(email));
        buffer_printf(&line, ",\"token\":\"%s\"}", token);
        fputs(buffer_text(&line), stdout);
        buffer_free(&line);
    } else {
        puts(token);
    }
    signer->count++;
    free(token);
    return true;
}

static bool print_tokens_of(struct signer *signer, const char *path)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (file == NULL) {
        fprintf(stderr, "turnoutctl: %s: %s\n", path, strerror(errno));
        return false;
    }
    char *line = NULL;
    size_t size = 0;
    int64_t number = 0;
    bool good = true;
    ssize_t length;
    while (good && (length = getline(&line, &size, file)) > 0) {
        number++;
        while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r'))
            line[--length] = '\0';
        if (length == 0)
            continue;
        good = is_address(line);
        if (!good)
            fprintf(stderr, "turnoutctl: %s:%" PRId64 ": expected an e-mail address\n", path, number);
        good = good && print_token(signer, line);
    }
    if (good && ferror(file)) {
        fprintf(stderr, "turnoutctl: %s: %s\n", path, strerror(errno));
        good = false;
    }
    free(line);
    if (file != stdin)
        fclose(file);
    return good;
}

int token_command(const struct turnoutctl *ctl)
{
    int64_t ttl;
    if (ctl->argument_count != 0)
        log_bad_start("token: unexpected argument \"%s\"", ctl->arguments[0]);
    if ((ctl->email == NULL) == (ctl->emails == NULL))
        log_bad_start("token: expected either --email E or --emails FILE");
    if (ctl->email != NULL && !is_address(ctl->email))
        log_bad_start("token: --email: expected an e-mail address, not \"%s\"", ctl->email);
    if (ctl->role != NULL && !is_role(ctl->role))
        log_bad_start("token: --role: expected participant, organizer or admin, not \"%s\"", ctl->role);
    if (!option_parse_duration(ctl->ttl == NULL ? DEFAULT_TTL : ctl->ttl, &ttl) || ttl < 1000000)
        log_bad_start("token: --ttl: expected a duration of at least 1s (s, m, h, d), not \"%s\"", ctl->ttl);

    struct configuration *configuration = turnoutctl_configuration(ctl);
    char error[512];
    struct key_set *keys = key_set_read(configuration->jwt_keys_file, error, sizeof error);
    if (keys == NULL)
        log_bad_start("jwt_keys_file: %s", error);
    struct signer signer = {.configuration = configuration,
                            .keys = keys,
                            .role = ctl->role == NULL ? DEFAULT_ROLE : ctl->role,
                            .ttl = ttl / 1000000,
                            .json = ctl->json};
    bool good = ctl->email != NULL ? print_token(&signer, ctl->email) : print_tokens_of(&signer, ctl->emails);
    if (good && ctl->json)
        puts(signer.count == 0 ? "[]" : "]");
    key_set_free(keys);
    configuration_free(configuration);
    return good ? CTL_DONE : CTL_REFUSED;
}
