-- Gives an event's free seats to the first people waiting who may take them, and answers how many were given.
-- None is given unless the event is published, registration has not closed and the event has not started. Who can't take
-- a seat (a guest where guests are no longer allowed, a department at its limit) is passed over, keeps the place in the
-- queue, and blocks nobody. Set-based: each department's first so many, and of those the event's first so many, is exactly
-- what going through the queue one by one gives.
--
-- The caller holds the event's seats row. Locks: that row again, the registrations promoted, the department counters;
-- key-share on users and events is not needed, as no foreign key changes. Owes each promoted person a mail and writes the
-- audit log in the name of whoever freed the seat.
create or replace function turnout.promote_waiting(p_event_id uuid, p_actor_id uuid, p_request_id text, p_action_id uuid)
returns integer
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_event record;
  v_ids uuid[];
  v_promoted integer;
begin
  select e.event_year, e.department_limit, e.guests_allowed, s.capacity - s.registered_count as free
  into v_event
  from turnout.event_seats s
  join turnout.events e on e.id = s.event_id
  where s.event_id = p_event_id and s.registered_count < s.capacity and s.waitlisted_count > 0
    and e.status = 'published' and v_now < coalesce(e.registration_closes_at, e.start_datetime)
    and v_now < e.start_datetime;
  if not found then
    return 0;
  end if;

  if v_event.department_limit is null then
    v_ids := array(
      select w.id
      from turnout.registrations w
      where w.event_year = v_event.event_year and w.event_id = p_event_id and w.status = 'waitlisted'
        and (v_event.guests_allowed
             or not exists (select from turnout.users u where u.id = w.user_id and u.kind = 'guest'))
      order by w.queue_no
      limit v_event.free);
  else
    v_ids := array(
      select q.id
      from (
        select w.id, w.queue_no, w.department,
               coalesce(c.registered, 0)
                 + row_number() over (partition by w.department order by w.queue_no) as department_place
        from turnout.registrations w
        left join turnout.event_department_counts c
          on c.event_id = w.event_id and c.department = coalesce(w.department, '')
        where w.event_year = v_event.event_year and w.event_id = p_event_id and w.status = 'waitlisted'
          and (v_event.guests_allowed
               or not exists (select from turnout.users u where u.id = w.user_id and u.kind = 'guest'))
      ) q
      -- People without a department belong to none that could have too many.
      where q.department is null or q.department_place <= v_event.department_limit
      order by q.queue_no
      limit v_event.free);
  end if;
  v_promoted := cardinality(v_ids);
  if v_promoted = 0 then
    return 0;
  end if;

  with promoted as (
    update turnout.registrations r
    set status = 'registered', seated_at = v_now
    where r.event_year = v_event.event_year and r.id = any (v_ids)
    returning r.id, r.user_id, r.generation, r.department, r.registered_at
  ), seats as (
    update turnout.event_seats s
    set registered_count = s.registered_count + v_promoted, waitlisted_count = s.waitlisted_count - v_promoted
    where s.event_id = p_event_id
  ), departments as (
    update turnout.event_department_counts c
    set registered = c.registered + p.people, waitlisted = c.waitlisted - p.people
    from (select coalesce(department, '') as department, count(*) as people from promoted group by 1) p
    where c.event_id = p_event_id and c.department = p.department
  ), mail as (
    insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id, generation)
    select 'promoted', p.id || ':promoted:' || p.generation, p_event_id, p.id, p.user_id, p.generation
    from promoted p
    on conflict (dedupe_key) do nothing
  )
  insert into turnout.audit_log (actor_id, action, entity, entity_id, event_id, before, after, request_id, action_id)
  select p_actor_id, 'registration.promoted', 'registration', p.id, p_event_id,
         turnout.registration_json(p.id, p_event_id, p.user_id, 'waitlisted', null, p.registered_at, null, null)::jsonb,
         turnout.registration_json(p.id, p_event_id, p.user_id, 'registered', null, p.registered_at, null, null)::jsonb,
         p_request_id, p_action_id
  from promoted p;

  return v_promoted;
end
$$;
