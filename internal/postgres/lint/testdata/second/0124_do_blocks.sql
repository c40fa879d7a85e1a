DO $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_type WHERE typname = 'shade') THEN
        CREATE TYPE shade AS ENUM ('light', 'dark');
    END IF;
END
$$;
DO $do$ BEGIN
    ALTER TABLE accounts ADD CONSTRAINT accounts_plan_fk FOREIGN KEY (plan_id) REFERENCES plans (id);
EXCEPTION WHEN duplicate_object THEN NULL;
END $do$;
DO $$ DECLARE t text; BEGIN
    FOREACH t IN ARRAY ARRAY['tags', 'plans'] LOOP
        EXECUTE format('ALTER TABLE %I ADD COLUMN created_at timestamptz DEFAULT now()', t);
    END LOOP;
END $$;
