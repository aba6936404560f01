/* probe: does a connection that listens hear? Refresher. */
#include "pg/probe.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define AGAIN ((int64_t)60 * 1000 * 1000) /* µs */

/* Lives until the pool has answered, whatever becomes of the probe. */
struct probe_shot {
    struct pg_probe *probe; /* NULL: it has stopped */
    char payload[UUID_TEXT_SIZE];
};

static void on_timer(evutil_socket_t descriptor, short what, void *argument);
static void shoot(struct pg_probe *probe);
static void on_shot(void *context, const struct pg_answer *answer);
static void wait_for(struct pg_probe *probe, int64_t time);

void pg_probe_start(struct pg_probe *probe, struct event_base *base)
{
    probe->timer = event_new(base, -1, 0, on_timer, probe);
    INVARIANT(probe->timer != NULL);
}

void pg_probe_stop(struct pg_probe *probe)
{
    event_free(probe->timer);
    if (probe->shot != NULL)
        probe->shot->probe = NULL;
}

void pg_probe_begin(struct pg_probe *probe)
{
    probe->state = PG_PROBE_UNSURE;
    shoot(probe);
}

void pg_probe_end(struct pg_probe *probe)
{
    probe->state = PG_PROBE_OFF;
    probe->expected[0] = '\0';
    event_del(probe->timer);
}

void pg_probe_notified(struct pg_probe *probe, const char *channel, const char *payload)
{
    bool another = strcmp(channel, PG_PROBE_CHANNEL) == 0 && strcmp(payload, probe->expected) != 0;
    if (another || probe->state == PG_PROBE_OFF)
        return; /* of another host */
    probe->expected[0] = '\0';
    event_del(probe->timer);
    if (probe->state == PG_PROBE_HEARS)
        return;
    if (probe->state == PG_PROBE_DEAF)
        log_info("notifications of PostgreSQL arrive again");
    probe->state = PG_PROBE_HEARS;
    probe->decided(probe->context, true);
}

static void on_timer(evutil_socket_t descriptor, short what, void *argument)
{
    (void)descriptor;
    (void)what;
    struct pg_probe *probe = argument;
    if (probe->expected[0] == '\0') {
        shoot(probe);
        return;
    }
    probe->expected[0] = '\0';
    wait_for(probe, AGAIN);
    if (probe->state == PG_PROBE_DEAF)
        return;
    log_error("notifications of PostgreSQL do not arrive: is a pooler in transaction mode between us? LISTEN needs a "
              "connection to the server itself. Until then changes are looked for four times a second");
    probe->state = PG_PROBE_DEAF;
    probe->decided(probe->context, false);
}

static void shoot(struct pg_probe *probe)
{
    if (probe->pool == NULL || probe->shot != NULL)
        return; /* on_shot comes back to it */
    struct probe_shot *shot = calloc(1, sizeof *shot);
    INVARIANT(shot != NULL);
    shot->probe = probe;
    uuid_v7(shot->payload);
    memcpy(probe->expected, shot->payload, sizeof probe->expected);
    probe->shot = shot;
    struct pg_query query = {.statement = probe->statement,
                             .parameters = {shot->payload},
                             .retry = PG_RETRY_NEVER,
                             .done = on_shot,
                             .context = shot};
    pg_pool_submit(probe->pool, &query);
}

/* When it is committed it is on its way, unless it has come already. */
static void on_shot(void *context, const struct pg_answer *answer)
{
    struct probe_shot *shot = context;
    struct pg_probe *probe = shot->probe;
    PQclear(answer->result);
    if (probe != NULL) {
        probe->shot = NULL;
        if (answer->status != PG_STATUS_ROWS || strcmp(shot->payload, probe->expected) != 0)
            probe->expected[0] = '\0'; /* it proves nothing: the timer sends another one */
        if (probe->state == PG_PROBE_UNSURE || probe->state == PG_PROBE_DEAF)
            wait_for(probe, probe->time);
    }
    free(shot);
}

static void wait_for(struct pg_probe *probe, int64_t time)
{
    struct timeval interval = clock_timeval(time);
    INVARIANT(event_add(probe->timer, &interval) == 0);
}
