/* orders: what a decision of the registration engine means in HTTP. Worker process. */
#include "api/orders.h"

#include <string.h>

#include "api/idempotency.h"
#include "api/key_lane.h"
#include "api/metrics.h"
#include "base/log.h"
#include "base/uuid.h"
#include "registration/engine.h"
#include "shm/statistics.h"

#define ORDER_REQUEST_MAGIC 0x4f524551U
/* Seconds for Retry-After where the engine has none to say. */
#define RETRY_DATABASE 2

bool orders_admit(struct http_request *request)
{
    int seconds = engine_refusal();
    if (seconds == 0)
        return true;
    statistics_count(STATISTICS_ORDERS_DROPPED, LABEL_ORDER_REFUSED);
    problem_respond(request, PROBLEM_OVERLOADED, &(const struct problem_details){.retry_after = seconds});
    return false;
}

static bool is_wanted(const struct order *order)
{
    const struct order_request *asked = order->context;
    return http_request_is_awaited(asked->request);
}

static void count(const struct order *order, const struct order_decision *decision)
{
    bool decided = decision->end == ORDER_DECIDED;
    bool replayed = decided && decision->keyed && order->key != NULL && key_lane_count(decision->result, decision->row);
    if (order->kind == ORDER_REGISTER && !replayed) /* an answer that is given again decides nothing */
        metrics_registration(decision);
    if (decision->end == ORDER_BUSY || decision->end == ORDER_OVERLOADED)
        statistics_count(STATISTICS_ORDERS_DROPPED, decision->end == ORDER_BUSY ? LABEL_ORDER_BUSY : LABEL_ORDER_LATE);
}

static void answer(struct order_request *asked, const struct order_decision *decision)
{
    struct http_request *request = asked->request;
    struct problem_details details = {.retry_after = decision->retry_after};
    switch (decision->end) {
    case ORDER_DECIDED:
        answer_shared_row(request, decision->result, decision->row, &asked->style);
        return;
    case ORDER_OVERLOADED:
    case ORDER_BUSY:
    case ORDER_TIMED_OUT:
        problem_respond(request, PROBLEM_OVERLOADED, &details);
        return;
    case ORDER_UNAVAILABLE:
        problem_respond(request, PROBLEM_DATABASE_UNAVAILABLE, &details);
        return;
    case ORDER_UNKNOWN:
        details.retry_after = RETRY_DATABASE;
        problem_respond(request, PROBLEM_OUTCOME_UNKNOWN, &details);
        return;
    case ORDER_FAILED:
        break;
    }
    log_error("a statement failed", log_text("sqlstate", decision->sqlstate), log_text("error", decision->message),
              log_text("request_id", request->request_id));
    problem_respond(request, PROBLEM_INTERNAL, NULL);
}

static void on_decided(struct order *order, const struct order_decision *decision)
{
    struct order_request *asked = order->context;
    OBJECT_CHECK(asked, ORDER_REQUEST_MAGIC);
    key_lane_free(&asked->key_place);
    count(order, decision);
    if (decision->end == ORDER_DECIDED && !http_request_is_awaited(asked->request) &&
        answer_row_is_success(decision->result, decision->row))
        log_info("decided for a client that has gone: it stands",
                 log_text("kind", order->kind == ORDER_REGISTER ? "register" : "cancel"),
                 log_text("outcome", PQgetvalue(decision->result, decision->row, 0)),
                 log_text("registration_id", order->registration_id), log_text("request_id", order->request_id));
    answer(asked, decision);
}

struct order_request *orders_start(struct http_request *request, enum order_kind kind)
{
    struct order_request *asked = arena_zalloc(request->arena, sizeof *asked);
    char *action_id = arena_alloc(request->arena, UUID_TEXT_SIZE);
    uuid_v7(action_id);
    asked->magic = ORDER_REQUEST_MAGIC;
    asked->request = request;
    asked->style.lost = PROBLEM_OUTCOME_UNKNOWN;
    asked->order = (struct order){.magic = ORDER_MAGIC,
                                  .kind = kind,
                                  .action_id = action_id,
                                  .request_id = request->request_id,
                                  .is_wanted = is_wanted,
                                  .decided = on_decided,
                                  .context = asked};
    return asked;
}

void orders_send(struct order_request *asked)
{
    struct order *order = &asked->order;
    if (!key_lane_take(asked->request, &order->key, &asked->key_place))
        return;
    if (order->key != NULL)
        order->request_hash = idempotency_hash(asked->request);
    engine_submit(order);
}
