/* child_report: what a child says of itself, as numbers of a message. Any child of the master, and the master. */
#include <string.h>

#include "base/child.h"

static int64_t *const *report_numbers(struct child_report *report)
{
    static int64_t *numbers[11];
    size_t at = 0;
    numbers[at++] = &report->connections;
    numbers[at++] = &report->accepted;
    numbers[at++] = &report->requests;
    numbers[at++] = &report->in_flight;
    numbers[at++] = &report->memory_http;
    numbers[at++] = &report->memory_allocated;
    numbers[at++] = &report->memory_resident;
    numbers[at++] = &report->loop_lag;
    numbers[at++] = &report->db_share;
    numbers[at++] = &report->pool_count;
    numbers[at] = NULL;
    return numbers;
}

static int64_t *const *pool_numbers(struct child_pool_report *pool)
{
    static int64_t *numbers[10];
    size_t at = 0;
    numbers[at++] = &pool->open;
    numbers[at++] = &pool->idle;
    numbers[at++] = &pool->in_flight;
    numbers[at++] = &pool->waiting;
    numbers[at++] = &pool->max;
    numbers[at++] = &pool->connects;
    numbers[at++] = &pool->lost;
    numbers[at++] = &pool->timeouts;
    numbers[at++] = &pool->reachable;
    numbers[at] = NULL;
    return numbers;
}

void child_report_put(struct message_writer *writer, const struct child_report *report)
{
    struct child_report copy = *report;
    for (int64_t *const *number = report_numbers(&copy); *number != NULL; number++)
        message_put_int(writer, **number);
    for (int64_t i = 0; i < copy.pool_count; i++) {
        message_put_text(writer, copy.pools[i].name);
        for (int64_t *const *number = pool_numbers(&copy.pools[i]); *number != NULL; number++)
            message_put_int(writer, **number);
    }
}

bool child_report_get(struct message_reader *reader, struct child_report *report)
{
    *report = (struct child_report){0};
    for (int64_t *const *number = report_numbers(report); *number != NULL; number++) {
        if (!message_get_int(reader, *number))
            return false;
    }
    if (report->pool_count < 0 || report->pool_count > CHILD_POOLS_MAX)
        return false;
    for (int64_t i = 0; i < report->pool_count; i++) {
        const char *name;
        size_t length;
        if (!message_get_text(reader, &name, &length) || length >= sizeof report->pools[i].name)
            return false;
        memcpy(report->pools[i].name, name, length);
        report->pools[i].name[length] = '\0';
        for (int64_t *const *number = pool_numbers(&report->pools[i]); *number != NULL; number++) {
            if (!message_get_int(reader, *number))
                return false;
        }
    }
    return true;
}
