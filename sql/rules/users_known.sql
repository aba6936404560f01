-- The people behind verified identities, as far as they have been here before: role (the claim that wins, or the table's)
-- and id of each, null where the identity is unknown and turnout.users_seen has to decide. In the order of the items.
-- Writes and locks nothing: many people's first requests cost one short read.
create or replace function turnout.users_known(p_issuers text[], p_subjects text[], p_roles text[])
returns table (item integer, role text, ref text)
language plpgsql stable
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  return query
  select i.item::integer, coalesce(i.role, u.role), u.id::text
  from unnest(p_issuers, p_subjects, p_roles) with ordinality i (issuer, subject, role, item)
  left join turnout.users u on u.issuer = i.issuer and u.subject = i.subject
  order by i.item;
end
$$;
