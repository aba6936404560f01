-- Forgets the mail of events that ended longer ago than p_keep, or are gone, 10,000 rows at most, and answers how many; to be
-- called again until there are none. Until then a dedupe key is what makes a mail one, so p_keep is longer than anything is owed
-- after an event (invitations to surveys: three days). What a mailer has leased stays for the next time.
--
-- Goes from event to event by the outbox's own index: there are few in it, however many there ever were. Locks the rows deleted;
-- those that somebody else has are skipped.
create or replace function turnout.mail_prune(p_keep interval) returns bigint
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  c_most constant bigint := 10000;
  v_before timestamptz := clock_timestamp() - p_keep;
  v_event_id uuid := '00000000-0000-0000-0000-000000000000';
  v_deleted bigint := 0;
  v_count bigint;
begin
  loop
    select o.event_id into v_event_id
    from turnout.outbox o
    where o.event_id > v_event_id
    order by o.event_id
    limit 1;
    exit when not found;
    continue when exists (select from turnout.events e where e.id = v_event_id and e.end_datetime >= v_before);
    delete from turnout.outbox o
    where o.ctid = any (array(
      select d.ctid
      from turnout.outbox d
      where d.event_id = v_event_id and d.state <> 'leased'
      limit c_most - v_deleted
      for update skip locked));
    get diagnostics v_count = row_count;
    v_deleted := v_deleted + v_count;
    exit when v_deleted >= c_most;
  end loop;
  return v_deleted;
end
$$;
