DROP INDEX CONCURRENTLY IF EXISTS appointments_reminder_due;
