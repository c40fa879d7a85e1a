-- Alone in its file: CONCURRENTLY cannot run inside a transaction.
CREATE INDEX CONCURRENTLY appointments_reminder_due ON appointments (reminder_at) WHERE status = 'booked';
