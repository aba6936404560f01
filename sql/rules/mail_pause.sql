-- Stops all mailers of all hosts from taking more mail, until mail_resume; what they have taken they still send. Answers whether
-- it is by this call: who had paused them before stays named. Locks mail_stream's row.
create or replace function turnout.mail_pause(p_by text) returns boolean
language plpgsql
set jit = off
as $$
begin
  update turnout.mail_stream s
  set paused_at = clock_timestamp(), paused_by = p_by
  where s.paused_at is null;
  return found;
end
$$;
