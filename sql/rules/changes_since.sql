-- What this statement's snapshot shows of turnout.changes and an earlier one, given by its xmax and the transactions that were
-- in progress, did not: each commit comes in exactly one of a chain of such reads, however late it is and whatever else runs.
-- One row for each distinct change, with the places of an event before and after in columns; at most p_limit + 1 of them, one
-- more than p_limit says that there are too many. The first row is the snapshot itself (kind `snapshot`), also when nothing
-- has changed, or nothing but it was asked for (p_xmax null). `complete` says that nothing of what was asked for has been
-- pruned.
--
-- Of the transactions that were in progress only those are looked up that have ended: the rows of one that goes on for hours
-- are not walked over again by each read. Locks nothing.
create or replace function turnout.changes_since(p_xmax xid8, p_in_progress xid8[], p_limit integer)
returns table (kind text, key uuid, before_category text, before_status text, before_start bigint, after_category text,
               after_status text, after_start bigint, epoch bigint, xmax xid8, in_progress xid8[], complete boolean)
language plpgsql stable
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_snapshot constant pg_snapshot := pg_current_snapshot();
  v_ended xid8[];
begin
  select s.epoch, s.xmax, s.in_progress into epoch, xmax, in_progress from turnout.cache_snapshot() s;
  kind := 'snapshot';
  -- p_in_progress is in order, as snapshots are.
  complete := p_xmax is null or (select p.xid from turnout.changes_pruned p) <= least(p_xmax, p_in_progress[1]);
  return next;
  if p_xmax is null then
    return;
  end if;
  v_ended := array(select i.xid from unnest(p_in_progress) i (xid) where pg_visible_in_snapshot(i.xid, v_snapshot));
  return query
  select d.kind::text, d.key, d.before ->> 'category', d.before ->> 'status', (d.before ->> 'start')::bigint,
         d.after ->> 'category', d.after ->> 'status', (d.after ->> 'start')::bigint, null::bigint, null::xid8, null::xid8[],
         null::boolean
  from (
    select distinct c.kind, c.key, c.before, c.after
    from (
      select n.kind, n.key, n.before, n.after from turnout.changes n where n.xid >= p_xmax
      union all
      select l.kind, l.key, l.before, l.after from turnout.changes l where l.xid = any (v_ended)
    ) c
    limit p_limit + 1
  ) d;
end
$$;
