/* forwarded: what a proxy in front says of the client. Worker process, src/http only. */
#ifndef HTTP_FORWARDED_H
#define HTTP_FORWARDED_H

#include "base/network.h"
#include "http/exchange.h"

/* Decides whether the peer is one of trusted_proxies and who the client is: what client_address_header says, where the
 * peer is believed and says something usable, else the peer. Once the headers are there. */
void forwarded_read(struct http_exchange *exchange, const struct network_peer *peer);

#endif
