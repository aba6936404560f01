-- Owes an invitation to the survey to everybody who was there, an hour after the end of the event, in one statement, and answers
-- how many. The dedupe key makes it once in the life of a registration. What was missed is caught up for three days: later
-- nobody remembers. Locks nothing that exists.
create or replace function turnout.owe_survey_invitations() returns bigint
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_ended_by timestamptz := clock_timestamp() - interval '1 hour';
  v_ended_after timestamptz := v_ended_by - interval '3 days';
  -- No event is longer.
  v_began_after timestamptz := v_ended_after - interval '31 days';
  v_owed bigint;
begin
  with over as materialized (
    select e.id, e.event_year, e.end_datetime
    from turnout.events e
    join turnout.event_seats s on s.event_id = e.id
    where e.status in ('published', 'completed') and e.start_datetime between v_began_after and v_ended_by
      and e.end_datetime > v_ended_after and e.end_datetime <= v_ended_by
      -- Nobody was there, or everybody who was has theirs.
      and s.checked_in_count > (
        select count(*)
        from turnout.outbox o
        where o.event_id = e.id and o.kind = 'survey_invitation')
  ), owed as (
    insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id, due_at)
    select 'survey_invitation', r.id || ':survey_invitation:1', o.id, r.id, r.user_id, o.end_datetime + interval '1 hour'
    from over o
    join turnout.registrations r on r.event_year = o.event_year and r.event_id = o.id and r.status = 'registered'
    where r.checked_in_at is not null
    order by r.id
    on conflict (dedupe_key) do nothing
    returning id
  )
  select count(*) into v_owed from owed;
  return v_owed;
end
$$;
