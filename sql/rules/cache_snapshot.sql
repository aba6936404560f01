-- Which commits the present statement sees, as versions of cached bodies say it: the epoch, the first transaction that had
-- not begun, and those before it that had not ended. On a primary without a crash between them any two of these are in order.
-- A standby's are in no order with the primary's: there it raises what a write would. Locks nothing.
create or replace function turnout.cache_snapshot(out epoch bigint, out xmax xid8, out in_progress xid8[])
language plpgsql stable
as $$
declare
  v_snapshot constant pg_snapshot := pg_current_snapshot();
begin
  if pg_is_in_recovery() then
    raise exception 'the hot cache is filled by a primary, and this server is a standby'
      using errcode = 'read_only_sql_transaction';
  end if;
  epoch := (select e.epoch from turnout.cache_epoch e);
  xmax := pg_snapshot_xmax(v_snapshot);
  in_progress := array(select pg_snapshot_xip(v_snapshot));
end
$$;
