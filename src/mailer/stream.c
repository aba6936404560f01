/* stream: from a lease to its result. Mailer. Each letter goes waiting → sending → told → (committing → gone), and back
 * to told where the outbox could not be told. */
#include "mailer/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "identity/link_token.h"
#include "mailer/stream_state.h"
#include "mailer/tally.h"

/* After what was being sent was cut: for the outbox to hear of it. */
#define TELL_TIME INT64_C(2000000)

struct stream_state stream_state;
#define stream stream_state

/* ---- letters ---- */

int64_t stream_leased_count(void)
{
    return stream.waiting_count + stream.sending_count + stream.told_count + stream.committing_count;
}

static void settle(struct parcel *parcel)
{
    stream.in_flight -= parcel->in_flight;
    parcel->in_flight = false;
}

void stream_free_parcel(struct parcel *parcel)
{
    settle(parcel);
    letter_free(&parcel->letter);
    json_decref(parcel->owed);
    OBJECT_BURY(parcel);
    free(parcel);
}

/* What somebody else's server said, as a text that PostgreSQL and a terminal take. */
static void take_words(char *to, size_t size, const char *words)
{
    size_t length = strlen(words);
    bool plain = !text_is_utf8(words, length) || length >= size;
    size_t i = 0;
    for (; i < length && i + 1 < size; i++) {
        unsigned char byte = (unsigned char)words[i];
        to[i] = byte < 0x20 || byte == 0x7f ? ' ' : byte >= 0x80 && plain ? '?' : words[i];
    }
    to[i] = '\0';
}

static void tell(struct parcel *parcel, enum smtp_outcome outcome, const char *words)
{
    parcel->outcome = outcome;
    if (outcome == SMTP_UNREACHABLE || outcome == SMTP_PERMANENT || outcome == SMTP_SLOW)
        settle(parcel); /* the server has certainly not taken it */
    take_words(parcel->words, sizeof parcel->words, words);
    if (stream.told_count++ == 0)
        stream.told_since = clock_monotonic();
    TAILQ_INSERT_TAIL(&stream.told, parcel, link);
}

void stream_give_back(const char *why)
{
    while (!TAILQ_EMPTY(&stream.waiting)) {
        struct parcel *parcel = TAILQ_FIRST(&stream.waiting);
        TAILQ_REMOVE(&stream.waiting, parcel, link);
        stream.waiting_count--;
        tell(parcel, SMTP_UNREACHABLE, why);
    }
}

static void log_outcome(const struct parcel *parcel)
{
    log_at(parcel->outcome == SMTP_SENT        ? LOG_LEVEL_DEBUG
           : parcel->outcome == SMTP_PERMANENT ? LOG_LEVEL_WARNING
                                               : LOG_LEVEL_INFO,
           "mail", log_text("outcome", stream_outcome_words[parcel->outcome]), log_int("id", parcel->id),
           log_text("message_id", parcel->letter.message_id), log_text("words", parcel->words));
}

static void on_sent(void *context, enum smtp_outcome outcome, const char *words)
{
    struct parcel *parcel = context;
    OBJECT_CHECK(parcel, LETTER_MAGIC);
    int64_t now = clock_monotonic();
    TAILQ_REMOVE(&stream.sending, parcel, link);
    stream.sending_count--;
    tally_outcome(parcel->kind, outcome, now - parcel->begun);
    if (outcome == SMTP_SENT)
        stream.sent++;
    /* one that was lost counts against the letter as well, or a letter that breaks each connection would be the one
     * that finds out, for ever, whether this host can send again */
    if (outcome == SMTP_UNREACHABLE || outcome == SMTP_LOST) {
        outage_failed(&stream.outage, parcel->begun, words);
        stream_give_back(words);
    } else if (outcome != SMTP_GIVEN_UP) {
        outage_over(&stream.outage);
    }
    if (outcome == SMTP_SLOW) {
        stream.slowed = true;
        stream_give_back(words);
    }
    tell(parcel, outcome, words);
    log_outcome(parcel);
    stream_pump();
}

/* false: it cannot be written, which no try mends. */
static bool write_letter(struct parcel *parcel, char *error, size_t error_size)
{
    char url[512];
    const char *person = json_string_value(json_object_get(json_object_get(parcel->owed, "to"), "id"));
    const char *group = json_string_value(json_object_get(parcel->owed, "group")); /* null: nobody can unsubscribe */
    struct letter_style style = {
        .from = stream.from, .reply_to = stream.reply_to, .public_url = stream.public_url, .now = clock_realtime()};
    if (person != NULL && group != NULL &&
        link_token_unsubscribe_url(stream.public_url, person, group, url, sizeof url))
        style.unsubscribe_url = url;
    return letter_write(stream.letters, &style, parcel->owed, &parcel->letter, error, error_size);
}

static void begin(struct parcel *parcel)
{
    char error[256];
    parcel->begun = clock_monotonic();
    if (!write_letter(parcel, error, sizeof error)) {
        tally_outcome(parcel->kind, SMTP_PERMANENT, 0);
        tell(parcel, SMTP_PERMANENT, error);
        log_outcome(parcel);
        return;
    }
    struct smtp_message message = {.sender = parcel->letter.sender,
                                   .recipient = parcel->letter.recipient,
                                   .bytes = buffer_bytes(&parcel->letter.message),
                                   .length = buffer_length(&parcel->letter.message),
                                   .done = on_sent,
                                   .context = parcel};
    TAILQ_INSERT_TAIL(&stream.sending, parcel, link);
    stream.sending_count++;
    parcel->in_flight = true;
    stream.in_flight++;
    smtp_send(stream.options.smtp, &message);
}

static void begin_more(int64_t now)
{
    int64_t most = stream.settings.connections * 2;
    while (!TAILQ_EMPTY(&stream.waiting) && stream.in_flight < most && smtp_room(stream.options.smtp) > 0 &&
           outage_next_try(&stream.outage) <= now && (!outage_is_on(&stream.outage) || stream.sending_count == 0)) {
        struct parcel *parcel = TAILQ_FIRST(&stream.waiting);
        TAILQ_REMOVE(&stream.waiting, parcel, link);
        stream.waiting_count--;
        if (parcel->leased_until - now < stream.settings.lease_time / LEASE_RESERVE)
            stream_free_parcel(parcel); /* somebody else's before long */
        else
            begin(parcel);
    }
}

/* ---- the loop ---- */

static int64_t earlier(int64_t one, int64_t other)
{
    return one < other ? one : other;
}

static void arm(int64_t now)
{
    int64_t due = INT64_MAX;
    if (!stream.begun || stream.doubt)
        due = stream.releasing == RELEASE_NONE && stream.lease_due > now ? stream.lease_due : INT64_MAX;
    else if (!stream.leasing && stream.waiting_count < LEASE_LOW && !stream.stopping)
        due = earlier(due, outage_is_on(&stream.outage) && outage_next_try(&stream.outage) > stream.lease_due
                               ? outage_next_try(&stream.outage)
                               : stream.lease_due);
    if (!TAILQ_EMPTY(&stream.waiting))
        due = earlier(due, outage_next_try(&stream.outage) > now ? outage_next_try(&stream.outage) : INT64_MAX);
    if (stream.told_count > 0 && stream.committing_count == 0)
        due = earlier(due, stream.commit_due > stream.told_since + COMMIT_WAIT ? stream.commit_due
                                                                               : stream.told_since + COMMIT_WAIT);
    if (stream_leased_count() > 0 && !stream.renewing)
        due = earlier(due, stream_renew_due());
    if (stream.stopping && stream.stop_at > now)
        due = earlier(due, stream.stop_at);
    else if (stream.stopping)
        due = earlier(due, stream.stop_at + TELL_TIME);
    if (due == INT64_MAX) {
        evtimer_del(stream.timer);
        return;
    }
    struct timeval delay = clock_timeval(due - now < 1000 ? 1000 : due - now);
    evtimer_add(stream.timer, &delay);
}

static void end_when_done(int64_t now)
{
    if (stream.sending_count > 0 && now >= stream.stop_at)
        smtp_cancel_all(stream.options.smtp);
    if (!stream.ended && stream_is_idle()) {
        if (stream.begun)
            stream_release(RELEASE_LAST);
        else
            stream.ended = true;
    }
    if (!stream.ended && now >= stream.stop_at + TELL_TIME) {
        log_warning("the outbox could not be told of everything: leases run out by themselves",
                    log_int("letters", stream_leased_count()));
        stream.ended = true;
    }
    if (stream.ended && stream.options.ended != NULL) {
        void (*ended)(void) = stream.options.ended;
        stream.options.ended = NULL;
        ended();
    }
}

void stream_pump(void)
{
    static bool inside, again;
    if (inside) {
        again = true;
        return;
    }
    inside = true;
    int64_t now;
    do {
        again = false;
        now = clock_monotonic();
        if (stream_release_is_due(now))
            stream_release(stream.begun ? RELEASE_DOUBT : RELEASE_FIRST);
        begin_more(now);
        if (stream_commit_is_due(now))
            stream_commit();
        if (!stream.renewing && now >= stream_renew_due())
            stream_renew(now);
        if (stream_lease_is_due(now))
            stream_lease(now);
        if (stream.stopping)
            end_when_done(now);
    } while (again);
    inside = false;
    arm(now);
}

static void on_timer(evutil_socket_t unused, short events, void *context)
{
    (void)unused;
    (void)events;
    (void)context;
    stream_pump();
}

void stream_create(const struct stream_options *options)
{
    stream.options = *options;
    stream.timer = evtimer_new(options->base, on_timer, NULL);
    INVARIANT(stream.timer != NULL);
    TAILQ_INIT(&stream.waiting);
    TAILQ_INIT(&stream.sending);
    TAILQ_INIT(&stream.told);
    TAILQ_INIT(&stream.committing);
}

static void take_text(char **place, const char *text)
{
    free(*place);
    *place = text == NULL ? NULL : strdup(text);
    INVARIANT(text == NULL || *place != NULL);
}

void stream_set(const struct stream_settings *settings)
{
    take_text(&stream.from, settings->from);
    take_text(&stream.reply_to, settings->reply_to);
    take_text(&stream.public_url, settings->public_url);
    int64_t latest = clock_monotonic() + settings->interval;
    stream.settings = *settings;
    if (!stream.begun)
        return;
    stream.lease_due = earlier(stream.lease_due, latest); /* it was longer until now */
    stream_pump();
}

void stream_set_letters(struct letters *letters)
{
    if (stream.letters != NULL)
        letters_free(stream.letters);
    stream.letters = letters;
}

void stream_begin(void)
{
    stream.renewed = clock_monotonic();
    stream_pump();
}

void stream_stop(int64_t deadline)
{
    if (!stream.stopping || deadline < stream.stop_at)
        stream.stop_at = deadline;
    stream.stopping = true;
    stream_give_back("the mailer was told to end");
    stream_pump();
}

void stream_figures(struct stream_figures *figures)
{
    *figures = (struct stream_figures){.waiting = stream.waiting_count,
                                       .in_flight = stream.in_flight,
                                       .sent = stream.sent,
                                       .paused = stream.paused,
                                       .unreachable = outage_is_on(&stream.outage),
                                       .next_try = outage_next_try(&stream.outage)};
    snprintf(figures->why, sizeof figures->why, "%s", outage_words(&stream.outage));
}
