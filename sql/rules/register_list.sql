-- Registers a list of people for an event, by who manages it; anybody else is refused. p_fields: {"user_ids": [...]}. What
-- holds for a person who registers by themselves holds here, and they get their seats in the order of the list. Answers
-- {"results": [...]} with an outcome for each: `registered`, `waitlisted` or `existing` with the registration, else `refused`
-- with the problem: the outcome of register_many, which the server turns into a type, and its members.
--
-- Every person's order has an action id of its own, made from p_action_id: p_resent (the connection was lost and this is the
-- same call again) finds what each did.
--
-- Locks: what register_many locks; `busy` when somebody else holds the seats row, and nothing was done.
create or replace function turnout.register_list(p_request_id text, p_action_id uuid, p_user_id uuid, p_role text,
  p_event_id uuid, p_fields jsonb, p_resent boolean, out outcome text, out body text, out etag text, out ref text)
language plpgsql
as $$
declare
  v_people uuid[] := array(select p.id::uuid from jsonb_array_elements_text(p_fields -> 'user_ids')
                           with ordinality p (id, item) order by p.item);
  v_count integer := cardinality(v_people);
  v_busy boolean;
begin
  outcome := turnout.event_refusal(p_user_id, p_role, p_event_id);
  if outcome is not null then
    return;
  end if;
  ref := p_event_id;
  select bool_or(r.outcome = 'busy'),
         '{"results":[' || string_agg(
           '{"user_id":"' || v_people[r.item] || '","outcome":"' || case
             when r.outcome in ('registered', 'waitlisted', 'existing') then r.outcome || '","registration":' || r.body
             else 'refused","problem":' || (
               jsonb_build_object('outcome', r.outcome)
               || case when r.outcome = 'invalid_fields' then jsonb_build_object('errors', jsonb_build_array(
                    jsonb_build_object('pointer', '/user_ids/' || r.item - 1, 'detail', 'must be the id of a user')))
                  else coalesce(r.body::jsonb, '{}') end)::text
             end || '}', ',' order by r.item) || ']}'
  into v_busy, body
  from turnout.register_many(
    -- The time of the action's id, then what hardly any other item has.
    array(select (left(p_action_id::text, 14) || '7' || substr(h.hash, 1, 3) || '-8' || substr(h.hash, 4, 3) || '-'
                  || substr(h.hash, 7, 12))::uuid
          from unnest(v_people) with ordinality p (id, item)
          cross join lateral (select md5(p_action_id || ' ' || p.item) as hash) h
          order by p.item),
    array(select turnout.new_id() from generate_series(1, v_count)),
    array_fill(p_request_id, array[v_count]), array_fill(p_user_id, array[v_count]), array_fill(p_role, array[v_count]),
    array_fill(p_event_id, array[v_count]), v_people, p_resent) r;
  if v_busy then
    outcome := 'busy';
    body := null;
  else
    outcome := 'ok';
  end if;
end
$$;
