-- What a refresher calls after each connect, before it renders anything: raises the epoch to the present millisecond, or by one
-- where it is there already, and says which database this is. epoch_before lower than an epoch seen earlier, or another witness,
-- means that the database went back in time: a crash, a backup that was restored.
--
-- The commit waits for the disk whatever the settings: an epoch that a crash took back would be handed out twice. (Not by
-- `set` on the function: that ends before the commit.)
--
-- Locks: the cache_epoch row, which two hosts that call at once take in turns, so that no two ever get the same epoch. Under it
-- the witness is made where there is none.
create or replace function turnout.cache_begin(out epoch_before bigint, out epoch bigint, out witness uuid, out system text,
  out database text, out rules text)
language plpgsql
as $$
begin
  if pg_is_in_recovery() then
    raise exception 'the hot cache is filled by a primary, and this server is a standby'
      using errcode = 'read_only_sql_transaction';
  end if;
  if current_setting('synchronous_commit') in ('off', 'local', 'remote_write') then
    perform set_config('synchronous_commit', 'on', true);
  end if;
  select e.epoch into strict epoch_before from turnout.cache_epoch e for update;
  update turnout.cache_epoch e
  set epoch = greatest(e.epoch + 1, (extract(epoch from clock_timestamp()) * 1000)::bigint), at = clock_timestamp()
  returning e.epoch into strict epoch;
  -- Statements of their own: they see the witness of whoever had the lock before.
  select w.id into witness from turnout.cache_witness w;
  if not found then
    insert into turnout.cache_witness default values returning id into witness;
  end if;
  system := (select c.system_identifier from pg_control_system() c);
  database := (select d.oid from pg_catalog.pg_database d where d.datname = current_database());
  rules := (select r.checksum from turnout.rules r);
end
$$;
