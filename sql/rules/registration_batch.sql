-- Registers people for events and cancels registrations: arrays in, an outcome for each item out, in the order in which they
-- came. The decision table of the registration engine stands here, row by row, and nowhere else. A refusal is an outcome,
-- never an error.
--
-- An item of kind `register`: who acts (p_actor_ids, with the role claim that wins over the users table's, or null), for whom
-- (p_user_ids; for another person only by who manages the event), at which event, the id that a new registration gets, the
-- request's id and the worker's id of this action. Of kind `cancel`: the registration to cancel; event and person are null.
-- First the cancels are done and the seats that they free go to who waits, then come the registrations. What somebody asks
-- for an event from which the same call takes them away is `busy`: it is decided in the next call.
--
-- Locks, in this order: the seats rows of all items in id order, as a statement of its own; then, under them, the
-- registrations written, the department counters, and by the foreign keys key-share on the events and users of new rows.
-- p_wait 0: seats rows that somebody else holds are skipped, and items that needed one of them come back `busy`, with the
-- event's id in ref. More: the call waits for each so many milliseconds at most; then it fails with lock_not_available and
-- nothing was done.
--
-- p_resent: the connection was lost and this is the same call again. What an action did the first time, the audit log
-- knows by its id, and that is the answer. Orders that were left behind by a dead worker and arrive after what the person
-- did later (registrations.last_action_at against the start of this transaction) leave the row as it is.
--
-- The settings pin the plan: every step is a lookup by key, from the empty table on, whatever the statistics say, and
-- without planning again in each connection's first five calls. What this calls is planned under them, too.
create or replace function turnout.registration_batch(
  p_kinds text[], p_action_ids uuid[], p_registration_ids uuid[], p_request_ids text[], p_actor_ids uuid[],
  p_roles text[], p_event_ids uuid[], p_user_ids uuid[], p_resent boolean, p_wait integer)
returns table (item integer, outcome text, body text, etag text, ref text)
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_now timestamptz;
  v_event_ids uuid[] := p_event_ids;
  v_cancels boolean := coalesce('cancel' = any (p_kinds), false);
  v_registers boolean := coalesce('register' = any (p_kinds), false);
  v_cancel_first_year smallint;
  v_cancel_last_year smallint;
  v_lock_timeout text;
  v_locked uuid[];
  v_promotable uuid[];
  v_unfinished uuid[] := '{}';
  v_first_year smallint;
  v_last_year smallint;
  v_cancelled turnout.item_answer[];
  v_left_events uuid[];
  v_left_users uuid[];
  v_freed_events uuid[];
  v_freed_actors uuid[];
  v_freed_requests text[];
  v_freed_actions uuid[];
  v_postponed integer[];
begin
  if p_kinds <@ array['register', 'cancel'] is not true then
    raise exception 'registration_batch: a kind must be register or cancel' using errcode = 'invalid_parameter_value';
  end if;
  if v_cancels then
    -- Where the registrations stand that are to be cancelled; event and year of a registration never change.
    select p_event_ids || array_agg(distinct r.event_id), min(r.event_year), max(r.event_year)
    into v_event_ids, v_cancel_first_year, v_cancel_last_year
    from unnest(p_kinds, p_registration_ids) i (kind, registration_id)
    -- The first at or behind this id, in the only index that has this order (see below).
    join lateral (
      select r.id, r.event_id, r.event_year
      from turnout.registrations r
      where r.id >= i.registration_id
      order by r.id, r.event_year
      limit 1
    ) r on r.id = i.registration_id
    where i.kind = 'cancel';
  end if;

  if p_wait > 0 then
    v_lock_timeout := current_setting('lock_timeout');
    perform set_config('lock_timeout', p_wait::text, true);
    select array_agg(s.event_id), min(s.event_year), max(s.event_year),
           array_agg(s.event_id) filter (where s.registered_count < s.capacity and s.waitlisted_count > 0)
    into v_locked, v_first_year, v_last_year, v_promotable
    from (
      select s.event_id, s.capacity, s.registered_count, s.waitlisted_count, e.event_year
      from turnout.event_seats s
      join turnout.events e on e.id = s.event_id
      where s.event_id = any (v_event_ids)
      order by s.event_id
      for no key update of s
    ) s;
    perform set_config('lock_timeout', v_lock_timeout, true);
  else
    select array_agg(s.event_id), min(s.event_year), max(s.event_year),
           array_agg(s.event_id) filter (where s.registered_count < s.capacity and s.waitlisted_count > 0)
    into v_locked, v_first_year, v_last_year, v_promotable
    from (
      select s.event_id, s.capacity, s.registered_count, s.waitlisted_count, e.event_year
      from turnout.event_seats s
      join turnout.events e on e.id = s.event_id
      where s.event_id = any (v_event_ids)
      order by s.event_id
      for no key update of s skip locked
    ) s;
  end if;
  -- After the locks: opening and closing are judged by the moment of the decision, not of the asking.
  v_now := clock_timestamp();

  if v_cancels then
    select array_agg((c.item, c.outcome, c.body, null, c.ref, false)::turnout.item_answer),
           array_agg(c.event_id) filter (where c.event_id is not null),
           array_agg(c.user_id) filter (where c.event_id is not null),
           array_agg(c.event_id order by c.item) filter (where c.freed),
           array_agg(p_actor_ids[c.item] order by c.item) filter (where c.freed),
           array_agg(p_request_ids[c.item] order by c.item) filter (where c.freed),
           array_agg(p_action_ids[c.item] order by c.item) filter (where c.freed)
    into v_cancelled, v_left_events, v_left_users, v_freed_events, v_freed_actors, v_freed_requests, v_freed_actions
    from turnout.cancel_many(p_kinds, p_action_ids, p_registration_ids, p_request_ids, p_actor_ids, p_roles, p_resent,
                             v_locked, v_cancel_first_year, v_cancel_last_year, v_now) c;
    v_postponed := array(
      select p.item
      from (
        select o.item, bool_or(o.leaves) over (partition by o.event_id, o.user_id) as leaves
        from (
          select i.item::integer, i.event_id, i.user_id, false as leaves
          from unnest(p_kinds, p_event_ids, p_user_ids) with ordinality i (kind, event_id, user_id, item)
          where i.kind = 'register'
          union all
          select null, l.event_id, l.user_id, true
          from unnest(v_left_events, v_left_users) l (event_id, user_id)
        ) o
      ) p
      where p.leaves and p.item is not null);
  end if;

  -- A free seat and people waiting: freed just now, or each of them may have been unable to take it (a department at its
  -- limit), or capacity was raised behind our back. Who is waiting comes first.
  if v_freed_events is not null then
    v_promotable := array(
      select s.event_id
      from turnout.event_seats s
      where s.event_id = any (v_locked) and s.registered_count < s.capacity and s.waitlisted_count > 0);
  end if;
  if v_promotable <> '{}' and (v_registers or v_freed_events is not null) then
    perform turnout.promote_many(v_promotable, v_freed_events, v_freed_actors, v_freed_requests, v_freed_actions);
    -- So many at once that others may still wait for such a seat: none of that event is for who comes now.
    v_unfinished := array(
      select w.event_id from turnout.event_work w where w.event_id = any (v_promotable) and w.kind = 'promote');
  end if;
  if not v_registers then
    return query select c.item, c.outcome, c.body, c.etag, c.ref from unnest(v_cancelled) c order by c.item;
    return;
  end if;

  return query
  with items as (
    select i.item::integer, i.action_id, i.registration_id, i.request_id, i.actor_id, i.role, i.event_id, i.user_id
    from unnest(p_kinds, p_action_ids, p_registration_ids, p_request_ids, p_actor_ids, p_roles, p_event_ids, p_user_ids)
      with ordinality i (kind, action_id, registration_id, request_id, actor_id, role, event_id, user_id, item)
    where i.kind = 'register' and not coalesce(i.item = any (v_postponed), false)
  ), known as materialized (
    select i.*,
           e.event_year, e.status as event_status, e.registration_opens_at,
           coalesce(e.registration_closes_at, e.start_datetime) as registration_closes_at, e.start_datetime,
           e.waitlist_enabled, e.waitlist_limit, e.guests_allowed, e.department_limit,
           s.capacity, s.registered_count, s.waitlisted_count, s.last_queue_no,
           u.id as known_user_id, u.kind, u.department, coalesce(c.registered, 0) as department_registered,
           r.id as old_id, r.status as old_status, r.queue_no as old_queue_no, r.generation as old_generation,
           r.registered_at as old_registered_at, r.cancelled_at as old_cancelled_at,
           r.checked_in_at as old_checked_in_at, r.last_action_at as old_last_action_at,
           a.action as done_action, a.after as done_after,
           case when i.actor_id is distinct from i.user_id or e.status = 'draft'
                then turnout.may_manage_event(i.actor_id, i.role, i.event_id) end as manages
    from items i
    left join turnout.events e on e.id = i.event_id
    left join turnout.event_seats s on s.event_id = i.event_id and i.event_id = any (v_locked)
    left join turnout.users u on u.id = i.user_id
    -- A key of null looks nothing up: counters only where there is a limit, the audit log only when this was sent before.
    -- The subqueries stay what they are (limit, offset 0) and leave one index to choose. For where a table was empty when it
    -- was last analyzed all plans seem to cost the same, until the next analyze, and one that reads a whole index for each
    -- item is as good as any. So a registration is looked for as the first at or behind a place in the only index that has
    -- this order.
    left join lateral (
      select c.registered
      from turnout.event_department_counts c
      where c.event_id = case when e.department_limit is not null then i.event_id end
        and c.department = coalesce(u.department, '')
      offset 0
    ) c on true
    left join lateral (
      select r.id, r.event_id, r.user_id, r.status, r.queue_no, r.generation, r.registered_at, r.cancelled_at, r.checked_in_at,
             r.last_action_at
      from turnout.registrations r
      where (r.event_id, r.user_id) >= (i.event_id, i.user_id) and r.event_year between v_first_year and v_last_year
      order by r.event_id, r.user_id, r.event_year
      limit 1
    ) r on r.event_id = i.event_id and r.user_id = i.user_id
    left join lateral (
      select a.action, a.after
      from turnout.audit_log a
      where a.action_id = case when p_resent then i.action_id end and a.event_id is not distinct from i.event_id
        and a.action in ('registration.registered', 'registration.waitlisted')
      offset 0
    ) a on true
  ), judged as (
    -- Only one order of a person for an event in this call decides anything: the first of those who may ask, or when the
    -- call is sent again the one that did it then. Orders by people who may not are refused for themselves.
    select k.*,
           first_value(k.item) over (
             partition by k.event_id, k.user_id,
                          case when not k.manages then 'refused' when k.known_user_id is null and k.manages then 'wrong' end
             order by k.done_action is null, k.item) as first_item,
           case
             when k.done_action = 'registration.registered' then 'registered'
             when k.done_action = 'registration.waitlisted' then 'waitlisted'
             when k.event_status is null or (k.event_status = 'draft' and not k.manages) then 'not_found'
             when k.event_status = 'draft' then 'not_published'
             when not k.manages then 'forbidden'
             when k.event_status in ('cancelled', 'completed') then 'event_closed'
             when k.capacity is null then 'busy'
             when k.old_status in ('registered', 'waitlisted') or k.old_last_action_at > transaction_timestamp()
               then 'existing'
             when v_now < k.registration_opens_at then 'not_open_yet'
             when v_now >= k.registration_closes_at then 'registration_closed'
             when k.known_user_id is null and k.manages then 'invalid_fields'
             when k.known_user_id is null or (k.kind = 'guest' and not k.guests_allowed) then 'not_eligible'
           end as refusal
    from known k
  ), seated as (
    -- Who still asks, in the order of arrival: the first of each department that there is room for, and of those the first
    -- that there are seats for. Nobody waiting could take one of these seats: they were asked above; once the event has
    -- started nobody is promoted any more, and people who come then pass nobody who was there before them.
    select j.*,
           j.refusal is null and j.department_fits
             and row_number() over (partition by j.event_id, j.refusal, j.department_fits order by j.item)
                 <= j.capacity - j.registered_count
             and j.event_id <> all (v_unfinished)
             and not (v_now >= j.start_datetime and j.waitlisted_count > 0
                      and turnout.seat_wanted(j.event_year, j.event_id, j.guests_allowed, j.department_limit))
             as seated
    from (
      select judged.*,
             department_limit is null or department is null
               or department_registered
                  + row_number() over (partition by event_id, department, refusal order by judged.item)
                  <= department_limit as department_fits
      from judged
      where judged.item = judged.first_item
    ) j
  ), placed as (
    select s.*,
           s.refusal is null and not s.seated and s.waitlist_enabled
             and (s.waitlist_limit is null or s.waitlisted_count
                  + row_number() over (partition by s.event_id, s.refusal, s.seated order by s.item) <= s.waitlist_limit)
             as waits,
           s.waitlisted_count + row_number() over (partition by s.event_id, s.refusal, s.seated order by s.item)
             as place
    from seated s
  ), decided as materialized (
    select p.*,
           coalesce(p.refusal, case when p.seated then 'registered' when p.waits then 'waitlisted' else 'full' end)
             as decision,
           p.refusal is null and (p.seated or p.waits) as writes,
           coalesce(p.old_id, p.registration_id) as id,
           coalesce(p.old_generation, 0) + 1 as generation,
           p.last_queue_no
             + row_number() over (partition by p.event_id, p.refusal is null and (p.seated or p.waits) order by p.item)
             as queue_no
    from placed p
  ), told as materialized (
    select d.*,
           case
             when d.done_action is not null then
               turnout.registration_json((d.done_after ->> 'id')::uuid, d.event_id, (d.done_after ->> 'user_id')::uuid,
                 d.done_after ->> 'status', (d.done_after ->> 'position')::bigint,
                 (d.done_after ->> 'registered_at')::timestamptz, null, null)
             when d.writes then
               turnout.registration_json(d.id, d.event_id, d.user_id, d.decision,
                 case when d.decision = 'waitlisted' then d.place end, v_now, null, null)
             when d.decision = 'existing' then
               turnout.registration_json(d.old_id, d.event_id, d.user_id, d.old_status,
                 case when d.old_status = 'waitlisted' then
                   turnout.waitlist_place(d.event_year, d.event_id, d.old_queue_no) end,
                 d.old_registered_at, d.old_cancelled_at, d.old_checked_in_at)
             when d.decision = 'not_open_yet' then
               format('{"opens_at":"%s","retry_after":%s}', turnout.api_time(d.registration_opens_at),
                 ceil(extract(epoch from d.registration_opens_at - v_now)))
             when d.decision = 'registration_closed' then
               format('{"closed_at":"%s"}', turnout.api_time(d.registration_closes_at))
             when d.decision = 'event_closed' then format('{"event_status":"%s"}', d.event_status)
             when d.decision = 'invalid_fields' then
               '{"errors":[{"pointer":"/user_id","detail":"must be the id of a user"}]}'
             when d.decision = 'not_eligible' then
               format('{"rule":"%s"}', case when d.known_user_id is null then 'user_unknown'
                                              else 'guests_not_allowed' end)
           end as json
    from decided d
  ), written as (
    insert into turnout.registrations as r (event_year, id, event_id, user_id, status, queue_no, generation, department,
      registered_at, seated_at, last_action_at, last_action_id)
    select d.event_year, d.id, d.event_id, d.user_id, d.decision, d.queue_no, d.generation, d.department,
           v_now, case when d.seated then v_now end, v_now, d.action_id
    from decided d
    where d.writes
    order by d.item
    on conflict (event_id, user_id, event_year) do update
    set status = excluded.status, queue_no = excluded.queue_no, generation = excluded.generation,
        department = excluded.department, registered_at = excluded.registered_at, seated_at = excluded.seated_at,
        cancelled_at = null, last_action_at = excluded.last_action_at, last_action_id = excluded.last_action_id
  ), counted as (
    update turnout.event_seats s
    set registered_count = s.registered_count + n.seated, waitlisted_count = s.waitlisted_count + n.waiting,
        last_queue_no = s.last_queue_no + n.seated + n.waiting
    from (
      select d.event_id, count(*) filter (where d.seated) as seated, count(*) filter (where not d.seated) as waiting
      from decided d
      where d.writes
      group by d.event_id
    ) n
    where s.event_id = n.event_id
  ), counted_by_department as (
    insert into turnout.event_department_counts as c (event_id, department, registered, waitlisted)
    select d.event_id, coalesce(d.department, ''), count(*) filter (where d.seated), count(*) filter (where not d.seated)
    from decided d
    where d.writes
    group by d.event_id, coalesce(d.department, '')
    on conflict (event_id, department) do update
    set registered = c.registered + excluded.registered, waitlisted = c.waitlisted + excluded.waitlisted
  ), owed as (
    insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id, generation)
    select m.kind, d.id || ':' || m.kind || ':' || d.generation, d.event_id, d.id, d.user_id, d.generation
    from decided d
    cross join lateral (select case when d.seated then 'confirmation' else 'waitlisted' end) m (kind)
    where d.writes
    order by d.item
    on conflict (dedupe_key) do nothing
  ), logged as (
    insert into turnout.audit_log (actor_id, action, entity, entity_id, event_id, before, after, request_id, action_id)
    select t.actor_id, 'registration.' || t.decision, 'registration', t.id, t.event_id,
           case when t.old_id is not null then
             turnout.registration_json(t.old_id, t.event_id, t.user_id, t.old_status, null, t.old_registered_at,
               t.old_cancelled_at, t.old_checked_in_at)::jsonb end,
           t.json::jsonb, t.request_id, t.action_id
    from told t
    where t.writes
    order by t.item
  )
  select t.item as item, t.decision, t.json, null::text,
         case when t.decision in ('registered', 'waitlisted', 'existing') then coalesce(t.done_after ->> 'id', t.id::text)
              when t.decision = 'busy' then t.event_id::text end
  from told t
  union all
  -- A repeated order of the same batch is told what the first one found, as somebody who asks a second time.
  select i.item, case when t.decision in ('registered', 'waitlisted') then 'existing' else t.decision end, t.json, null,
         case when t.decision in ('registered', 'waitlisted', 'existing') then coalesce(t.done_after ->> 'id', t.id::text)
              when t.decision = 'busy' then t.event_id::text end
  from judged i
  join told t on t.item = i.first_item
  where i.item <> i.first_item
  union all
  select c.item, c.outcome, c.body, null, c.ref
  from unnest(v_cancelled) c
  union all
  select p.item, 'busy', null, null, p_event_ids[p.item]::text
  from unnest(v_postponed) p (item)
  order by item;
end
$$;
