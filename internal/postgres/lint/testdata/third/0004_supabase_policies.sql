alter table auth.users enable row level security;
create policy "Users can see themselves" on auth.users for select to public using (id::text = current_setting('request.jwt.sub', true));
create or replace function auth.handle_new_user() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into public."Customer" ("id", "email") values (new.id::text, new.email);
  return new;
end;
$$;
create trigger on_auth_user_created after insert on auth.users for each row execute procedure auth.handle_new_user();
alter table auth.users add column if not exists username text generated always as (split_part(email, '@', 1)) stored;
alter table only auth.users alter column phone type text;
grant select (id, email) on auth.users to public;
alter table auth.users replica identity using index users_pkey;
