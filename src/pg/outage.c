/* outage: when the next attempt to connect is due, and what the log says meanwhile. Worker, scheduler. */
#include "pg/outage.h"

#include <stddef.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"

#define BACKOFF_LEAST ((int64_t)50 * 1000)        /* µs */
#define BACKOFF_MOST ((int64_t)2 * 1000 * 1000)   /* µs */
#define FAILURE_LINES ((int64_t)60 * 1000 * 1000) /* µs between lines of an outage that goes on */
#define LOSS_LINES ((int64_t)1000 * 1000)         /* µs between lines of lost connections */

static int64_t random_below(int64_t bound);

void pg_outage_lost(struct pg_outage *outage, int64_t now, bool proven, int64_t in_flight, const char *reason)
{
    if (proven)
        outage->failures = 0;
    if (outage->failures == 0)
        outage->connect_at = now;
    if (!proven)
        pg_outage_back_off(outage, now);
    if (outage->since == 0)
        outage->since = now;
    outage->losses_unlogged++;
    if (outage->loss_logged_at != 0 && now - outage->loss_logged_at < LOSS_LINES)
        return;
    log_warning("database connection lost", log_text("pool", outage->pool), log_int("in_flight", in_flight),
                log_int("lost", outage->losses_unlogged), log_text("error", reason));
    outage->loss_logged_at = now;
    outage->losses_unlogged = 0;
}

void pg_outage_failed(struct pg_outage *outage, int64_t now, const char *reason)
{
    pg_outage_back_off(outage, now);
    outage->failures_unlogged++;
    bool first = outage->since == 0 || outage->failure_logged_at < outage->since;
    if (outage->since == 0)
        outage->since = now;
    if (!first && now - outage->failure_logged_at < FAILURE_LINES)
        return;
    log_warning("database connection failed", log_text("pool", outage->pool),
                log_int("attempts", outage->failures_unlogged), log_text("error", reason));
    outage->failure_logged_at = now;
    outage->failures_unlogged = 0;
}

void pg_outage_back_off(struct pg_outage *outage, int64_t now)
{
    int64_t most = outage->failures < 6 ? BACKOFF_LEAST << outage->failures : BACKOFF_MOST;
    if (most > BACKOFF_MOST)
        most = BACKOFF_MOST;
    outage->failures++;
    outage->failed_at = now;
    outage->connect_at = now + most - random_below(most / 2);
}

void pg_outage_connected(struct pg_outage *outage, int64_t now)
{
    if (outage->since == 0)
        return;
    log_info("database connected again", log_text("pool", outage->pool),
             log_int("after_ms", (now - outage->since) / 1000));
    outage->since = 0;
    outage->failures_unlogged = 0;
}

int64_t pg_outage_jitter(int64_t most)
{
    return most - random_below(most / 10);
}

static int64_t random_below(int64_t bound)
{
    uint64_t number;
    if (bound <= 0)
        return 0;
    if (getrandom(&number, sizeof number, GRND_NONBLOCK) != sizeof number)
        number = (uint64_t)clock_monotonic();
    return (int64_t)(number % (uint64_t)bound);
}
