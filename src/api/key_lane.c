/* key_lane: a lane for each Idempotency-Key under way; nobody waits in it. Worker process; it may refuse the request.
 */
#include "api/key_lane.h"

#include <string.h>

#include "api/answer.h"
#include "api/idempotency.h"
#include "shm/statistics.h"

/* Seconds for Retry-After of who finds the key in use. */
#define KEY_RETRY 1

enum { COLUMN_OUTCOME, COLUMN_REPLAYED = 4 };

bool key_lane_take(struct http_request *request, const char **key, struct lane_place *place)
{
    if (!idempotency_read(request, key))
        return false;
    if (*key == NULL)
        return true;
    char name[IDEMPOTENCY_NAME_SIZE];
    idempotency_name(request, *key, name);
    if (lane_is_taken(name)) {
        statistics_count(STATISTICS_IDEMPOTENCY, LABEL_IDEMPOTENCY_IN_USE);
        problem_respond(request, PROBLEM_KEY_IN_USE, &(const struct problem_details){.retry_after = KEY_RETRY});
        return false;
    }
    INVARIANT(lane_enter(place, name, request));
    return true;
}

void key_lane_free(struct lane_place *place)
{
    if (place->lane != NULL)
        INVARIANT(lane_leave(place) == NULL);
}

bool key_lane_count(const PGresult *result, int row)
{
    const char *outcome = PQgetvalue(result, row, COLUMN_OUTCOME);
    if (answer_row_is_success(result, row)) {
        bool replayed = *PQgetvalue(result, row, COLUMN_REPLAYED) == 't';
        statistics_count(STATISTICS_IDEMPOTENCY, replayed ? LABEL_IDEMPOTENCY_REPLAYED : LABEL_IDEMPOTENCY_STORED);
        return replayed;
    }
    if (strcmp(outcome, "key_in_use") == 0)
        statistics_count(STATISTICS_IDEMPOTENCY, LABEL_IDEMPOTENCY_IN_USE);
    else if (strcmp(outcome, "key_reused") == 0)
        statistics_count(STATISTICS_IDEMPOTENCY, LABEL_IDEMPOTENCY_REUSED);
    return false;
}
