-- The statistics of an event, for its organizers and admins. Locks nothing.
create or replace function turnout.event_stats(p_user_id uuid, p_role text, p_event_id uuid,
  out outcome text, out body text, out etag text, out ref text)
language plpgsql stable
as $$
begin
  select m.outcome into outcome from turnout.event_manage(p_user_id, p_role, p_event_id) m;
  if outcome = 'ok' then
    ref := p_event_id;
    body := turnout.stats_body(p_event_id);
  end if;
end
$$;
