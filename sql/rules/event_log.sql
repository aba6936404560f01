-- A page of what happened to an event and to the registrations for it, from the audit log, newest first, for its organizers
-- and admins; p_entity: only one kind of entry, p_registration_id: only those of one registration. After the place
-- p_after_place (an id of the log). Answers a JSON array and the place of the next page (null: this was the last).
--
-- Who writes the log of an event holds its seats row (or makes it): here the order of ids is the order of commits, and no
-- entry can appear before one that was shown. Each way of asking is a scan of one index from its end. Locks nothing.
create or replace function turnout.event_log(p_user_id uuid, p_role text, p_event_id uuid, p_entity text,
  p_registration_id text, p_limit integer, p_after_place bigint,
  out outcome text, out body text, out next_place bigint, out next_id uuid)
language plpgsql stable
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_errors jsonb := '[]';
  v_limit integer := coalesce(p_limit, 50);
  v_before bigint := coalesce(p_after_place, 9223372036854775807);
  v_entity_id uuid;
  -- One more than asked for where there is a next page.
  v_ids bigint[];
begin
  outcome := turnout.event_refusal(p_user_id, p_role, p_event_id);
  if outcome is not null then
    return;
  end if;
  if p_entity not in ('event', 'registration') then
    v_errors := v_errors || jsonb_build_object('parameter', 'entity', 'detail', 'must be event or registration');
  end if;
  if p_registration_id !~ '^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$' then
    v_errors := v_errors || jsonb_build_object('parameter', 'registration_id', 'detail', 'must be an id (UUID)');
  elsif p_entity = 'event' and p_registration_id is not null then
    v_errors := v_errors || jsonb_build_object('parameter', 'registration_id',
                                               'detail', 'does not go together with entity=event');
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

  v_entity_id := case when p_registration_id is not null then p_registration_id::uuid
                      when p_entity = 'event' then p_event_id end;
  if v_entity_id is not null then
    v_ids := array(
      select a.id
      from turnout.audit_log a
      where a.entity_id = v_entity_id and a.id < v_before
        and a.event_id = p_event_id and a.entity = case when p_registration_id is null then 'event' else 'registration' end
      order by a.id desc
      limit v_limit + 1);
  else
    -- Entries of the event itself are few between those of registrations.
    v_ids := array(
      select a.id
      from turnout.audit_log a
      where a.event_id = p_event_id and a.id < v_before
        and (p_entity is null or a.entity = p_entity) and a.entity in ('event', 'registration')
      order by a.id desc
      limit v_limit + 1);
  end if;

  select coalesce('[' || string_agg(row_to_json(l)::text, ',' order by p.line) || ']', '[]')
  into body
  from unnest(v_ids[1:v_limit]) with ordinality p (id, line)
  join turnout.audit_log a on a.id = p.id
  left join turnout.users u on u.id = a.actor_id
  cross join lateral turnout.audit_difference(a.before, a.after) d
  cross join lateral (
    select turnout.api_time(a.at) as at,
           case when a.actor_id is not null then
             (select row_to_json(who) from (select a.actor_id as id, u.name) who) end as actor,
           a.action, a.entity, a.entity_id, d.before, d.after, a.request_id
  ) l;
  if cardinality(v_ids) > v_limit then
    next_place := v_ids[v_limit];
    next_id := p_event_id;
  end if;
end
$$;
