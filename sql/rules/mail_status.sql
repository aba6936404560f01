-- How the outbox stands, for metrics and turnoutctl: what is owed, due and leased, and what holds it up. Reads the indexes of owed
-- and leased mail alone, whatever was ever sent. Locks nothing.
create or replace function turnout.mail_status()
returns table (owed bigint, due bigint, leased bigint, dead bigint, oldest_due_us bigint, paused_at timestamptz, paused_by text,
  slow_until timestamptz, slow_reason text)
language plpgsql stable
set enable_seqscan = off
set jit = off
as $$
declare
  v_now timestamptz := clock_timestamp();
begin
  return query
  select o.owed, o.due, (select count(*) from turnout.outbox l where l.state = 'leased'),
         (select count(*) from turnout.outbox d where d.state = 'dead'),
         coalesce(turnout.microseconds(v_now) - turnout.microseconds(o.oldest), 0),
         s.paused_at, s.paused_by, case when s.slow_until > v_now then s.slow_until end,
         case when s.slow_until > v_now then s.slow_reason end
  from turnout.mail_stream s
  cross join (
    select count(*) as owed, count(*) filter (where w.next_attempt_at <= v_now) as due,
           min(w.next_attempt_at) filter (where w.next_attempt_at <= v_now) as oldest
    from turnout.outbox w
    where w.state = 'owed'
  ) o;
end
$$;
