-- Writes many events from outside: an array of the API's fields, and with each, where wanted, `status` (any of the four),
-- `organizers` (e-mail addresses of users) beside or instead of `organizer_ids`. All or nothing: answers what is wrong, by
-- row (from 1) and JSON pointer into it; no answer means that every row was written. Who imports becomes the organizer
-- where a row names none.
-- Locks: by the foreign keys key-share on the organizers' users rows.
create or replace function turnout.events_import(p_request_id text, p_actor_id uuid, p_rows jsonb)
returns table ("row" integer, pointer text, detail text)
language plpgsql
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_line record;
  v_fields record;
  v_event turnout.events;
  v_errors jsonb := '[]';
  v_row_errors jsonb;
  v_organizer_ids uuid[];
  v_events turnout.events[] := '{}';
  v_organized_ids uuid[] := '{}';
  v_all_organizer_ids uuid[] := '{}';
begin
  for v_line in
    select r.number, r.value, jsonb_typeof(r.value) = 'object' as is_object
    from jsonb_array_elements(p_rows) with ordinality r (value, number)
  loop
    v_fields := turnout.event_fields(
      case when v_line.is_object then v_line.value - 'status' - 'organizers' else v_line.value end, turnout.new_event());
    v_row_errors := coalesce(v_fields.errors, '[]');
    v_event := v_fields.merged;
    v_organizer_ids := coalesce(v_fields.organizer_ids, '{}');

    if v_line.is_object and v_line.value ? 'status' then
      if jsonb_typeof(v_line.value -> 'status') <> 'string'
         or v_line.value ->> 'status' not in ('draft', 'published', 'cancelled', 'completed') then
        v_row_errors := v_row_errors || jsonb_build_object(
          'pointer', '/status', 'detail', 'must be draft, published, cancelled or completed');
      elsif v_line.value ->> 'status' = 'completed' and v_event.end_datetime > clock_timestamp() then
        v_row_errors := v_row_errors || jsonb_build_object(
          'pointer', '/status', 'detail', 'must not be completed before end_datetime');
      else
        v_event.status := v_line.value ->> 'status';
      end if;
    end if;

    if v_line.is_object and v_line.value ? 'organizers' then
      if jsonb_typeof(v_line.value -> 'organizers') <> 'array' then
        v_row_errors := v_row_errors || jsonb_build_object(
          'pointer', '/organizers', 'detail', 'must be a list of e-mail addresses');
      else
        select v_row_errors || coalesce(jsonb_agg(jsonb_build_object(
                 'pointer', '/organizers/' || o.number - 1, 'detail', 'must be the e-mail address of a user')
                 order by o.number) filter (where u.id is null), '[]'),
               array(select unnest(v_organizer_ids) union select unnest(array_agg(u.id) filter (where u.id is not null)))
        into v_row_errors, v_organizer_ids
        from jsonb_array_elements(v_line.value -> 'organizers') with ordinality o (value, number)
        left join turnout.users u on lower(u.email) = lower(btrim(o.value #>> '{}')) and jsonb_typeof(o.value) = 'string';
      end if;
    end if;
    if v_organizer_ids = '{}' and p_actor_id is not null then
      v_organizer_ids := array[p_actor_id];
    elsif v_organizer_ids = '{}' and v_row_errors = '[]' then
      v_row_errors := '[{"pointer": "/organizers", "detail": "must name at least one user"}]';
    end if;

    if v_row_errors = '[]' then
      v_event.id := turnout.new_id();
      v_events := v_events || v_event;
      v_organized_ids := v_organized_ids || array_fill(v_event.id, array[cardinality(v_organizer_ids)]);
      v_all_organizer_ids := v_all_organizer_ids || v_organizer_ids;
    else
      v_errors := v_errors || (
        select jsonb_agg(e.value || jsonb_build_object('row', v_line.number))
        from jsonb_array_elements(v_row_errors) e);
    end if;
  end loop;

  if v_errors = '[]' then
    perform turnout.insert_events(v_events, v_organized_ids, v_all_organizer_ids, p_actor_id, p_request_id, null,
                                  'event.imported');
  end if;
  return query
  select (e.value ->> 'row')::integer, e.value ->> 'pointer', e.value ->> 'detail'
  from jsonb_array_elements(v_errors) with ordinality e
  order by e.ordinality;
end
$$;
