-- Demo events: when, where, how large, how wanted. Their registrations are counted here and made in registrations.sql, because
-- the capacity follows from how many come and how full the event is to be.

-- Number n of month m is spread evenly over the month's days; a month is a twelfth of a year, counted from the day of loading.
create temporary table demo_events on commit drop as
with settings as (
  select seed, users, months_back, months_ahead, events_per_month, registrations_per_month, today from demo_settings
), slots as (
  select month, place, settings.*,
         (month + settings.months_back) * settings.events_per_month + place as number,
         -- Partitions begin with the year before last: on the first day of January two years back is the day before it.
         greatest(floor((month + (place - 0.5) / settings.events_per_month) * 365.2425 / 12)::integer,
                  make_date(extract(year from today)::integer - 2, 1, 2) - today) as day
  from settings, generate_series(-settings.months_back, settings.months_ahead - 1) as month,
       generate_series(1, settings.events_per_month) as place
), dice as materialized (
  select slots.*,
         pg_temp.demo_dice(seed || ' event', number) as dice,
         pg_temp.demo_dice(seed || ' event words', number) as word_dice,
         pg_temp.demo_dice(seed || ' event rules', number) as rule_dice,
         pg_temp.demo_dice(seed || ' event demand', number) as demand_dice
  from slots
), placed as (
  select dice.*, cities.city, cities.japanese, cities.timezone,
         cities.japanese is not null and pg_temp.demo_fraction(word_dice, 3) < 0.8 as in_japanese,
         -- Working hours and early evenings, on the half hour, in the event's own zone.
         (today + day + make_interval(mins => 480 + 30 * floor(pg_temp.demo_fraction(dice, 1) * 22)::integer))
           at time zone cities.timezone as start_datetime,
         case when pg_temp.demo_fraction(dice, 2) < 0.02 then interval '2 days'
              else make_interval(mins => 60 + 30 * floor(pg_temp.demo_fraction(dice, 2) * 7)::integer) end as duration,
         -- Announced between three weeks and four months before, at the latest yesterday.
         least(day - 21 - floor(pg_temp.demo_fraction(dice, 3) * 100)::integer,
               -1 - floor(pg_temp.demo_fraction(dice, 3) * 30)::integer) as announced_day
  from dice
  join demo_cities cities
    on pg_temp.demo_fraction(dice.dice, 0) >= cities.share_from and pg_temp.demo_fraction(dice.dice, 0) < cities.share_until
), judged as (
  select placed.*,
         start_datetime + duration as end_datetime,
         case when start_datetime + duration <= now() then case when pg_temp.demo_fraction(rule_dice, 0) < 0.03 then 'cancelled' else 'completed' end
              when pg_temp.demo_fraction(rule_dice, 0) < 0.03 then 'cancelled'
              when pg_temp.demo_fraction(rule_dice, 0) < 0.05 and day > 7 then 'draft'
              else 'published' end as status,
         -- Registration of some events still lies ahead: nobody is in, everybody waits for the moment.
         day > 14 and pg_temp.demo_fraction(rule_dice, 1) > 0.985 as opens_later,
         pg_temp.demo_fraction(demand_dice, 0) as fullness
  from placed
), wanted as (
  select judged.*,
         -- A long tail: most events draw a handful, one in fifty a crowd. Nobody registers for a draft.
         case when status = 'draft' or opens_later then 0
              else 0.15 + pg_temp.demo_fraction(demand_dice, 1) + 0.25 / (0.03 + pg_temp.demo_fraction(demand_dice, 2)) end as weight
  from judged
), shares as (
  select wanted.*,
         coalesce(registrations_per_month * weight / nullif(sum(weight) over (partition by month), 0), 0) as share
  from wanted
), counted as (
  -- Largest remainders: the months' totals are exact.
  select shares.*,
         least(users * 9 / 10,
               floor(share)::integer
               + case when row_number() over (partition by month order by share - floor(share) desc, number)
                           <= round(sum(share) over (partition by month) - sum(floor(share)) over (partition by month))
                      then 1 else 0 end) as joined
  from shares
), seated as (
  select counted.*,
         -- Whoever joined as every sixteenth or so left again (registrations.sql); the rest wants a seat.
         joined - (joined + number % 16) / 16 as staying
  from counted
)
select seated.number::integer as number, seated.month, seated.day, announced_day, status, joined, staying, seated.timezone, in_japanese, start_datetime, end_datetime,
       pg_temp.demo_id(announced_day + seated.number / 86400.0, seated.dice) as id,
       extract(year from start_datetime at time zone 'UTC')::smallint as event_year,
       topics.category,
       case when in_japanese
            then pg_temp.demo_pick(topics_japanese, word_dice, 0) || ' ' || pg_temp.demo_pick(formats_japanese, word_dice, 1)
            else pg_temp.demo_pick(topics.topics, word_dice, 0) || ': ' || pg_temp.demo_pick(formats, word_dice, 1) end
         || case when pg_temp.demo_fraction(demand_dice, 3) < 0.4
                 then format(case when in_japanese then ' 第%s回' else ' #%s' end, 1 + seated.number % 24) else '' end as title,
       case when in_japanese then japanese || ' ' || pg_temp.demo_pick(rooms_japanese, word_dice, 2)
            when city = 'Online' then 'Online'
            else city || ', ' || pg_temp.demo_pick(rooms, word_dice, 2) end as venue,
       case when fullness < 0.09 and joined > 4 then greatest(1, floor(staying * (0.55 + 4 * fullness))::integer) -- more want in than fit
            when fullness < 0.12 and joined > 0 then staying                                   -- the last seat has just gone
            when joined = 0 then 30
            else greatest(staying + 1, pg_temp.demo_round_up(staying / (0.2 + 0.5 * fullness))) end as capacity,
       case when status <> 'draft' and opens_later
            then (today + greatest(1, day - 10) + time '09:00') at time zone seated.timezone
            when status <> 'draft' and pg_temp.demo_fraction(rule_dice, 1) < 0.15
            then (today + announced_day + time '06:00') at time zone 'UTC' end as registration_opens_at,
       case when pg_temp.demo_fraction(rule_dice, 2) < 0.2 then start_datetime - interval '1 hour' end as registration_closes_at,
       -- A waitlist is on but for a few events that are not over-subscribed.
       not (fullness >= 0.09 and pg_temp.demo_fraction(rule_dice, 3) < 0.05) as waitlist_enabled,
       not (pg_temp.demo_fraction(rule_dice, 3) > 0.9) as guests_allowed,
       case status when 'draft' then 1 when 'published' then 2 else 3 end as version,
       (today + announced_day)::timestamp at time zone 'UTC' as announced_at,
       case when status = 'completed' then end_datetime
            when status = 'cancelled' then (today + least(day - 1, announced_day + 5, 0))::timestamp at time zone 'UTC'
            else (today + announced_day)::timestamp at time zone 'UTC' end as updated_at
from seated
cross join demo_words words
join demo_topics topics on topics.number = 1 + floor(pg_temp.demo_fraction(seated.demand_dice, 3) * 1000)::integer % 10;
create unique index on demo_events (number);
analyze demo_events;

-- The search index is made anew from all rows at once: fed row by row it would take most of the loading time. The owner of the
-- table may do that, and the definition is read from the catalogue, with the statistics targets that no definition shows.
select pg_get_indexdef('turnout.events_search_idx'::regclass)
       || coalesce(string_agg(format('; alter index turnout.events_search_idx alter column %s set statistics %s', attnum, attstattarget), ''), '')
         as demo_search_index
from pg_attribute
where attrelid = 'turnout.events_search_idx'::regclass and attstattarget >= 0 \gset
drop index turnout.events_search_idx;

insert into turnout.events
  (id, event_year, title, description, start_datetime, end_datetime, timezone, venue, category, status, capacity, registration_opens_at,
   registration_closes_at, waitlist_enabled, guests_allowed, version, created_at, updated_at)
select id, event_year, title,
       case when in_japanese then (array['どなたでもご参加いただけます。', '事前の準備は必要ありません。', '参加費は無料です。'])[1 + number % 3]
            else (array['Open to everybody who is curious.', 'No preparation needed.', 'Bring a friend.'])[1 + number % 3] end,
       start_datetime, end_datetime, timezone, venue, category, status, capacity, registration_opens_at, registration_closes_at,
       waitlist_enabled, guests_allowed, version, announced_at, updated_at
from demo_events
order by id;

select format('%s events', count(*)) as demo_step from demo_events \gset
\ir progress.sql

:demo_search_index;
\set demo_step 'search index of events'
\ir progress.sql

-- Every event has an organizer, every third one a second one; organizer@example.com runs one in twenty.
insert into turnout.event_organizers (event_id, user_id)
with organizers as (
  select row_number() over (order by number) as place, count(*) over () as places, id
  from demo_users
  where role = 'organizer' and number > 3
)
select events.id, organizers.id
from demo_events events
cross join generate_series(0, 1) as seat
join organizers on organizers.place = 1 + (events.number * 7 + seat * 11) % organizers.places
where (seat = 0 and events.number % 20 <> 1) or (seat = 1 and events.number % 3 = 0)
union
select events.id, users.id
from demo_events events
join demo_users users on users.number = 2
where events.number % 20 = 1;

select format('organizers of %s events', count(distinct event_id)) as demo_step from turnout.event_organizers \gset
\ir progress.sql
