-- Gives an event's free seats to the first people waiting who may take them, in the name of whoever freed them, and answers
-- how many were given: promote_many for one event. The caller holds the event's seats row; locks what promote_many locks.
create or replace function turnout.promote_waiting(p_event_id uuid, p_actor_id uuid, p_request_id text, p_action_id uuid)
returns integer
language plpgsql
as $$
begin
  return turnout.promote_many(array[p_event_id], array[p_event_id], array[p_actor_id], array[p_request_id],
                              array[p_action_id]);
end
$$;
