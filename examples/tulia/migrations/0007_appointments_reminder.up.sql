ALTER TABLE appointments ADD COLUMN reminder_at timestamptz;
