/* outage: this host cannot send just now. When the next letter may try, and what the log says meanwhile. Mailer. */
#ifndef MAILER_OUTAGE_H
#define MAILER_OUTAGE_H

#include <stdbool.h>
#include <stdint.h>

/* All zeros: there is none. Times are monotonic microseconds. */
struct outage {
    int failures; /* in a row */
    int64_t since;
    int64_t next_try;
    char words[256]; /* of the last failure */
};

/* A letter that was begun at `begun` could not be sent. Letters that were begun together count once: the next try is
 * due after a second, doubled with each failure up to a minute, each cut by up to a third. */
void outage_failed(struct outage *outage, int64_t begun, const char *words);
/* A server has answered a letter. */
void outage_over(struct outage *outage);

static inline bool outage_is_on(const struct outage *outage)
{
    return outage->failures > 0;
}
/* 0: at once. */
static inline int64_t outage_next_try(const struct outage *outage)
{
    return outage->failures > 0 ? outage->next_try : 0;
}
/* "" while there is none. */
const char *outage_words(const struct outage *outage);

#endif
