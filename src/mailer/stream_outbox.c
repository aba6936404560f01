/* stream_outbox: what the stream asks of PostgreSQL and tells it. Mailer. Statements are sent on the one connection of
 * the pool; none waits for another one of its kind. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/statements.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "mailer/stream_state.h"
#include "mailer/tally.h"
#include "pg/array.h"

/* Letters that are leased at once: a lease is one statement however many it gives. */
#define LEASE_MOST 100
/* The scan of owed mail begins again at its start so often, and after a hundred times what it took: mail that another
 * mailer left stands before the place where it goes on. Microseconds, as those below. */
#define RESCAN INT64_C(5000000)
#define RESCAN_SHARE 100
/* Until PostgreSQL is asked again after it did not answer. */
#define DATABASE_WAIT INT64_C(1000000)
/* While mail flows and less comes than was asked for: not each one by itself. */
#define GATHER_WAIT INT64_C(100000)
#define stream stream_state

const char *const stream_outcome_words[] = {
    [SMTP_SENT] = "sent",          [SMTP_TEMPORARY] = "temporary", [SMTP_PERMANENT] = "permanent", [SMTP_SLOW] = "slow",
    [SMTP_UNREACHABLE] = "unsent", [SMTP_GIVEN_UP] = "temporary",  [SMTP_LOST] = "temporary"};

/* ---- statements ---- */

static const char *failure(const struct pg_answer *answer)
{
    if (answer->status == PG_STATUS_ROWS)
        return NULL;
    return answer->message != NULL && answer->message[0] != '\0' ? answer->message : "no answer of PostgreSQL";
}

static void submit(const struct pg_statement *statement, const char *const *parameters, enum pg_retry retry,
                   pg_done *done)
{
    struct pg_query query = {.statement = statement, .retry = retry, .done = done};
    for (int i = 0; i < statement->parameter_count; i++)
        query.parameters[i] = parameters[i];
    pg_pool_submit(stream.options.pool, &query);
}

static const char *number(int64_t value, char text[24])
{
    snprintf(text, 24, "%" PRId64, value);
    return text;
}

static const char *interval(int64_t microseconds, char text[48])
{
    snprintf(text, 48, "%" PRId64 " microseconds", microseconds);
    return text;
}

/* ---- results ---- */

/* Those of which the outbox says nothing are not ours any more: somebody else has them, and they may come twice.
 * (`again`: or it was told before, and the answer lost.) */
static void take_committed(const PGresult *result, bool again)
{
    int rows = PQntuples(result);
    for (int row = 0; row < rows; row++) {
        int64_t id;
        struct parcel *parcel, *next;
        if (!text_parse_int64(PQgetvalue(result, row, 0), 1, INT64_MAX, &id))
            continue;
        for (parcel = TAILQ_FIRST(&stream.committing); parcel != NULL; parcel = next) {
            next = TAILQ_NEXT(parcel, link);
            if (parcel->id != id)
                continue;
            if (parcel->outcome == SMTP_UNREACHABLE)
                stream.rescan_due = 0; /* it is owed as before: behind the place where the scan goes on */
            if (strcmp(PQgetvalue(result, row, 1), "dead") == 0)
                log_warning("mail is dead; see turnoutctl mail dead", log_int("id", id),
                            log_text("words", parcel->words));
            TAILQ_REMOVE(&stream.committing, parcel, link);
            stream.committing_count--;
            stream_free_parcel(parcel);
            break;
        }
    }
    while (!TAILQ_EMPTY(&stream.committing)) {
        struct parcel *parcel = TAILQ_FIRST(&stream.committing);
        if (parcel->outcome == SMTP_SENT && !again)
            log_warning("mail was sent, but its lease had run out: it may arrive twice", log_int("id", parcel->id));
        TAILQ_REMOVE(&stream.committing, parcel, link);
        stream_free_parcel(parcel);
    }
    stream.committing_count = 0;
}

static void on_committed(void *context, const struct pg_answer *answer)
{
    (void)context;
    const char *why = failure(answer);
    if (why == NULL) {
        take_committed(answer->result, answer->in_doubt);
        PQclear(answer->result);
    } else {
        log_error("what became of mail could not be written; it is tried again", log_text("error", why),
                  log_int("letters", stream.committing_count));
        TAILQ_CONCAT(&stream.committing, &stream.told, link);
        TAILQ_CONCAT(&stream.told, &stream.committing, link);
        stream.told_count += stream.committing_count;
        stream.committing_count = 0;
        stream.commit_due = clock_monotonic() + DATABASE_WAIT;
    }
    stream_pump();
}

bool stream_commit_is_due(int64_t now)
{
    if (stream.told_count == 0 || stream.committing_count > 0 || now < stream.commit_due)
        return false;
    return stream.told_count * 2 >= stream.settings.connections || stream.stopping || stream.sending_count == 0 ||
           now - stream.told_since >= COMMIT_WAIT;
}

void stream_commit(void)
{
    static struct buffer ids, outcomes, errors;
    char attempts[24], least[48], most[48], id[24];
    struct parcel *parcel;
    pg_array_begin(&ids);
    pg_array_begin(&outcomes);
    pg_array_begin(&errors);
    TAILQ_FOREACH (parcel, &stream.told, link) {
        pg_array_add(&ids, number(parcel->id, id));
        pg_array_add(&outcomes, stream_outcome_words[parcel->outcome]);
        pg_array_add(&errors, parcel->outcome == SMTP_SENT ? NULL : parcel->words);
    }
    TAILQ_CONCAT(&stream.committing, &stream.told, link);
    stream.committing_count = stream.told_count;
    stream.told_count = 0;
    stream.slowed = false; /* a lease is asked for behind this, on the same connection */
    const char *parameters[] = {stream.options.owner,
                                pg_array_end(&ids),
                                pg_array_end(&outcomes),
                                pg_array_end(&errors),
                                number(stream.settings.attempts, attempts),
                                interval(stream.settings.retry_min, least),
                                interval(stream.settings.retry_max, most)};
    submit(&statement_mail_done, parameters, PG_RETRY_READ, on_committed);
}

/* ---- leases ---- */

static void take_letter(const PGresult *result, int row)
{
    struct parcel *parcel = calloc(1, sizeof *parcel);
    INVARIANT(parcel != NULL);
    parcel->magic = LETTER_MAGIC;
    INVARIANT(text_parse_int64(PQgetvalue(result, row, 3), 1, INT64_MAX, &parcel->id));
    parcel->owed = json_loads(PQgetvalue(result, row, 4), JSON_REJECT_DUPLICATES, NULL);
    parcel->leased_until = stream.lease_sent + stream.settings.lease_time;
    parcel->kind = tally_kind(json_string_value(json_object_get(parcel->owed, "kind")));
    TAILQ_INSERT_TAIL(&stream.waiting, parcel, link);
    stream.waiting_count++;
}

static void take_lease(const PGresult *result, int64_t now)
{
    int rows = PQntuples(result);
    INVARIANT(rows > 0);
    const char *state = PQgetvalue(result, 0, 0);
    int64_t wait = stream.settings.interval;
    if (!PQgetisnull(result, 0, 1))
        INVARIANT(text_parse_int64(PQgetvalue(result, 0, 1), 0, INT64_MAX, &wait));
    stream.paused = strcmp(state, "paused") == 0;
    snprintf(stream.place, sizeof stream.place, "%s", PQgetvalue(result, 0, 2));
    if (strcmp(state, "mail") == 0) {
        for (int row = 0; row < rows; row++)
            take_letter(result, row);
        stream.lease_due = now + (rows < stream.asked ? GATHER_WAIT : 0);
        return;
    }
    if (wait < GATHER_WAIT)
        wait = GATHER_WAIT;
    if (strcmp(state, "later") != 0 && wait > stream.settings.interval)
        wait = stream.settings.interval;
    stream.lease_due = now + wait;
}

static void on_leased(void *context, const struct pg_answer *answer)
{
    (void)context;
    int64_t now = clock_monotonic();
    const char *why = failure(answer);
    stream.leasing = false;
    if (why != NULL) {
        log_error("no mail can be taken from the outbox", log_text("error", why));
        stream.lease_due = now + DATABASE_WAIT;
        stream.place[0] = '\0';
        stream.doubt = stream.doubt || answer->status == PG_STATUS_LOST || answer->in_doubt;
    } else {
        if (stream.from_start)
            stream.rescan_due = now + RESCAN + RESCAN_SHARE * (now - stream.lease_sent);
        take_lease(answer->result, now);
        PQclear(answer->result);
        if (stream.stopping)
            stream_give_back("the mailer was told to end");
        else if (stream.slowed)
            stream_give_back("the server wants less");
    }
    stream_pump();
}

bool stream_lease_is_due(int64_t now)
{
    return !stream.leasing && !stream.stopping && stream.begun && !stream.doubt && !stream.slowed &&
           stream.waiting_count < LEASE_LOW && now >= stream.lease_due && now >= outage_next_try(&stream.outage) &&
           (!outage_is_on(&stream.outage) || stream_leased_count() == 0);
}

void stream_lease(int64_t now)
{
    char limit[24], rate[24], attempts[24], time[48];
    /* while this host cannot send, one letter finds out whether it can again */
    int64_t most = outage_is_on(&stream.outage) ? 1 : LEASE_MOST - stream.waiting_count;
    if (now >= stream.rescan_due)
        stream.place[0] = '\0';
    stream.from_start = stream.place[0] == '\0';
    stream.leasing = true;
    stream.asked = most;
    stream.lease_sent = now;
    const char *parameters[] = {stream.options.owner,
                                number(most, limit),
                                interval(stream.settings.lease_time, time),
                                number(stream.settings.rate, rate),
                                number(stream.settings.attempts, attempts),
                                stream.from_start ? NULL : stream.place};
    submit(&statement_mail_lease, parameters, PG_RETRY_NEVER, on_leased);
}

static void extend(struct parcels *parcels, const PGresult *result, int64_t until)
{
    struct parcel *parcel;
    TAILQ_FOREACH (parcel, parcels, link) {
        char id[24];
        number(parcel->id, id);
        for (int row = 0; row < PQntuples(result); row++) {
            if (strcmp(PQgetvalue(result, row, 0), id) == 0)
                parcel->leased_until = until;
        }
    }
}

static void on_renewed(void *context, const struct pg_answer *answer)
{
    (void)context;
    const char *why = failure(answer);
    stream.renewing = false;
    if (why != NULL) {
        log_warning("leases of mail could not be renewed", log_text("error", why));
    } else {
        extend(&stream.waiting, answer->result, stream.renewed + stream.settings.lease_time);
        PQclear(answer->result);
    }
    stream_pump();
}

static void add_ids(struct buffer *ids, const struct parcels *parcels)
{
    struct parcel *parcel;
    char id[24];
    TAILQ_FOREACH (parcel, parcels, link)
        pg_array_add(ids, number(parcel->id, id));
}

void stream_renew(int64_t now)
{
    static struct buffer ids;
    char time[48];
    stream.renewed = now;
    if (stream_leased_count() == 0)
        return;
    pg_array_begin(&ids);
    add_ids(&ids, &stream.waiting);
    add_ids(&ids, &stream.sending);
    add_ids(&ids, &stream.told);
    stream.renewing = true;
    const char *parameters[] = {stream.options.owner, pg_array_end(&ids), interval(stream.settings.lease_time, time)};
    submit(&statement_mail_renew, parameters, PG_RETRY_READ, on_renewed);
}

int64_t stream_renew_due(void)
{
    return stream.renewed + stream.settings.lease_time / LEASE_RESERVE;
}

/* ---- the beginning and the end ---- */

static void on_released(void *context, const struct pg_answer *answer)
{
    (void)context;
    static const char *const said[] = {[RELEASE_FIRST] = "mail of a mailer that died is owed again",
                                       [RELEASE_DOUBT] = "mail whose lease was in doubt is owed again",
                                       [RELEASE_LAST] = "mail given back"};
    const char *why = failure(answer);
    enum release which = stream.releasing;
    int64_t count = 0;
    stream.releasing = RELEASE_NONE;
    if (why != NULL) {
        log_warning("leases of mail could not be given back", log_text("error", why));
        stream.lease_due = clock_monotonic() + DATABASE_WAIT;
    } else {
        if (PQntuples(answer->result) == 1 &&
            text_parse_int64(PQgetvalue(answer->result, 0, 0), 0, INT64_MAX, &count) && count > 0)
            log_info(said[which], log_int("letters", count));
        PQclear(answer->result);
        stream.begun = true;
        stream.doubt = false;
        stream.place[0] = '\0';
    }
    stream.ended = which == RELEASE_LAST; /* at worst they run out by themselves */
    stream_pump();
}

void stream_release(enum release which)
{
    char attempts[24];
    stream.releasing = which;
    const char *parameters[] = {stream.options.owner, which == RELEASE_FIRST ? "true" : "false",
                                number(stream.settings.attempts, attempts)};
    submit(&statement_mail_release, parameters, PG_RETRY_READ, on_released);
}

bool stream_is_idle(void)
{
    return stream_leased_count() == 0 && !stream.leasing && !stream.renewing && stream.releasing == RELEASE_NONE;
}

bool stream_release_is_due(int64_t now)
{
    return !stream.stopping && stream.releasing == RELEASE_NONE && now >= stream.lease_due &&
           (!stream.begun || (stream.doubt && stream_is_idle()));
}
