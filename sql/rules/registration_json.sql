-- A registration as JSON, its fields in the order of the documentation. Locks nothing.
-- Put together by hand and without a FROM, so that PostgreSQL inlines it: none of the values can need escaping.
create or replace function turnout.registration_json(p_id uuid, p_event_id uuid, p_user_id uuid, p_status text,
  p_position bigint, p_registered_at timestamptz, p_cancelled_at timestamptz, p_checked_in_at timestamptz) returns text
language sql stable parallel safe
as $$
  select '{"id":"' || p_id || '","event_id":"' || p_event_id || '","user_id":"' || p_user_id
    || '","status":"' || p_status || '","position":' || coalesce(p_position::text, 'null')
    || ',"registered_at":"' || turnout.api_time(p_registered_at)
    || '","cancelled_at":' || coalesce('"' || turnout.api_time(p_cancelled_at) || '"', 'null')
    || ',"checked_in_at":' || coalesce('"' || turnout.api_time(p_checked_in_at) || '"', 'null') || '}'
$$;
