-- A page of the people of an event, for its organizers and admins: registrations with live waitlist places and who each
-- person is, of one status where p_status says so. In the order of joining, after the place p_after_place (a queue_no); or,
-- where p_name is given, those whose name begins with it, in the order of folded names (turnout.name_fold), after the
-- position (p_after_key, p_after_id). An empty p_name is everybody by name. Answers a JSON array and the position of the
-- next page (next_id null: this was the last). Locks nothing.
--
-- A name is looked for from the side that has less to look at: of a small event all people are compared; of a larger one
-- people are taken in the order of names and looked up in the event, which fills a page soon unless the name and the event
-- have little to do with each other. After c_walk people without a full page, roster_rest joins the two as a whole.
-- Which way is taken depends on counts alone, and each gives the same. `offset 0` keeps each look-up a look-up: a planner
-- that knows events of twenty people would read a whole one, once, and keep it.
create or replace function turnout.event_roster(p_user_id uuid, p_role text, p_event_id uuid, p_status text, p_name text,
  p_limit integer, p_after_place bigint, p_after_id uuid, p_after_key text,
  out outcome text, out body text, out next_place bigint, out next_id uuid, out next_key text)
language plpgsql stable
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  c_no_place constant bigint := -9223372036854775808;
  c_no_id constant uuid := '00000000-0000-0000-0000-000000000000';
  -- Up to here an event is small: 3,000 people are compared in some 10 ms, as many names walked in 7 (measured on two cores).
  c_small constant bigint := 3000;
  c_walk constant integer := 3000;
  v_errors jsonb := '[]';
  v_limit integer := coalesce(p_limit, 50);
  v_year smallint;
  v_size bigint;
  v_statuses text[] := array['registered', 'waitlisted', 'cancelled'];
  -- Which people the page shows, one more than asked for where there is a next page.
  v_people uuid[];
  v_prefix text := turnout.name_fold(p_name);
  v_is_long boolean := char_length(v_prefix) > 32;
  -- Keys are at most 32 characters long: everything that begins with the prefix, and nothing else, is before this.
  v_key_end text := left(v_prefix, 32) || repeat(chr(1114111), 33);
  v_after_key text := coalesce(p_after_key, left(v_prefix, 32));
  v_after_id uuid := coalesce(p_after_id, c_no_id);
begin
  outcome := turnout.event_refusal(p_user_id, p_role, p_event_id);
  if outcome is not null then
    return;
  end if;
  if p_status <> all (v_statuses) then
    v_errors := v_errors || jsonb_build_object('parameter', 'status',
                                               'detail', 'must be registered, waitlisted or cancelled');
  end if;
  if char_length(p_name) > 255 then
    v_errors := v_errors || jsonb_build_object('parameter', 'name', 'detail', 'must be at most 255 characters');
  end if;
  if v_limit not between 1 and 100 then
    v_errors := v_errors || jsonb_build_object('parameter', 'limit', 'detail', 'must be a whole number from 1 to 100');
  end if;
  if v_errors <> '[]' then
    outcome := 'invalid_fields';
    body := turnout.errors_body(v_errors);
    return;
  end if;
  outcome := 'ok';

  -- last_queue_no is the number of joinings, and so at least the number of rows.
  select e.event_year,
         case p_status
           when 'registered' then s.registered_count
           when 'waitlisted' then s.waitlisted_count
           when 'cancelled' then s.last_queue_no - s.registered_count - s.waitlisted_count
           else s.last_queue_no
         end
  into v_year, v_size
  from turnout.events e
  join turnout.event_seats s on s.event_id = e.id
  where e.id = p_event_id;
  if p_status is not null then
    v_statuses := array[p_status];
  end if;

  if p_name is null then
    v_people := array(
      select p.user_id
      from unnest(v_statuses) s (status)
      cross join lateral (
        select r.user_id, r.queue_no
        from turnout.registrations r
        where r.event_year = v_year and r.event_id = p_event_id and r.status = s.status
          and r.queue_no > coalesce(p_after_place, c_no_place)
        order by r.queue_no
        limit v_limit + 1
      ) p
      order by p.queue_no
      limit v_limit + 1);
  elsif v_size <= c_small then
    v_people := array(
      select n.user_id
      from unnest(v_statuses) s (status)
      cross join lateral (
        select r.user_id
        from turnout.registrations r
        where r.event_year = v_year and r.event_id = p_event_id and r.status = s.status
        offset 0
      ) p
      cross join lateral (select m.key, m.user_id from turnout.user_names m where m.user_id = p.user_id offset 0) n
      where (n.key, n.user_id) > (v_after_key, v_after_id) and n.key < v_key_end
        and (not v_is_long or exists (
          select from turnout.users u where u.id = n.user_id and starts_with(turnout.name_fold(u.name), v_prefix)))
      order by n.key, n.user_id
      limit v_limit + 1);
  else
    v_people := array(
      select n.user_id
      from (
        select n.key, n.user_id
        from turnout.user_names n
        where (n.key, n.user_id) > (v_after_key, v_after_id) and n.key < v_key_end
        order by n.key, n.user_id
        limit c_walk
      ) n
      cross join lateral (
        select o.status
        from turnout.registrations o
        where o.event_year = v_year and o.event_id = p_event_id and o.user_id = n.user_id
        offset 0
      ) r
      where r.status = any (v_statuses)
        and (not v_is_long or exists (
          select from turnout.users u where u.id = n.user_id and starts_with(turnout.name_fold(u.name), v_prefix)))
      order by n.key, n.user_id
      limit v_limit + 1);
    if cardinality(v_people) <= v_limit then
      select n.key, n.user_id into v_after_key, v_after_id
      from turnout.user_names n
      where (n.key, n.user_id) > (v_after_key, v_after_id) and n.key < v_key_end
      order by n.key, n.user_id
      offset c_walk - 1
      limit 1;
      if found then
        v_people := v_people || turnout.roster_rest(v_year, p_event_id, v_statuses, case when v_is_long then v_prefix end,
          v_after_key, v_after_id, v_key_end, v_limit + 1 - cardinality(v_people));
      end if;
    end if;
  end if;

  with page as materialized (
    select p.line, r.id, r.event_id, r.user_id, r.status, r.queue_no, r.registered_at, r.cancelled_at, r.checked_in_at
    from unnest(v_people[1:v_limit]) with ordinality p (user_id, line)
    cross join lateral (
      select o.id, o.event_id, o.user_id, o.status, o.queue_no, o.registered_at, o.cancelled_at, o.checked_in_at
      from turnout.registrations o
      where o.event_year = v_year and o.event_id = p_event_id and o.user_id = p.user_id
      offset 0
    ) r
  ), waiting as materialized (
    -- Each place is the one before it on this page and who joined between the two: one walk along the waitlist for all.
    select w.line, sum(w.joined)::bigint as place
    from (
      select g.line, sum((
               select count(*)
               from turnout.registrations b
               where b.event_year = v_year and b.event_id = p_event_id and b.status = 'waitlisted'
                 and b.queue_no > g.before and b.queue_no <= g.queue_no)) over (order by g.queue_no) as joined
      from (
        select page.line, page.queue_no, lag(page.queue_no, 1, c_no_place) over (order by page.queue_no) as before
        from page
        where page.status = 'waitlisted'
      ) g
    ) w
    group by w.line
  )
  select coalesce('[' || string_agg(
           left(turnout.registration_json(page.id, page.event_id, page.user_id, page.status, waiting.place,
                                          page.registered_at, page.cancelled_at, page.checked_in_at), -1)
             || ',"user":' || row_to_json(person)::text || '}', ',' order by page.line) || ']', '[]'),
         max(page.queue_no) filter (where page.line = v_limit),
         max(page.user_id::text) filter (where page.line = v_limit)
  into body, next_place, next_id
  from page
  left join waiting on waiting.line = page.line
  join turnout.users u on u.id = page.user_id
  cross join lateral (select u.id, u.name, u.email, u.department, u.kind) person;
  if cardinality(v_people) <= v_limit then
    next_place := null;
    next_id := null;
  elsif p_name is not null then
    select n.key into next_key from turnout.user_names n where n.user_id = next_id;
  end if;
end
$$;
