/* option: the table of options, and how their values are read and written. Master and turnoutctl. */
#include "base/option.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/configuration.h"
#include "base/network.h"

#define PLACE(member) offsetof(struct configuration, member)
#define MS INT64_C(1000)
#define SECOND (1000 * MS)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define HEADER_NAME_MAX 64
/* Requests a second, and at once. */
#define LIMIT_MAX 10000
#define BURST_MAX 1000000

/* clang-format off */
static const struct option table[] = {
    {"listen", OPTION_TEXT, PLACE(listen), "127.0.0.1:8080", 0, 0, false,
     "where the API listens, separated by commas: address:port, [address6]:port or unix:/path"},
    {"listen_mode", OPTION_MODE, PLACE(listen_mode), "0660", 0, 0777, false, "permissions of Unix sockets in listen"},
    {"internal_listen", OPTION_TEXT, PLACE(internal_listen), "127.0.0.1:9180", 0, 0, false,
     "where /healthz, /readyz and /metrics listen; never reachable from outside"},
    {"control_socket", OPTION_TEXT, PLACE(control_socket), "/run/turnout/control.sock", 0, 0, false,
     "Unix socket of turnoutctl"},
    {"control_group", OPTION_TEXT, PLACE(control_group), NULL, 0, 0, false,
     "group that may use the control socket beside root and the daemon's user"},

    {"workers", OPTION_COUNT, PLACE(workers), "2", 1, 256, true, "worker processes; turnoutctl workers N changes it at run time"},
    {"workers_max", OPTION_COUNT, PLACE(workers_max), "64", 1, 256, false, "most workers that turnoutctl workers may ask for"},
    {"ping_interval", OPTION_DURATION, PLACE(ping_interval), "1s", 10 * MS, MINUTE, true, "how often the master pings its children"},
    {"ping_timeout", OPTION_DURATION, PLACE(ping_timeout), "10s", 100 * MS, 10 * MINUTE, true,
     "a child that does not answer for so long is killed and replaced"},
    {"shutdown_timeout", OPTION_DURATION, PLACE(shutdown_timeout), "30s", 0, HOUR, true,
     "how long open connections may finish after SIGTERM"},
    {"cache_size", OPTION_SIZE, PLACE(cache_size), "64m", 0, INT64_C(1) << 40, false,
     "memory of the hot cache, from which public reads are served; at least 4m; 0: no cache, every read asks PostgreSQL"},
    {"coherent_time", OPTION_DURATION, PLACE(coherent_time), "10s", 100 * MS, 10 * MINUTE, true,
     "how long the hot cache counts as up to date after changes were last read; past it, what it holds is stale"},
    {"changes_poll", OPTION_DURATION, PLACE(changes_poll), "2s", 10 * MS, MINUTE, true,
     "how often changes are read without having been announced; at most half of coherent_time"},
    {"fill_timeout", OPTION_DURATION, PLACE(fill_timeout), "1s", 10 * MS, MINUTE, true,
     "how long a request waits for a body that is missing in the hot cache before its worker asks PostgreSQL itself"},
    {"stale_max", OPTION_DURATION, PLACE(stale_max), "1m", 0, DAY, true,
     "how long stale bodies are served, with Age, before workers ask PostgreSQL themselves"},

    {"max_connections", OPTION_COUNT, PLACE(max_connections), "10000", 1, 1000000, false, "client connections of one worker"},
    {"request_line_size", OPTION_SIZE, PLACE(request_line_size), "8k", 256, 1 << 20, true, "longest request line; past it 414"},
    {"header_size", OPTION_SIZE, PLACE(header_size), "16k", 512, 1 << 20, true, "request line and headers together; past it 431"},
    {"header_count", OPTION_COUNT, PLACE(header_count), "64", 8, 1000, true, "headers of a request; past it 431"},
    {"body_size", OPTION_SIZE, PLACE(body_size), "256k", 1024, 64 << 20, true, "largest request body; past it 413"},
    {"connection_memory", OPTION_SIZE, PLACE(connection_memory), "64m", 64 << 10, INT64_C(1) << 40, true,
     "what slow clients of one worker may hold together; past it the oldest are cut off"},
    {"header_timeout", OPTION_DURATION, PLACE(header_timeout), "10s", 10 * MS, HOUR, true, "from a request's first byte to the end of its headers"},
    {"body_timeout", OPTION_DURATION, PLACE(body_timeout), "30s", 10 * MS, HOUR, true, "from the end of the headers to the end of the body"},
    {"write_timeout", OPTION_DURATION, PLACE(write_timeout), "30s", 10 * MS, HOUR, true, "from the first byte of an answer to its last"},
    {"idle_timeout", OPTION_DURATION, PLACE(idle_timeout), "75s", 10 * MS, HOUR, true,
     "between requests; longer than the proxy's keep-alive, so that the proxy closes first"},

    {"database", OPTION_TEXT, PLACE(database), "dbname=turnout user=turnout_app", 0, 0, false,
     "connection string of turnout_app (libpq), without a password"},
    {"database_password_file", OPTION_TEXT, PLACE(database_password_file), NULL, 0, 0, true, "file with the password of turnout_app"},
    {"database_owner", OPTION_TEXT, PLACE(database_owner), "dbname=turnout user=turnout_owner", 0, 0, false,
     "connection string of turnout_owner: migrations and partitions"},
    {"database_owner_password_file", OPTION_TEXT, PLACE(database_owner_password_file), NULL, 0, 0, true, "file with the password of turnout_owner"},
    {"db_connections", OPTION_COUNT, PLACE(db_connections), "0", 0, 10000, true,
     "connections of this host to PostgreSQL, over all processes; 0: 3 per worker + 5, which is also the least"},
    {"db_connections_min", OPTION_COUNT, PLACE(db_connections_min), "1", 1, 1000, true,
     "connections that each pool keeps open; at least 1, by which /readyz knows whether the database is there"},
    {"db_connect_timeout", OPTION_DURATION, PLACE(db_connect_timeout), "3s", 10 * MS, 10 * MINUTE, true, "for a new connection"},
    {"db_acquire_timeout", OPTION_DURATION, PLACE(db_acquire_timeout), "3s", 10 * MS, 10 * MINUTE, true, "how long a query waits for a connection"},
    {"db_statement_timeout", OPTION_DURATION, PLACE(db_statement_timeout), "5s", 10 * MS, HOUR, true, "for one statement"},
    {"db_idle_time", OPTION_DURATION, PLACE(db_idle_time), "5m", 10 * MS, DAY, true, "a connection above the minimum closes when idle for so long"},
    {"db_lifetime", OPTION_DURATION, PLACE(db_lifetime), "1h", SECOND, 30 * DAY, true, "a connection is replaced after so long"},
    {"batch_max", OPTION_COUNT, PLACE(batch_max), "256", 1, 1000, true, "registrations and cancels that one statement decides, at most"},
    {"queue_max", OPTION_COUNT, PLACE(queue_max), "5000", 1, 1000000, true, "registrations and cancels that may wait in a worker"},
    {"queue_timeout", OPTION_DURATION, PLACE(queue_timeout), "5s", 10 * MS, 10 * MINUTE, true, "how long one may wait there until it is refused"},
    {"sql_directory", OPTION_TEXT, PLACE(sql_directory), TURNOUT_SQLDIR, 0, 0, false, "folder of the migrations and rules"},

    {"redis_socket", OPTION_TEXT, PLACE(redis_socket), NULL, 0, 0, false, "Unix socket of Redis, through which hosts share bodies; not set: none"},
    {"redis", OPTION_TEXT, PLACE(redis), NULL, 0, 0, false, "the same as host:port, unencrypted; only one of the two may be set"},
    {"redis_password_file", OPTION_TEXT, PLACE(redis_password_file), NULL, 0, 0, true, "file with the password of Redis"},
    {"redis_timeout", OPTION_DURATION, PLACE(redis_timeout), "50ms", MS, 10 * SECOND, true,
     "for a call to Redis, also for connecting; what is later counts as missing"},

    {"jwt_keys_file", OPTION_TEXT, PLACE(jwt_keys_file), TURNOUT_SYSCONFDIR "/turnout/jwks.json", 0, 0, true,
     "JWK Set with the keys that sign tokens (HS256, RS256, ES256)"},
    {"jwt_keys_min_interval", OPTION_DURATION, PLACE(jwt_keys_min_interval), "10s", 10 * MS, HOUR, true,
     "least time between two readings of jwt_keys_file for tokens whose key is not known"},
    {"jwt_issuer", OPTION_TEXT, PLACE(jwt_issuer), "turnout", 0, 0, true, "issuer that tokens must name"},
    {"jwt_audience", OPTION_TEXT, PLACE(jwt_audience), "turnout", 0, 0, true, "audience that tokens must name"},
    {"jwt_leeway", OPTION_DURATION, PLACE(jwt_leeway), "1m", 0, 10 * MINUTE, true, "difference of clocks that exp and nbf allow for"},
    {"trust_role_claim", OPTION_SWITCH, PLACE(trust_role_claim), "yes", 0, 0, true, "a token's role wins over the users table's"},
    {"public_read", OPTION_SWITCH, PLACE(public_read), "yes", 0, 0, true, "published, completed and cancelled events are readable without a token"},
    {"cursor_key_file", OPTION_TEXT, PLACE(cursor_key_file), TURNOUT_SYSCONFDIR "/turnout/cursor.key", 0, 0, true,
     "secret that signs page cursors and the links in mails, the same on all hosts; at least 32 bytes"},

    {"trusted_proxies", OPTION_NETWORKS, PLACE(trusted_proxies), "unix", 0, 0, true,
     "whose word on clients is taken, separated by commas: addresses, networks, and unix for whoever comes over a Unix socket"},
    {"client_address_header", OPTION_HEADER, PLACE(client_address_header), "X-Real-IP", 0, 0, true,
     "header by which a trusted proxy names the client's address"},
    {"proxy_subject_header", OPTION_HEADER, PLACE(proxy_subject_header), NULL, 0, 0, true,
     "header by which a trusted proxy names who is signed in, for ever the same for one person; not set: it names nobody"},
    {"proxy_email_header", OPTION_HEADER, PLACE(proxy_email_header), NULL, 0, 0, true, "header with that person's e-mail address"},
    {"proxy_name_header", OPTION_HEADER, PLACE(proxy_name_header), NULL, 0, 0, true, "header with the name, in UTF-8"},
    {"proxy_department_header", OPTION_HEADER, PLACE(proxy_department_header), NULL, 0, 0, true, "header with the department, in UTF-8"},
    {"proxy_kind_header", OPTION_HEADER, PLACE(proxy_kind_header), NULL, 0, 0, true, "header that says employee or guest"},
    {"proxy_role_header", OPTION_HEADER, PLACE(proxy_role_header), NULL, 0, 0, true, "header that says participant, organizer or admin"},
    {"proxy_issuer", OPTION_TEXT, PLACE(proxy_issuer), "proxy", 0, 0, true, "issuer under which the subjects of proxies are known"},

    {"user_writes", OPTION_COUNT, PLACE(user_writes), "10", 0, LIMIT_MAX, true,
     "writes a second of one user on this host; past them and the burst 429; 0: no limit"},
    {"user_writes_burst", OPTION_COUNT, PLACE(user_writes_burst), "50", 1, BURST_MAX, true,
     "writes that a user who has been idle may send at once; at most those of an hour"},
    {"user_reads", OPTION_COUNT, PLACE(user_reads), "50", 0, LIMIT_MAX, true, "reads a second of one user on this host; 0: no limit"},
    {"user_reads_burst", OPTION_COUNT, PLACE(user_reads_burst), "500", 1, BURST_MAX, true,
     "reads that a user who has been idle may send at once; at most those of an hour"},
    {"address_requests", OPTION_COUNT, PLACE(address_requests), "500", 0, LIMIT_MAX, true,
     "requests a second without a valid token from one address (IPv6: one /64) to this host; 0: no limit"},
    {"address_requests_burst", OPTION_COUNT, PLACE(address_requests_burst), "5000", 1, BURST_MAX, true,
     "such requests that may come at once; at most those of an hour"},

    {"smtp_url", OPTION_TEXT, PLACE(smtp_url), NULL, 0, 0, false,
     "server that takes the mail: smtp://host:port or smtps://host:port; not set: mail stays owed, and nothing sends it"},
    {"smtp_tls", OPTION_TEXT, PLACE(smtp_tls), "starttls", 0, 0, false,
     "starttls: encrypted or not at all; try: where the server offers it; off: never. smtps is always encrypted"},
    {"smtp_ca_file", OPTION_TEXT, PLACE(smtp_ca_file), NULL, 0, 0, false,
     "certificates (PEM) that the server's is checked against; not set: the system's"},
    {"smtp_user", OPTION_TEXT, PLACE(smtp_user), NULL, 0, 0, false, "user for AUTH; not set: none"},
    {"smtp_password_file", OPTION_TEXT, PLACE(smtp_password_file), NULL, 0, 0, true, "file with that user's password"},
    {"smtp_timeout", OPTION_DURATION, PLACE(smtp_timeout), "30s", 10 * MS, 10 * MINUTE, true,
     "for a connection to stand, and for the server to go on with a message"},
    {"mail_from", OPTION_TEXT, PLACE(mail_from), NULL, 0, 0, true, "who writes: an address, or Name <address>"},
    {"mail_reply_to", OPTION_TEXT, PLACE(mail_reply_to), NULL, 0, 0, true, "where answers go; not set: to mail_from"},
    {"mail_connections", OPTION_COUNT, PLACE(mail_connections), "4", 1, 100, true, "kept connections to the server, and so messages at once"},
    {"mail_rate", OPTION_COUNT, PLACE(mail_rate), "0", 0, 100000, true,
     "messages a second, over all hosts that share the database; 0: as many as the server takes"},
    {"mail_attempts", OPTION_COUNT, PLACE(mail_attempts), "12", 1, 1000, true, "tries of a message until it is dead; turnoutctl mail retry sends it again"},
    {"mail_retry_min", OPTION_DURATION, PLACE(mail_retry_min), "1m", 10 * MS, DAY, true, "until the second try; doubled with each further one"},
    {"mail_retry_max", OPTION_DURATION, PLACE(mail_retry_max), "4h", 10 * MS, 7 * DAY, true, "most time between two tries"},
    {"mail_interval", OPTION_DURATION, PLACE(mail_interval), "1s", 10 * MS, HOUR, true, "how often an idle mailer asks whether mail is owed"},
    {"mail_lease_time", OPTION_DURATION, PLACE(mail_lease_time), "1m", SECOND, HOUR, true,
     "how long mail that a mailer has taken is left to it without a sign of life"},
    {"template_directory", OPTION_TEXT, PLACE(template_directory), TURNOUT_TEMPLATEDIR, 0, 0, true, "folder of the templates of mails that came with turnout"},
    {"mail_templates", OPTION_TEXT, PLACE(mail_templates), NULL, 0, 0, true, "folder of your own: a file in it stands for the one of the same name"},
    {"outbox_keep", OPTION_DURATION, PLACE(outbox_keep), "14d", 4 * DAY, 3650 * DAY, true,
     "how long after the end of an event it is known which mails of it were sent"},
    {"public_url", OPTION_TEXT, PLACE(public_url), NULL, 0, 0, true,
     "how people reach the API (https://events.example.com), for links in mails and calendars; not set: no links"},

    {"reminder_interval", OPTION_DURATION, PLACE(reminder_interval), "30s", 10 * MS, HOUR, true,
     "how often reminders and invitations to surveys that have become due are looked for"},
    {"complete_interval", OPTION_DURATION, PLACE(complete_interval), "30s", 10 * MS, DAY, true, "how often events that have ended are completed"},
    {"event_work_interval", OPTION_DURATION, PLACE(event_work_interval), "2s", 10 * MS, DAY, true, "how soon what an event owes many people is gone on with"},
    {"prune_interval", OPTION_DURATION, PLACE(prune_interval), "1m", 10 * MS, DAY, true, "how often changes and idempotency keys are pruned"},
    {"changes_keep", OPTION_DURATION, PLACE(changes_keep), "1h", SECOND, 30 * DAY, true, "how long rows of changes are kept"},
    {"idempotency_keep", OPTION_DURATION, PLACE(idempotency_keep), "1d", MINUTE, 30 * DAY, true, "how long idempotency keys are kept"},
    {"partition_interval", OPTION_DURATION, PLACE(partition_interval), "1h", 10 * MS, 30 * DAY, true, "how often partitions ahead are looked after"},
    {"partition_years", OPTION_COUNT, PLACE(partition_years), "3", 1, 20, true, "years ahead for which partitions exist"},
    {"audit_interval", OPTION_DURATION, PLACE(audit_interval), "10m", 10 * MS, DAY, true, "how long after one round of the audit the next one begins"},
    {"audit_rows", OPTION_COUNT, PLACE(audit_rows), "5000", 100, 1000000, true, "rows that one step of the audit reads, more only for a larger event"},

    {"log_level", OPTION_LEVEL, PLACE(log_level), "info", 0, 0, true, "debug, info, warning or error"},
    {"log_format", OPTION_FORMAT, PLACE(log_format), "logfmt", 0, 0, true, "logfmt or json"},
    {"log_file", OPTION_TEXT, PLACE(log_file), NULL, 0, 0, true,
     "where the log goes, appended; opened again on SIGUSR1; not set: standard error"},
    {"access_log", OPTION_SWITCH, PLACE(access_log), "yes", 0, 0, true, "one line per request"},
    {NULL, OPTION_TEXT, 0, NULL, 0, 0, false, NULL},
};
/* clang-format on */

/* Largest first: a value is written with the largest unit that divides it. */
static const struct unit {
    const char *suffix;
    int64_t factor;
} duration_units[] = {{"d", DAY}, {"h", HOUR}, {"m", MINUTE}, {"s", SECOND}, {"ms", MS}, {"us", 1}, {NULL, 0}},
  size_units[] = {{"m", 1 << 20}, {"k", 1 << 10}, {"", 1}, {NULL, 0}}, count_units[] = {{"", 1}, {NULL, 0}};

const struct option *option_table(void)
{
    return table;
}

const struct option *option_find(const char *name)
{
    for (const struct option *option = table; option->name != NULL; option++) {
        if (strcmp(option->name, name) == 0)
            return option;
    }
    return NULL;
}

static const struct unit *units_of(enum option_type type)
{
    return type == OPTION_DURATION ? duration_units : type == OPTION_SIZE ? size_units : count_units;
}

static void write_number(int64_t value, const struct unit *units, char *text, size_t size)
{
    const struct unit *unit = units;
    while (unit[1].suffix != NULL && (value == 0 || value % unit->factor != 0))
        unit++;
    if (value == 0 && units == duration_units)
        snprintf(text, size, "0s");
    else
        snprintf(text, size, "%" PRId64 "%s", value / unit->factor, unit->suffix);
}

static bool read_number(const char *text, const struct unit *units, int64_t *value)
{
    char *end;
    errno = 0;
    if (text[0] < '0' || text[0] > '9')
        return false;
    long long number = strtoll(text, &end, 10);
    if (errno != 0)
        return false;
    for (const struct unit *unit = units; unit->suffix != NULL; unit++) {
        if (strcmp(end, unit->suffix) == 0) {
            if (number > INT64_MAX / unit->factor)
                return false;
            *value = number * unit->factor;
            return true;
        }
    }
    return false;
}

bool option_parse_duration(const char *text, int64_t *microseconds)
{
    return read_number(text, duration_units, microseconds);
}

static bool store_number(const struct option *option, int64_t *place, const char *text, char *expected,
                         size_t expected_size)
{
    const struct unit *units = units_of(option->type);
    int64_t value;
    if (read_number(text, units, &value) && value >= option->least && value <= option->most) {
        *place = value;
        return true;
    }
    char least[32];
    char most[32];
    write_number(option->least, units, least, sizeof least);
    write_number(option->most, units, most, sizeof most);
    const char *what = option->type == OPTION_DURATION ? "a duration (us, ms, s, m, h, d)"
                       : option->type == OPTION_SIZE   ? "a size (k, m)"
                                                       : "a number";
    snprintf(expected, expected_size, "%s from %s to %s", what, least, most);
    return false;
}

static bool store_mode(int64_t *place, const char *text, char *expected, size_t expected_size)
{
    char *end;
    long value = strtol(text, &end, 8);
    if (text[0] >= '0' && text[0] <= '7' && *end == '\0' && value <= 0777) {
        *place = value;
        return true;
    }
    snprintf(expected, expected_size, "permission bits in octal from 0000 to 0777");
    return false;
}

static bool store_switch(bool *place, const char *text, char *expected, size_t expected_size)
{
    if (strcmp(text, "yes") == 0 || strcmp(text, "no") == 0) {
        *place = text[0] == 'y';
        return true;
    }
    snprintf(expected, expected_size, "yes or no");
    return false;
}

static void store_text(const char **place, const char *text)
{
    free((void *)(uintptr_t)*place);
    *place = NULL;
    if (text[0] == '\0')
        return;
    *place = strdup(text);
    INVARIANT(*place != NULL);
}

/* Names that mean something to us or to the proxy whatever the options say. */
static bool is_reserved(const char *name)
{
    static const char *const names[] = {"Authorization",
                                        "Connection",
                                        "Content-Encoding",
                                        "Content-Length",
                                        "Content-Type",
                                        "Cookie",
                                        "Expect",
                                        "Host",
                                        "If-Match",
                                        "If-None-Match",
                                        "Idempotency-Key",
                                        "Origin",
                                        "TE",
                                        "Sec-Fetch-Site",
                                        "Traceparent",
                                        "Transfer-Encoding",
                                        "Upgrade",
                                        "X-Request-Id",
                                        NULL};
    for (const char *const *one = names; *one != NULL; one++) {
        if (strcasecmp(*one, name) == 0)
            return true;
    }
    return false;
}

static bool store_header(const char **place, const char *text, char *expected, size_t expected_size)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~";
    if (strlen(text) <= HEADER_NAME_MAX && text[strspn(text, letters)] == '\0' && !is_reserved(text)) {
        store_text(place, text);
        return true;
    }
    snprintf(expected, expected_size, "the name of a header of at most %d characters that has no meaning yet",
             HEADER_NAME_MAX);
    return false;
}

static bool store_networks(const struct network_list **place, const char *text, char *expected, size_t expected_size)
{
    char error[128];
    struct network_list *list = NULL;
    if (text[0] != '\0') {
        list = network_list_parse(text, error, sizeof error);
        if (list == NULL) {
            snprintf(expected, expected_size, "addresses, networks or unix (%s)", error);
            return false;
        }
    }
    network_list_free((struct network_list *)(uintptr_t)*place);
    *place = list;
    return true;
}

void option_clear(const struct option *option, struct configuration *configuration)
{
    char expected[128];
    if (option->type == OPTION_TEXT || option->type == OPTION_HEADER || option->type == OPTION_NETWORKS)
        INVARIANT(option_store(option, configuration, "", expected, sizeof expected));
}

bool option_store(const struct option *option, struct configuration *configuration, const char *text, char *expected,
                  size_t expected_size)
{
    void *place = (char *)configuration + option->offset;
    switch (option->type) {
    case OPTION_TEXT:
        store_text(place, text);
        return true;
    case OPTION_COUNT:
    case OPTION_SIZE:
    case OPTION_DURATION:
        return store_number(option, place, text, expected, expected_size);
    case OPTION_SWITCH:
        return store_switch(place, text, expected, expected_size);
    case OPTION_MODE:
        return store_mode(place, text, expected, expected_size);
    case OPTION_LEVEL:
        if (log_level_parse(text, place))
            return true;
        snprintf(expected, expected_size, "debug, info, warning or error");
        return false;
    case OPTION_FORMAT:
        if (strcmp(text, "logfmt") == 0 || strcmp(text, "json") == 0) {
            *(enum log_format *)place = text[0] == 'j' ? LOG_FORMAT_JSON : LOG_FORMAT_LOGFMT;
            return true;
        }
        snprintf(expected, expected_size, "logfmt or json");
        return false;
    case OPTION_NETWORKS:
        return store_networks(place, text, expected, expected_size);
    case OPTION_HEADER:
        return store_header(place, text, expected, expected_size);
    }
    return false;
}

bool option_equal(const struct option *option, const struct configuration *one, const struct configuration *other)
{
    char text[2][OPTION_TEXT_MAX];
    option_show(option, one, text[0], sizeof text[0]);
    option_show(option, other, text[1], sizeof text[1]);
    return strcmp(text[0], text[1]) == 0;
}

void option_show(const struct option *option, const struct configuration *configuration, char *text, size_t size)
{
    const void *place = (const char *)configuration + option->offset;
    switch (option->type) {
    case OPTION_TEXT:
    case OPTION_HEADER: {
        const char *value = *(const char *const *)place;
        snprintf(text, size, "%s", value == NULL ? "" : value);
        break;
    }
    case OPTION_COUNT:
    case OPTION_SIZE:
    case OPTION_DURATION:
        write_number(*(const int64_t *)place, units_of(option->type), text, size);
        break;
    case OPTION_SWITCH:
        snprintf(text, size, "%s", *(const bool *)place ? "yes" : "no");
        break;
    case OPTION_MODE:
        snprintf(text, size, "%04o", (unsigned)*(const int64_t *)place);
        break;
    case OPTION_LEVEL:
        snprintf(text, size, "%s", log_level_name(*(const enum log_level *)place));
        break;
    case OPTION_FORMAT:
        snprintf(text, size, "%s", *(const enum log_format *)place == LOG_FORMAT_JSON ? "json" : "logfmt");
        break;
    case OPTION_NETWORKS:
        snprintf(text, size, "%s", network_list_text(*(const struct network_list *const *)place));
        break;
    }
}
