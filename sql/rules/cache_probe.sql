-- Rings the bell that a refresher listens for on another connection, to see whether bells arrive. Locks nothing.
create or replace function turnout.cache_probe(p_nonce text) returns void
language plpgsql
as $$
begin
  perform pg_notify('turnout_probe', p_nonce);
end
$$;
