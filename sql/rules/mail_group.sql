-- Of which group of mails, as people may unsubscribe from them, a kind is; null: of those that tell what became of something
-- that they did, which nobody can unsubscribe from. Locks nothing.
create or replace function turnout.mail_group(p_kind text) returns text
language sql immutable strict parallel safe
as $$
  select case p_kind when 'reminder' then 'reminders' when 'survey_invitation' then 'surveys' end
$$;
