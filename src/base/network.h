/* network: addresses of peers, and lists of those that are believed. Any process, no state. */
#ifndef BASE_NETWORK_H
#define BASE_NETWORK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/object.h"

#define NETWORK_TEXT_SIZE INET6_ADDRSTRLEN

/* IPv6, or IPv4 in its mapped form (::ffff:a.b.c.d): a socket that takes both kinds shows it so. */
struct network_address {
    unsigned char bytes[16];
};

/* Who is at the other end of a connection. */
struct network_peer {
    enum { NETWORK_UNIX, NETWORK_IP } kind;
    struct network_address address; /* zeros for NETWORK_UNIX */
};

/* What accept or getpeername gave; anything but IPv4 and IPv6 is NETWORK_UNIX. */
struct network_peer network_peer_of(const struct sockaddr_storage *name);
/* "192.0.2.1", "2001:db8::1" or "unix". */
void network_peer_write(const struct network_peer *peer, char text[NETWORK_TEXT_SIZE]);

/* One address as the whole text: 192.0.2.1 or 2001:db8::1, in no other spelling than inet_pton knows. */
bool network_address_parse(const char *text, struct network_address *address) MUST_CHECK;
/* The same as proxies write it: perhaps with a port (192.0.2.1:4711), IPv6 perhaps, with a port always, in brackets. */
bool network_address_parse_from_proxy(const char *text, struct network_address *address) MUST_CHECK;
/* IPv4 without its mapping. */
void network_address_write(const struct network_address *address, char text[NETWORK_TEXT_SIZE]);

/* Is it IPv4, in its mapped form? */
bool network_address_is_ipv4(const struct network_address *address);

struct network_list;

/* Separated by commas: addresses, networks (192.0.2.0/24, 2001:db8::/32) and the word unix. NULL: `error` says what is
 * wrong. An empty text is an empty list. */
struct network_list *network_list_parse(const char *text, char *error, size_t error_size) MUST_CHECK;
void network_list_free(struct network_list *list);
/* As it was parsed; "" for NULL. */
const char *network_list_text(const struct network_list *list);
/* Is the peer in the list? NULL holds nobody. */
bool network_list_holds(const struct network_list *list, const struct network_peer *peer);

#endif
