ALTER TYPE account_state ADD VALUE IF NOT EXISTS 'suspended' AFTER 'active';
ALTER TYPE billing.currency ADD VALUE 'GBP';
ALTER TYPE account_state RENAME VALUE 'trial' TO 'evaluation';
ALTER TYPE address ADD ATTRIBUTE country text;
