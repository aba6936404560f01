-- The place in line of somebody who waits, from 1: how many wait who joined no later. Locks nothing.
-- One scan of registrations_waitlist_idx over those before. Not inlined on purpose: statements that ask it of few of their
-- rows are spared setting up that scan for each.
create or replace function turnout.waitlist_place(p_event_year smallint, p_event_id uuid, p_queue_no bigint) returns bigint
language plpgsql stable
as $$
begin
  return (
    select count(*)
    from turnout.registrations w
    where w.event_year = p_event_year and w.event_id = p_event_id and w.status = 'waitlisted'
      and w.queue_no <= p_queue_no);
end
$$;
