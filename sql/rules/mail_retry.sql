-- Owes dead mail again, as new: that of p_id, or all that is dead (null). With an id also mail that waits for its next try, which
-- is then due at once. Answers how many. Whether it is still right is seen when it is leased. Locks the rows, in the order of
-- their ids.
create or replace function turnout.mail_retry(p_id bigint) returns bigint
language plpgsql
set enable_seqscan = off
set jit = off
as $$
declare
  v_ids bigint[];
  v_count bigint;
begin
  if p_id is null then
    v_ids := array(select o.id from turnout.outbox o where o.state = 'dead' order by o.id for no key update);
  else
    v_ids := array(select o.id from turnout.outbox o where o.id = p_id and o.state in ('dead', 'owed') for no key update);
  end if;
  update turnout.outbox o
  set state = 'owed', attempts = 0, next_attempt_at = clock_timestamp()
  where o.id = any (v_ids);
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
