-- The statistics of an event as JSON, from the counters that every write keeps: no row of a person is read. Cancelled and
-- waitlisted people are in no total; who has no department is in a group of its own, the last (null). Rates are of those
-- checked in, 0 where there are none. Reads event_seats and event_department_counts in one snapshot; locks nothing. Null where
-- there is no such event.
create or replace function turnout.stats_body(p_event_id uuid) returns text
language plpgsql stable
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  return (
    select row_to_json(b)::text
    from (
      select s.registered_count as total_registrations, s.waitlisted_count, s.checked_in_count,
             case when s.checked_in_count = 0 then 0
                  else trim_scale(round(least(s.survey_count::numeric / s.checked_in_count, 1), 4)) end
               as survey_response_rate,
             coalesce((
               select json_agg(json_build_object('department', nullif(d.department, ''), 'count', d.registered,
                                                 'checked_in_count', d.checked_in)
                               order by d.department = '', d.department collate "C")
               from turnout.event_department_counts d
               where d.event_id = s.event_id and d.registered > 0), '[]') as registrations_by_department
      from turnout.event_seats s
      where s.event_id = p_event_id
    ) b);
end
$$;
