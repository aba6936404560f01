-- The mails that will not be tried again by themselves, the oldest first, behind id p_after (0: from the first), at most p_limit:
-- whom each was for, and the words of the server, or ours, that ended it. Locks nothing.
create or replace function turnout.mail_dead(p_after bigint, p_limit integer)
returns table (id bigint, kind text, email text, event_id uuid, title text, attempts integer, due_at timestamptz, error text)
language plpgsql stable
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
begin
  return query
  select o.id, o.kind::text, u.email, o.event_id, e.title, o.attempts, o.due_at, o.last_error
  from turnout.outbox o
  left join turnout.users u on u.id = o.user_id
  left join turnout.events e on e.id = o.event_id
  where o.state = 'dead' and o.id > p_after
  order by o.id
  limit p_limit;
end
$$;
