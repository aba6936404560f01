/* forwarded: the client's address, from the one header that a trusted proxy sets. Worker process; touches the request,
 * and the server's moments of complaint.
 *
 * A list of hops (X-Forwarded-For, Forwarded) is not read: whatever stands in it before our own proxy's word is the
 * client's to make up. The proxy names one address; two lines, or anything that is no address, count as none. */
#include "http/forwarded.h"

#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/configuration.h"
#include "base/log.h"
#include "http/server_internal.h"

#define COMPLAINT_INTERVAL INT64_C(60000000)

static bool is_due(struct http_server *server, enum http_occurrence what)
{
    int64_t *at = &server->complained_of_address[what == HTTP_ADDRESS_UNUSABLE];
    int64_t now = clock_monotonic();
    if (*at != 0 && now - *at < COMPLAINT_INTERVAL)
        return false;
    *at = now;
    return true;
}

static void drop(struct http_exchange *exchange, enum http_occurrence what, const char *name)
{
    struct http_server *server = exchange->server;
    server_happened(server, what, 1);
    if (!is_due(server, what))
        return;
    log_warning(what == HTTP_ADDRESS_UNUSABLE ? "a trusted proxy names no usable client address: its own is used"
                                              : "a peer that is not trusted names a client address: it is not believed",
                log_text("header", name), log_text("peer", exchange->request.client_address));
}

void forwarded_read(struct http_exchange *exchange, const struct network_peer *peer)
{
    if (!exchange->server->options.behind_proxies)
        return;
    const struct configuration *configuration = exchange->server->options.configuration;
    struct http_request *request = &exchange->request;
    const char *name = configuration->client_address_header;
    const struct http_pair *found = NULL;
    size_t count = 0;
    request->from_proxy = network_list_holds(configuration->trusted_proxies, peer);
    for (size_t i = 0; name != NULL && i < request->header_count; i++) {
        const char *sent = request->headers[i].name;
        if ((sent[0] | 0x20) == (name[0] | 0x20) && strcasecmp(sent, name) == 0) {
            found = &request->headers[i];
            count++;
        }
    }
    if (count == 0 || (count == 1 && found->value_length == 0))
        return;
    struct network_address address;
    if (!request->from_proxy) {
        drop(exchange, HTTP_ADDRESS_UNTRUSTED, name);
    } else if (count > 1 || !network_address_parse_from_proxy(found->value, &address)) {
        drop(exchange, HTTP_ADDRESS_UNUSABLE, name);
    } else {
        char text[NETWORK_TEXT_SIZE];
        network_address_write(&address, text);
        request->client_address = arena_strdup(request->arena, text);
        request->client = (struct network_peer){.kind = NETWORK_IP, .address = address};
    }
}
