/* turn: a queue of writes that have come and answers to writes that are ready, in order of arrival, and a budget of
 * time for them in each turn of the loop. Worker process; touches the exchanges that wait in it.
 *
 * When registration for something popular opens, thousands of requests come within one turn, each with a signature to
 * be verified, and later a batch of answers becomes ready at once: hundreds of milliseconds, in which nobody who only
 * looks would be served. So a turn does at most SLICE of such work; what is left waits for the next one, which begins
 * with whatever has come meanwhile. Reads go by the queue. Nothing waits where nobody else does: with budget left and
 * the queue empty the work is done on the spot.
 *
 * A turn's end is a timer of no delay: libevent looks at the descriptors first, then at timers. */
#include "http/turn.h"

#include "base/child.h"
#include "base/clock.h"
#include "http/connection.h"

/* Microseconds. The next poll costs about one, so smaller slices would cost throughput for nothing; a read waits for
 * one of them and for the reads before it. */
#define SLICE INT64_C(500)

static void on_turn(evutil_socket_t descriptor, short what, void *argument);

void turn_start(struct http_server *server)
{
    TAILQ_INIT(&server->turn.queue);
    server->turn.timer = evtimer_new(server->options.base, on_turn, server);
    INVARIANT(server->turn.timer != NULL);
}

void turn_end(struct http_server *server)
{
    event_free(server->turn.timer);
}

static void arm(struct http_server *server)
{
    static const struct timeval at_once = {0};
    if (!server->turn.armed)
        event_add(server->turn.timer, &at_once);
    server->turn.armed = true;
}

static bool has_time(const struct http_exchange *exchange)
{
    const struct http_turn *turn = &exchange->server->turn;
    return turn->at_work == exchange || (turn->spent < SLICE && TAILQ_EMPTY(&turn->queue));
}

static void wait_for_turn(struct http_exchange *exchange, enum exchange_wait what)
{
    INVARIANT(exchange->waits == EXCHANGE_WAITS_NOT);
    exchange->waits = what;
    TAILQ_INSERT_TAIL(&exchange->server->turn.queue, exchange, place);
    server_happened(exchange->server, HTTP_PUT_OFF, 1);
    arm(exchange->server);
}

void turn_spend(struct http_server *server, int64_t since)
{
    server->turn.spent += clock_monotonic() - since;
    arm(server);
}

static void work(struct http_exchange *exchange, http_work *what, void *context)
{
    struct http_server *server = exchange->server;
    int64_t start = clock_monotonic();
    server->turn.at_work = exchange;
    child_set_activity(exchange->request.route->path, exchange->request.request_id);
    what(context);
    child_set_activity(NULL, NULL);
    server->turn.at_work = NULL;
    turn_spend(server, start);
}

void turn_do(struct http_exchange *exchange, http_work *what, void *context)
{
    if (exchange->server->turn.at_work == exchange) {
        what(context);
    } else if (has_time(exchange)) {
        work(exchange, what, context);
    } else {
        exchange->work = what;
        exchange->work_context = context;
        wait_for_turn(exchange, EXCHANGE_WAITS_TO_WORK);
    }
}

bool turn_may_send(struct http_exchange *exchange)
{
    if (has_time(exchange))
        return true;
    wait_for_turn(exchange, EXCHANGE_WAITS_TO_SEND);
    return false;
}

void turn_forget(struct http_exchange *exchange)
{
    if (exchange->waits != EXCHANGE_WAITS_NOT)
        TAILQ_REMOVE(&exchange->server->turn.queue, exchange, place);
    exchange->waits = EXCHANGE_WAITS_NOT;
}

static void on_turn(evutil_socket_t descriptor, short what, void *argument)
{
    (void)descriptor;
    (void)what;
    struct http_server *server = argument;
    OBJECT_CHECK(server, SERVER_MAGIC);
    struct http_turn *turn = &server->turn;
    struct http_exchange *exchange;
    turn->armed = false;
    turn->spent = 0;
    while (turn->spent < SLICE && (exchange = TAILQ_FIRST(&turn->queue)) != NULL) {
        enum exchange_wait waited = exchange->waits;
        turn_forget(exchange);
        if (waited == EXCHANGE_WAITS_TO_WORK) {
            work(exchange, exchange->work, exchange->work_context);
        } else {
            int64_t start = clock_monotonic();
            connection_send_waiting(exchange->request.connection);
            turn_spend(server, start);
        }
    }
    if (!TAILQ_EMPTY(&turn->queue))
        arm(server);
}
