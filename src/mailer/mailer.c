/* mailer: the process that sends the mail that is owed: its one connection to PostgreSQL, its settings, what the master
 * says and asks. What it does with a letter stands in stream.c. It may write to PostgreSQL and to the SMTP server. */
#include "mailer/mailer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/pool_metrics.h"
#include "api/statements.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "identity/seal.h"
#include "mail/letter.h"
#include "mailer/smtp.h"
#include "mailer/stream.h"
#include "pg/pool.h"
#include "pg/report.h"
#include "shm/statistics.h"
#include "shm/usage.h"

#define TEST_MAGIC 0x54455354U
/* How often the outbox is counted, for the metrics, and after how many times as long as that took: while an old
 * snapshot is held, it walks over all that was sent since. */
#define COUNT_INTERVAL INT64_C(15000000)
#define COUNT_SHARE 50
/* Letters that are being sent may end for so much less than the master waits. */
#define STOP_RESERVE INT64_C(1000000)
#define STOP_LEAST INT64_C(500000)

/* A message of turnoutctl mail test; freed when it is answered. */
struct test {
    OBJECT_HEADER;
    int64_t number;
    int64_t begun;
    struct letter letter;
};

static struct {
    struct child *child;
    const struct mailer_options *options;
    struct pg_pool *pool;
    struct smtp *smtp;
    struct event *counter;
    bool stopping;
    struct {
        int64_t connects, failures;
    } told; /* to the statistics */
    struct {
        int64_t at; /* monotonic; 0: not yet */
        int64_t owed, due, leased, dead, oldest_due_us;
    } outbox;            /* as last counted */
    int64_t count_asked; /* monotonic */
} mailer;

/* ---- settings ---- */

static enum smtp_tls tls_of(const char *text)
{
    return strcmp(text, "off") == 0 ? SMTP_TLS_OFF : strcmp(text, "try") == 0 ? SMTP_TLS_TRY : SMTP_TLS_STARTTLS;
}

static struct smtp_options smtp_settings(const struct configuration *configuration)
{
    return (struct smtp_options){.base = child_base(mailer.child),
                                 .url = configuration->smtp_url,
                                 .tls = tls_of(configuration->smtp_tls),
                                 .ca_file = configuration->smtp_ca_file,
                                 .user = configuration->smtp_user,
                                 .password_file = configuration->smtp_password_file,
                                 .timeout = configuration->smtp_timeout,
                                 .connections = configuration->mail_connections};
}

static void set_stream(const struct configuration *configuration)
{
    struct stream_settings settings = {.connections = configuration->mail_connections,
                                       .rate = configuration->mail_rate,
                                       .attempts = configuration->mail_attempts,
                                       .retry_min = configuration->mail_retry_min,
                                       .retry_max = configuration->mail_retry_max,
                                       .interval = configuration->mail_interval,
                                       .lease_time = configuration->mail_lease_time,
                                       .from = configuration->mail_from,
                                       .reply_to = configuration->mail_reply_to,
                                       .public_url = configuration->public_url};
    stream_set(&settings);
}

static bool read_letters(const struct configuration *configuration, char *error, size_t error_size)
{
    struct letters *letters =
        letters_read(configuration->template_directory, configuration->mail_templates, error, error_size);
    if (letters == NULL)
        return false;
    stream_set_letters(letters);
    return true;
}

static bool on_reload(void *context, char *error, size_t error_size)
{
    const struct configuration *configuration = configuration_get();
    (void)context;
    struct pg_pool_settings pool = {.password_file = configuration->database_password_file,
                                    .connections_min = 1,
                                    .connect_timeout = configuration->db_connect_timeout,
                                    .acquire_timeout = configuration->db_acquire_timeout,
                                    .statement_timeout = configuration->db_statement_timeout,
                                    .idle_time = configuration->db_idle_time,
                                    .lifetime = configuration->db_lifetime};
    pg_pool_change(mailer.pool, &pool);
    struct smtp_options smtp = smtp_settings(configuration);
    bool good = smtp_change(mailer.smtp, &smtp, error, error_size);
    set_stream(configuration);
    return good && seal_read_key(configuration->cursor_key_file, error, error_size) &&
           read_letters(configuration, error, error_size);
}

/* ---- what is counted ---- */

static void count_connections(void)
{
    struct smtp_figures smtp;
    struct stream_figures stream;
    smtp_figures(mailer.smtp, &smtp);
    stream_figures(&stream);
    statistics_set(STATISTICS_MAIL_CONNECTIONS, LABEL_NONE_ONE, LABEL_NONE_ONE, smtp.open);
    statistics_set(STATISTICS_MAIL_WAITING, LABEL_NONE_ONE, LABEL_NONE_ONE, stream.waiting);
    statistics_set(STATISTICS_MAIL_IN_FLIGHT, LABEL_NONE_ONE, LABEL_NONE_ONE, stream.in_flight);
    statistics_set(STATISTICS_MAIL_PAUSED, LABEL_NONE_ONE, LABEL_NONE_ONE, stream.paused);
    statistics_add(STATISTICS_MAIL_CONNECTS, LABEL_RESULT_OK, LABEL_NONE_ONE, smtp.connects - mailer.told.connects);
    statistics_add(STATISTICS_MAIL_CONNECTS, LABEL_RESULT_FAILED, LABEL_NONE_ONE, smtp.failures - mailer.told.failures);
    mailer.told.connects = smtp.connects;
    mailer.told.failures = smtp.failures;
}

/* Columns of turnout.mail_status by name: whoever adds one breaks nobody. */
static int64_t column(const PGresult *result, const char *name)
{
    int at = PQfnumber(result, name);
    int64_t value = 0;
    if (at >= 0 && !PQgetisnull(result, 0, at) && !text_parse_int64(PQgetvalue(result, 0, at), 0, INT64_MAX, &value))
        value = 0;
    return value;
}

static void on_counted(void *context, const struct pg_answer *answer)
{
    (void)context;
    struct timeval delay = clock_timeval(COUNT_INTERVAL + COUNT_SHARE * (clock_monotonic() - mailer.count_asked));
    if (answer->status == PG_STATUS_ROWS && PQntuples(answer->result) == 1) {
        const PGresult *result = answer->result;
        mailer.outbox.at = clock_monotonic();
        mailer.outbox.owed = column(result, "owed");
        mailer.outbox.due = column(result, "due");
        mailer.outbox.leased = column(result, "leased");
        mailer.outbox.dead = column(result, "dead");
        mailer.outbox.oldest_due_us = column(result, "oldest_due_us");
        statistics_set(STATISTICS_MAIL_OUTBOX, LABEL_MAIL_STATE_OWED, LABEL_NONE_ONE, mailer.outbox.owed);
        statistics_set(STATISTICS_MAIL_OUTBOX, LABEL_MAIL_STATE_DUE, LABEL_NONE_ONE, mailer.outbox.due);
        statistics_set(STATISTICS_MAIL_OUTBOX, LABEL_MAIL_STATE_LEASED, LABEL_NONE_ONE, mailer.outbox.leased);
        statistics_set(STATISTICS_MAIL_OUTBOX, LABEL_MAIL_STATE_DEAD, LABEL_NONE_ONE, mailer.outbox.dead);
        statistics_set(STATISTICS_MAIL_OLDEST, LABEL_NONE_ONE, LABEL_NONE_ONE, mailer.outbox.oldest_due_us);
    }
    PQclear(answer->result);
    if (!mailer.stopping)
        evtimer_add(mailer.counter, &delay);
}

static void on_count(evutil_socket_t unused, short events, void *context)
{
    (void)unused;
    (void)events;
    (void)context;
    mailer.count_asked = clock_monotonic();
    struct pg_query query = {.statement = &statement_mail_status, .retry = PG_RETRY_NEVER, .done = on_counted};
    pg_pool_submit(mailer.pool, &query);
}

static void on_lag(void *context, int64_t microseconds)
{
    (void)context;
    statistics_observe(STATISTICS_LOOP_LAG, LABEL_ROLE_MAILER, microseconds);
}

static void on_report(void *context, struct child_report *report)
{
    struct stream_figures stream;
    (void)context;
    stream_figures(&stream);
    report->in_flight = stream.in_flight;
    pg_pool_report(mailer.pool, "mail", report);
    pool_metrics_sample(LABEL_POOL_MAILER, mailer.pool);
    count_connections();
    usage_sample();
}

/* Its connection is not part of the workers' share. */
static void on_db_share(void *context, int64_t share)
{
    (void)context;
    (void)share;
}

/* ---- what turnoutctl asks ---- */

static void show(int64_t number)
{
    struct buffer text = {0};
    struct smtp_figures smtp;
    struct stream_figures stream;
    smtp_figures(mailer.smtp, &smtp);
    stream_figures(&stream);
    int64_t now = clock_monotonic();
    buffer_printf(&text, "server: %s\n", mailer.options->configuration->smtp_url);
    buffer_printf(&text, "state: %s\n",
                  stream.paused        ? "paused"
                  : stream.unreachable ? "cannot send"
                  : stream.in_flight   ? "sending"
                                       : "idle");
    if (stream.unreachable)
        buffer_printf(&text, "why: %s\nnext_try_ms: %" PRId64 "\n", stream.why,
                      stream.next_try > now ? (stream.next_try - now) / 1000 : 0);
    buffer_printf(&text,
                  "connections: %" PRId64 "\nconnects: %" PRId64 "\nconnect_failures: %" PRId64 "\nwaiting: %" PRId64
                  "\nin_flight: %" PRId64 "\nsent: %" PRId64 "\n",
                  smtp.open, smtp.connects, smtp.failures, stream.waiting, stream.in_flight, stream.sent);
    if (mailer.outbox.at != 0)
        buffer_printf(&text,
                      "outbox_owed: %" PRId64 "\noutbox_due: %" PRId64 "\noutbox_leased: %" PRId64
                      "\noutbox_dead: %" PRId64 "\noldest_due_s: %" PRId64 "\ncounted_ago_s: %" PRId64 "\n",
                      mailer.outbox.owed, mailer.outbox.due, mailer.outbox.leased, mailer.outbox.dead,
                      mailer.outbox.oldest_due_us / 1000000, (now - mailer.outbox.at) / 1000000);
    child_answer(mailer.child, number, 0, buffer_bytes(&text), buffer_length(&text));
    buffer_free(&text);
}

static void on_tested(void *context, enum smtp_outcome outcome, const char *words)
{
    struct test *test = context;
    OBJECT_CHECK(test, TEST_MAGIC);
    char text[768];
    bool sent = outcome == SMTP_SENT;
    int length = snprintf(text, sizeof text, "%s %s in %" PRId64 " ms: %s",
                          sent ? "the server has taken the message for" : "the message was not sent to",
                          test->letter.recipient, (clock_monotonic() - test->begun) / 1000, words);
    child_answer(mailer.child, test->number, sent ? 0 : 1, text,
                 length < (int)sizeof text ? (size_t)length : sizeof text - 1);
    letter_free(&test->letter);
    OBJECT_BURY(test);
    free(test);
}

static void begin_test(int64_t number, const char *address)
{
    char error[256];
    char host[65] = "";
    const struct configuration *configuration = configuration_get();
    if (!letter_check_address(address, error, sizeof error)) {
        child_answer(mailer.child, number, 2, error, strlen(error));
        return;
    }
    if (smtp_room(mailer.smtp) == 0) {
        static const char busy[] = "all connections are at work; try again";
        child_answer(mailer.child, number, 1, busy, sizeof busy - 1);
        return;
    }
    struct test *test = calloc(1, sizeof *test);
    INVARIANT(test != NULL);
    test->magic = TEST_MAGIC;
    test->number = number;
    test->begun = clock_monotonic();
    if (gethostname(host, sizeof host - 1) != 0)
        snprintf(host, sizeof host, "unknown");
    struct letter_style style = {.from = configuration->mail_from,
                                 .reply_to = configuration->mail_reply_to,
                                 .public_url = configuration->public_url,
                                 .now = clock_realtime()};
    letter_write_test(&style, address, host, &test->letter);
    struct smtp_message message = {.sender = test->letter.sender,
                                   .recipient = test->letter.recipient,
                                   .bytes = buffer_bytes(&test->letter.message),
                                   .length = buffer_length(&test->letter.message),
                                   .done = on_tested,
                                   .context = test};
    smtp_send(mailer.smtp, &message);
}

static void on_ask(void *context, int64_t number, enum child_question what, const char *argument)
{
    (void)context;
    switch (what) {
    case CHILD_QUESTION_MAIL_SHOW:
        show(number);
        return;
    case CHILD_QUESTION_MAIL_TEST:
        begin_test(number, argument);
        return;
    case CHILD_QUESTION_CACHE_KEY:
    case CHILD_QUESTION_CACHE_DROP:
    case CHILD_QUESTION_CACHE_WARM:
        break;
    }
    object_die("the mailer is asked about mail alone", __FILE__, __LINE__);
}

/* ---- the beginning and the end ---- */

static void on_ended(void)
{
    child_exit(mailer.child, EXIT_STATUS_DONE);
}

static void on_stop(void *context, enum child_stop how)
{
    (void)context;
    mailer.stopping = true;
    if (how == CHILD_STOP_NOW) {
        child_exit(mailer.child, EXIT_STATUS_DONE); /* leases run out, or the successor takes them over */
        return;
    }
    int64_t wait = configuration_get()->shutdown_timeout - STOP_RESERVE;
    stream_stop(clock_monotonic() + (wait < STOP_LEAST ? STOP_LEAST : wait));
}

static struct pg_pool *open_pool(const struct configuration *configuration)
{
    struct pg_pool_options options = {.base = child_base(mailer.child),
                                      .role = "mailer",
                                      .name = "mail",
                                      .dsn = configuration->database,
                                      .password_file = configuration->database_password_file,
                                      .connections_min = 1,
                                      .connections_max = 1,
                                      .connect_timeout = configuration->db_connect_timeout,
                                      .acquire_timeout = configuration->db_acquire_timeout,
                                      .statement_timeout = configuration->db_statement_timeout,
                                      .idle_time = configuration->db_idle_time,
                                      .lifetime = configuration->db_lifetime,
                                      .queue_max = 100,
                                      .observer = pool_metrics_observer(LABEL_POOL_MAILER)};
    return pg_pool_create(&options);
}

int mailer_main(const struct mailer_options *options)
{
    const struct configuration *configuration = options->configuration;
    char error[512];
    mailer.options = options;
    mailer.child = child_create(options->start);
    srandom((unsigned)getpid()); /* jitter only */
    mailer.pool = open_pool(configuration);
    struct smtp_options smtp = smtp_settings(configuration);
    mailer.smtp = smtp_create(&smtp, error, sizeof error);
    if (mailer.smtp == NULL || !seal_read_key(configuration->cursor_key_file, error, sizeof error) ||
        !read_letters(configuration, error, sizeof error)) {
        log_error("the mailer cannot begin", log_text("error", error));
        return EXIT_STATUS_DO_NOT_RESTART;
    }
    stream_create(&(const struct stream_options){.base = child_base(mailer.child),
                                                 .pool = mailer.pool,
                                                 .smtp = mailer.smtp,
                                                 .owner = options->owner,
                                                 .ended = on_ended});
    set_stream(configuration);
    mailer.counter = evtimer_new(child_base(mailer.child), on_count, NULL);
    INVARIANT(mailer.counter != NULL);
    evtimer_add(mailer.counter, &(struct timeval){0});
    stream_begin();

    static const struct child_callbacks callbacks = {.stop = on_stop,
                                                     .report = on_report,
                                                     .db_share = on_db_share,
                                                     .lag = on_lag,
                                                     .reload = on_reload,
                                                     .ask = on_ask};
    child_ready(mailer.child);
    int status = child_run(mailer.child, &callbacks);
    smtp_destroy(mailer.smtp);
    pg_pool_destroy(mailer.pool);
    return status;
}
