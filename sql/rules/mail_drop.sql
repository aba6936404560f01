-- Gives up a mail that is dead or owed: it is not sent, and not owed a second time either. Answers 1, or 0 where there is no such
-- mail, it was sent, or a mailer has it just now. Locks the row.
create or replace function turnout.mail_drop(p_id bigint) returns bigint
language plpgsql
set enable_seqscan = off
set jit = off
as $$
declare
  v_count bigint;
begin
  update turnout.outbox o
  set state = 'dropped', last_error = 'dropped by hand' || coalesce('; before: ' || o.last_error, '')
  where o.id = p_id and o.state in ('dead', 'owed');
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
