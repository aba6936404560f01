-- What an edit changed, for the audit log: of two rows as JSON, the fields that differ, as they were and as they are.
-- Locks nothing.
create or replace function turnout.json_changes(p_before jsonb, p_after jsonb, out before jsonb, out after jsonb)
language sql immutable parallel safe
as $$
  select coalesce(jsonb_object_agg(b.key, b.value), '{}'), coalesce(jsonb_object_agg(b.key, p_after -> b.key), '{}')
  from jsonb_each(p_before) b
  where p_after -> b.key is distinct from b.value
$$;
