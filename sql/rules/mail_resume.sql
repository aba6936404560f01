-- Lets the mailers go on after mail_pause, and without what a server that wanted less of us had slowed them down by. Answers
-- whether they were paused. Locks mail_stream's row.
create or replace function turnout.mail_resume() returns boolean
language plpgsql
set jit = off
as $$
declare
  v_paused boolean;
begin
  select s.paused_at is not null into v_paused from turnout.mail_stream s for no key update;
  update turnout.mail_stream s
  set paused_at = null, paused_by = null, slow_step = 0, slow_until = null, slow_reason = null;
  return v_paused;
end
$$;
