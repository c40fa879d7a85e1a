CREATE OR REPLACE VIEW active_accounts AS SELECT id, email, created_at FROM accounts WHERE state = 'active';
DROP VIEW IF EXISTS open_tasks;
CREATE MATERIALIZED VIEW IF NOT EXISTS busiest AS SELECT project_id, count(*) AS tasks FROM tasks GROUP BY 1 WITH NO DATA;
CREATE UNIQUE INDEX busiest_idx ON busiest (project_id);
REFRESH MATERIALIZED VIEW busiest;
REFRESH MATERIALIZED VIEW CONCURRENTLY billing.monthly;
REFRESH MATERIALIZED VIEW leaderboard;
CREATE INDEX ON leaderboard (finished);
DROP MATERIALIZED VIEW leaderboard;
