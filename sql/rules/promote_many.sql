-- Gives the free seats of events to the first people waiting who may take them, and answers how many were given.
-- None is given unless the event is published, registration has not closed and the event has not started. Who can't take
-- a seat (a guest where guests are no longer allowed, a department at its limit) is passed over, keeps the place in the
-- queue, and blocks nobody. Set-based: each department's first so many, and of those the event's first so many, is exactly
-- what going through the queue one by one gives.
--
-- p_freed_*: the seats that were given back, in the order in which that was done: of which event, by whom, in which request
-- and action. Each promotion of an event stands in the audit log in the name of one of them, in order; any further ones in
-- the last's, and without one in nobody's.
--
-- At most promotions_at_once() of an event are given. Where there may be more, event_work says so and the scheduler goes on;
-- until then nobody who comes new takes a seat of that event (registration_batch).
--
-- The caller holds the events' seats rows. Locks: these rows again, the registrations promoted, the department counters, rows
-- of event_work; key-share on users and events is not needed, as no foreign key changes. Owes each promoted person a mail.
create or replace function turnout.promote_many(p_event_ids uuid[], p_freed_event_ids uuid[], p_freed_actor_ids uuid[],
  p_freed_request_ids text[], p_freed_action_ids uuid[]) returns integer
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_promoted integer;
begin
  with open_events as materialized (
    select s.event_id, e.event_year, e.version, e.department_limit, e.guests_allowed,
           least(s.capacity - s.registered_count, turnout.promotions_at_once()) as free
    from turnout.event_seats s
    join turnout.events e on e.id = s.event_id
    where s.event_id = any (p_event_ids) and s.registered_count < s.capacity and s.waitlisted_count > 0
      and e.status = 'published' and v_now < coalesce(e.registration_closes_at, e.start_datetime)
      and v_now < e.start_datetime
  ), chosen as materialized (
    select o.event_id, o.event_year, q.id, row_number() over (partition by o.event_id order by q.queue_no) as turn
    from open_events o
    cross join lateral (
      -- Without a limit by department it is enough to read as many as there are seats.
      (select w.id, w.queue_no
       from turnout.registrations w
       where o.department_limit is null
         and w.event_year = o.event_year and w.event_id = o.event_id and w.status = 'waitlisted'
         and (o.guests_allowed
              or not exists (select from turnout.users u where u.id = w.user_id and u.kind = 'guest'))
       order by w.queue_no
       limit o.free)
      union all
      (select p.id, p.queue_no
       from (
         select w.id, w.queue_no, w.department,
                coalesce(c.registered, 0)
                  + row_number() over (partition by w.department order by w.queue_no) as department_place
         from turnout.registrations w
         left join turnout.event_department_counts c
           on c.event_id = w.event_id and c.department = coalesce(w.department, '')
         where o.department_limit is not null
           and w.event_year = o.event_year and w.event_id = o.event_id and w.status = 'waitlisted'
           and (o.guests_allowed
                or not exists (select from turnout.users u where u.id = w.user_id and u.kind = 'guest'))
       ) p
       -- People without a department belong to none that could have too many.
       where p.department is null or p.department_place <= o.department_limit
       order by p.queue_no
       limit o.free)
    ) q
  ), promoted as (
    update turnout.registrations r
    set status = 'registered', seated_at = v_now
    from chosen h
    where r.event_year = h.event_year and r.id = h.id
    returning r.id, r.event_id, r.user_id, r.generation, r.department, r.registered_at, h.turn
  ), seats as (
    update turnout.event_seats s
    set registered_count = s.registered_count + p.people, waitlisted_count = s.waitlisted_count - p.people
    from (select event_id, count(*) as people from promoted group by event_id) p
    where s.event_id = p.event_id
  ), departments as (
    update turnout.event_department_counts c
    set registered = c.registered + p.people, waitlisted = c.waitlisted - p.people
    from (select event_id, coalesce(department, '') as department, count(*) as people from promoted group by 1, 2) p
    where c.event_id = p.event_id and c.department = p.department
  ), mail as (
    insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id, generation)
    select 'promoted', p.id || ':promoted:' || p.generation, p.event_id, p.id, p.user_id, p.generation
    from promoted p
    order by p.event_id, p.turn
    on conflict (dedupe_key) do nothing
  ), freed as materialized (
    select f.event_id, f.actor_id, f.request_id, f.action_id,
           row_number() over (partition by f.event_id order by f.item) as turn,
           count(*) over (partition by f.event_id) as turns
    from unnest(p_freed_event_ids, p_freed_actor_ids, p_freed_request_ids, p_freed_action_ids)
      with ordinality f (event_id, actor_id, request_id, action_id, item)
  ), logged as (
    insert into turnout.audit_log (actor_id, action, entity, entity_id, event_id, before, after, request_id, action_id)
    select f.actor_id, 'registration.promoted', 'registration', p.id, p.event_id,
           turnout.registration_json(p.id, p.event_id, p.user_id, 'waitlisted', null, p.registered_at, null, null)::jsonb,
           turnout.registration_json(p.id, p.event_id, p.user_id, 'registered', null, p.registered_at, null, null)::jsonb,
           f.request_id, f.action_id
    from promoted p
    left join freed f on f.event_id = p.event_id and f.turn = least(p.turn, f.turns)
    order by p.event_id, p.turn
  ), cut_short as (
    insert into turnout.event_work (event_id, kind, version, actor_id, request_id, action_id)
    select o.event_id, 'promote', o.version, f.actor_id, f.request_id, f.action_id
    from promoted p
    join open_events o on o.event_id = p.event_id
    left join freed f on f.event_id = p.event_id and f.turn = f.turns
    where p.turn = turnout.promotions_at_once()
    on conflict (event_id, kind) do nothing
  ), finished as (
    delete from turnout.event_work w
    using open_events o
    where w.event_id = o.event_id and w.kind = 'promote'
      and not exists (select from promoted p where p.event_id = o.event_id and p.turn = turnout.promotions_at_once())
  )
  select count(*) into v_promoted from promoted;
  return v_promoted;
end
$$;
