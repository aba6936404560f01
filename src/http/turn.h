/* turn: what a turn of the loop may spend on writes, so that reads never wait long behind them. Worker process,
 * src/http only; handlers see http_in_turn (request.h). */
#ifndef HTTP_TURN_H
#define HTTP_TURN_H

#include "http/exchange.h"

/* Before the first exchange. */
void turn_start(struct http_server *server);
/* After the last one. */
void turn_end(struct http_server *server);

/* Does the work now, or in one of the next turns. The exchange may be gone afterwards. */
void turn_do(struct http_exchange *exchange, http_work *work, void *context);
/* Whether its answer may be sent now; then the time goes to turn_spend. false: connection_send_waiting will be called.
 */
bool turn_may_send(struct http_exchange *exchange) MUST_CHECK;
/* So much of this turn is gone; `since` is a clock_monotonic. */
void turn_spend(struct http_server *server, int64_t since);
/* It waits no more, as it ends. */
void turn_forget(struct http_exchange *exchange);

#endif
