ALTER TABLE projects ALTER COLUMN slug TYPE varchar(50) COLLATE "C";
ALTER TABLE tags ALTER COLUMN name TYPE varchar(40) COLLATE "C";
ALTER TABLE projects ALTER COLUMN ends TYPE timestamp;
ALTER TABLE tasks ALTER COLUMN estimate TYPE double precision;
ALTER TABLE "user" ALTER COLUMN email TYPE citext;
ALTER TABLE tasks ALTER COLUMN meta TYPE text;
ALTER TABLE plans ALTER COLUMN monthly TYPE numeric(12,2), ALTER COLUMN features TYPE varchar[];
