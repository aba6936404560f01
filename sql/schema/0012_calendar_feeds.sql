-- What people decided about being told: a calendar that their programs read by a secret address, and mails that they do not want.

-- At most one for each person. The address holds a token that nobody can make from this hash; a new one takes the place of the old
-- one, which is worth nothing from then on.
create table turnout.calendar_feeds (
  user_id uuid primary key references turnout.users (id),
  token_hash bytea not null unique check (octet_length(token_hash) = 32),
  created_at timestamptz not null default now()
);

-- Who has unsubscribed from which group of mails (turnout.mail_group). The words are a rule's: checked there, so that a new one
-- needs no migration.
create table turnout.mail_unsubscribed (
  user_id uuid not null references turnout.users (id),
  mail_group text not null check (char_length(mail_group) between 1 and 50),
  unsubscribed_at timestamptz not null default now(),
  primary key (user_id, mail_group)
);

grant select, insert, update, delete on turnout.calendar_feeds, turnout.mail_unsubscribed to turnout_app;
