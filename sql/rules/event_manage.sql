-- Whether somebody may see what is for those who manage an event, as the roster decides it: ok, not_found, forbidden. For
-- answers that come from the hot cache, where this alone is asked with each request. Locks nothing.
create or replace function turnout.event_manage(p_user_id uuid, p_role text, p_event_id uuid,
  out outcome text, out body text, out etag text, out ref text)
language plpgsql stable
as $$
begin
  outcome := coalesce(turnout.event_refusal(p_user_id, p_role, p_event_id), 'ok');
end
$$;
