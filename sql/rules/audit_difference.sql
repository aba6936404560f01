-- What an entry of the audit log shows to an event's organizers: of what was before and after, the fields that differ; all
-- of them where the other side is missing. Moments as the API writes them. Only fields that the API shows of an event or a
-- registration anyway: whatever else a table may hold one day stays inside. Locks nothing.
create or replace function turnout.audit_difference(p_before jsonb, p_after jsonb, out before json, out after json)
language plpgsql stable
as $$
declare
  c_shown constant text[] := array[
    'id', 'title', 'description', 'start_datetime', 'end_datetime', 'timezone', 'venue', 'category', 'status', 'capacity',
    'registration_opens_at', 'registration_closes_at', 'waitlist_enabled', 'waitlist_limit', 'guests_allowed',
    'department_limit', 'reminders', 'organizer_ids', 'version', 'created_at', 'updated_at',
    'event_id', 'user_id', 'position', 'registered_at', 'cancelled_at', 'checked_in_at', 'transferred_from', 'transferred_to'];
begin
  select '{' || string_agg(to_json(d.key) || ':' || d.old_value::text, ',' order by d.place) filter (where d.was_there) || '}',
         '{' || string_agg(to_json(d.key) || ':' || d.new_value::text, ',' order by d.place) filter (where d.is_there) || '}'
  into before, after
  from (
    select s.key, s.place, p_before ? s.key as was_there, p_after ? s.key as is_there,
           case when s.key ~ '_(at|datetime)$' and jsonb_typeof(p_before -> s.key) = 'string'
                then to_json(turnout.api_time((p_before ->> s.key)::timestamptz)) else (p_before -> s.key)::json end
             as old_value,
           case when s.key ~ '_(at|datetime)$' and jsonb_typeof(p_after -> s.key) = 'string'
                then to_json(turnout.api_time((p_after ->> s.key)::timestamptz)) else (p_after -> s.key)::json end
             as new_value
    from unnest(c_shown) with ordinality s (key, place)
    where p_before -> s.key is distinct from p_after -> s.key
  ) d;
end
$$;
