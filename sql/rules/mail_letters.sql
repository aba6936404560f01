-- What a mailer needs to write each of the owed mails p_ids, or why it is not right any more: people are told what is, never what
-- was. Mail of a registration is right while the registration stands as the mail tells it, in the generation that owed it: a newer
-- one owes its own. Locks nothing.
create or replace function turnout.mail_letters(p_ids bigint[])
returns table (id bigint, wrong text, letter text)
language plpgsql stable
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
           when o.kind in ('confirmation', 'promoted') and r.status <> 'registered' then 'the seat has been given up since'
           when o.kind = 'waitlisted' and r.status <> 'waitlisted' then 'the person does not wait any more'
           when o.kind in ('cancelled', 'event_cancelled') and r.status <> 'cancelled' then 'the person has joined again since'
           when o.kind in ('changed', 'reminder', 'survey_invitation') and r.status = 'cancelled'
                then 'the registration has been cancelled since'
           when o.kind in ('changed', 'reminder') and e.status <> 'published' then 'the event is not to come any more'
           when o.kind = 'changed' and e.end_datetime <= v.now then 'the event is over'
           when o.kind = 'changed' and exists (
                  select from turnout.outbox n
                  where n.event_id = o.event_id and n.registration_id = o.registration_id and n.kind = 'changed'
                    and n.generation > o.generation) then 'the event has changed again since'
           when o.kind = 'reminder' and r.status <> 'registered' then 'the person has no seat'
           when o.kind = 'reminder' and e.start_datetime <= v.now then 'the event has begun'
           when o.kind = 'survey_invitation' and r.checked_in_at is null then 'the person was not there'
         end,
         json_build_object(
           'id', o.id, 'kind', o.kind, 'dedupe_key', o.dedupe_key, 'attempts', o.attempts,
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
  from turnout.outbox o
  cross join (select clock_timestamp() as now) v
  left join turnout.events e on e.id = o.event_id
  left join turnout.registrations r on r.event_year = e.event_year and r.id = o.registration_id
  left join turnout.users u on u.id = o.user_id
  where o.id = any (p_ids);
end
$$;
