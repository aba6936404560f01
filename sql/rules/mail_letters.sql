-- What a mailer needs to write each of the owed mails p_ids, or why it is not right any more: people are told what is, never what
-- was. Mail of a registration is right while the registration stands as the mail tells it, in the generation that owed it: a newer
-- one owes its own. Locks nothing.
create or replace function turnout.mail_letters(p_ids bigint[])
returns table (id bigint, wrong text, letter text)
language plpgsql stable rows 100
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  return query
  select o.id,
         case
           when e.id is null or r.id is null or u.id is null then 'the event, the registration or the person is gone'
           when not turnout.mail_wanted(u.id, o.kind) then 'the person wants no mail of this kind'
           when o.kind in ('confirmation', 'waitlisted', 'promoted', 'cancelled', 'event_cancelled')
                and r.generation <> o.generation then 'the person has joined again since'
           -- Of a large event, whose people are cancelled in steps: each of them is told so then.
           when o.kind in ('confirmation', 'waitlisted', 'promoted') and e.status = 'cancelled'
                then 'the event has been cancelled since'
           when o.kind in ('confirmation', 'promoted') and r.status <> 'registered' then 'the seat has been given up since'
           when o.kind = 'waitlisted' and r.status <> 'waitlisted' then 'the person does not wait any more'
           when o.kind in ('cancelled', 'event_cancelled') and r.status <> 'cancelled' then 'the person has joined again since'
           when o.kind in ('changed', 'reminder', 'survey_invitation') and r.status = 'cancelled'
                then 'the registration has been cancelled since'
           when o.kind in ('changed', 'reminder') and e.status <> 'published' then 'the event is not to come any more'
           when o.kind = 'changed' and e.end_datetime <= v.now then 'the event is over'
           when o.kind = 'changed' and exists (
                  -- By the key of each later version: looked for by event, each letter would read those of everybody.
                  select
                  from generate_series(o.generation + 1, e.version) l (version)
                  join turnout.outbox n on n.dedupe_key = o.registration_id || ':changed:' || l.version)
                then 'the event has changed again since'
           when o.kind = 'reminder' and r.status <> 'registered' then 'the person has no seat'
           when o.kind = 'reminder' and e.start_datetime <= v.now then 'the event has begun'
           when o.kind = 'reminder' and o.due_at not in (
                  select m.moment from turnout.reminder_moments(e.start_datetime, e.timezone, e.reminders) m (moment))
                then 'the event has moved since'
           when o.kind = 'reminder' and exists (
                  select
                  from turnout.reminder_moments(e.start_datetime, e.timezone, e.reminders) m (moment)
                  join turnout.outbox n
                    on n.dedupe_key = o.registration_id || ':reminder:' || extract(epoch from m.moment)::bigint
                  where m.moment > o.due_at) then 'a later reminder is owed'
           when o.kind = 'survey_invitation' and r.checked_in_at is null then 'the person was not there'
         end,
         json_build_object(
           'id', o.id, 'kind', o.kind, 'dedupe_key', o.dedupe_key, 'attempts', o.attempts,
           'group', turnout.mail_group(o.kind),
           'due_at', turnout.api_time(o.due_at),
           'to', json_build_object('id', u.id, 'email', u.email, 'name', u.name, 'locale', u.locale, 'timezone', u.timezone),
           'event', json_build_object(
             'id', e.id, 'title', e.title, 'description', e.description, 'venue', e.venue, 'category', e.category,
             'status', e.status, 'start', turnout.api_time(e.start_datetime), 'end', turnout.api_time(e.end_datetime),
             'timezone', e.timezone,
             'local_start', to_char(e.start_datetime at time zone e.timezone, 'YYYY-MM-DD"T"HH24:MI:SS'),
             'local_end', to_char(e.end_datetime at time zone e.timezone, 'YYYY-MM-DD"T"HH24:MI:SS'),
             'offset_start', turnout.zone_offset(e.start_datetime, e.timezone),
             'offset_end', turnout.zone_offset(e.end_datetime, e.timezone),
             'version', e.version, 'updated_at', turnout.api_time(e.updated_at)),
           'registration', json_build_object(
             'id', r.id, 'status', r.status, 'generation', r.generation,
             'position', case when r.status = 'waitlisted'
                              then turnout.waitlist_place(r.event_year, r.event_id, r.queue_no) end))::text
  from unnest(p_ids) i (id)
  cross join (select clock_timestamp() as now) v
  -- The first at or behind an id, in the only index that has this order: to a plan made on tables that were empty when they were
  -- last analyzed all indexes look alike, and it would read the outbox, and the registrations of the year, from end to end.
  cross join lateral (
    select f.id, f.kind, f.dedupe_key, f.event_id, f.registration_id, f.user_id, f.generation, f.due_at, f.attempts
    from turnout.outbox f
    where f.id >= i.id
    order by f.id
    limit 1
  ) o
  left join turnout.events e on e.id = o.event_id
  left join lateral (
    select f.id, f.event_id, f.event_year, f.status, f.generation, f.queue_no, f.checked_in_at
    from turnout.registrations f
    where f.event_year = e.event_year and f.id >= o.registration_id
    order by f.id
    limit 1
  ) r on r.id = o.registration_id
  left join turnout.users u on u.id = o.user_id
  where o.id = i.id;
end
$$;
