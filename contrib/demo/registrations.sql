-- Demo registrations: for each event its people in the order of joining. Every sixteenth or so left again; of the rest the first
-- take the seats and the others wait; at completed events most of those with a seat came. With a cancelled event everybody's
-- registration was cancelled, too (turnout.event_cancel).

create temporary table demo_registrations on commit drop as
with ranges as (
  select events.number, events.id as event_id, events.event_year, events.joined, events.capacity, events.start_datetime,
         events.status = 'completed' as is_over, events.status = 'cancelled' as is_off,
         -- Guests are the highest numbers: where they are not allowed the range ends before them.
         case when events.guests_allowed then users else users - users * 3 / 100 end as range,
         greatest(events.announced_at, events.registration_opens_at) as opens_at,
         least(events.start_datetime - interval '1 hour', events.registration_closes_at, today::timestamp at time zone 'UTC',
               case when events.status = 'cancelled' then events.updated_at end) as closes_at,
         announced_day, day,
         seed || ' join ' || number as dice_name,
         pg_temp.demo_dice(seed || ' event people', number) as dice
  from demo_events events, demo_settings
  where events.joined > 0
), strides as materialized (
  -- A walk over the range in steps that share no divisor with its length meets nobody twice.
  select number, event_id, event_year, joined, capacity, is_over, is_off, start_datetime, opens_at, closes_at - opens_at as span, announced_day, day,
         dice_name, range, floor(pg_temp.demo_fraction(dice, 0) * range)::bigint as first, stride,
         0.6 + 0.35 * pg_temp.demo_fraction(dice, 2) as attendance
  from ranges
  cross join lateral (
    -- Among so many neighbours one always has no divisor in common with a number of this size.
    select candidate as stride
    from generate_series(1 + floor(pg_temp.demo_fraction(dice, 1) * (range - 1))::bigint,
                         64 + floor(pg_temp.demo_fraction(dice, 1) * (range - 1))::bigint) as candidate
    where gcd(candidate, range) = 1
    limit 1
  ) as found
), joins as materialized (
  -- Many come at first, few later: the square root's inverse, three halves.
  select number, event_id, event_year, is_over, is_off, start_datetime, opens_at, span, announced_day, day, attendance, place,
         1 + (first + place * stride) % range as user_number,
         sqrt((place - 0.5)::double precision / joined) * (place - 0.5)::double precision / joined as moment,
         opens_at + span * (sqrt((place - 0.5)::double precision / joined) * (place - 0.5)::double precision / joined) as registered_at,
         (place + number % 16) % 16 = 0 as has_left,
         case when is_off or (place + number % 16) % 16 = 0 then 'cancelled'
              when place - (place + number % 16) / 16 <= capacity then 'registered' else 'waitlisted' end as status,
         place > capacity as was_behind,
         pg_temp.demo_dice(dice_name, place) as dice
  from strides, generate_series(1, strides.joined) as place
), ends as (
  select joins.*,
         case when has_left then registered_at + span * ((1 - moment) * pg_temp.demo_fraction(dice, 0)) end as left_at
  from joins
)
select ends.number as event_number, event_id, event_year, users.id as user_id, status, place as queue_no, users.department, registered_at,
       -- Who joined behind as many as there are seats got theirs when somebody left.
       case when status = 'registered' then case when was_behind then registered_at + span * ((1 - moment) / 2) else registered_at end end
         as seated_at,
       case when status = 'cancelled' then coalesce(left_at, opens_at + span) end as cancelled_at,
       case when is_over and status = 'registered' and pg_temp.demo_fraction(dice, 1) < attendance
            then start_datetime + make_interval(secs => -1200 + 2100 * pg_temp.demo_fraction(dice, 2)) end as checked_in_at,
       coalesce(left_at, registered_at) as last_action_at,
       pg_temp.demo_id(announced_day + (day - announced_day) * moment, dice) as id
from ends
join demo_users users on users.number = user_number;
analyze demo_registrations;

select format('%s registrations drawn', count(*)) as demo_step from demo_registrations \gset
\ir progress.sql
