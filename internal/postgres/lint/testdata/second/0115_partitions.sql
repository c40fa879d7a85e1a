CREATE TABLE measurements_2026 PARTITION OF measurements FOR VALUES FROM ('2040-01-01') TO ('2041-01-01');
ALTER TABLE shipments ATTACH PARTITION shipments_2026_new FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
ALTER TABLE shipments ATTACH PARTITION shipments_2027_new FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
ALTER TABLE shipments_2027_new DROP CONSTRAINT fits;
CREATE INDEX shipments_shipped_idx ON ONLY shipments (shipped);
CREATE INDEX CONCURRENTLY shipments_2025_shipped_idx ON shipments_2025 (shipped);
ALTER INDEX shipments_shipped_idx ATTACH PARTITION shipments_2025_shipped_idx;
ALTER TABLE shipments DETACH PARTITION shipments_2025;
