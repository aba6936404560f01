/* statistics_table: the one table of metrics, and the labels that they can have. From it come the layout of the pages,
 * the enums that callers name, and the page of /metrics; tests hold docs/metrics.md against that. Any process. */
#ifndef SHM_STATISTICS_TABLE_H
#define SHM_STATISTICS_TABLE_H

#define STATISTICS_TAG(key, value) key "=\"" value "\""

/* ---- labels: LABEL(symbol, text), the constant is LABEL_symbol. No list holds a text of a client. */

#define STATISTICS_NONE_LABELS(LABEL) LABEL(NONE_ONE, "")

#define STATISTICS_ROLE_LABELS(LABEL)                          \
    LABEL(ROLE_MASTER, STATISTICS_TAG("role", "master"))       \
    LABEL(ROLE_WORKER, STATISTICS_TAG("role", "worker"))       \
    LABEL(ROLE_REFRESHER, STATISTICS_TAG("role", "refresher")) \
    LABEL(ROLE_SCHEDULER, STATISTICS_TAG("role", "scheduler")) \
    LABEL(ROLE_MAILER, STATISTICS_TAG("role", "mailer"))

#define STATISTICS_STATE_LABELS(LABEL)                         \
    LABEL(STATE_STARTING, STATISTICS_TAG("state", "starting")) \
    LABEL(STATE_READY, STATISTICS_TAG("state", "ready"))       \
    LABEL(STATE_STOPPING, STATISTICS_TAG("state", "stopping")) \
    LABEL(STATE_BACKOFF, STATISTICS_TAG("state", "backoff"))   \
    LABEL(STATE_FAILED, STATISTICS_TAG("state", "failed"))

/* Why a child had to be started again. SIGNAL: another one than those that are named. UNRESPONSIVE: killed by the
 * master, as it answered no ping in time. */
#define STATISTICS_CAUSE_LABELS(LABEL)                           \
    LABEL(CAUSE_EXIT, STATISTICS_TAG("cause", "exit"))           \
    LABEL(CAUSE_SIGKILL, STATISTICS_TAG("cause", "SIGKILL"))     \
    LABEL(CAUSE_SIGTERM, STATISTICS_TAG("cause", "SIGTERM"))     \
    LABEL(CAUSE_SIGSEGV, STATISTICS_TAG("cause", "SIGSEGV"))     \
    LABEL(CAUSE_SIGABRT, STATISTICS_TAG("cause", "SIGABRT"))     \
    LABEL(CAUSE_SIGBUS, STATISTICS_TAG("cause", "SIGBUS"))       \
    LABEL(CAUSE_SIGFPE, STATISTICS_TAG("cause", "SIGFPE"))       \
    LABEL(CAUSE_SIGILL, STATISTICS_TAG("cause", "SIGILL"))       \
    LABEL(CAUSE_SIGNAL, STATISTICS_TAG("cause", "other-signal")) \
    LABEL(CAUSE_UNRESPONSIVE, STATISTICS_TAG("cause", "unresponsive"))

#define STATISTICS_MODE_LABELS(LABEL)                \
    LABEL(MODE_USER, STATISTICS_TAG("mode", "user")) \
    LABEL(MODE_SYSTEM, STATISTICS_TAG("mode", "system"))

#define STATISTICS_LISTENER_LABELS(LABEL)                        \
    LABEL(LISTENER_PUBLIC, STATISTICS_TAG("listener", "public")) \
    LABEL(LISTENER_INTERNAL, STATISTICS_TAG("listener", "internal"))

/* Routes are named by the program that reads (statistics_set_routes): a page only knows that one is the n-th. */
#define STATISTICS_ROUTES_MAX 96

#define STATISTICS_STATUS_LIST(STATUS, LABEL) \
    STATUS(LABEL, 200)                        \
    STATUS(LABEL, 201)                        \
    STATUS(LABEL, 202)                        \
    STATUS(LABEL, 204)                        \
    STATUS(LABEL, 304)                        \
    STATUS(LABEL, 400)                        \
    STATUS(LABEL, 401)                        \
    STATUS(LABEL, 403)                        \
    STATUS(LABEL, 404)                        \
    STATUS(LABEL, 405)                        \
    STATUS(LABEL, 406)                        \
    STATUS(LABEL, 408)                        \
    STATUS(LABEL, 409)                        \
    STATUS(LABEL, 412)                        \
    STATUS(LABEL, 413)                        \
    STATUS(LABEL, 414)                        \
    STATUS(LABEL, 415)                        \
    STATUS(LABEL, 417)                        \
    STATUS(LABEL, 422)                        \
    STATUS(LABEL, 428)                        \
    STATUS(LABEL, 429)                        \
    STATUS(LABEL, 431)                        \
    STATUS(LABEL, 500)                        \
    STATUS(LABEL, 501)                        \
    STATUS(LABEL, 503)                        \
    STATUS(LABEL, 505)

/* OTHER: any status that is not in the list. NONE: the client went before there was an answer. */
#define STATISTICS_STATUS_LABEL(LABEL, number) LABEL(CODE_##number, STATISTICS_TAG("code", #number))
#define STATISTICS_CODE_LABELS(LABEL)                  \
    LABEL(CODE_OTHER, STATISTICS_TAG("code", "other")) \
    LABEL(CODE_NONE, STATISTICS_TAG("code", "none")) STATISTICS_STATUS_LIST(STATISTICS_STATUS_LABEL, LABEL)

/* Why a connection was closed. CLIENT: by the client, or it broke. ANSWERED: after an answer, as the client or that
 * answer wished. REFUSED: after bytes that no request can be. The rest: the time-outs of the configuration (IDLE: the
 * client kept the connection and sent nothing), and the end of the process. */
#define STATISTICS_CLOSING_LABELS(LABEL)                                      \
    LABEL(CLOSING_CLIENT, STATISTICS_TAG("reason", "client"))                 \
    LABEL(CLOSING_ANSWERED, STATISTICS_TAG("reason", "answered"))             \
    LABEL(CLOSING_REFUSED, STATISTICS_TAG("reason", "refused"))               \
    LABEL(CLOSING_IDLE_TIMEOUT, STATISTICS_TAG("reason", "idle-timeout"))     \
    LABEL(CLOSING_HEADER_TIMEOUT, STATISTICS_TAG("reason", "header-timeout")) \
    LABEL(CLOSING_BODY_TIMEOUT, STATISTICS_TAG("reason", "body-timeout"))     \
    LABEL(CLOSING_WRITE_TIMEOUT, STATISTICS_TAG("reason", "write-timeout"))   \
    LABEL(CLOSING_ROOM, STATISTICS_TAG("reason", "room"))                     \
    LABEL(CLOSING_SHUTDOWN, STATISTICS_TAG("reason", "shutdown"))

#define STATISTICS_PAUSE_LABELS(LABEL)                  \
    LABEL(PAUSE_FULL, STATISTICS_TAG("reason", "full")) \
    LABEL(PAUSE_DESCRIPTORS, STATISTICS_TAG("reason", "descriptors"))

/* The verdicts of src/http/guard.h. */
#define STATISTICS_REFUSAL_LABELS(LABEL)                                             \
    LABEL(REFUSAL_LINE_END, STATISTICS_TAG("problem", "line-end"))                   \
    LABEL(REFUSAL_REQUEST_LINE, STATISTICS_TAG("problem", "request-line"))           \
    LABEL(REFUSAL_METHOD, STATISTICS_TAG("problem", "method"))                       \
    LABEL(REFUSAL_CONNECT, STATISTICS_TAG("problem", "connect"))                     \
    LABEL(REFUSAL_VERSION, STATISTICS_TAG("problem", "version"))                     \
    LABEL(REFUSAL_TARGET, STATISTICS_TAG("problem", "target"))                       \
    LABEL(REFUSAL_FRAGMENT, STATISTICS_TAG("problem", "fragment"))                   \
    LABEL(REFUSAL_AUTHORITY, STATISTICS_TAG("problem", "authority"))                 \
    LABEL(REFUSAL_REQUEST_LINE_SIZE, STATISTICS_TAG("problem", "request-line-size")) \
    LABEL(REFUSAL_HEADER_SIZE, STATISTICS_TAG("problem", "header-size"))             \
    LABEL(REFUSAL_HEADER_COUNT, STATISTICS_TAG("problem", "header-count"))           \
    LABEL(REFUSAL_HEADER_NAME, STATISTICS_TAG("problem", "header-name"))             \
    LABEL(REFUSAL_HEADER_FOLDED, STATISTICS_TAG("problem", "header-folded"))         \
    LABEL(REFUSAL_HEADER_VALUE, STATISTICS_TAG("problem", "header-value"))           \
    LABEL(REFUSAL_LOOK_ALIKE, STATISTICS_TAG("problem", "look-alike"))               \
    LABEL(REFUSAL_HOST, STATISTICS_TAG("problem", "host"))                           \
    LABEL(REFUSAL_CONTENT_LENGTH, STATISTICS_TAG("problem", "content-length"))       \
    LABEL(REFUSAL_TRANSFER_ENCODING, STATISTICS_TAG("problem", "transfer-encoding")) \
    LABEL(REFUSAL_TWO_LENGTHS, STATISTICS_TAG("problem", "two-lengths"))             \
    LABEL(REFUSAL_OLD_CHUNKED, STATISTICS_TAG("problem", "old-chunked"))             \
    LABEL(REFUSAL_UNWANTED_BODY, STATISTICS_TAG("problem", "unwanted-body"))         \
    LABEL(REFUSAL_UPGRADE, STATISTICS_TAG("problem", "upgrade"))                     \
    LABEL(REFUSAL_EXPECT, STATISTICS_TAG("problem", "expect"))                       \
    LABEL(REFUSAL_PARSER, STATISTICS_TAG("problem", "parser"))                       \
    LABEL(REFUSAL_CHUNK, STATISTICS_TAG("problem", "chunk"))                         \
    LABEL(REFUSAL_BODY_SIZE, STATISTICS_TAG("problem", "body-size"))                 \
    LABEL(REFUSAL_HEADER_TIME, STATISTICS_TAG("problem", "header-time"))             \
    LABEL(REFUSAL_BODY_TIME, STATISTICS_TAG("problem", "body-time"))

#define STATISTICS_TOKEN_LABELS(LABEL)                              \
    LABEL(TOKEN_REMEMBERED, STATISTICS_TAG("result", "remembered")) \
    LABEL(TOKEN_VERIFIED, STATISTICS_TAG("result", "verified"))     \
    LABEL(TOKEN_REFUSED, STATISTICS_TAG("result", "refused"))

/* Who a trusted proxy says is signed in. */
#define STATISTICS_PROXIED_LABELS(LABEL)                              \
    LABEL(PROXIED_REMEMBERED, STATISTICS_TAG("result", "remembered")) \
    LABEL(PROXIED_TAKEN, STATISTICS_TAG("result", "taken"))           \
    LABEL(PROXIED_REFUSED, STATISTICS_TAG("result", "refused"))

#define STATISTICS_LIMIT_LABELS(LABEL)                               \
    LABEL(LIMIT_USER_WRITES, STATISTICS_TAG("limit", "user_writes")) \
    LABEL(LIMIT_USER_READS, STATISTICS_TAG("limit", "user_reads"))   \
    LABEL(LIMIT_ADDRESS_REQUESTS, STATISTICS_TAG("limit", "address_requests"))

/* What is done with the headers of proxies that are not taken: UNTRUSTED, from a peer that is none of trusted_proxies;
 * UNUSABLE, from one that is, with a value that cannot be used. */
#define STATISTICS_DROP_LABELS(LABEL)                                                                                 \
    LABEL(DROP_ADDRESS_UNTRUSTED, STATISTICS_TAG("what", "client-address") "," STATISTICS_TAG("reason", "untrusted")) \
    LABEL(DROP_ADDRESS_UNUSABLE, STATISTICS_TAG("what", "client-address") "," STATISTICS_TAG("reason", "unusable"))   \
    LABEL(DROP_IDENTITY_UNTRUSTED, STATISTICS_TAG("what", "identity") "," STATISTICS_TAG("reason", "untrusted"))      \
    LABEL(DROP_IDENTITY_UNUSABLE, STATISTICS_TAG("what", "identity") "," STATISTICS_TAG("reason", "unusable"))

/* A pool exists in one role only, so the two labels are one list. */
#define STATISTICS_POOL_LABELS(LABEL)                                                                      \
    LABEL(POOL_WORKER_READ, STATISTICS_TAG("role", "worker") "," STATISTICS_TAG("pool", "read"))           \
    LABEL(POOL_WORKER_WRITE, STATISTICS_TAG("role", "worker") "," STATISTICS_TAG("pool", "write"))         \
    LABEL(POOL_WORKER_BUSY, STATISTICS_TAG("role", "worker") "," STATISTICS_TAG("pool", "busy"))           \
    LABEL(POOL_SCHEDULER_APP, STATISTICS_TAG("role", "scheduler") "," STATISTICS_TAG("pool", "app"))       \
    LABEL(POOL_SCHEDULER_OWNER, STATISTICS_TAG("role", "scheduler") "," STATISTICS_TAG("pool", "owner"))   \
    LABEL(POOL_REFRESHER_FEED, STATISTICS_TAG("role", "refresher") "," STATISTICS_TAG("pool", "feed"))     \
    LABEL(POOL_REFRESHER_RENDER, STATISTICS_TAG("role", "refresher") "," STATISTICS_TAG("pool", "render")) \
    LABEL(POOL_MAILER, STATISTICS_TAG("role", "mailer") "," STATISTICS_TAG("pool", "mail"))

/* Of keys of the hot cache, in the order of enum hot_pattern. */
#define STATISTICS_PATTERN_LABELS(LABEL)                     \
    LABEL(PATTERN_LIST, STATISTICS_TAG("pattern", "list"))   \
    LABEL(PATTERN_EVENT, STATISTICS_TAG("pattern", "event")) \
    LABEL(PATTERN_STATS, STATISTICS_TAG("pattern", "stats")) \
    LABEL(PATTERN_USER, STATISTICS_TAG("pattern", "user"))   \
    LABEL(PATTERN_CALENDAR, STATISTICS_TAG("pattern", "calendar"))

/* Where a body that was missing came from. */
#define STATISTICS_SOURCE_LABELS(LABEL)                              \
    LABEL(SOURCE_POSTGRESQL, STATISTICS_TAG("source", "postgresql")) \
    LABEL(SOURCE_REDIS, STATISTICS_TAG("source", "redis"))

/* Why a body was not published. OLDER: something newer was; OVERTAKEN: a worker had served a newer one itself; LARGE:
 * no room for it that nobody reads from. */
#define STATISTICS_UNPUBLISHED_LABELS(LABEL)                            \
    LABEL(UNPUBLISHED_OLDER, STATISTICS_TAG("reason", "older"))         \
    LABEL(UNPUBLISHED_OVERTAKEN, STATISTICS_TAG("reason", "overtaken")) \
    LABEL(UNPUBLISHED_LARGE, STATISTICS_TAG("reason", "too-large"))

/* Calls to Redis and how they end, in the order of enum store_call and enum store_end. */
#define STATISTICS_REDIS_CALL_LABELS(LABEL)                      \
    LABEL(REDIS_CALL_GET, STATISTICS_TAG("call", "get"))         \
    LABEL(REDIS_CALL_PUT, STATISTICS_TAG("call", "put"))         \
    LABEL(REDIS_CALL_LEASE, STATISTICS_TAG("call", "lease"))     \
    LABEL(REDIS_CALL_RELEASE, STATISTICS_TAG("call", "release")) \
    LABEL(REDIS_CALL_DELETE, STATISTICS_TAG("call", "delete"))

#define STATISTICS_REDIS_END_LABELS(LABEL)                            \
    LABEL(REDIS_END_OK, STATISTICS_TAG("result", "ok"))               \
    LABEL(REDIS_END_MISSING, STATISTICS_TAG("result", "missing"))     \
    LABEL(REDIS_END_MALFORMED, STATISTICS_TAG("result", "malformed")) \
    LABEL(REDIS_END_REFUSED, STATISTICS_TAG("result", "refused"))     \
    LABEL(REDIS_END_LATE, STATISTICS_TAG("result", "late"))           \
    LABEL(REDIS_END_FAILED, STATISTICS_TAG("result", "failed"))       \
    LABEL(REDIS_END_BUSY, STATISTICS_TAG("result", "busy"))           \
    LABEL(REDIS_END_CIRCUIT_OPEN, STATISTICS_TAG("result", "circuit-open"))

#define STATISTICS_SEGMENT_LABELS(LABEL)                 \
    LABEL(SEGMENT_FREE, STATISTICS_TAG("state", "free")) \
    LABEL(SEGMENT_OPEN, STATISTICS_TAG("state", "open")) \
    LABEL(SEGMENT_SEALED, STATISTICS_TAG("state", "sealed"))

#define STATISTICS_USE_LABELS(LABEL)                 \
    LABEL(USE_USED, STATISTICS_TAG("state", "used")) \
    LABEL(USE_IDLE, STATISTICS_TAG("state", "idle")) \
    LABEL(USE_CONNECTING, STATISTICS_TAG("state", "connecting"))

#define STATISTICS_TIMEOUT_LABELS(LABEL)                      \
    LABEL(TIMEOUT_ACQUIRE, STATISTICS_TAG("kind", "acquire")) \
    LABEL(TIMEOUT_STATEMENT, STATISTICS_TAG("kind", "statement"))

/* The decision of the rule for one registration. FAILED: the database gave no decision and nothing was written;
 * UNKNOWN: nobody knows whether it was; OTHER: an outcome that the list does not have. */
#define STATISTICS_REGISTRATION_LABELS(LABEL)                                     \
    LABEL(REGISTRATION_REGISTERED, STATISTICS_TAG("outcome", "registered"))       \
    LABEL(REGISTRATION_WAITLISTED, STATISTICS_TAG("outcome", "waitlisted"))       \
    LABEL(REGISTRATION_EXISTING, STATISTICS_TAG("outcome", "existing"))           \
    LABEL(REGISTRATION_NOT_FOUND, STATISTICS_TAG("outcome", "not_found"))         \
    LABEL(REGISTRATION_FORBIDDEN, STATISTICS_TAG("outcome", "forbidden"))         \
    LABEL(REGISTRATION_NOT_PUBLISHED, STATISTICS_TAG("outcome", "not_published")) \
    LABEL(REGISTRATION_EVENT_CLOSED, STATISTICS_TAG("outcome", "event_closed"))   \
    LABEL(REGISTRATION_NOT_OPEN_YET, STATISTICS_TAG("outcome", "not_open_yet"))   \
    LABEL(REGISTRATION_CLOSED, STATISTICS_TAG("outcome", "registration_closed"))  \
    LABEL(REGISTRATION_NOT_ELIGIBLE, STATISTICS_TAG("outcome", "not_eligible"))   \
    LABEL(REGISTRATION_FULL, STATISTICS_TAG("outcome", "full"))                   \
    LABEL(REGISTRATION_BUSY, STATISTICS_TAG("outcome", "busy"))                   \
    LABEL(REGISTRATION_FAILED, STATISTICS_TAG("outcome", "failed"))               \
    LABEL(REGISTRATION_UNKNOWN, STATISTICS_TAG("outcome", "unknown"))             \
    LABEL(REGISTRATION_OTHER, STATISTICS_TAG("outcome", "other"))

/* REFUSED: the queue was full or too long. LATE: it took too long, or the client went. BUSY: the event's seats were
 * held. */
#define STATISTICS_ORDER_LABELS(LABEL)                           \
    LABEL(ORDER_REFUSED, STATISTICS_TAG("reason", "queue-full")) \
    LABEL(ORDER_LATE, STATISTICS_TAG("reason", "late"))          \
    LABEL(ORDER_BUSY, STATISTICS_TAG("reason", "event-busy"))

#define STATISTICS_IDEMPOTENCY_LABELS(LABEL)                          \
    LABEL(IDEMPOTENCY_STORED, STATISTICS_TAG("result", "stored"))     \
    LABEL(IDEMPOTENCY_REPLAYED, STATISTICS_TAG("result", "replayed")) \
    LABEL(IDEMPOTENCY_IN_USE, STATISTICS_TAG("result", "in-use"))     \
    LABEL(IDEMPOTENCY_REUSED, STATISTICS_TAG("result", "reused"))

#define STATISTICS_JOB_LABELS(LABEL)                                                \
    LABEL(JOB_COMPLETE_EVENTS, STATISTICS_TAG("job_name", "complete-events"))       \
    LABEL(JOB_EVENT_WORK, STATISTICS_TAG("job_name", "event-work"))                 \
    LABEL(JOB_REMINDERS, STATISTICS_TAG("job_name", "reminders"))                   \
    LABEL(JOB_SURVEY_INVITATIONS, STATISTICS_TAG("job_name", "survey-invitations")) \
    LABEL(JOB_PRUNE_CHANGES, STATISTICS_TAG("job_name", "prune-changes"))           \
    LABEL(JOB_PRUNE_KEYS, STATISTICS_TAG("job_name", "prune-idempotency-keys"))     \
    LABEL(JOB_PRUNE_OUTBOX, STATISTICS_TAG("job_name", "prune-outbox"))             \
    LABEL(JOB_PARTITIONS, STATISTICS_TAG("job_name", "partitions"))                 \
    LABEL(JOB_AUDIT, STATISTICS_TAG("job_name", "audit"))

#define STATISTICS_RESULT_LABELS(LABEL)              \
    LABEL(RESULT_OK, STATISTICS_TAG("result", "ok")) \
    LABEL(RESULT_FAILED, STATISTICS_TAG("result", "failed"))

#define STATISTICS_MAIL_KIND_LABELS(LABEL)                                          \
    LABEL(MAIL_KIND_CONFIRMATION, STATISTICS_TAG("mail", "confirmation"))           \
    LABEL(MAIL_KIND_WAITLISTED, STATISTICS_TAG("mail", "waitlisted"))               \
    LABEL(MAIL_KIND_PROMOTED, STATISTICS_TAG("mail", "promoted"))                   \
    LABEL(MAIL_KIND_CANCELLED, STATISTICS_TAG("mail", "cancelled"))                 \
    LABEL(MAIL_KIND_CHANGED, STATISTICS_TAG("mail", "changed"))                     \
    LABEL(MAIL_KIND_EVENT_CANCELLED, STATISTICS_TAG("mail", "event_cancelled"))     \
    LABEL(MAIL_KIND_REMINDER, STATISTICS_TAG("mail", "reminder"))                   \
    LABEL(MAIL_KIND_SURVEY_INVITATION, STATISTICS_TAG("mail", "survey_invitation")) \
    LABEL(MAIL_KIND_OTHER, STATISTICS_TAG("mail", "other"))

/* GIVEN_UP: cut when the mailer had to end; it may have arrived. UNSENT: this host could not send. */
#define STATISTICS_MAIL_OUTCOME_LABELS(LABEL)                             \
    LABEL(MAIL_OUTCOME_SENT, STATISTICS_TAG("outcome", "sent"))           \
    LABEL(MAIL_OUTCOME_TEMPORARY, STATISTICS_TAG("outcome", "temporary")) \
    LABEL(MAIL_OUTCOME_PERMANENT, STATISTICS_TAG("outcome", "permanent")) \
    LABEL(MAIL_OUTCOME_LOST, STATISTICS_TAG("outcome", "lost"))           \
    LABEL(MAIL_OUTCOME_SLOW, STATISTICS_TAG("outcome", "slow"))           \
    LABEL(MAIL_OUTCOME_UNSENT, STATISTICS_TAG("outcome", "unsent"))       \
    LABEL(MAIL_OUTCOME_GIVEN_UP, STATISTICS_TAG("outcome", "given-up"))

/* Of the outbox. DUE: owed, and the time has come. */
#define STATISTICS_MAIL_STATE_LABELS(LABEL)                     \
    LABEL(MAIL_STATE_OWED, STATISTICS_TAG("state", "owed"))     \
    LABEL(MAIL_STATE_DUE, STATISTICS_TAG("state", "due"))       \
    LABEL(MAIL_STATE_LEASED, STATISTICS_TAG("state", "leased")) \
    LABEL(MAIL_STATE_DEAD, STATISTICS_TAG("state", "dead"))

#define STATISTICS_VERSION_LABELS(LABEL) LABEL(VERSION_OWN, STATISTICS_TAG("version", PACKAGE_VERSION))

/* DIMENSION(symbol): one list of labels. ROUTE is not among them: its texts are not known here. */
#define STATISTICS_DIMENSION_LIST(DIMENSION) \
    DIMENSION(NONE)                          \
    DIMENSION(ROLE)                          \
    DIMENSION(STATE)                         \
    DIMENSION(CAUSE)                         \
    DIMENSION(MODE)                          \
    DIMENSION(LISTENER)                      \
    DIMENSION(CODE)                          \
    DIMENSION(CLOSING)                       \
    DIMENSION(PAUSE)                         \
    DIMENSION(REFUSAL)                       \
    DIMENSION(TOKEN)                         \
    DIMENSION(DROP)                          \
    DIMENSION(PROXIED)                       \
    DIMENSION(LIMIT)                         \
    DIMENSION(POOL)                          \
    DIMENSION(USE)                           \
    DIMENSION(TIMEOUT)                       \
    DIMENSION(REGISTRATION)                  \
    DIMENSION(ORDER)                         \
    DIMENSION(IDEMPOTENCY)                   \
    DIMENSION(JOB)                           \
    DIMENSION(RESULT)                        \
    DIMENSION(MAIL_KIND)                     \
    DIMENSION(MAIL_OUTCOME)                  \
    DIMENSION(MAIL_STATE)                    \
    DIMENSION(PATTERN)                       \
    DIMENSION(SOURCE)                        \
    DIMENSION(UNPUBLISHED)                   \
    DIMENSION(SEGMENT)                       \
    DIMENSION(REDIS_CALL)                    \
    DIMENSION(REDIS_END)                     \
    DIMENSION(VERSION)

/* ---- metrics: FAMILY(symbol, kind, unit, name, first labels, second labels, help) ----
 *
 * Kinds: COUNTER only grows. GAUGE is how it stands, added up over the processes that live. LATEST is a gauge that
 * outlives its process: the highest of all pages. HISTOGRAM counts what it observes by the limits in statistics.c.
 * Unit: NUMBER is told as it is, MICROSECONDS as seconds. */
#define STATISTICS_FAMILY_LIST(FAMILY)                                                                                 \
    FAMILY(BUILD_INFO, LATEST, NUMBER, "build_info", VERSION, NONE, "Always 1; the version of the program.")           \
    FAMILY(START_TIME, LATEST, MICROSECONDS, "start_time_seconds", NONE, NONE,                                         \
           "When the master started, in seconds since 1970.")                                                          \
    FAMILY(PROCESSES, GAUGE, NUMBER, "processes", ROLE, STATE, "Rows of the process table.")                           \
    FAMILY(WORKERS_WANTED, GAUGE, NUMBER, "workers_wanted", NONE, NONE, "Workers that there shall be.")                \
    FAMILY(RESTARTS, COUNTER, NUMBER, "process_restarts_total", ROLE, CAUSE,                                           \
           "Processes that had to be started again, by what they died of.")                                            \
    FAMILY(EARLY_DEATHS, COUNTER, NUMBER, "process_early_deaths_total", ROLE, NONE,                                    \
           "Those of them that died before they served.")                                                              \
    FAMILY(CPU, COUNTER, MICROSECONDS, "process_cpu_seconds_total", ROLE, MODE, "CPU time used.")                      \
    FAMILY(RESIDENT, GAUGE, NUMBER, "process_resident_memory_bytes", ROLE, NONE,                                       \
           "Memory that the kernel counts, shared pages in each process that uses them.")                              \
    FAMILY(DESCRIPTORS, GAUGE, NUMBER, "process_open_descriptors", ROLE, NONE, "Open file descriptors.")               \
    FAMILY(LOOP_LAG, HISTOGRAM, MICROSECONDS, "event_loop_lag_seconds", ROLE, NONE,                                    \
           "How late the event loop came to a timer, one sample in each ping_interval.")                               \
    FAMILY(LOG_LINES_DROPPED, COUNTER, NUMBER, "log_lines_dropped_total", ROLE, NONE,                                  \
           "Lines of the log that could not be written.")                                                              \
    FAMILY(HTTP_REQUESTS, COUNTER, NUMBER, "http_requests_total", ROUTE, CODE,                                         \
           "Requests answered, by the template of their route; none: no route fits or the bytes were refused.")        \
    FAMILY(HTTP_DURATION, HISTOGRAM, MICROSECONDS, "http_request_duration_seconds", ROUTE, NONE,                       \
           "From the first byte of a request until its answer is handed to the kernel.")                               \
    FAMILY(HTTP_IN_FLIGHT, GAUGE, NUMBER, "http_requests_in_flight", LISTENER, NONE,                                   \
           "Requests that are being worked on.")                                                                       \
    FAMILY(HTTP_CONNECTIONS, GAUGE, NUMBER, "http_connections", LISTENER, NONE, "Open connections of clients.")        \
    FAMILY(HTTP_ACCEPTED, COUNTER, NUMBER, "http_connections_accepted_total", LISTENER, NONE, "Connections accepted.") \
    FAMILY(HTTP_CLOSED, COUNTER, NUMBER, "http_connections_closed_total", LISTENER, CLOSING,                           \
           "Connections closed, by the reason.")                                                                       \
    FAMILY(HTTP_PAUSES, COUNTER, NUMBER, "http_accept_pauses_total", LISTENER, PAUSE,                                  \
           "Times that a process stopped accepting: it had max_connections, or the system gave no more.")              \
    FAMILY(HTTP_CUT_OFF, COUNTER, NUMBER, "http_slow_clients_cut_off_total", LISTENER, NONE,                           \
           "Slow clients ended before their deadline, because together they held connection_memory.")                  \
    FAMILY(HTTP_PUT_OFF, COUNTER, NUMBER, "http_put_off_total", LISTENER, NONE,                                        \
           "Writes and answers to writes that waited for another turn of the loop, to let reads go first.")            \
    FAMILY(HTTP_REFUSALS, COUNTER, NUMBER, "http_refused_requests_total", REFUSAL, NONE,                               \
           "Requests refused for their bytes alone: framing, limits, time.")                                           \
    FAMILY(HTTP_RECEIVED, COUNTER, NUMBER, "http_received_bytes_total", LISTENER, NONE, "Bytes read from clients.")    \
    FAMILY(HTTP_SENT, COUNTER, NUMBER, "http_sent_bytes_total", LISTENER, NONE, "Bytes of answers.")                   \
    FAMILY(HTTP_MEMORY, GAUGE, NUMBER, "http_memory_bytes", LISTENER, NONE, "Memory of connections and requests.")     \
    FAMILY(DB_CONNECTIONS, GAUGE, NUMBER, "db_connections", POOL, USE,                                                 \
           "Connections to PostgreSQL; used: with a statement in flight.")                                             \
    FAMILY(DB_MOST, GAUGE, NUMBER, "db_connections_allowed", POOL, NONE, "Connections that the pools may open.")       \
    FAMILY(DB_IN_FLIGHT, GAUGE, NUMBER, "db_statements_in_flight", POOL, NONE, "Statements sent and not answered.")    \
    FAMILY(DB_WAITING, GAUGE, NUMBER, "db_statements_waiting", POOL, NONE, "Statements that wait for a connection.")   \
    FAMILY(DB_UNREACHABLE, GAUGE, NUMBER, "db_unreachable_pools", POOL, NONE,                                          \
           "Pools whose last attempt to connect failed, or that never connected.")                                     \
    FAMILY(DB_CONNECTS, COUNTER, NUMBER, "db_connects_total", POOL, RESULT, "Attempts to connect to PostgreSQL.")      \
    FAMILY(DB_LOST, COUNTER, NUMBER, "db_connections_lost_total", POOL, NONE, "Connections to PostgreSQL that broke.") \
    FAMILY(DB_TIMEOUTS, COUNTER, NUMBER, "db_timeouts_total", POOL, TIMEOUT,                                           \
           "Statements given up: no connection within db_acquire_timeout, or cancelled after db_statement_timeout.")   \
    FAMILY(DB_ACQUIRE, HISTOGRAM, MICROSECONDS, "db_acquire_seconds", POOL, NONE,                                      \
           "How long statements waited for a connection, those that got none included.")                               \
    FAMILY(DB_STATEMENT, HISTOGRAM, MICROSECONDS, "db_statement_seconds", POOL, NONE,                                  \
           "How long statements took from their submission to their answer, the wait included.")                       \
    FAMILY(REGISTRATIONS, COUNTER, NUMBER, "registrations_total", REGISTRATION, NONE,                                  \
           "Registrations asked for, by what was decided.")                                                            \
    FAMILY(ORDERS_DROPPED, COUNTER, NUMBER, "orders_dropped_total", ORDER, NONE,                                       \
           "Registrations and cancels refused with 503 before they cost a statement, by the reason.")                  \
    FAMILY(ORDERS_WAITING, GAUGE, NUMBER, "orders_waiting", NONE, NONE,                                                \
           "Registrations and cancels that wait to be sent.")                                                          \
    FAMILY(ORDERS_IN_FLIGHT, GAUGE, NUMBER, "orders_in_flight", NONE, NONE,                                            \
           "Registrations and cancels that PostgreSQL is deciding.")                                                   \
    FAMILY(ORDERS_BUSY_EVENTS, GAUGE, NUMBER, "orders_busy_events", NONE, NONE,                                        \
           "Events whose registrations go one call after another, as somebody else holds their seats now and then.")   \
    FAMILY(ORDERS_STUCK_EVENTS, GAUGE, NUMBER, "orders_stuck_events", NONE, NONE,                                      \
           "Those of them whose seats somebody does not give back.")                                                   \
    FAMILY(ORDERS_SENT, COUNTER, NUMBER, "orders_sent_total", NONE, NONE,                                              \
           "Registrations and cancels in calls that PostgreSQL has answered; over the calls: how many go together.")   \
    FAMILY(ORDERS_CALL, HISTOGRAM, MICROSECONDS, "orders_call_seconds", NONE, NONE,                                    \
           "How long a call that decides some of them took.")                                                          \
    FAMILY(IDEMPOTENCY, COUNTER, NUMBER, "idempotency_keys_total", IDEMPOTENCY, NONE,                                  \
           "Writes with an Idempotency-Key, by what became of the key.")                                               \
    FAMILY(TOKENS, COUNTER, NUMBER, "tokens_total", TOKEN, NONE,                                                       \
           "Tokens looked at: remembered from an earlier request, verified, or refused.")                              \
    FAMILY(PROXY_IDENTITIES, COUNTER, NUMBER, "proxy_identities_total", PROXIED, NONE,                                 \
           "Identities named by trusted proxies: remembered from an earlier request, taken, or refused.")              \
    FAMILY(PROXY_HEADERS_DROPPED, COUNTER, NUMBER, "proxy_headers_dropped_total", DROP, NONE,                          \
           "Requests whose headers of identity or client address were not taken.")                                     \
    FAMILY(RATE_LIMITED, COUNTER, NUMBER, "rate_limited_total", LIMIT, NONE,                                           \
           "Requests refused with 429, by the limit that they were past.")                                             \
    FAMILY(RATE_UNCOUNTED, COUNTER, NUMBER, "rate_uncounted_total", LIMIT, NONE,                                       \
           "Requests let through without being counted against the limit, as there was no room for their bucket.")     \
    FAMILY(KEY_SET_READS, COUNTER, NUMBER, "key_set_reads_total", RESULT, NONE,                                        \
           "Times that the key set of tokens was read again.")                                                         \
    FAMILY(RELOADS, COUNTER, NUMBER, "reloads_total", RESULT, NONE, "Reloads of the configuration.")                   \
    FAMILY(RELOAD_SUCCEEDED, GAUGE, NUMBER, "reload_last_succeeded", NONE, NONE,                                       \
           "1: the last reload took the file, or there was none; 0: it was refused, or not taken everywhere.")         \
    FAMILY(RELOAD_TIME, LATEST, MICROSECONDS, "reload_last_success_timestamp_seconds", NONE, NONE,                     \
           "When the configuration was read for the last time, in seconds since 1970.")                                \
    FAMILY(JOB_RUNS, COUNTER, NUMBER, "job_runs_total", JOB, RESULT, "Runs of the jobs of the scheduler.")             \
    FAMILY(JOB_ROWS, COUNTER, NUMBER, "job_rows_total", JOB, NONE,                                                     \
           "Rows that the jobs changed; of audit: differences that it found.")                                         \
    FAMILY(JOB_TIME, LATEST, MICROSECONDS, "job_last_success_timestamp_seconds", JOB, NONE,                            \
           "When a job last succeeded, in seconds since 1970; 0: not yet.")                                            \
    FAMILY(AUDIT_DRIFT, LATEST, NUMBER, "audit_drift", NONE, NONE,                                                     \
           "Counters of events that differ from their rows, over all events of the database, as last seen; always 0.") \
    FAMILY(AUDIT_EVENTS, COUNTER, NUMBER, "audit_events_total", NONE, NONE, "Events that this host has audited.")      \
    FAMILY(AUDIT_ROUND, LATEST, MICROSECONDS, "audit_round_timestamp_seconds", NONE, NONE,                             \
           "When all events had been audited for the last time, by all hosts together, in seconds since 1970; 0: not " \
           "yet.")                                                                                                     \
    FAMILY(MAIL, COUNTER, NUMBER, "mail_total", MAIL_KIND, MAIL_OUTCOME,                                               \
           "Tries to send a letter, by what became of it.")                                                            \
    FAMILY(MAIL_SECONDS, HISTOGRAM, MICROSECONDS, "mail_send_seconds", NONE, NONE,                                     \
           "How long letters took that were sent, from when they were begun until the server had taken them.")         \
    FAMILY(MAIL_OUTBOX, LATEST, NUMBER, "mail_outbox", MAIL_STATE, NONE,                                               \
           "Letters of the outbox, over all hosts, as last seen.")                                                     \
    FAMILY(MAIL_OLDEST, LATEST, MICROSECONDS, "mail_oldest_due_seconds", NONE, NONE,                                   \
           "How long the oldest letter that is due has been waiting, as last seen; 0: none is.")                       \
    FAMILY(MAIL_WAITING, GAUGE, NUMBER, "mail_waiting", NONE, NONE, "Letters that a mailer has taken and not begun.")  \
    FAMILY(MAIL_IN_FLIGHT, GAUGE, NUMBER, "mail_in_flight", NONE, NONE,                                                \
           "Letters that are being sent, or were and are not committed: what a crash now can repeat.")                 \
    FAMILY(MAIL_CONNECTIONS, GAUGE, NUMBER, "mail_connections", NONE, NONE, "Connections to the SMTP server.")         \
    FAMILY(MAIL_CONNECTS, COUNTER, NUMBER, "mail_connects_total", RESULT, NONE,                                        \
           "Attempts to connect to the SMTP server.")                                                                  \
    FAMILY(MAIL_UNREACHABLE, GAUGE, NUMBER, "mail_unreachable", NONE, NONE,                                            \
           "1: this host cannot send mail just now; 0: it can, or has not tried.")                                     \
    FAMILY(MAIL_PAUSED, GAUGE, NUMBER, "mail_paused", NONE, NONE,                                                      \
           "1: turnoutctl mail pause is in force, as last heard.")                                                     \
    FAMILY(CACHE_RENDERS, COUNTER, NUMBER, "cache_renders_total", PATTERN, NONE,                                       \
           "Bodies rendered by PostgreSQL for the hot cache.")                                                         \
    FAMILY(CACHE_FILLS, COUNTER, NUMBER, "cache_fills_total", PATTERN, SOURCE,                                         \
           "Bodies published that were missing, by where they came from.")                                             \
    FAMILY(CACHE_UNPUBLISHED, COUNTER, NUMBER, "cache_unpublished_total", PATTERN, UNPUBLISHED,                        \
           "Bodies that were not published, by the reason.")                                                           \
    FAMILY(CACHE_DROPPED, COUNTER, NUMBER, "cache_dropped_total", PATTERN, NONE,                                       \
           "Entries deleted because they had changed and nobody had read them since, or because they were rendered "   \
           "too late.")                                                                                                \
    FAMILY(CACHE_HITS, COUNTER, NUMBER, "cache_hits_total", PATTERN, NONE,                                             \
           "Reads served from the hot cache, 304s and stale ones included.")                                           \
    FAMILY(CACHE_MISSES, COUNTER, NUMBER, "cache_misses_total", PATTERN, NONE,                                         \
           "Reads of what may be cached and was not there.")                                                           \
    FAMILY(CACHE_STALE, COUNTER, NUMBER, "cache_stale_total", PATTERN, NONE,                                           \
           "Hits that were served although the refresher had not kept up, marked with Age.")                           \
    FAMILY(CACHE_OWN, COUNTER, NUMBER, "cache_own_queries_total", PATTERN, NONE,                                       \
           "Queries of workers themselves for what is cached, as the refresher did not help.")                         \
    FAMILY(CACHE_EVICTIONS, COUNTER, NUMBER, "cache_evictions_total", PATTERN, NONE,                                   \
           "Entries that had to go for room.")                                                                         \
    FAMILY(CACHE_ENTRIES, GAUGE, NUMBER, "cache_entries", PATTERN, NONE, "Entries of the hot cache.")                  \
    FAMILY(CACHE_BYTES, GAUGE, NUMBER, "cache_bytes", PATTERN, NONE, "Bytes of these entries.")                        \
    FAMILY(CACHE_SEGMENTS, GAUGE, NUMBER, "cache_segments", SEGMENT, NONE, "Segments of 1 MiB of the hot cache.")      \
    FAMILY(CACHE_LAG, HISTOGRAM, MICROSECONDS, "cache_refresh_lag_seconds", PATTERN, NONE,                             \
           "From the bell of a change until the body that shows it was published.")                                    \
    FAMILY(CACHE_FEED_READS, COUNTER, NUMBER, "cache_feed_reads_total", NONE, NONE, "Reads of the change feed.")       \
    FAMILY(CACHE_FEED_CHANGES, COUNTER, NUMBER, "cache_feed_changes_total", NONE, NONE,                                \
           "Distinct changes that these reads have brought.")                                                          \
    FAMILY(CACHE_FEED_GAPS, COUNTER, NUMBER, "cache_feed_gaps_total", NONE, NONE,                                      \
           "Times that nobody could say what had changed, so that everything was rendered again.")                     \
    FAMILY(CACHE_FEED_HEARD, GAUGE, NUMBER, "cache_feed_notifications", NONE, NONE,                                    \
           "1: notifications of PostgreSQL arrive; 0: they do not, or it is away.")                                    \
    FAMILY(CACHE_COHERENT, LATEST, MICROSECONDS, "cache_coherent_timestamp_seconds", NONE, NONE,                       \
           "As of when the whole hot cache is known to show every commit, in seconds since 1970; 0: not yet.")         \
    FAMILY(CACHE_OLDEST, GAUGE, MICROSECONDS, "cache_oldest_timestamp_seconds", PATTERN, NONE,                         \
           "When the oldest of these entries was rendered, in seconds since 1970; 0: there is none.")                  \
    FAMILY(CACHE_PINS, GAUGE, NUMBER, "cache_pins", NONE, NONE, "Workers that are sending from a segment.")            \
    FAMILY(CACHE_GENERATION, GAUGE, NUMBER, "cache_generation", NONE, NONE,                                            \
           "Grows each time that nothing cached before may be served any more.")                                       \
    FAMILY(CACHE_DISTRUSTED, COUNTER, NUMBER, "cache_distrusted_total", NONE, NONE,                                    \
           "Times that the refresher crashed, so that its successor kept nothing of the hot cache.")                   \
    FAMILY(REDIS_CALLS, COUNTER, NUMBER, "redis_calls_total", REDIS_CALL, REDIS_END,                                   \
           "Calls to Redis, by how they ended.")                                                                       \
    FAMILY(REDIS_TIME, HISTOGRAM, MICROSECONDS, "redis_call_seconds", REDIS_CALL, NONE,                                \
           "How long calls to Redis took that were sent.")                                                             \
    FAMILY(REDIS_AVAILABLE, GAUGE, NUMBER, "redis_available", NONE, NONE,                                              \
           "1: Redis is asked; 0: there is none, or it is left alone until it answers again.")

#endif
