/* key_lane: the Idempotency-Keys under way in this worker. Worker process. */
#ifndef API_KEY_LANE_H
#define API_KEY_LANE_H

#include <libpq-fe.h>

#include "api/lane.h"
#include "http/request.h"

/* Takes the request's Idempotency-Key; `*key` is its text, NULL where there is none, and then nothing is taken. While
 * another request is under way with it here, this one is refused before it waits for anything; elsewhere, PostgreSQL
 * finds the key taken. false: answered. */
bool key_lane_take(struct http_request *request, const char **key, struct lane_place *place) MUST_CHECK;
/* Gives it back, where one was taken. */
void key_lane_free(struct lane_place *place);
/* Counts what became of a write with a key, by row `row` of a result with the column `replayed`. Returns whether it is
 * an answer that was stored. */
bool key_lane_count(const PGresult *result, int row);

#endif
