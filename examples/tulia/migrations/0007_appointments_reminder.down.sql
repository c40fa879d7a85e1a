-- Loses the reminder time of each appointment and nothing else.
ALTER TABLE appointments DROP COLUMN reminder_at;
