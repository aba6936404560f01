/* control_wait: commands of the control socket whose answer comes later: reports of children, a reload, a successor,
 * what the refresher says. Master. */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "master/control_cache.h"
#include "master/control_client.h"
#include "master/control_show.h"
#include "master/hot_cache.h"
#include "master/reload.h"

/* Microseconds, all. */
#define REPORT_TIME INT64_C(1000000)
/* How long the successor of a process that has ended may take to serve, before who asked for it is told. */
#define SUCCESSOR_TIME INT64_C(10000000)
/* How long the refresher may take to answer: for what it knows, and for what it has to ask PostgreSQL for. */
#define ANSWER_TIME INT64_C(5000000)
#define WARM_TIME INT64_C(60000000)
/* Microseconds that a test message may take: a server may be slow. */
#define MAIL_TEST_TIME INT64_C(60000000)

static void limit(struct client *client, int64_t time)
{
    struct timeval delay = clock_timeval(time);
    evtimer_add(client->timer, &delay);
}

static void say(struct client *client, int status, const char *text)
{
    struct protocol_reply answer;
    client->wait = WAIT_NOTHING;
    protocol_reply_begin(&answer, NULL);
    protocol_reply_say(&answer, status, "%s", text);
    client_reply(client, &answer);
}

void client_show(struct client *client)
{
    struct protocol_reply answer;
    client->wait = WAIT_NOTHING;
    INVARIANT(control_show(client->command, &client->target, client->asked_at, client->number, &answer));
    client_reply(client, &answer);
}

void client_wait_reports(struct client *client)
{
    client->wait = WAIT_REPORTS;
    client->asked_at = clock_monotonic();
    client->number = process_ping();
    limit(client, REPORT_TIME);
}

/* Exit statuses of turnoutctl for each end of a reload; RELOAD_REFUSED is 1 as each refusal is. */
static void answer_reload(struct client *client, const struct reload_result *result)
{
    static const char *const columns[] = {"option", "from", "to", "takes_effect", NULL};
    static const int statuses[] = {[RELOAD_DONE] = 0, [RELOAD_REFUSED] = 1, [RELOAD_PARTIAL] = 4};
    struct protocol_reply answer;
    client->wait = WAIT_NOTHING;
    protocol_reply_begin(&answer, result->outcome == RELOAD_REFUSED ? NULL : columns);
    for (const struct reload_change *change = result->changes; change->name != NULL; change++) {
        protocol_reply_text(&answer, change->name);
        protocol_reply_text(&answer, change->from);
        protocol_reply_text(&answer, change->to);
        protocol_reply_text(&answer, change->restart ? "at the next start" : "now");
    }
    bool nothing = result->outcome == RELOAD_DONE && result->changes->name == NULL;
    protocol_reply_say(&answer, statuses[result->outcome], "%s",
                       nothing ? "no option has changed; keys and secrets were read again" : result->text);
    client_reply(client, &answer);
}

void client_wait_reload(struct client *client)
{
    client->wait = WAIT_RELOAD;
    client->number = reload_ask();
    event_del(client->timer);
}

/* Has the successor come, or does none come? */
static void look_for_successor(struct client *client)
{
    const struct process *process = process_find(&client->target);
    bool serves = process != NULL && process->state == PROCESS_READY && process->pid != client->pid;
    bool failed = process == NULL || process->state == PROCESS_FAILED;
    if (!serves && !failed)
        return;
    struct protocol_reply answer;
    client->wait = WAIT_NOTHING;
    protocol_reply_begin(&answer, NULL);
    if (serves)
        protocol_reply_say(&answer, 0, "%s %d is process %d now, instead of %d", process_role_name(process->role),
                           process->slot, (int)process->pid, (int)client->pid);
    else
        protocol_reply_say(&answer, 1, "process %d has no successor: see the log", (int)client->pid);
    client_reply(client, &answer);
}

void client_wait_restart(struct client *client, bool now, int64_t shutdown_timeout)
{
    const struct process *process = process_find(&client->target);
    client->pid = process == NULL ? 0 : process->pid;
    if (!process_restart(&client->target, now)) {
        say(client, 1, "it is not running, or ends already");
        return;
    }
    log_info("restart asked for", log_int("child", client->pid));
    client->wait = WAIT_SUCCESSOR;
    limit(client, shutdown_timeout + SUCCESSOR_TIME);
}

static void ask(struct client *client, enum process_role role, enum child_question what, const char *argument,
                int64_t time)
{
    const struct process *process = process_find(&(const struct process_target){.role = (int)role, .slot = 0});
    client->pid = process == NULL ? 0 : process->pid;
    client->asked = role;
    client->number = process_ask(role, what, argument);
    if (client->number == 0) {
        char text[96];
        snprintf(text, sizeof text, "the %s does not serve just now; see show processes", process_role_name(role));
        say(client, 1, text);
        return;
    }
    client->wait = WAIT_ANSWER;
    limit(client, time);
}

void client_wait_cache(struct client *client, char *const *words, size_t count)
{
    const char *argument = count == 1 ? words[0] : NULL;
    if (client->command == COMMAND_SHOW_CACHE && count > 1)
        client_refuse(client, "expected: show cache [KEY]");
    else if (client->command == COMMAND_CACHE_DROP && count != 1)
        client_refuse(client, "expected: cache drop PATTERN");
    else if (client->command == COMMAND_CACHE_WARM && count > 0)
        client_refuse(client, "expected no argument");
    else if (!hot_cache_is_on())
        say(client, 1, "there is no hot cache: cache_size is 0");
    else if (client->command == COMMAND_CACHE_DROP)
        ask(client, PROCESS_REFRESHER, CHILD_QUESTION_CACHE_DROP, argument, ANSWER_TIME);
    else if (client->command == COMMAND_CACHE_WARM)
        ask(client, PROCESS_REFRESHER, CHILD_QUESTION_CACHE_WARM, "", WARM_TIME);
    else if (argument != NULL)
        ask(client, PROCESS_REFRESHER, CHILD_QUESTION_CACHE_KEY, argument, ANSWER_TIME);
    else
        client_wait_reports(client);
}

void client_wait_mail(struct client *client, char *const *words, size_t count, bool mailer)
{
    bool test = client->command == COMMAND_MAIL_TEST;
    if (count != (test ? 1 : 0))
        client_refuse(client, test ? "expected: mail test ADDRESS" : "expected no argument");
    else if (!mailer)
        say(client, 1, "there is no mailer on this host: smtp_url is not set");
    else if (test)
        ask(client, PROCESS_MAILER, CHILD_QUESTION_MAIL_TEST, words[0], MAIL_TEST_TIME);
    else
        ask(client, PROCESS_MAILER, CHILD_QUESTION_MAIL_SHOW, "", ANSWER_TIME);
}

void client_take_piece(struct client *client, const struct process_answer *piece)
{
    if (client->wait != WAIT_ANSWER || client->number != piece->number)
        return;
    buffer_append(&client->pieces, piece->text, piece->length);
    if (piece->more)
        return;
    bool facts = client->command == COMMAND_SHOW_CACHE || client->command == COMMAND_SHOW_MAIL;
    if (!facts || piece->status != 0) {
        say(client, piece->status, buffer_text(&client->pieces));
        return;
    }
    struct protocol_reply answer;
    client->wait = WAIT_NOTHING;
    control_cache_entry(&answer, buffer_bytes(&client->pieces), buffer_length(&client->pieces));
    client_reply(client, &answer);
}

/* Who was asked will not answer any more. */
static void look_for_end(struct client *client)
{
    const struct process *process = process_find(&(const struct process_target){.role = (int)client->asked, .slot = 0});
    if (process != NULL && process->pid == client->pid)
        return;
    char text[96];
    snprintf(text, sizeof text, "the %s ended before it answered; try again", process_role_name(client->asked));
    say(client, 1, text);
}

void client_look(struct client *client)
{
    const struct reload_result *result = client->wait == WAIT_RELOAD ? reload_result(client->number) : NULL;
    if (result != NULL)
        answer_reload(client, result);
    else if (client->wait == WAIT_REPORTS && process_answered(client->number, &client->target))
        client_show(client);
    else if (client->wait == WAIT_SUCCESSOR)
        look_for_successor(client);
    else if (client->wait == WAIT_ANSWER)
        look_for_end(client);
}

bool client_give_up(struct client *client)
{
    char text[96];
    switch (client->wait) {
    case WAIT_REPORTS:
        client_show(client); /* who has not reported is shown as it was last known */
        return true;
    case WAIT_SUCCESSOR:
        snprintf(text, sizeof text, "process %d has not been replaced yet; see show processes", (int)client->pid);
        say(client, 1, text);
        return true;
    case WAIT_ANSWER:
        snprintf(text, sizeof text, "the %s does not answer; see show processes", process_role_name(client->asked));
        say(client, 1, text);
        return true;
    case WAIT_RELOAD:
    case WAIT_NOTHING:
        break;
    }
    return false;
}
