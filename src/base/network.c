/* network: reads and compares addresses and networks. Any process, no state. IPv4 is kept in its IPv6-mapped form, so
 * that one comparison serves both; but a network of IPv6 never holds an IPv4 address, whatever its length. */
#include "base/network.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define MAPPED_BITS 96
#define ADDRESS_BITS 128
/* Of an entry with its prefix length; and of what a proxy writes: brackets, address, port. */
#define ENTRY_SIZE_MAX (NETWORK_TEXT_SIZE + 4)
#define WRITTEN_SIZE_MAX (NETWORK_TEXT_SIZE + 8)

static const unsigned char mapped[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

struct entry {
    struct network_peer network; /* bits behind the prefix are zero */
    unsigned bits;
};

struct network_list {
    char *text;
    size_t count;
    struct entry entries[];
};

bool network_address_is_ipv4(const struct network_address *address)
{
    return memcmp(address->bytes, mapped, sizeof mapped) == 0;
}

static struct network_address map_ipv4(const struct in_addr *ipv4)
{
    struct network_address address;
    memcpy(address.bytes, mapped, sizeof mapped);
    memcpy(address.bytes + sizeof mapped, ipv4, 4);
    return address;
}

struct network_peer network_peer_of(const struct sockaddr_storage *name)
{
    struct network_peer peer = {.kind = NETWORK_UNIX};
    if (name->ss_family == AF_INET) {
        peer.kind = NETWORK_IP;
        peer.address = map_ipv4(&((const struct sockaddr_in *)name)->sin_addr);
    } else if (name->ss_family == AF_INET6) {
        peer.kind = NETWORK_IP;
        memcpy(peer.address.bytes, &((const struct sockaddr_in6 *)name)->sin6_addr, sizeof peer.address.bytes);
    }
    return peer;
}

void network_peer_write(const struct network_peer *peer, char text[NETWORK_TEXT_SIZE])
{
    if (peer->kind == NETWORK_UNIX)
        memcpy(text, "unix", 5);
    else
        network_address_write(&peer->address, text);
}

bool network_address_parse(const char *text, struct network_address *address)
{
    struct in_addr ipv4;
    if (inet_pton(AF_INET, text, &ipv4) == 1) {
        *address = map_ipv4(&ipv4);
        return true;
    }
    return inet_pton(AF_INET6, text, address->bytes) == 1;
}

static bool is_port(const char *text)
{
    int64_t port;
    return text[0] >= '0' && text[0] <= '9' && strlen(text) <= 5 && text_parse_int64(text, 0, 65535, &port);
}

bool network_address_parse_from_proxy(const char *text, struct network_address *address)
{
    char copy[WRITTEN_SIZE_MAX];
    size_t length = strlen(text);
    if (length >= sizeof copy)
        return false;
    memcpy(copy, text, length + 1);
    char *colon = strchr(copy, ':');
    if (copy[0] == '[') {
        char *close = strchr(copy, ']');
        if (close == NULL || (close[1] != '\0' && (close[1] != ':' || !is_port(close + 2))))
            return false;
        *close = '\0';
        return strchr(copy, ':') != NULL && network_address_parse(copy + 1, address);
    }
    if (colon != NULL && strchr(colon + 1, ':') == NULL) {
        if (!is_port(colon + 1))
            return false;
        *colon = '\0';
    }
    return network_address_parse(copy, address);
}

void network_address_write(const struct network_address *address, char text[NETWORK_TEXT_SIZE])
{
    const char *written = network_address_is_ipv4(address)
                              ? inet_ntop(AF_INET, address->bytes + sizeof mapped, text, NETWORK_TEXT_SIZE)
                              : inet_ntop(AF_INET6, address->bytes, text, NETWORK_TEXT_SIZE);
    INVARIANT(written != NULL);
}

/* Whether the first `bits` bits are the same. */
static bool agree(const struct network_address *one, const struct network_address *other, unsigned bits)
{
    unsigned whole = bits / 8;
    unsigned char mask = (unsigned char)(0xff00u >> (bits % 8));
    return memcmp(one->bytes, other->bytes, whole) == 0 &&
           (bits % 8 == 0 || ((one->bytes[whole] ^ other->bytes[whole]) & mask) == 0);
}

static bool ends_behind(const struct network_address *address, unsigned bits)
{
    for (unsigned bit = bits; bit < ADDRESS_BITS; bit++) {
        if ((address->bytes[bit / 8] & (0x80u >> (bit % 8))) != 0)
            return false;
    }
    return true;
}

static const char *parse_entry(char *text, struct entry *entry)
{
    *entry = (struct entry){.network = {.kind = NETWORK_UNIX}, .bits = 0};
    if (strcmp(text, "unix") == 0)
        return NULL;
    char *slash = strchr(text, '/');
    int64_t bits = ADDRESS_BITS;
    if (slash != NULL)
        *slash = '\0';
    entry->network.kind = NETWORK_IP;
    if (!network_address_parse(text, &entry->network.address))
        return "is no address, no network and not the word unix";
    bool dotted = strchr(text, ':') == NULL;
    if (slash != NULL && !text_parse_int64(slash + 1, 0, dotted ? 32 : ADDRESS_BITS, &bits))
        return "has a prefix length that its kind of address cannot have";
    if (bits == 0)
        return "would be everybody";
    if (slash != NULL && dotted)
        bits += MAPPED_BITS;
    entry->bits = (unsigned)bits;
    return ends_behind(&entry->network.address, entry->bits) ? NULL : "has bits behind its prefix length";
}

struct network_list *network_list_parse(const char *text, char *error, size_t error_size)
{
    size_t most = 1;
    for (const char *comma = text; (comma = strchr(comma, ',')) != NULL; comma++)
        most++;
    struct network_list *list = calloc(1, sizeof *list + most * sizeof list->entries[0]);
    INVARIANT(list != NULL);
    list->text = strdup(text);
    INVARIANT(list->text != NULL);
    for (const char *at = text + strspn(text, " \t"); *at != '\0' || list->count > 0;) {
        char entry[ENTRY_SIZE_MAX];
        size_t length = strcspn(at, ",");
        const char *next = at + length;
        while (length > 0 && (at[length - 1] == ' ' || at[length - 1] == '\t'))
            length--;
        snprintf(entry, sizeof entry, "%.*s", (int)length, at);
        const char *wrong = length < sizeof entry ? parse_entry(entry, &list->entries[list->count++])
                                                  : "is no address, no network and not the word unix";
        if (wrong != NULL) {
            snprintf(error, error_size, "\"%.*s\" %s", (int)(length < 80 ? length : 80), at, wrong);
            network_list_free(list);
            return NULL;
        }
        if (*next == '\0')
            break;
        at = next + 1 + strspn(next + 1, " \t");
    }
    return list;
}

void network_list_free(struct network_list *list)
{
    if (list == NULL)
        return;
    free(list->text);
    free(list);
}

const char *network_list_text(const struct network_list *list)
{
    return list == NULL ? "" : list->text;
}

bool network_list_holds(const struct network_list *list, const struct network_peer *peer)
{
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        const struct entry *entry = &list->entries[i];
        if (entry->network.kind != peer->kind)
            continue;
        if (peer->kind == NETWORK_UNIX)
            return true;
        /* ::/1 is short enough to hold the mapped ones, and does not mean them. */
        if ((entry->bits >= MAPPED_BITS && network_address_is_ipv4(&entry->network.address)) ==
                network_address_is_ipv4(&peer->address) &&
            agree(&entry->network.address, &peer->address, entry->bits))
            return true;
    }
    return false;
}
