-- Reads the fields of an event as a client sends them (create, merge-patch, import) onto p_current, the row as it is (for
-- a new event: the defaults, with id null), and says everything that is wrong with them. This is the one place that knows
-- what an event's fields may be.
--
-- errors: a JSON array of {"pointer", "detail"}, null when there is nothing to say; only then are `merged` and
-- `organizer_ids` (each once, sorted; null: not named) to be used. Null takes an optional field back to its default.
-- Reads time_zones, event_years and users; locks nothing. Never raises for anything that JSON can hold.
create or replace function turnout.event_fields(p_fields jsonb, p_current turnout.events,
                                                out errors jsonb, out merged turnout.events, out organizer_ids uuid[])
language plpgsql stable
as $$
declare
  -- Unicode's White_Space. PostgreSQL's \s depends on the locale of the database.
  c_only_space constant text := '^[\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*$';
  c_moment constant text := 'must be a date and time with offset (RFC 3339), in a year from 1970 to 2200';
  c_million constant text := 'must be a whole number from %s to 1000000';
  v_name text;
  v_value jsonb;
  v_text text;  -- the value where it is a string, else null
  v_null boolean;
  v_moment timestamptz;
  v_number integer;
  v_detail text;
  v_missing text;
  v_first_year integer;
  v_last_year integer;
begin
  errors := '[]';
  merged := p_current;
  if jsonb_typeof(p_fields) is distinct from 'object' then
    errors := '[{"pointer": "", "detail": "must be an object"}]';
    return;
  end if;

  for v_name, v_value in select f.key, f.value from jsonb_each(p_fields) f loop
    v_detail := null;
    v_null := jsonb_typeof(v_value) = 'null';
    v_text := case when jsonb_typeof(v_value) = 'string' then v_value #>> '{}' end;
    case
      when v_name = 'title' then
        if v_text is null or char_length(v_text) not between 1 and 255 then
          v_detail := 'must be 1 to 255 characters';
        elsif v_text ~ c_only_space then
          v_detail := 'must not be only white space';
        else
          merged.title := v_text;
        end if;
      when v_name = 'description' then
        if not v_null and (v_text is null or char_length(v_text) > 20000) then
          v_detail := 'must be at most 20000 characters';
        else
          merged.description := coalesce(v_text, '');
        end if;
      when v_name = 'venue' then
        if not v_null and (v_text is null or char_length(v_text) > 255) then
          v_detail := 'must be at most 255 characters';
        else
          merged.venue := coalesce(v_text, '');
        end if;
      when v_name = 'category' then
        if not v_null and (v_text is null or char_length(v_text) > 50 or v_text !~ '^[a-z0-9]+([-_][a-z0-9]+)*$') then
          v_detail := 'must be a slug: 1 to 50 of a-z, 0-9, with single hyphens or underscores between';
        else
          merged.category := coalesce(v_text, 'general');
        end if;
      when v_name = 'timezone' then
        if not v_null and not exists (select from turnout.time_zones z where z.name = v_text) then
          v_detail := 'must be the IANA name of a time zone';
        else
          merged.timezone := coalesce(v_text, 'UTC');
        end if;
      when v_name in ('start_datetime', 'end_datetime', 'registration_opens_at', 'registration_closes_at') then
        v_moment := turnout.parse_time(v_text);
        if v_moment is null and not (v_null and v_name in ('registration_opens_at', 'registration_closes_at')) then
          v_detail := c_moment;
        else
          case v_name
            when 'start_datetime' then merged.start_datetime := v_moment;
            when 'end_datetime' then merged.end_datetime := v_moment;
            when 'registration_opens_at' then merged.registration_opens_at := v_moment;
            when 'registration_closes_at' then merged.registration_closes_at := v_moment;
          end case;
        end if;
      when v_name = 'capacity' then
        v_number := turnout.json_whole_number(v_value, 1, 1000000);
        if v_number is null then
          v_detail := format(c_million, 1);
        else
          merged.capacity := v_number;
        end if;
      when v_name in ('waitlist_limit', 'department_limit') then
        v_number := turnout.json_whole_number(v_value, case v_name when 'waitlist_limit' then 0 else 1 end, 1000000);
        if v_number is null and not v_null then
          v_detail := format(c_million, case v_name when 'waitlist_limit' then 0 else 1 end) || ', or null';
        elsif v_name = 'waitlist_limit' then
          merged.waitlist_limit := v_number;
        else
          merged.department_limit := v_number;
        end if;
      when v_name in ('waitlist_enabled', 'guests_allowed') then
        if not v_null and jsonb_typeof(v_value) <> 'boolean' then
          v_detail := 'must be true or false';
        elsif v_name = 'waitlist_enabled' then
          merged.waitlist_enabled := v_null or v_value::boolean;
        else
          merged.guests_allowed := v_null or v_value::boolean;
        end if;
      when v_name = 'reminders' then
        v_detail := case when not v_null then turnout.reminders_error(v_value) end;
        merged.reminders := case when not v_null then v_value end;
      when v_name = 'organizer_ids' then
        if jsonb_typeof(v_value) <> 'array' or jsonb_array_length(v_value) not between 1 and 100 then
          v_detail := 'must be a list of 1 to 100 user ids';
        else
          -- Of the right form first, existing next: a cast of anything else would raise. Any user may be named: who has
          -- the role of an organizer then manages the event, and the role may come with the token.
          select coalesce(jsonb_agg(jsonb_build_object(
                     'pointer', '/organizer_ids/' || n.place - 1,
                     'detail', case when n.id is null then 'must be the id of a user' else 'is named before' end)
                   order by n.place) filter (where n.id is null or n.time > 1), '[]'),
                 array_agg(distinct n.id order by n.id)
          into v_value, organizer_ids
          from (
            select u.id, e.place, row_number() over (partition by u.id order by e.place) as time
            from jsonb_array_elements(v_value) with ordinality e (value, place)
            left join turnout.users u
              on u.id = case when jsonb_typeof(e.value) = 'string'
                                  and e.value #>> '{}' ~ '^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$'
                             then (e.value #>> '{}')::uuid end
          ) n;
          errors := errors || v_value;
        end if;
      when v_name = 'status' then
        v_detail := 'is read-only: an event is published and cancelled by requests of their own';
      when v_name in ('id', 'registered_count', 'waitlisted_count', 'version', 'created_at', 'updated_at') then
        v_detail := 'is read-only';
      else
        v_detail := 'is not a field of an event';
    end case;
    if v_detail is not null then
      errors := errors || jsonb_build_object(
        'pointer', '/' || replace(replace(v_name, '~', '~0'), '/', '~1'), 'detail', v_detail);
    end if;
  end loop;

  if p_current.id is null then
    foreach v_missing in array array['title', 'start_datetime', 'end_datetime', 'capacity'] loop
      if not p_fields ? v_missing then
        errors := errors || jsonb_build_object('pointer', '/' || v_missing, 'detail', 'is required');
      end if;
    end loop;
  end if;

  -- What the fields say of each other means something only where each of them is right.
  if errors = '[]' then
    if merged.end_datetime <= merged.start_datetime then
      errors := errors || jsonb_build_object('pointer', '/end_datetime', 'detail', 'must be after start_datetime');
    elsif merged.end_datetime - merged.start_datetime > interval '31 days' then
      errors := errors || jsonb_build_object('pointer', '/end_datetime',
                                             'detail', 'must be at most 31 days after start_datetime');
    end if;
    if merged.registration_closes_at > merged.end_datetime then
      errors := errors || jsonb_build_object('pointer', '/registration_closes_at',
                                             'detail', 'must not be after end_datetime');
    end if;
    if merged.registration_opens_at >= coalesce(merged.registration_closes_at, merged.start_datetime) then
      errors := errors || jsonb_build_object(
        'pointer', '/registration_opens_at',
        'detail', 'must be before registration_closes_at, or before start_datetime where that is null');
    end if;
    if merged.start_datetime is distinct from p_current.start_datetime then
      select min(y.event_year), max(y.event_year) into v_first_year, v_last_year from turnout.event_years y;
      -- An event that moves keeps its year's partition, so only a new one needs the first to be there.
      if extract(year from merged.start_datetime at time zone 'UTC')
         not between (case when p_current.id is null then v_first_year else 1970 end) and v_last_year then
        errors := errors || jsonb_build_object(
          'pointer', '/start_datetime', 'detail', format('must be in a year from %s to %s', v_first_year, v_last_year));
      end if;
    end if;
  end if;

  errors := nullif(errors, '[]');
  if errors is null and p_current.id is null then
    merged.event_year := extract(year from merged.start_datetime at time zone 'UTC');
  end if;
end
$$;
