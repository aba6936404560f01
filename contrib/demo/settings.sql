-- How much demo data, and the helpers that make it. Everything is a function of the seed: the same settings give the same
-- rows with the same ids on any machine, the dates shifted by whole days so that day 0 is the day of loading (UTC).
-- Everything here is temporary and goes with the session. The functions are written so that the planner can inline them (nothing
-- stable in an immutable one), which makes loading half as long.

\if :{?seed} \else \set seed 'turnout' \endif
\if :{?users} \else \set users 20000 \endif
\if :{?months_back} \else \set months_back 24 \endif
\if :{?months_ahead} \else \set months_ahead 12 \endif
\if :{?events_per_month} \else \set events_per_month 500 \endif
\if :{?registrations_per_month} \else \set registrations_per_month 10000 \endif

create temporary table demo_settings on commit drop as
select :'seed'::text as seed,
       greatest(:users, 40) as users,
       :months_back as months_back,
       :months_ahead as months_ahead,
       :events_per_month as events_per_month,
       :registrations_per_month as registrations_per_month,
       (now() at time zone 'UTC')::date as today;

-- 32 hexadecimal digits that look random: the source of every choice. Four numbers can be cut from one.
create function pg_temp.demo_dice(p_what text, p_number bigint) returns text
language sql immutable parallel safe
as $$
  select md5(p_what || '/' || p_number::text)
$$;

-- Number p_which (0 to 3) of a dice, in [0, 1).
create function pg_temp.demo_fraction(p_dice text, p_which integer) returns double precision
language sql immutable parallel safe
as $$
  select ('x' || substr(p_dice, 1 + 8 * p_which, 8))::bit(32)::bigint / 4294967296.0::double precision
$$;

-- One of the texts, by number p_which of the dice.
create function pg_temp.demo_pick(p_texts text[], p_dice text, p_which integer) returns text
language sql immutable parallel safe
as $$
  select p_texts[1 + floor(pg_temp.demo_fraction(p_dice, p_which) * cardinality(p_texts))::integer]
$$;

-- A UUID of version 7: 48 bits of milliseconds, the rest from a dice. p_day counts from the day of loading, which in ids is always
-- 2026-01-01 (1,767,225,600,000 ms after 1970): an id is the same whenever it is loaded.
create function pg_temp.demo_id(p_day double precision, p_dice text) returns uuid
language sql immutable parallel safe
as $$
  select (lpad(to_hex(1767225600000 + floor(p_day * 86400000)::bigint), 12, '0')
          || '7' || substr(p_dice, 1, 3) || '8' || substr(p_dice, 4, 15))::uuid
$$;

-- A capacity that a person would have typed: at least p_seats, rounded up to the next round number.
create function pg_temp.demo_round_up(p_seats double precision) returns integer
language sql immutable parallel safe
as $$
  select (case when p_seats <= 5 then ceil(p_seats)
               when p_seats <= 20 then ceil(p_seats / 2) * 2
               when p_seats <= 100 then ceil(p_seats / 5) * 5
               when p_seats <= 500 then ceil(p_seats / 25) * 25
               else ceil(p_seats / 100) * 100 end)::integer
$$;

select clock_timestamp() as demo_began, clock_timestamp() as demo_step_began \gset
