-- The calendar of whoever has this token: an array of the events on which the person is registered or waits, each as
-- calendar_fields has it and with the registration's generation and is_waitlisted. Events that ended more than 90 days ago are
-- left out, and of more than 100 the last ones; descriptions are cut at 2,000 characters: writing a feed takes a worker's time, and
-- programs come for it every hour. No such token: not_found. Locks nothing.
create or replace function turnout.calendar_feed_get(p_token_hash bytea,
  out outcome text, out body text, out etag text, out ref text)
language plpgsql stable
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_user_id uuid;
begin
  select f.user_id into v_user_id from turnout.calendar_feeds f where f.token_hash = p_token_hash;
  if not found then
    outcome := 'not_found';
    return;
  end if;
  outcome := 'ok';
  ref := v_user_id;
  select coalesce(json_agg(o.event order by o.start_datetime, o.id), '[]')::text
  into body
  from (
    select e.id, e.start_datetime,
           (turnout.calendar_fields(e)::jsonb
            || jsonb_build_object('description', left(e.description, 2000), 'generation', r.generation,
                                  'is_waitlisted', r.status = 'waitlisted')) as event
    from turnout.registrations r
    join turnout.events e on e.id = r.event_id
    where r.user_id = v_user_id and r.status in ('registered', 'waitlisted') and e.end_datetime > now() - interval '90 days'
    order by e.start_datetime, e.id
    limit 100
  ) o;
end
$$;
