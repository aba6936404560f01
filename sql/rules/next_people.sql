-- The next people who hold a seat or wait at an event, in the order of joining, after a place: at most p_limit ids of
-- registrations, and the place of the last (the given one where there is none). Fewer than p_limit: these are the last.
-- Locks nothing.
create or replace function turnout.next_people(p_event_year smallint, p_event_id uuid, p_after_place bigint, p_limit integer,
  out ids uuid[], out last_place bigint)
language plpgsql stable
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  select coalesce(array_agg(p.id order by p.queue_no), '{}'), coalesce(max(p.queue_no), p_after_place)
  into ids, last_place
  from (
    select r.id, r.queue_no
    from unnest(array['registered', 'waitlisted']) s (status)
    cross join lateral (
      select o.id, o.queue_no
      from turnout.registrations o
      where o.event_year = p_event_year and o.event_id = p_event_id and o.status = s.status
        and o.queue_no > p_after_place
      order by o.queue_no
      limit p_limit
    ) r
    order by r.queue_no
    limit p_limit
  ) p;
end
$$;
