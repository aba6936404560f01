-- Demo people. Number 1 to 3 are those of the three development tokens; nobody has an identity yet, so that the first sign-in
-- with a person's e-mail links it.

create temporary table demo_users on commit drop as
with dice as materialized (
  select number, pg_temp.demo_dice(settings.seed || ' user', number) as dice,
         pg_temp.demo_dice(settings.seed || ' user name', number) as name_dice,
         settings.today - (30 + floor(pg_temp.demo_fraction(pg_temp.demo_dice(settings.seed || ' user since', number), 0) * 1400))::integer
           as since,
         settings.today, settings.users
  from demo_settings settings, generate_series(1, settings.users) as number
), persons as materialized (
  select dice.*,
         -- The last three in a hundred are guests; registrations count on guests being the highest numbers.
         number > users - users * 3 / 100 and number > 3 as is_guest,
         pg_temp.demo_fraction(dice, 1) < 0.45 as is_japanese
  from dice
)
select persons.number::integer as number,
       pg_temp.demo_id(since - today, dice) as id,
       case persons.number when 1 then 'participant@example.com' when 2 then 'organizer@example.com' when 3 then 'admin@example.com'
            else lower(case when is_japanese
                            then pg_temp.demo_pick(given_romanised, name_dice, 0) || '.' || pg_temp.demo_pick(family_romanised, name_dice, 1)
                            else translate(pg_temp.demo_pick(given, name_dice, 0) || '.' || pg_temp.demo_pick(family, name_dice, 1),
                                           'áéíóúëüö’', 'aeioueuo') end)
                 || '.' || persons.number || '@example.com' end as email,
       case when persons.number = 1 then 'Paula Participant' when persons.number = 2 then 'Oskar Organizer'
            when persons.number = 3 then 'Ada Admin'
            when is_japanese then pg_temp.demo_pick(family_japanese, name_dice, 1) || ' ' || pg_temp.demo_pick(given_japanese, name_dice, 0)
            else pg_temp.demo_pick(given, name_dice, 0) || ' ' || pg_temp.demo_pick(family, name_dice, 1) end as name,
       case when not is_guest then departments.name end as department,
       case when is_guest then 'guest' else 'employee' end as kind,
       case when persons.number = 3 then 'admin' when persons.number = 2 then 'organizer' when persons.number = 1 or is_guest then 'participant'
            when persons.number % 4000 = 17 then 'admin' when persons.number % 66 = 5 then 'organizer' else 'participant' end as role,
       case when is_japanese then 'ja' else 'en' end as locale,
       case when is_japanese then 'Asia/Tokyo'
            else pg_temp.demo_pick(array['Europe/London', 'Europe/Berlin', 'America/New_York', 'America/Los_Angeles', 'Asia/Kolkata',
                                         'Asia/Singapore', 'Australia/Sydney', 'UTC'], dice, 3) end as timezone,
       since::timestamp at time zone 'UTC' as created_at
from persons
cross join demo_words words
join demo_departments departments
  on pg_temp.demo_fraction(dice, 2) >= share_from and pg_temp.demo_fraction(dice, 2) < share_until;
create unique index on demo_users (number);
analyze demo_users;

insert into turnout.users (id, email, name, department, kind, role, locale, timezone, created_at, updated_at)
select id, email, name, department, kind, role, locale, timezone, created_at, created_at
from demo_users
order by id;

select format('%s people in %s departments', count(*), count(distinct department)) as demo_step from demo_users \gset
\ir progress.sql
