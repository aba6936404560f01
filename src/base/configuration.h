/* configuration: the options of turnoutd and turnoutctl, from one table (option.c). Read by the master before the
 * first fork, and again when it is told to reload, and by turnoutctl; the others inherit it and hear of changes. Sizes
 * are bytes, durations microseconds. */
#ifndef BASE_CONFIGURATION_H
#define BASE_CONFIGURATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/log.h"
#include "base/object.h"

struct network_list;
struct option;

/* Boot lifetime. Texts are owned by the configuration; an option that is not set and has no default is NULL. */
struct configuration {
    /* where it listens */
    const char *listen;          /* comma-separated: address:port, [address6]:port, unix:/path */
    int64_t listen_mode;         /* permission bits of Unix sockets */
    const char *internal_listen; /* the same for /healthz and /readyz */
    const char *control_socket;
    const char *control_group;
    /* processes */
    int64_t workers;
    int64_t workers_max;
    int64_t ping_interval;
    int64_t ping_timeout;
    int64_t shutdown_timeout;
    int64_t cache_size; /* bytes of the hot cache; 0: off */
    int64_t coherent_time;
    int64_t changes_poll;
    int64_t fill_timeout;
    int64_t stale_max;
    /* HTTP */
    int64_t max_connections; /* per worker */
    int64_t request_line_size;
    int64_t header_size; /* request line and headers together */
    int64_t header_count;
    int64_t body_size;
    int64_t connection_memory; /* per worker: of requests that are coming and answers that are leaving */
    int64_t header_timeout; /* absolute, from the first byte of a request (or the accept) to the end of its headers */
    int64_t body_timeout;   /* absolute, from the end of the headers to the end of the body */
    int64_t write_timeout;  /* absolute, from the first byte of an answer to its last */
    int64_t idle_timeout;   /* between requests of a kept connection */
    /* PostgreSQL */
    const char *database; /* libpq connection string of turnout_app, without a password */
    const char *database_password_file;
    const char *database_owner; /* of turnout_owner: migrations and partitions */
    const char *database_owner_password_file;
    int64_t db_connections;     /* per host, over all processes; 0: 3 per worker + 5 */
    int64_t db_connections_min; /* kept open per pool */
    int64_t db_connect_timeout;
    int64_t db_acquire_timeout;
    int64_t db_statement_timeout;
    int64_t db_idle_time;
    int64_t db_lifetime;
    /* registrations */
    int64_t batch_max;     /* decided by one statement */
    int64_t queue_max;     /* waiting in a worker */
    int64_t queue_timeout; /* until one is sent */
    const char *sql_directory;
    /* Redis */
    const char *redis_socket; /* both NULL: there is none; never both */
    const char *redis;        /* host:port */
    const char *redis_password_file;
    int64_t redis_timeout;
    /* identity */
    const char *jwt_keys_file; /* JWK Set */
    int64_t jwt_keys_min_interval;
    const char *jwt_issuer;
    const char *jwt_audience;
    int64_t jwt_leeway;
    bool trust_role_claim;
    bool public_read;
    const char *cursor_key_file;
    /* what proxies say */
    const struct network_list *trusted_proxies; /* NULL: nobody */
    const char *client_address_header;
    const char *proxy_subject_header; /* NULL: no proxy signs people in */
    const char *proxy_email_header;
    const char *proxy_name_header;
    const char *proxy_department_header;
    const char *proxy_kind_header;
    const char *proxy_role_header;
    const char *proxy_issuer;
    /* limits: requests a second, 0: none; and how many of them at once */
    int64_t user_writes;
    int64_t user_writes_burst;
    int64_t user_reads;
    int64_t user_reads_burst;
    int64_t address_requests; /* without a valid token */
    int64_t address_requests_burst;
    /* mail */
    const char *smtp_url; /* NULL: there is no mailer */
    const char *smtp_tls; /* starttls, try or off */
    const char *smtp_ca_file;
    const char *smtp_user;
    const char *smtp_password_file;
    int64_t smtp_timeout;
    const char *mail_from;
    const char *mail_reply_to;
    int64_t mail_connections;
    int64_t mail_rate; /* messages a second over all hosts; 0: no limit */
    int64_t mail_attempts;
    int64_t mail_retry_min;
    int64_t mail_retry_max;
    int64_t mail_interval;
    int64_t mail_lease_time;
    const char *template_directory;
    const char *mail_templates;
    int64_t outbox_keep;    /* after the end of the event */
    const char *public_url; /* NULL: no links */
    /* scheduler */
    int64_t reminder_interval;
    int64_t complete_interval;
    int64_t event_work_interval;
    int64_t prune_interval;
    int64_t changes_keep;
    int64_t idempotency_keep;
    int64_t partition_interval;
    int64_t partition_years;
    int64_t audit_interval;
    int64_t audit_rows;
    /* log */
    enum log_level log_level;
    enum log_format log_format;
    const char *log_file; /* NULL: standard error */
    bool access_log;
};

/* Reads `path` (NULL: defaults only) over the defaults, then checks values against each other. Returns NULL and one
 * line in `error` ("file:line: ...") on an unknown key, a bad value, or a file that cannot be read. */
struct configuration *configuration_read(const char *path, char *error, size_t error_size) MUST_CHECK;
void configuration_free(struct configuration *configuration);
/* The value of an option of type text, also from a file that is wrong elsewhere: turnoutctl must find a daemon that
 * runs whatever has become of its file since. NULL: the file cannot be read, or the option has no value. The caller
 * frees. */
char *configuration_peek(const char *path, const char *name) MUST_CHECK;

/* The file that it was read from; NULL: none. */
const char *configuration_path(const struct configuration *configuration);
/* A copy, with the origins; the caller frees it. */
struct configuration *configuration_copy(const struct configuration *configuration);
/* Takes over the value and the origin of one option. */
void configuration_take(struct configuration *configuration, const struct configuration *from,
                        const struct option *option);
/* Are the values right together? configuration_read has looked; a mixture of two configurations need not be. */
bool configuration_check(const struct configuration *configuration, char *error, size_t error_size) MUST_CHECK;

/* The one every module of this process reads. Set once after the start; whoever keeps a text of it across turns of the
 * loop keeps a copy, as a reload frees it. */
void configuration_set(struct configuration *configuration);
const struct configuration *configuration_get(void);
/* Changes an option of it in place: a reload, or turnoutctl. false: the text is no value of the option. */
bool configuration_change(const struct option *option, const char *text, const char *origin) MUST_CHECK;
/* The same by the value and origin of another configuration. */
void configuration_adopt(const struct option *option, const struct configuration *from);

/* Calls `row` for each option in the table's order: name, value as it would be written, default, and its origin
 * ("default" or "file:line"). No option holds a secret: secrets are files, and only their paths are options. */
typedef void configuration_row(void *context, const char *name, const char *value, const char *preset,
                               const char *origin);
void configuration_each(const struct configuration *configuration, configuration_row *row, void *context);

/* Does a reload apply a new value of the option, or only a restart? */
bool configuration_reloadable(const char *name);

/* The limits: one row for each, with the names of its two options and their values. */
enum configuration_limit_kind {
    CONFIGURATION_USER_WRITES,
    CONFIGURATION_USER_READS,
    CONFIGURATION_ADDRESS_REQUESTS,
    CONFIGURATION_LIMIT_COUNT
};
struct configuration_limit {
    const char *name; /* static, as burst_name */
    const char *burst_name;
    int64_t rate; /* 0: no limit */
    int64_t burst;
};
void configuration_limits(const struct configuration *configuration,
                          struct configuration_limit limits[CONFIGURATION_LIMIT_COUNT]);

/* Connections to PostgreSQL that this host may open with `workers` workers, the least that they need, and one worker's
 * share. */
int64_t configuration_db_connections(const struct configuration *configuration, int64_t workers);
int64_t configuration_db_minimum(int64_t workers);
int64_t configuration_db_share(const struct configuration *configuration, int64_t workers);

#endif
