-- Everything that p_owner holds is owed again; answers how much that was. p_crashed: its mailer died, which counts as a try, so
-- that a letter that no mailer survives is dead in the end (p_attempts). Locks these rows, in the order of their ids.
create or replace function turnout.mail_release(p_owner text, p_crashed boolean, p_attempts integer) returns integer
language plpgsql
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  -- Found by the index of leased ones, in its order; then locked in that of all others who lock several.
  v_held bigint[] := array(
    select o.id
    from turnout.outbox o
    where o.state = 'leased' and o.leased_by = p_owner
    order by o.leased_until);
  v_ids bigint[] := array(
    select o.id
    from turnout.outbox o
    where o.id = any (v_held) and o.leased_by = p_owner
    order by o.id
    for no key update);
  v_count integer;
begin
  if p_crashed then
    return turnout.mail_take_back(v_ids, p_attempts, 'the mailer that had it died');
  end if;
  update turnout.outbox o
  set state = 'owed', leased_by = null, leased_until = null
  where o.id = any (v_ids);
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
