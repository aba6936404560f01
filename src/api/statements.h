/* statements: every statement that the server prepares, in one table. Worker, refresher and scheduler; turnoutd prints
 * it for the tests of plans. */
#ifndef API_STATEMENTS_H
#define API_STATEMENTS_H

#include "pg/pool.h"

/* STATEMENT(name, parameters, sql). The name is the function's in turnout, too; `_keyed` is the same write under an
 * Idempotency-Key: behind the parameters of the plain one stand whether it is sent again (where the plain one does not
 * say so already), the key, what was asked, and how long answers are kept. */
#define KEYED_ROW "select outcome, body, etag, ref, replayed from turnout."
#define CACHED_ROW "select outcome, body, etag, next_start, next_id, ids, epoch, xmax, in_progress from turnout."
#define STATEMENT_LIST(STATEMENT)                                                                                     \
    STATEMENT(users_known, 3, "select role, ref from turnout.users_known($1, $2, $3) order by item")                  \
    STATEMENT(users_seen, 11,                                                                                         \
              "select outcome, body, role, ref "                                                                      \
              "from turnout.users_seen($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) order by item")                  \
    STATEMENT(user_get, 2, "select outcome, body, etag, ref from turnout.user_get($1, $2)")                           \
    STATEMENT(events_list, 10,                                                                                        \
              "select outcome, body, next_start, next_id "                                                            \
              "from turnout.events_list($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")                                    \
    STATEMENT(event_get, 3, "select outcome, body, etag, ref from turnout.event_get($1, $2, $3)")                     \
    STATEMENT(event_create, 6, "select outcome, body, etag, ref from turnout.event_create($1, $2, $3, $4, $5, $6)")   \
    STATEMENT(event_update, 7,                                                                                        \
              "select outcome, body, etag, ref from turnout.event_update($1, $2, $3, $4, $5, $6, $7)")                \
    STATEMENT(event_delete, 5, "select outcome, body, etag, ref from turnout.event_delete($1, $2, $3, $4, $5)")       \
    STATEMENT(event_publish, 5, "select outcome, body, etag, ref from turnout.event_publish($1, $2, $3, $4, $5)")     \
    STATEMENT(event_cancel, 5, "select outcome, body, etag, ref from turnout.event_cancel($1, $2, $3, $4, $5)")       \
    STATEMENT(event_roster, 9,                                                                                        \
              "select outcome, body, next_place, next_id, next_key "                                                  \
              "from turnout.event_roster($1, $2, $3, $4, $5, $6, $7, $8, $9)")                                        \
    STATEMENT(event_log, 7,                                                                                           \
              "select outcome, body, next_place, next_id from turnout.event_log($1, $2, $3, $4, $5, $6, $7)")         \
    STATEMENT(registration_batch, 10,                                                                                 \
              "select outcome, body, etag, ref, false as replayed "                                                   \
              "from turnout.registration_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) order by item")               \
    STATEMENT(registration_batch_keyed, 13,                                                                           \
              KEYED_ROW "registration_batch_with_keys($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) "       \
                        "order by item")                                                                              \
    STATEMENT(registration_transfer, 7,                                                                               \
              "select outcome, body, etag, ref from turnout.registration_transfer($1, $2, $3, $4, $5, $6, $7)")       \
    STATEMENT(register_list, 7,                                                                                       \
              "select outcome, body, etag, ref from turnout.register_list($1, $2, $3, $4, $5, $6, $7)")               \
    STATEMENT(calendar_feed_create, 4,                                                                                \
              "select outcome, body, etag, ref from turnout.calendar_feed_create($1, $2, $3, $4)")                    \
    STATEMENT(calendar_feed_delete, 3,                                                                                \
              "select outcome, body, etag, ref from turnout.calendar_feed_delete($1, $2, $3)")                        \
    STATEMENT(calendar_feed_create_keyed, 8,                                                                          \
              KEYED_ROW "write_with_key('calendar_feed_create', $1, $2, $3, null, null, null, "                       \
                        "jsonb_build_object('token_hash', $4::text), $5, $6, $7, $8)")                                \
    STATEMENT(calendar_feed_delete_keyed, 7,                                                                          \
              KEYED_ROW "write_with_key('calendar_feed_delete', $1, $2, $3, null, null, null, null, $4, $5, $6, $7)") \
    STATEMENT(calendar_feed_get, 1, "select outcome, body, etag, ref from turnout.calendar_feed_get($1)")             \
    STATEMENT(mail_subscribe, 4, "select outcome, body, etag, ref from turnout.mail_subscribe($1, $2, $3, $4)")       \
    STATEMENT(event_create_keyed, 10,                                                                                 \
              KEYED_ROW "write_with_key('event_create', $1, $2, $3, $4, $5, null, $6, $7, $8, $9, $10)")              \
    STATEMENT(event_update_keyed, 11,                                                                                 \
              KEYED_ROW "write_with_key('event_update', $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")               \
    STATEMENT(event_delete_keyed, 9,                                                                                  \
              KEYED_ROW "write_with_key('event_delete', $1, $2, $3, $4, $5, null, null, $6, $7, $8, $9)")             \
    STATEMENT(event_publish_keyed, 9,                                                                                 \
              KEYED_ROW "write_with_key('event_publish', $1, $2, $3, $4, $5, null, null, $6, $7, $8, $9)")            \
    STATEMENT(event_cancel_keyed, 9,                                                                                  \
              KEYED_ROW "write_with_key('event_cancel', $1, $2, $3, $4, $5, null, null, $6, $7, $8, $9)")             \
    STATEMENT(registration_transfer_keyed, 10,                                                                        \
              KEYED_ROW "write_with_key('registration_transfer', $1, $2, $3, $4, $5, null, "                          \
                        "jsonb_build_object('user', $6::text), $7, $8, $9, $10)")                                     \
    STATEMENT(register_list_keyed, 10,                                                                                \
              KEYED_ROW "write_with_key('register_list', $1, $2, $3, $4, $5, null, $6, $7, $8, $9, $10)")             \
    STATEMENT(registration_get, 3, "select outcome, body, etag, ref from turnout.registration_get($1, $2, $3)")       \
    STATEMENT(registrations_mine, 4,                                                                                  \
              "select outcome, body, next_at, next_id from turnout.registrations_mine($1, $2, $3, $4)")               \
    STATEMENT(event_stats, 3, "select outcome, body, etag, ref from turnout.event_stats($1, $2, $3)")                 \
    STATEMENT(event_manage, 3, "select outcome, body, etag, ref from turnout.event_manage($1, $2, $3)")               \
    STATEMENT(cache_begin, 0,                                                                                         \
              "select epoch_before, epoch, witness, system, database, rules from turnout.cache_begin()")              \
    STATEMENT(cache_probe, 1, "select turnout.cache_probe($1)")                                                       \
    STATEMENT(changes_since, 3,                                                                                       \
              "select kind, key, before_category, before_status, before_start, after_category, after_status, "        \
              "after_start, epoch, xmax, in_progress, complete from turnout.changes_since($1, $2, $3)")               \
    STATEMENT(cache_calendar, 1, CACHED_ROW "cache_calendar($1)")                                                     \
    STATEMENT(cache_event, 1, CACHED_ROW "cache_event($1)")                                                           \
    STATEMENT(cache_events_list, 5, CACHED_ROW "cache_events_list($1, $2, $3, $4, $5)")                               \
    STATEMENT(cache_user, 2, CACHED_ROW "cache_user($1, $2)")                                                         \
    STATEMENT(cache_stats, 1, CACHED_ROW "cache_stats($1)")                                                           \
    STATEMENT(cache_warm, 1, "select what, value from turnout.cache_warm($1)")                                        \
    STATEMENT(schema_version, 0, "select turnout.schema_version()")                                                   \
    STATEMENT(complete_ended_events, 1, "select turnout.complete_ended_events($1)")                                   \
    STATEMENT(event_work_step, 1, "select turnout.event_work_step($1)")                                               \
    STATEMENT(prune_changes, 1, "select turnout.prune_changes($1)")                                                   \
    STATEMENT(prune_idempotency_keys, 1, "select turnout.prune_idempotency_keys($1)")                                 \
    STATEMENT(ensure_partitions, 1, "select turnout.ensure_partitions($1)")                                           \
    STATEMENT(audit_step, 2,                                                                                          \
              "select more, events_read, open_findings, round_ended, event_id, counter, department, stored, "         \
              "counted from turnout.audit_step($1, $2)")                                                              \
    STATEMENT(mail_lease, 6, "select state, wait, place, id, letter from turnout.mail_lease($1, $2, $3, $4, $5, $6)") \
    STATEMENT(mail_done, 7, "select id, state from turnout.mail_done($1, $2, $3, $4, $5, $6, $7)")                    \
    STATEMENT(mail_renew, 3, "select turnout.mail_renew($1, $2, $3)")                                                 \
    STATEMENT(mail_release, 3, "select turnout.mail_release($1, $2, $3)")                                             \
    STATEMENT(mail_status, 0, "select owed, due, leased, dead, oldest_due_us from turnout.mail_status()")             \
    STATEMENT(mail_prune, 1, "select turnout.mail_prune($1)")                                                         \
    STATEMENT(owe_reminders, 0, "select turnout.owe_reminders()")                                                     \
    STATEMENT(owe_survey_invitations, 0, "select turnout.owe_survey_invitations()")                                   \
    STATEMENT(job_ran, 6, "select turnout.job_ran($1, $2, $3, $4, $5, $6)")                                           \
    STATEMENT(job_started, 2, "select turnout.job_started($1, $2)")                                                   \
    STATEMENT(job_finished, 4, "select turnout.job_finished($1, $2, $3, $4)")

#define STATEMENT_EXTERN(name, parameters, sql) extern const struct pg_statement statement_##name;
STATEMENT_LIST(STATEMENT_EXTERN)
#undef STATEMENT_EXTERN

/* All of them, ended by NULL. */
extern const struct pg_statement *const api_statements[];

/* A write's `_keyed` statement, which every write has; NULL: it is no write. */
const struct pg_statement *api_statement_keyed(const struct pg_statement *statement) MUST_CHECK;

#endif
