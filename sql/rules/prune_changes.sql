-- Deletes changes written longer ago than p_keep, answers how many, and writes how far it went into changes_pruned, in the
-- same transaction: a reader whose last snapshot had an xmin below that may have missed rows.
-- Rows of transactions that some snapshot may still hold for running are left for next time: their xid is not yet behind
-- everybody. Works from the oldest id on, in pieces, and stops at the first piece in which nothing was due.
-- Locks: the changes_pruned row first (two hosts take turns), then the rows deleted, which nobody else writes.
create or replace function turnout.prune_changes(p_keep interval) returns bigint
language plpgsql
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_before timestamptz := clock_timestamp() - p_keep;
  v_settled xid8;
  v_furthest xid8;
  v_in_piece bigint;
  v_deleted bigint := 0;
begin
  perform from turnout.changes_pruned p for update;
  v_settled := pg_snapshot_xmin(pg_current_snapshot());
  loop
    with gone as (
      delete from turnout.changes c
      where c.id = any (array(select old.id from turnout.changes old order by old.id limit 5000))
        and c.at < v_before and c.xid < v_settled
      returning c.xid
    )
    select count(*), max(g.xid::text::numeric)::text::xid8 into v_in_piece, v_furthest from gone g;
    exit when v_in_piece = 0;
    v_deleted := v_deleted + v_in_piece;
    update turnout.changes_pruned p
    set xid = (v_furthest::text::numeric + 1)::text::xid8, at = clock_timestamp()
    where p.xid <= v_furthest;
  end loop;
  return v_deleted;
end
$$;
