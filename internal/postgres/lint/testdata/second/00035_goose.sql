-- +goose Up
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION archive_account(bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE accounts SET state = 'closed' WHERE id = $1;
END;
$$;
-- +goose StatementEnd
ALTER TABLE accounts ADD COLUMN archived_at timestamptz;
CREATE TABLE account_notes (id bigserial PRIMARY KEY, account_id bigint NOT NULL REFERENCES accounts (id) ON DELETE CASCADE, body text NOT NULL);
CREATE INDEX account_notes_account ON account_notes (account_id);
SELECT archive_account(5);
INSERT INTO account_notes (account_id, body) SELECT id, 'imported' FROM accounts WHERE balance > 0;

-- +goose Down
DROP TABLE account_notes;
