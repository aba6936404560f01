-- A person's registrations, newest first, as a JSON array with live waitlist places; a page of p_limit after the position
-- (p_after_at in µs since 1970, p_after_id), and the position of the next page (null: this was the last). Locks nothing.
create or replace function turnout.registrations_mine(p_user_id uuid, p_limit integer, p_after_at bigint, p_after_id uuid,
  out outcome text, out body text, out next_at bigint, out next_id uuid)
language plpgsql stable
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_limit integer := least(greatest(coalesce(p_limit, 50), 1), 100);
  v_after_at timestamptz := coalesce(turnout.from_microseconds(p_after_at), timestamptz 'infinity');
  v_after_id uuid := coalesce(p_after_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
  v_found integer;
begin
  -- One row more than asked for tells whether there is a next page.
  with page as materialized (
    select r.event_year, r.id, r.event_id, r.user_id, r.status, r.queue_no, r.registered_at, r.cancelled_at,
           r.checked_in_at, row_number() over (order by r.registered_at desc, r.id desc) as line
    from turnout.registrations r
    where r.user_id = p_user_id and (r.registered_at, r.id) < (v_after_at, v_after_id)
    order by r.registered_at desc, r.id desc
    limit v_limit + 1
  )
  select count(*),
         '[' || coalesce(string_agg(
           turnout.registration_json(p.id, p.event_id, p.user_id, p.status,
             case when p.status = 'waitlisted' then turnout.waitlist_place(p.event_year, p.event_id, p.queue_no) end,
             p.registered_at, p.cancelled_at, p.checked_in_at), ',' order by p.line) filter (where p.line <= v_limit), '')
           || ']',
         max(turnout.microseconds(p.registered_at)) filter (where p.line = v_limit),
         max(p.id::text) filter (where p.line = v_limit)
  into v_found, body, next_at, next_id
  from page p;
  outcome := 'ok';
  if v_found <= v_limit then
    next_at := null;
    next_id := null;
  end if;
end
$$;
