CREATE OR REPLACE PROCEDURE fill_slugs() LANGUAGE plpgsql AS $$
BEGIN
  UPDATE "Customer" SET "firstName" = slug("firstName");
END $$;
CALL fill_slugs();
DO LANGUAGE plpgsql 'BEGIN PERFORM count(*) FROM "Customer"; END';
DROP PROCEDURE fill_slugs;
