-- What is worth having in a cache before anybody asks: `list` with each category that has published events ('' first: all of
-- them), then `event` with the id of each published event that starts within 30 days or started less than a day ago, soonest
-- first; at most p_limit of either. Categories are hopped over on the index, one step each. Locks nothing.
create or replace function turnout.cache_warm(p_limit integer) returns table (what text, value text)
language plpgsql stable
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  return query
  with recursive categories (category) as (
    select ''
    union all
    select (
      select e.category from turnout.events e
      where e.status = 'published' and e.category > c.category
      order by e.category
      limit 1)
    from categories c
    where c.category is not null
  )
  select 'list', c.category from categories c where c.category is not null limit p_limit;
  return query
  select 'event', e.id::text
  from turnout.events e
  where e.status = 'published' and e.start_datetime between now() - interval '1 day' and now() + interval '30 days'
  order by e.start_datetime, e.id
  limit p_limit;
end
$$;
