-- Gives a mailer owed mail to send: up to p_limit letters that are due, for p_lease, fewer where a rate (p_rate a second over all
-- hosts; 0: none) or a slowed server allows no more. `state` is mail, with a row for each letter; or one row: empty (`wait`: the
-- microseconds until the next is due, null where none is owed), later (the same until the rate allows it, or 0), paused.
--
-- What is not right any more is dropped on the way, and where that was a lot and nothing else, the rest is for the next call: an
-- event that is cancelled leaves thousands, and all other mailers wait meanwhile. Leases of anybody that have run out are taken
-- over when the scan begins at the start (p_place null); each is a try, so that a letter that no mailer survives is dead in the end.
--
-- `place` is where the next call may begin: rows that were sent leave dead entries in the index of owed ones, and while an old
-- snapshot is held nothing removes them. A scan that always began at the start would walk over all that were ever sent. What was
-- committed late lies before the place: every few seconds, and whenever nothing was found, what became due in the last half minute
-- is looked at again. What lies further back (a lease that ran out, mail that was given back, a commit later than that) is found
-- from the start alone, where the caller begins now and then.
--
-- Locks: mail_stream's row, then the rows taken (skip locked).
create or replace function turnout.mail_lease(p_owner text, p_limit integer, p_lease interval, p_rate integer, p_attempts integer,
  p_place text)
returns table (state text, wait bigint, place text, id bigint, letter text)
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  -- How much of a second's rate may be sent at once.
  c_burst constant double precision := 0.2;
  c_dropped_most constant integer := 2000;
  c_look_back constant interval := '30 seconds';
  c_look_back_every constant interval := '5 seconds';
  v_stream turnout.mail_stream;
  v_now timestamptz;
  v_limit integer := p_limit;
  v_tat timestamptz;
  v_allowed integer;
  v_after_at timestamptz := coalesce(to_timestamp(split_part(p_place, '/', 1)::numeric), '-infinity');
  v_after_id bigint := coalesce(split_part(p_place, '/', 2)::bigint, 0);
  v_looked_back timestamptz := coalesce(to_timestamp(nullif(split_part(p_place, '/', 3), '')::numeric), '-infinity');
  v_taken record;
  v_given integer := 0;
  v_looked_at integer := 0;
  v_next timestamptz;
begin
  select s.paused_at, s.paused_by, s.next_send_at, s.slow_step, s.slow_until, s.slow_reason
  into v_stream
  from turnout.mail_stream s
  for no key update;
  v_now := clock_timestamp();
  if v_stream.paused_at is not null then
    return query select 'paused', null::bigint, p_place, null::bigint, null::text;
    return;
  end if;
  if v_stream.slow_until > v_now then
    return query select 'later', turnout.microseconds(v_stream.slow_until) - turnout.microseconds(v_now), p_place,
                        null::bigint, null::text;
    return;
  end if;
  v_limit := greatest(1, v_limit >> v_stream.slow_step);
  if p_rate > 0 then
    v_tat := greatest(v_stream.next_send_at, v_now);
    v_allowed := floor((extract(epoch from v_now - v_tat) + greatest(c_burst, 1.0 / p_rate)) * p_rate + 0.000001);
    if v_allowed < 1 then
      return query select 'later',
        (1000000 * (extract(epoch from v_tat - v_now) - greatest(c_burst, 1.0 / p_rate) + 1.0 / p_rate))::bigint, p_place,
        null::bigint, null::text;
      return;
    end if;
    v_limit := least(v_limit, v_allowed);
  end if;

  if p_place is null then
    perform turnout.mail_take_back(array(
      select o.id
      from turnout.outbox o
      where o.state = 'leased' and o.leased_until < v_now
      order by o.leased_until
      limit 1000
      for no key update skip locked), p_attempts, 'the lease ran out: its mailer was gone, or could not say what became of it');
  end if;

  if p_place is null or v_looked_back < v_now - c_look_back_every then
    v_looked_back := v_now;
    if v_after_at > v_now - c_look_back then
      v_after_at := v_now - c_look_back;
      v_after_id := 0;
    end if;
  end if;

  state := 'mail';
  loop
    select array_agg(t.id order by t.next_attempt_at, t.id) as ids,
           (array_agg(t.next_attempt_at order by t.next_attempt_at desc, t.id desc))[1] as last_at,
           (array_agg(t.id order by t.next_attempt_at desc, t.id desc))[1] as last_id
    into v_taken
    from (
      select o.id, o.next_attempt_at
      from turnout.outbox o
      where o.state = 'owed' and o.next_attempt_at <= v_now and (o.next_attempt_at, o.id) > (v_after_at, v_after_id)
      order by o.next_attempt_at, o.id
      limit v_limit - v_given
      for no key update skip locked
    ) t;
    exit when v_taken.ids is null;
    v_after_at := v_taken.last_at;
    v_after_id := v_taken.last_id;
    place := concat_ws('/', extract(epoch from v_after_at), v_after_id, extract(epoch from v_looked_back));
    for id, letter in
      with written as (
        update turnout.outbox o
        set state = case when l.wrong is null then 'leased' else 'dropped' end,
            leased_by = case when l.wrong is null then p_owner end,
            leased_until = case when l.wrong is null then v_now + p_lease end,
            last_error = coalesce(l.wrong, o.last_error)
        from turnout.mail_letters(v_taken.ids) l
        where o.id = l.id and o.id = any (v_taken.ids)
        returning o.id, l.wrong, l.letter, o.next_attempt_at
      )
      select w.id, w.letter
      from written w
      where w.wrong is null
      order by w.next_attempt_at, w.id
    loop
      v_given := v_given + 1;
      return next;
    end loop;
    exit when v_given >= v_limit;
    v_looked_at := v_looked_at + cardinality(v_taken.ids);
    if v_looked_at >= c_dropped_most then
      exit when v_given > 0;
      return query select 'later', 0::bigint, place, null::bigint, null::text;
      return;
    end if;
  end loop;

  if v_given > 0 then
    if p_rate > 0 then
      update turnout.mail_stream s
      set next_send_at = v_tat + make_interval(secs => v_given::double precision / p_rate);
    end if;
    return;
  end if;
  select o.next_attempt_at into v_next
  from turnout.outbox o
  where o.state = 'owed' and o.next_attempt_at > v_now
  order by o.next_attempt_at, o.id
  limit 1;
  return query select 'empty', greatest(0, turnout.microseconds(v_next) - turnout.microseconds(v_now)),
                      concat_ws('/', extract(epoch from v_now - c_look_back), 0, extract(epoch from v_looked_back)), null::bigint, null::text;
end
$$;
