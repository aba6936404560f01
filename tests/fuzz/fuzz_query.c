/* fuzz_query: the target of a request: routing, path parameters, query parameters, the page that they ask for.
 *
 * The input is a target as the guards let it through. What must hold: the parameters are what a plain reading of the
 * query gives, once decoded; what a plain reading cannot decode is refused; a page has a limit that we allow. */
#include <jansson.h>
#include <stdbool.h>

#include "api/parameters.h"
#include "base/configuration.h"
#include "base/log.h"
#include "http/exchange.h"
#include "http/query.h"
#include "http/server_internal.h"
#include "identity/cursor.h"
#include "target.h"

static struct http_server *server;

static void nobody(struct http_request *request)
{
    (void)request;
    fuzz_failed(__FILE__, __LINE__, "no handler is called here");
}

static const struct http_route routes[] = {
    {HTTP_METHOD_GET, "/api/events", nobody, 0},
    {HTTP_METHOD_GET, "/api/events/{id}", nobody, 0},
    {HTTP_METHOD_GET, "/api/events/{id}/registrations", nobody, 0},
    {HTTP_METHOD_GET, NULL, NULL, 0},
};

static void prepare(void)
{
    char error[256];
    struct configuration *configuration = configuration_read(NULL, error, sizeof error);
    MUST(configuration != NULL);
    configuration->access_log = false;
    log_set_level(LOG_LEVEL_ERROR);
    struct http_server_options options = {.base = event_base_new(), .configuration = configuration, .routes = routes};
    server = http_server_create(&options);
    cursor_set_key("a key of thirty-two bytes, fixed", CURSOR_KEY_SIZE_MIN);
}

/* ---- a plain reading ---- */

static int hex(char digit)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = digit == '\0' ? NULL : strchr(digits, digit >= 'A' && digit <= 'F' ? digit | 0x20 : digit);
    return at == NULL ? -1 : (int)(at - digits);
}

/* `text` in place; false: not UTF-8, a zero, or a bad escape. */
static bool decode(char *text, bool plus_is_space)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        char byte = *from == '+' && plus_is_space ? ' ' : *from;
        if (*from == '%') {
            int high = hex(from[1]);
            int low = high < 0 ? -1 : hex(from[2]);
            if (low < 0 || high * 16 + low == 0)
                return false;
            byte = (char)(high * 16 + low);
            from += 2;
        }
        *to++ = byte;
    }
    *to = '\0';
    json_t *utf8 = json_string(text);
    bool fine = utf8 != NULL;
    json_decref(utf8);
    return fine;
}

/* Compares with what was read; false: the query cannot be read. Both must say so. */
static bool reads_the_same(const char *target, const struct http_request *request, bool was_read)
{
    const char *mark = strchr(target, '?');
    if (mark == NULL)
        return request->query_count == 0;
    char *query = strdup(mark + 1);
    size_t number = 0;
    size_t separators = 0;
    bool fine = true;
    for (const char *at = query; *at != '\0'; at++)
        separators += *at == '&';
    fine = separators < 64;
    char *rest = query;
    for (char *part; fine && (part = strsep(&rest, "&")) != NULL;) {
        if (*part == '\0')
            continue;
        char *value = strchr(part, '=');
        if (value != NULL)
            *value++ = '\0';
        fine = decode(part, true) && (value == NULL || decode(value, true));
        if (fine && was_read) {
            MUST(number < request->query_count);
            const struct http_pair *pair = &request->query[number];
            MUST(strcmp(pair->name, part) == 0 && strcmp(pair->value, value == NULL ? "" : value) == 0);
            MUST(pair->value_length == strlen(pair->value));
        }
        number++;
    }
    MUST(!fine || !was_read || number == request->query_count);
    free(query);
    return fine;
}

static bool may_stand_in_a_target(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] <= ' ' || bytes[i] >= 0x7f || bytes[i] == '#')
            return false;
    }
    return size > 0 && bytes[0] == '/';
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const known[] = {"limit", "cursor", "q", NULL};
    if (server == NULL)
        prepare();
    if (size > 8192 || !may_stand_in_a_target(bytes, size))
        return 0;
    char *target = exact_copy(bytes, size, 1);
    struct http_exchange *exchange = exchange_create(server, NULL);
    struct http_request *request = &exchange->request;
    request->target = target;
    request->request_id = "fuzz";
    request->method = HTTP_METHOD_GET;
    const char *allow;
    enum router_result routing = router_find(server->router, request, target, strcspn(target, "?"), &allow);
    for (size_t i = 0; routing == ROUTER_FOUND && i < HTTP_ROUTE_PARAMETERS_MAX && request->parameters[i] != NULL;
         i++) {
        json_t *utf8 = json_string(request->parameters[i]);
        MUST(utf8 != NULL && *request->parameters[i] != '\0');
        json_decref(utf8);
    }
    bool was_read = exchange_read_query(exchange);
    MUST(reads_the_same(target, request, was_read) == was_read);
    struct page page;
    /* where one of these refuses, it has answered, and the exchange is gone */
    if (!was_read || routing != ROUTER_FOUND) {
        exchange_finish(exchange, NULL);
    } else if (parameters_check(request, known) && parameters_page(request, "events", &page)) {
        MUST(atoi(page.limit) >= 1 && atoi(page.limit) <= PAGE_LIMIT_MOST && (page.place == NULL) == (page.id == NULL));
        if (request->parameters[0] == NULL || parameters_path_id(request) != NULL)
            exchange_finish(exchange, NULL);
    }
    MUST(LIST_EMPTY(&server->exchanges));
    free(target);
    return 0;
}
