/* retry: see the header. The load generator. */
#include "retry.h"

#include <stdlib.h>

#include "base/clock.h"

static struct {
    struct retry *first; /* ripe, oldest first */
    struct retry **end;
    void (*told)(void);
} ripe = {.end = &ripe.first};

static void on_ripe(evutil_socket_t descriptor, short what, void *context)
{
    struct retry *retry = context;
    (void)descriptor;
    (void)what;
    *ripe.end = retry;
    ripe.end = &retry->next;
    ripe.told();
}

void retry_tell(void (*told)(void))
{
    ripe.told = told;
}

void retry_keep(struct client *client, int64_t seconds)
{
    struct retry *retry = malloc(sizeof *retry);
    INVARIANT(retry != NULL);
    *retry = (struct retry){.drawn = client->drawn, .due = client->due, .text = client->text};
    client->text = (struct buffer){0};
    retry->ripe = evtimer_new(client->owner->base, on_ripe, retry);
    INVARIANT(retry->ripe != NULL);
    struct timeval wait = clock_timeval(seconds * INT64_C(1000000));
    evtimer_add(retry->ripe, &wait);
}

struct retry *retry_pop(void)
{
    struct retry *retry = ripe.first;
    if (retry == NULL)
        return NULL;
    ripe.first = retry->next;
    if (ripe.first == NULL)
        ripe.end = &ripe.first;
    return retry;
}

void retry_free(struct retry *retry)
{
    event_free(retry->ripe);
    buffer_free(&retry->text);
    free(retry);
}
