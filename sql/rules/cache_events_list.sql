-- A page of the public list of events for the hot cache: what events_list answers to a caller without a token, with the ids of
-- the page and the version of the snapshot. Drafts are in no public list: not_found. Locks nothing.
create or replace function turnout.cache_events_list(p_category text, p_status text, p_limit integer, p_after_start bigint,
  p_after_id uuid)
returns turnout.cached_answer
language plpgsql stable
as $$
declare
  v_answer turnout.cached_answer;
begin
  select l.outcome, l.body, null, l.next_start, l.next_id, null, s.epoch, s.xmax, cardinality(s.in_progress)
  into v_answer
  from turnout.events_list(null, null, p_category, p_status, null, null, null, p_limit, p_after_start, p_after_id) l
  cross join turnout.cache_snapshot() s;
  if p_status = 'draft' then
    v_answer.outcome := 'not_found';
    v_answer.body := null;
  elsif v_answer.outcome = 'ok' then
    -- Each item begins with its id, and nothing else of the text looks so: inside of a string quotes are escaped. Reading it as
    -- JSON would cost 0.3 ms more, a third of the page.
    v_answer.ids := array(select left(i.item, 36)::uuid
                          from string_to_table(v_answer.body, '{"id":"') with ordinality i (item, line)
                          where i.line > 1
                          order by i.line);
  end if;
  return v_answer;
end
$$;
