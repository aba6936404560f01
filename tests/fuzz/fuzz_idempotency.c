/* fuzz_idempotency: the Idempotency-Key header.
 *
 * The input is the value, or two of them with a line end between. What must hold: the key is what a plain reading of
 * RFC 8941's strings gives, or the bare text; what that reading refuses is refused; one that is accepted fits the
 * table. */
#include <stdbool.h>

#include "api/idempotency.h"
#include "base/configuration.h"
#include "base/log.h"
#include "http/exchange.h"
#include "http/server_internal.h"
#include "target.h"

static struct http_server *server;

static void prepare(void)
{
    static const struct http_route none[] = {{HTTP_METHOD_GET, NULL, NULL, 0}};
    char error[256];
    struct configuration *configuration = configuration_read(NULL, error, sizeof error);
    MUST(configuration != NULL);
    configuration->access_log = false;
    log_set_level(LOG_LEVEL_ERROR);
    struct http_server_options options = {.base = event_base_new(), .configuration = configuration, .routes = none};
    server = http_server_create(&options);
}

/* NULL: no key. free() it. */
static char *read_plainly(const char *value)
{
    size_t length = strlen(value);
    char *key = calloc(1, length + 1);
    size_t at = 0;
    bool fine = length > 0;
    if (value[0] == '"') {
        fine = length >= 2 && value[length - 1] == '"';
        for (size_t i = 1; fine && i < length - 1; i++) {
            bool escaped = value[i] == '\\';
            i += escaped;
            fine = i < length - 1 && value[i] >= 0x20 && value[i] <= 0x7e &&
                   escaped == (value[i] == '"' || value[i] == '\\');
            if (fine)
                key[at++] = value[i];
        }
    } else {
        for (size_t i = 0; fine && i < length; i++) {
            fine = value[i] > 0x20 && value[i] <= 0x7e && strchr("\"\\,;", value[i]) == NULL;
            key[at++] = value[i];
        }
    }
    if (fine && at >= 1 && at <= 255)
        return key;
    free(key);
    return NULL;
}

/* As the guards let values through: no control characters, no spaces around. */
static bool may_be_a_value(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (((unsigned char)text[i] < ' ' && text[i] != '\t') || text[i] == 0x7f)
            return false;
    }
    return length == 0 || (strchr(" \t", text[0]) == NULL && strchr(" \t", text[length - 1]) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (server == NULL)
        prepare();
    char *text = exact_copy(bytes, size, 1);
    char *second = memchr(text, '\n', size);
    if (second != NULL)
        *second++ = '\0';
    size_t length = second == NULL ? size : (size_t)(second - text) - 1;
    if (may_be_a_value(text, length) && (second == NULL || may_be_a_value(second, size - length - 1))) {
        struct http_exchange *exchange = exchange_create(server, NULL);
        struct http_request *request = &exchange->request;
        struct http_pair headers[2] = {{"idempotency-key", text, length}, {"idempotency-key", second, 0}};
        if (second != NULL)
            headers[1].value_length = strlen(second);
        request->request_id = "fuzz";
        request->headers = headers;
        request->header_count = second == NULL ? 1 : 2;
        char *plain = second == NULL ? read_plainly(text) : NULL;
        const char *key;
        /* where it refuses it has answered, and the exchange is gone */
        bool accepted = idempotency_read(request, &key);
        MUST(accepted == (plain != NULL));
        if (accepted) {
            MUST(strcmp(key, plain) == 0);
            exchange_finish(exchange, NULL);
        }
        MUST(LIST_EMPTY(&server->exchanges));
        free(plain);
    }
    free(text);
    return 0;
}
