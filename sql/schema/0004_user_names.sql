-- People's names as they are searched by prefix, in a narrow table of its own: an index over (key, user_id) is all that a
-- search reads, where an index over an expression on users would compute the key again for each row that it passes.
-- Kept by triggers in the transaction that changes the person; 0005 fills in who is there already. Written only under
-- the person's own row, so nobody waits for it who does not wait for that. No foreign key: checking it would lock each
-- person once more, and the triggers delete as well.

-- A name as it is compared: without regard to case (ß is ss), to width and compatibility forms (full-width Latin,
-- half-width katakana), to how an accent is written and whether it is: Ångström, ångström and ANGSTROM are one. Voiced
-- kana stay what they are. At most 32 characters: a longer prefix is looked at in full by who asks.
-- Replacing it would falsify what is stored: a new version is a new migration that fills the table again.
create function turnout.name_fold(p_name text) returns text
language sql immutable strict parallel safe
as $$
  select case
    -- ASCII, in a tenth of the time; translate, as lower would go by the locale of the database.
    when octet_length(p_name) = char_length(p_name)
      then translate(p_name, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')
    else replace(replace(replace(translate(
           lower(normalize(regexp_replace(normalize(p_name, NFKD), '[\u0300-\u036f]+', '', 'g'), NFKC) collate "und-x-icu"),
           'ςøłđı', 'σoldi'), 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe')
  end
$$;

create function turnout.name_key(p_name text) returns text
language sql immutable strict parallel safe
as $$
  select left(turnout.name_fold(p_name), 32)
$$;

create table turnout.user_names (
  user_id uuid primary key,
  key text collate "C" not null
)
with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);
create index user_names_key_idx on turnout.user_names (key, user_id);

create function turnout.user_names_from_users() returns trigger
language plpgsql
as $$
begin
  case tg_op
    when 'DELETE' then
      delete from turnout.user_names n using old_rows o where n.user_id = o.id;
    when 'TRUNCATE' then
      delete from turnout.user_names;
    else
      insert into turnout.user_names as n (user_id, key)
      select u.id, turnout.name_key(u.name) from new_rows u
      on conflict (user_id) do update set key = excluded.key where n.key <> excluded.key;
  end case;
  return null;
end
$$;

create trigger user_names_insert after insert on turnout.users
  referencing new table as new_rows for each statement execute function turnout.user_names_from_users();
create trigger user_names_update after update on turnout.users
  referencing new table as new_rows for each statement execute function turnout.user_names_from_users();
create trigger user_names_delete after delete on turnout.users
  referencing old table as old_rows for each statement execute function turnout.user_names_from_users();
create trigger user_names_truncate after truncate on turnout.users
  for each statement execute function turnout.user_names_from_users();

grant select, insert, update on turnout.user_names to turnout_app;
