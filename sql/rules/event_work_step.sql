-- Does the next step of what event_work says is still to do, for the event that has waited longest, and answers how many
-- people were dealt with; called again until it is 0. What has come to nothing (the event was cancelled, or closed) is crossed
-- out on the way. Cut at any point, nothing is lost or done twice: a step and how far it came are one transaction.
--
-- An event that somebody holds is passed over until next time. Any number of hosts may do this at once.
--
-- Locks, in this order: the event's seats row (skip locked); then, under it, its event_work rows, and what cancel_people,
-- tell_people and promote_waiting lock.
create or replace function turnout.event_work_step(p_limit integer) returns integer
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_event_id uuid;
  v_event record;
  v_work turnout.event_work;
  v_people record;
  v_step integer;
  v_unfinished boolean;
  v_done integer := 0;
begin
  loop
    select s.event_id into v_event_id
    from turnout.event_work w
    join turnout.event_seats s on s.event_id = w.event_id
    order by w.asked_at
    limit 1
    for no key update of s skip locked;
    if not found then
      return 0;
    end if;
    select e.event_year, e.status into v_event from turnout.events e where e.id = v_event_id;

    for v_work in select w.* from turnout.event_work w where w.event_id = v_event_id order by w.kind loop
      v_step := 0;
      v_unfinished := false;
      if v_work.kind = 'promote' then
        v_step := turnout.promote_waiting(v_event_id, v_work.actor_id, v_work.request_id, v_work.action_id);
        v_unfinished := v_step = turnout.promotions_at_once();
      elsif v_event.status = (case v_work.kind when 'cancel' then 'cancelled' else 'published' end) then
        v_people := turnout.next_people(v_event.event_year, v_event_id, v_work.after_place, p_limit);
        v_step := cardinality(v_people.ids);
        v_unfinished := v_step = p_limit;
        if v_work.kind = 'cancel' then
          perform turnout.cancel_people(v_event.event_year, v_event_id, v_people.ids, v_work.actor_id, v_work.request_id,
                                        v_work.action_id);
        else
          perform turnout.tell_people(v_event.event_year, v_event_id, v_people.ids, v_work.version, v_work.asked_at);
        end if;
      end if;
      if not v_unfinished then
        delete from turnout.event_work w where w.event_id = v_event_id and w.kind = v_work.kind;
      elsif v_work.kind <> 'promote' then
        update turnout.event_work w
        set after_place = v_people.last_place
        where w.event_id = v_event_id and w.kind = v_work.kind;
      end if;
      v_done := v_done + v_step;
    end loop;
    if v_done > 0 then
      return v_done;
    end if;
  end loop;
end
$$;
