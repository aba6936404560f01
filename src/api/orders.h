/* orders: from a request to an order of the registration engine, and from its decision to the answer. Worker process.
 */
#ifndef API_ORDERS_H
#define API_ORDERS_H

#include "api/answer.h"
#include "api/lane.h"
#include "http/request.h"
#include "registration/order.h"

/* Request lifetime; made by orders_start, its order filled, then orders_send. */
struct order_request {
    OBJECT_HEADER;
    struct http_request *request;
    struct order order;
    struct answer_style style;
    struct lane_place key_place; /* of its Idempotency-Key */
};

/* To be asked first thing, before the caller is looked up. false: the queue is full, the request has been answered with
 * 503. */
bool orders_admit(struct http_request *request) MUST_CHECK;
/* A new order with an action id of ours. */
struct order_request *orders_start(struct http_request *request, enum order_kind kind);
/* Sends it, under the request's Idempotency-Key where it has one, and answers the request when it is decided. */
void orders_send(struct order_request *asked);

#endif
