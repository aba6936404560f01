# Installed as $(pkgdatadir)/sql/{schema,rules}. Every file by name: automake's lists know no patterns. tests/lint/lists.sh compares.
nobase_dist_pkgdata_DATA = \
  sql/schema/0001_tables.sql \
  sql/schema/0002_partitions.sql \
  sql/schema/0003_changes.sql \
  sql/schema/0004_user_names.sql \
  sql/schema/0005_user_names_filled.sql \
  sql/schema/0006_roster_indexes.sql \
  sql/rules/api_time.sql \
  sql/rules/audit_difference.sql \
  sql/rules/complete_ended_events.sql \
  sql/rules/errors_body.sql \
  sql/rules/event_body.sql \
  sql/rules/event_cancel.sql \
  sql/rules/event_create.sql \
  sql/rules/event_delete.sql \
  sql/rules/event_fields.sql \
  sql/rules/event_get.sql \
  sql/rules/event_log.sql \
  sql/rules/event_publish.sql \
  sql/rules/event_refusal.sql \
  sql/rules/event_roster.sql \
  sql/rules/event_update.sql \
  sql/rules/events_import.sql \
  sql/rules/events_list.sql \
  sql/rules/from_microseconds.sql \
  sql/rules/insert_events.sql \
  sql/rules/job_finished.sql \
  sql/rules/job_started.sql \
  sql/rules/json_changes.sql \
  sql/rules/json_whole_number.sql \
  sql/rules/lock_event.sql \
  sql/rules/may_manage_event.sql \
  sql/rules/microseconds.sql \
  sql/rules/new_event.sql \
  sql/rules/new_id.sql \
  sql/rules/parse_time.sql \
  sql/rules/promote_waiting.sql \
  sql/rules/prune_changes.sql \
  sql/rules/prune_idempotency_keys.sql \
  sql/rules/register_many.sql \
  sql/rules/registration_body.sql \
  sql/rules/registration_cancel.sql \
  sql/rules/registration_get.sql \
  sql/rules/registration_json.sql \
  sql/rules/registrations_mine.sql \
  sql/rules/roster_rest.sql \
  sql/rules/schema_version.sql \
  sql/rules/seat_wanted.sql \
  sql/rules/user_body.sql \
  sql/rules/user_get.sql \
  sql/rules/user_seen.sql \
  sql/rules/waitlist_place.sql

EXTRA_DIST += sql/README.md
