-- The whole number that a JSON value is, null where it is none or beyond the limits (0..9,999,999 at the widest).
-- 50.0 and 5e1 are 50: JSON knows one kind of number. Never raises, however many digits come. Locks nothing.
create or replace function turnout.json_whole_number(p_value jsonb, p_lowest integer, p_highest integer) returns integer
language plpgsql immutable parallel safe
as $$
declare
  v_digits text := p_value #>> '{}';
  v_number integer;
begin
  if jsonb_typeof(p_value) is distinct from 'number' or v_digits !~ '^\d{1,7}(\.0+)?$' then
    return null;
  end if;
  v_number := split_part(v_digits, '.', 1)::integer;
  return case when v_number between p_lowest and p_highest then v_number end;
end
$$;
