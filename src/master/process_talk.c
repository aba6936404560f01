/* process_talk: what the master and its children say to each other: reports, pings, what has to be told to all. Master;
 * the same table as process.c, which starts and buries. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "master/process_table.h"

#define table process_table

void process_send(const struct process *process, enum child_message kind, int64_t value)
{
    struct message_writer *writer = message_begin((int)kind);
    message_put_int(writer, value);
    if (!message_send(writer, process->channel))
        log_debug("message not sent", log_int("child", process->pid), log_text("error", strerror(errno)));
}

static void take_reloaded(struct process *process, struct message_reader *reader)
{
    const char *error;
    size_t length;
    if (!message_get_int(reader, &process->reload_done) || !message_get_text(reader, &error, &length))
        return;
    snprintf(process->reload_error, sizeof process->reload_error, "%.*s", (int)length, length == 0 ? "" : error);
}

/* Workers hear of it at once, as /readyz waits for it. */
static void take_warmed(void)
{
    if (table.warmed)
        return;
    table.warmed = true;
    log_info("the hot cache is warm");
    process_ping();
}

static void take_answer(const struct process *process, struct message_reader *reader)
{
    struct process_answer answer;
    int64_t more;
    int64_t status;
    if (!message_get_int(reader, &answer.number) || !message_get_int(reader, &more) ||
        !message_get_int(reader, &status) || !message_get_text(reader, &answer.text, &answer.length)) {
        log_warning("unreadable answer", log_int("child", process->pid));
        return;
    }
    answer.more = more != 0;
    answer.status = (int)status;
    table.options.answered(table.options.context, &answer);
}

static void take_message(struct process *process, struct message_reader *reader)
{
    int64_t number;
    struct child_report report;
    switch (message_kind(reader)) {
    case CHILD_MESSAGE_READY:
        if (process->state == PROCESS_STARTING)
            process_set_state(process, PROCESS_READY);
        process->distrust = false;
        process->serves_since = clock_monotonic();
        table.ever_ready = true;
        log_info("child serves", log_text("role", process_role_name(process->role)), log_int("of", process->slot),
                 log_int("child", process->pid), log_int("after_us", clock_monotonic() - process->started_clock));
        break;
    case CHILD_MESSAGE_PONG:
        if (!message_get_int(reader, &number) || !child_report_get(reader, &report)) {
            log_warning("unreadable pong", log_int("child", process->pid));
            return;
        }
        process->last_pong = clock_monotonic();
        process->last_number = number;
        process->report = report;
        break;
    case CHILD_MESSAGE_RELOADED:
        take_reloaded(process, reader);
        break;
    case CHILD_MESSAGE_WARMED:
        take_warmed();
        break;
    case CHILD_MESSAGE_ANSWER:
        take_answer(process, reader);
        break;
    default:
        log_warning("unknown message of a child", log_int("child", process->pid),
                    log_int("kind", message_kind(reader)));
        return;
    }
    table.options.changed(table.options.context);
}

void process_on_channel(evutil_socket_t descriptor, short events, void *context)
{
    struct process *process = context;
    (void)events;
    OBJECT_CHECK(process, PROCESS_MAGIC);
    struct message_reader *reader;
    for (;;) {
        switch (message_receive(descriptor, &reader)) {
        case MESSAGE_OK:
            take_message(process, reader);
            break;
        case MESSAGE_NONE:
            return;
        case MESSAGE_CLOSED:
            /* its end is told by waitpid */
            event_del(process->channel_event);
            return;
        case MESSAGE_BROKEN:
            log_warning("unreadable message of a child", log_int("child", process->pid));
            break;
        }
    }
}

static bool send_reload(const struct process *process)
{
    struct message_writer *writer = message_begin(CHILD_MESSAGE_RELOAD);
    message_put_int(writer, table.reload_number);
    child_reload_put(writer);
    return message_send(writer, process->channel);
}

/* What a child has to hear, and could not be told because its channel was full: it is tried each time the loop comes
 * by, at the latest with the next ping. */
void process_send_owed(void)
{
    for (size_t i = 0; i < ROWS_MAX; i++) {
        struct process *process = &table.rows[i];
        if (!process_is_alive(process))
            continue;
        if (process->reload_sent < table.reload_number && send_reload(process))
            process->reload_sent = table.reload_number;
        if (process->log_owed && message_send(message_begin(CHILD_MESSAGE_LOG), process->channel))
            process->log_owed = false;
    }
}

int64_t process_reload(void)
{
    table.reload_number++;
    for (size_t i = 0; i < ROWS_MAX; i++) {
        struct process *process = &table.rows[i];
        if (!process->used || process->state != PROCESS_FAILED)
            continue;
        process->failures = 0;
        process->restart_at = clock_monotonic();
        process_set_state(process, PROCESS_BACKOFF);
    }
    process_send_owed();
    return table.reload_number;
}

bool process_reloaded(int64_t number)
{
    for (size_t i = 0; i < ROWS_MAX; i++) {
        if (process_is_alive(&table.rows[i]) && table.rows[i].reload_done < number)
            return false;
    }
    return true;
}

void process_reopen_log(void)
{
    for (size_t i = 0; i < ROWS_MAX; i++)
        table.rows[i].log_owed = process_is_alive(&table.rows[i]);
    process_send_owed();
}

int64_t process_ping(void)
{
    table.ping_number++;
    for (size_t i = 0; i < ROWS_MAX; i++) {
        struct process *process = &table.rows[i];
        if (!process_is_alive(process))
            continue;
        struct message_writer *writer = message_begin(CHILD_MESSAGE_PING);
        message_put_int(writer, table.ping_number);
        message_put_int(writer, process_workers_ready());
        message_put_int(writer, table.workers_wanted);
        message_put_int(writer, table.warmed);
        if (!message_send(writer, process->channel))
            log_debug("ping not sent", log_int("child", process->pid), log_text("error", strerror(errno)));
    }
    return table.ping_number;
}

bool process_answered(int64_t number, const struct process_target *target)
{
    for (size_t i = 0; i < ROWS_MAX; i++) {
        if (process_is_alive(&table.rows[i]) && process_is_meant(target, &table.rows[i]) &&
            table.rows[i].last_number < number)
            return false;
    }
    return true;
}

int64_t process_last_ping(void)
{
    return table.ping_number;
}

int64_t process_last_answer(void)
{
    int64_t last = 0;
    for (size_t i = 0; i < ROWS_MAX; i++) {
        const struct process *process = &table.rows[i];
        if (process_is_alive(process) && process->role == PROCESS_WORKER && process->state == PROCESS_READY &&
            process->last_number > last)
            last = process->last_number;
    }
    return last;
}

int64_t process_ask(enum process_role role, enum child_question what, const char *argument)
{
    const struct process *process = process_find(&(const struct process_target){.role = (int)role, .slot = 0});
    if (process == NULL || !process_is_alive(process) || process->state != PROCESS_READY)
        return 0;
    struct message_writer *writer = message_begin(CHILD_MESSAGE_ASK);
    message_put_int(writer, ++table.question_number);
    message_put_int(writer, what);
    message_put_text(writer, argument);
    return message_send(writer, process->channel) ? table.question_number : 0;
}

void process_log_level(enum log_level level, const struct process_target *target)
{
    for (size_t i = 0; i < ROWS_MAX; i++) {
        if (process_is_alive(&table.rows[i]) && process_is_meant(target, &table.rows[i]))
            process_send(&table.rows[i], CHILD_MESSAGE_LOG_LEVEL, level);
    }
}

bool process_restart(const struct process_target *target, bool now)
{
    for (size_t i = 0; i < ROWS_MAX; i++) {
        struct process *process = &table.rows[i];
        if (!process_is_alive(process) || process->removed || !process_is_meant(target, process))
            continue;
        if (process->state == PROCESS_STOPPING && !now)
            return false;
        process_send(process, CHILD_MESSAGE_STOP, now ? CHILD_STOP_NOW : CHILD_STOP_LEAVE);
        process_set_state(process, PROCESS_STOPPING);
        return true;
    }
    return false;
}
