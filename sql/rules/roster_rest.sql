-- The next people of an event by name, behind a position, when a walk along the names has found too few: all of the event's
-- people hashed, and all of these names held against them. Shared out of event_roster for its settings, and not called
-- otherwise; p_long is a prefix that is longer than a key. Some 60 ms for 100,000 people and 60,000 names. Locks nothing.
create or replace function turnout.roster_rest(p_event_year smallint, p_event_id uuid, p_statuses text[], p_long text,
  p_after_key text, p_after_id uuid, p_key_end text, p_limit integer) returns uuid[]
language plpgsql stable
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = on
set enable_mergejoin = off
set enable_nestloop = off
set jit = off
set plan_cache_mode = force_generic_plan
set work_mem = '32MB'
as $$
begin
  return array(
    select n.user_id
    from turnout.user_names n
    where (n.key, n.user_id) > (p_after_key, p_after_id) and n.key < p_key_end
      and n.user_id in (
        select r.user_id
        from turnout.registrations r
        where r.event_year = p_event_year and r.event_id = p_event_id and r.status = any (p_statuses))
      and (p_long is null or starts_with(turnout.name_fold((
        select u.name from turnout.users u where u.id = n.user_id)), p_long))
    order by n.key, n.user_id
    limit p_limit);
end
$$;
