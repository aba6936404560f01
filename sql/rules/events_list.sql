-- A page of the list of events of one status (default: published), optionally one category, a range of starts (from
-- inclusive, to exclusive) and a text that title, description or venue contains; in the order (start_datetime, id), after
-- the position (p_after_start in µs since 1970, p_after_id). Answers a JSON array and the position of the next page (null:
-- this was the last). A draft is listed only to its organizers, and to admins. Locks nothing.
--
-- One statement for each shape of question, as one that fits all would be planned for none: by status, by status and
-- category, by text, and an organizer's own drafts. Each finds ids on an index; only the page's rows are then read whole.
create or replace function turnout.events_list(p_user_id uuid, p_role text, p_category text, p_status text, p_from text,
  p_to text, p_q text, p_limit integer, p_after_start bigint, p_after_id uuid,
  out outcome text, out body text, out next_start bigint, out next_id uuid)
language plpgsql stable
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  c_moment constant text := 'must be a date and time with offset (RFC 3339), in a year from 1970 to 2200';
  v_errors jsonb := '[]';
  v_status text := coalesce(p_status, 'published');
  v_limit integer := coalesce(p_limit, 50);
  v_from timestamptz := turnout.parse_time(p_from);
  v_to timestamptz := turnout.parse_time(p_to);
  -- The page is what comes after this position and before v_to.
  v_after_start timestamptz := coalesce(turnout.from_microseconds(p_after_start), '-infinity');
  v_after_id uuid := coalesce(p_after_id, '00000000-0000-0000-0000-000000000000');
  v_q text := nullif(turnout.search_fold(p_q), '');
  v_grams text[];
  v_role text := p_role;
  v_ids uuid[];
begin
  if p_from is not null and v_from is null then
    v_errors := v_errors || jsonb_build_object('parameter', 'from', 'detail', c_moment);
  end if;
  if p_to is not null and v_to is null then
    v_errors := v_errors || jsonb_build_object('parameter', 'to', 'detail', c_moment);
  end if;
  if v_status not in ('draft', 'published', 'cancelled', 'completed') then
    v_errors := v_errors || jsonb_build_object('parameter', 'status',
                                               'detail', 'must be draft, published, cancelled or completed');
  end if;
  if char_length(p_category) > 50 or p_category !~ '^[a-z0-9]+([-_][a-z0-9]+)*$' then
    v_errors := v_errors || jsonb_build_object(
      'parameter', 'category', 'detail', 'must be a slug: 1 to 50 of a-z, 0-9, with single hyphens or underscores between');
  end if;
  if char_length(p_q) > 200 then
    v_errors := v_errors || jsonb_build_object('parameter', 'q', 'detail', 'must be at most 200 characters');
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

  -- `from` is inclusive: no id is before all zeros, so the position before it is just before the first event of then.
  if v_from > v_after_start then
    v_after_start := v_from;
    v_after_id := '00000000-0000-0000-0000-000000000000';
  end if;
  v_to := coalesce(v_to, 'infinity');

  if v_status = 'draft' and v_role is null then
    select u.role into v_role from turnout.users u where u.id = p_user_id;
  end if;
  -- One row more than asked for tells whether there is a next page.
  case
    when v_status = 'draft' and (p_user_id is null or coalesce(v_role, '') not in ('organizer', 'admin')) then
      v_ids := '{}';
    when v_status = 'draft' and v_role = 'organizer' then
      v_ids := array(
        select e.id
        from turnout.event_organizers o
        join turnout.events e on e.id = o.event_id
        where o.user_id = p_user_id and e.status = 'draft'
          and (e.start_datetime, e.id) > (v_after_start, v_after_id) and e.start_datetime < v_to
          and (p_category is null or e.category = p_category)
          and (v_q is null
               or strpos(turnout.search_fold(e.title || E'\x1f' || e.venue || E'\x1f' || e.description), v_q) > 0)
        order by e.start_datetime, e.id
        limit v_limit + 1);
    when v_q is not null then
      -- The index holds single characters and pairs: a longer text contains all of its pairs, and is looked at again.
      v_grams := array(
        select distinct substr(v_q, n.n, least(char_length(v_q), 2))
        from generate_series(1, greatest(char_length(v_q) - 1, 1)) n (n));
      -- That second look is the dear part; behind `offset 0` it is taken at events in the order of the list, until the page
      -- is full.
      v_ids := array(
        select c.id
        from (
          select e.id, e.start_datetime, e.title, e.venue, e.description
          from turnout.events e
          where turnout.search_grams(e.title || E'\x1f' || e.venue || E'\x1f' || e.description) collate "C" @> v_grams
            and e.status = v_status and (p_category is null or e.category = p_category)
            and (e.start_datetime, e.id) > (v_after_start, v_after_id) and e.start_datetime < v_to
          order by e.start_datetime, e.id
          offset 0
        ) c
        where char_length(v_q) <= 2
              or strpos(turnout.search_fold(c.title || E'\x1f' || c.venue || E'\x1f' || c.description), v_q) > 0
        order by c.start_datetime, c.id
        limit v_limit + 1);
    when p_category is not null then
      v_ids := array(
        select e.id
        from turnout.events e
        where e.status = v_status and e.category = p_category
          and (e.start_datetime, e.id) > (v_after_start, v_after_id) and e.start_datetime < v_to
        order by e.start_datetime, e.id
        limit v_limit + 1);
    else
      v_ids := array(
        select e.id
        from turnout.events e
        where e.status = v_status
          and (e.start_datetime, e.id) > (v_after_start, v_after_id) and e.start_datetime < v_to
        order by e.start_datetime, e.id
        limit v_limit + 1);
  end case;

  select coalesce('[' || string_agg(row_to_json(l)::text, ',' order by p.line) || ']', '[]'),
         max(turnout.microseconds(e.start_datetime)) filter (where p.line = v_limit),
         max(e.id::text) filter (where p.line = v_limit)
  into body, next_start, next_id
  from unnest(v_ids[1:v_limit]) with ordinality p (id, line)
  join turnout.events e on e.id = p.id
  join turnout.event_seats s on s.event_id = e.id
  cross join lateral (
    select e.id, e.title, turnout.api_time(e.start_datetime) as start_datetime,
           turnout.api_time(e.end_datetime) as end_datetime, e.timezone, e.venue, e.category, e.status, s.capacity,
           s.registered_count, s.waitlisted_count
  ) l;
  if cardinality(v_ids) <= v_limit then
    next_start := null;
    next_id := null;
  end if;
end
$$;
