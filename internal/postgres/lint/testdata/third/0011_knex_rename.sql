BEGIN;
alter table "settings" rename to "app_settings";
create table "settings" ("id" serial primary key, "scope" varchar(255), "key" text, "value" text);
insert into "settings" ("key", "value") select "key", "value" from "app_settings";
create index "settings_scope_index" on "settings" ("scope");
drop table "app_settings";
COMMIT;
