-- What is wrong, as the members of a problem: {"errors":[{"pointer" or "parameter":…,"detail":…},…]}. Locks nothing.
create or replace function turnout.errors_body(p_errors jsonb) returns text
language sql immutable parallel safe
as $$
  select '{"errors":[' || string_agg(
    case when e.error ? 'pointer' then '{"pointer":' || to_json(e.error ->> 'pointer')
         else '{"parameter":' || to_json(e.error ->> 'parameter') end
    || ',"detail":' || to_json(e.error ->> 'detail') || '}', ',' order by e.number) || ']}'
  from jsonb_array_elements(p_errors) with ordinality e (error, number)
$$;
