-- Cancels the registrations that the `cancel` items of a call name, and answers each such item: the cancelling half of
-- registration_batch, which calls this and nobody else does. Each cancel frees exactly the seat or waitlist place that was
-- held and owes its mail; who gets the seat is the caller's to say (promote_waiting).
--
-- Who may cancel: the person, or who manages the event; to anybody else it is not_found. Idempotent: a cancelled one is
-- answered as it is. Refused when it would rewrite history: the event is completed or over, or the person has come
-- through the door. Several items for one registration are one cancel, and all who may are told of it.
--
-- p_resent: the same call again. Where the audit log knows the action, its answer is given again and nothing is done, even
-- if the person has come back since. An order that arrives after what the person did later leaves the row as it is
-- (last_action_at against the start of this transaction).
--
-- p_locked are the events whose seats rows the caller holds, the others' items are `busy`; all registrations named lie in
-- the years given. event_id and user_id tell of whom an item that may cancel speaks; freed, that it gave back a seat.
-- Locks, under those seats rows: the registrations and the department counters.
create or replace function turnout.cancel_many(
  p_kinds text[], p_action_ids uuid[], p_registration_ids uuid[], p_request_ids text[], p_actor_ids uuid[],
  p_roles text[], p_resent boolean, p_locked uuid[], p_first_year smallint, p_last_year smallint, p_now timestamptz)
returns table (item integer, outcome text, body text, ref text, event_id uuid, user_id uuid, freed boolean)
language plpgsql
as $$
#variable_conflict use_column
begin
  return query
  with known as materialized (
    select i.item::integer, i.action_id, i.registration_id, i.request_id, i.actor_id,
           r.event_year, r.id, r.event_id, r.user_id, r.status, r.queue_no, r.generation, r.department, r.registered_at,
           r.cancelled_at, r.checked_in_at, r.last_action_at, e.status as event_status, e.end_datetime,
           a.after as done_after,
           case when r.user_id = i.actor_id then true
                when r.id is not null then turnout.may_manage_event(i.actor_id, i.role, r.event_id)
                else false end as permitted
    from unnest(p_kinds, p_action_ids, p_registration_ids, p_request_ids, p_actor_ids, p_roles)
      with ordinality i (kind, action_id, registration_id, request_id, actor_id, role, item)
    -- The first at or behind this id, in the only index that has this order (registration_batch says why).
    left join lateral (
      select r.event_year, r.id, r.event_id, r.user_id, r.status, r.queue_no, r.generation, r.department, r.registered_at,
             r.cancelled_at, r.checked_in_at, r.last_action_at
      from turnout.registrations r
      where r.id >= i.registration_id and r.event_year between p_first_year and p_last_year
      order by r.id, r.event_year
      limit 1
    ) r on r.id = i.registration_id
    left join turnout.events e on e.id = r.event_id
    left join lateral (
      select a.after
      from turnout.audit_log a
      where a.action_id = case when p_resent then i.action_id end and a.entity_id = i.registration_id
        and a.action = 'registration.cancelled'
      offset 0
    ) a on true
    where i.kind = 'cancel'
  ), judged as (
    -- One of the items for a registration decides, the first; when the call is sent again, the one that did it then.
    select k.*,
           case when k.permitted then
             first_value(k.item) over (partition by k.registration_id, k.permitted order by k.done_after is null, k.item)
             else k.item end as first_item,
           case
             when not k.permitted then 'not_found'
             when k.done_after is not null then 'done'
             when not coalesce(k.event_id = any (p_locked), false) then 'busy'
             when k.status = 'cancelled' or k.last_action_at > transaction_timestamp() then 'as_it_is'
             when k.event_status = 'completed' or k.end_datetime <= p_now then 'over'
             when k.checked_in_at is not null then 'attended'
             else 'cancelled'
           end as decision
    from known k
  ), decided as materialized (
    select j.*,
           j.decision = 'cancelled' as writes,
           case j.decision
             when 'done' then
               turnout.registration_json(j.id, j.event_id, j.user_id, 'cancelled', null,
                 (j.done_after ->> 'registered_at')::timestamptz, (j.done_after ->> 'cancelled_at')::timestamptz, null)
             when 'as_it_is' then
               turnout.registration_json(j.id, j.event_id, j.user_id, j.status,
                 case when j.status = 'waitlisted' then
                   turnout.waitlist_place(j.event_year, j.event_id, j.queue_no) end,
                 j.registered_at, j.cancelled_at, j.checked_in_at)
             when 'over' then '{"event_status":"completed"}'
             when 'attended' then '{"detail":"Whoever has come through the door has attended."}'
             when 'cancelled' then
               turnout.registration_json(j.id, j.event_id, j.user_id, 'cancelled', null, j.registered_at, p_now, null)
           end as json
    from judged j
    where j.item = j.first_item
  ), written as (
    update turnout.registrations r
    set status = 'cancelled', seated_at = null, cancelled_at = p_now, last_action_at = p_now, last_action_id = d.action_id
    from decided d
    where d.writes and r.id = d.id and r.event_year = d.event_year and r.event_year between p_first_year and p_last_year
  ), counted as (
    update turnout.event_seats s
    set registered_count = s.registered_count - n.seated, waitlisted_count = s.waitlisted_count - n.waiting
    from (
      select d.event_id, count(*) filter (where d.status = 'registered') as seated,
             count(*) filter (where d.status = 'waitlisted') as waiting
      from decided d
      where d.writes
      group by d.event_id
    ) n
    where s.event_id = n.event_id
  ), counted_by_department as (
    update turnout.event_department_counts c
    set registered = c.registered - n.seated, waitlisted = c.waitlisted - n.waiting
    from (
      select d.event_id, coalesce(d.department, '') as department, count(*) filter (where d.status = 'registered') as seated,
             count(*) filter (where d.status = 'waitlisted') as waiting
      from decided d
      where d.writes
      group by d.event_id, coalesce(d.department, '')
    ) n
    where c.event_id = n.event_id and c.department = n.department
  ), owed as (
    insert into turnout.outbox (kind, dedupe_key, event_id, registration_id, user_id, generation)
    select 'cancelled', d.id || ':cancelled:' || d.generation, d.event_id, d.id, d.user_id, d.generation
    from decided d
    where d.writes
    order by d.item
    on conflict (dedupe_key) do nothing
  ), logged as (
    insert into turnout.audit_log (actor_id, action, entity, entity_id, event_id, before, after, request_id, action_id)
    select d.actor_id, 'registration.cancelled', 'registration', d.id, d.event_id,
           turnout.registration_json(d.id, d.event_id, d.user_id, d.status, null, d.registered_at, null, null)::jsonb,
           d.json::jsonb, d.request_id, d.action_id
    from decided d
    where d.writes
    order by d.item
  )
  select j.item,
         case when d.decision in ('done', 'as_it_is', 'cancelled') then 'ok'
              when d.decision in ('over', 'attended') then 'event_closed'
              else d.decision end,
         d.json,
         -- What is busy names its event, whose seats it waits for.
         case d.decision when 'busy' then d.event_id::text when 'not_found' then null else d.id::text end,
         case when j.permitted then j.event_id end, case when j.permitted then j.user_id end,
         d.writes and d.status = 'registered' and j.item = d.item
  from judged j
  join decided d on d.item = j.first_item;
end
$$;
