-- Takes down what became of letters that p_owner holds: sent; permanent (refused for ever, dead); temporary (refused for now: the
-- next try after p_retry_min, doubled with each one up to p_retry_max, each cut by up to a third; at p_attempts dead); slow (the
-- same, and all mailers pause: a second, doubled each time up to five minutes); unsent (this host could not send: owed as before).
-- Answers each row that p_owner still held, and how it stands now; who is missing is somebody else's by now.
--
-- Locks: mail_stream's row where a letter was slow, or slowness may end; then the rows, in the order of their ids.
create or replace function turnout.mail_done(p_owner text, p_ids bigint[], p_outcomes text[], p_errors text[], p_attempts integer,
  p_retry_min interval, p_retry_max interval)
returns table (id bigint, state text)
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  c_slow_most constant double precision := 300;
  v_now timestamptz := clock_timestamp();
begin
  if 'slow' = any (p_outcomes) then
    -- Letters that were under way together are slowed once.
    update turnout.mail_stream s
    set slow_step = least(9, s.slow_step + 1),
        slow_until = v_now + make_interval(secs => least(c_slow_most, power(2, s.slow_step)) * (1 - random() / 3)),
        slow_reason = p_errors[array_position(p_outcomes, 'slow')]
    where s.slow_until is null or s.slow_until <= v_now;
  elsif 'sent' = any (p_outcomes) then
    update turnout.mail_stream s
    set slow_step = s.slow_step - 1
    where s.slow_step > 0 and s.slow_until <= v_now;
  end if;

  -- Who leased it says that it is leased; a condition on the state would offer the index of leased ones, where every lease there ever
  -- was stands as long as an old snapshot is held.
  perform from turnout.outbox o
  where o.id = any (p_ids) and o.leased_by = p_owner
  order by o.id
  for no key update;
  return query
  with decided as materialized (
    select o.place, g.outcome, g.error, o.attempts + (g.outcome <> 'unsent')::integer as attempts,
           case when g.outcome = 'sent' then 'sent'
                when g.outcome = 'permanent' then 'dead'
                when g.outcome = 'unsent' then 'owed'
                when o.attempts + 1 >= p_attempts then 'dead'
                else 'owed' end as state
    from unnest(p_ids, p_outcomes, p_errors) g (id, outcome, error)
    -- The first at or behind this id: the only index with this order, whatever the table was when it was last analyzed.
    cross join lateral (
      select f.ctid as place, f.id, f.attempts, f.leased_by
      from turnout.outbox f
      where f.id >= g.id
      order by f.id
      limit 1
    ) o
    where o.id = g.id and o.leased_by = p_owner
  )
  update turnout.outbox o
  set state = d.state, leased_by = null, leased_until = null, attempts = d.attempts,
      last_error = case when d.state = 'sent' then null when d.outcome = 'unsent' then o.last_error else d.error end,
      sent_at = case when d.state = 'sent' then v_now end,
      next_attempt_at = case when d.state = 'owed' and d.outcome <> 'unsent'
        then v_now + least(p_retry_max, p_retry_min * power(2, least(d.attempts, 30) - 1)) * (1 - random() / 3)
        else o.next_attempt_at end
  from decided d
  where o.ctid = d.place
  returning o.id, o.state::text;
end
$$;
