-- Cancels one registration: registration_batch for a call that holds nothing else. Locks what that locks; the event's seats
-- row held by somebody else: `busy`, it never waits.
create or replace function turnout.registration_cancel(p_request_id text, p_action_id uuid, p_user_id uuid, p_role text,
  p_registration_id uuid, p_resent boolean, out outcome text, out body text, out etag text, out ref text)
language plpgsql
as $$
begin
  select b.outcome, b.body, b.etag, case when b.outcome = 'busy' then p_registration_id::text else b.ref end
  into outcome, body, etag, ref
  from turnout.registration_batch(array['cancel'], array[p_action_id], array[p_registration_id], array[p_request_id],
    array[p_user_id], array[p_role], array[null]::uuid[], array[null]::uuid[], p_resent, 0) b;
end
$$;
