-- The names of who was there before 0004. A file of its own, so that no lock of that one is held meanwhile: people go on
-- being made and renamed, and who was met by the triggers in between is left as they say.
insert into turnout.user_names (user_id, key)
select u.id, turnout.name_key(u.name) from turnout.users u
on conflict (user_id) do nothing;
