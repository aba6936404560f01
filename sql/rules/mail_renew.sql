-- Prolongs the leases of p_ids that p_owner still holds, and answers which these are. Locks these rows, in the order of their ids;
-- one that somebody else is taking is not ours any more.
create or replace function turnout.mail_renew(p_owner text, p_ids bigint[], p_lease interval) returns setof bigint
language plpgsql
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  return query
  update turnout.outbox o
  set leased_until = clock_timestamp() + p_lease
  where o.id = any (array(
      select h.id
      from turnout.outbox h
      where h.id = any (p_ids) and h.leased_by = p_owner
      order by h.id
      for no key update skip locked))
  returning o.id;
end
$$;
