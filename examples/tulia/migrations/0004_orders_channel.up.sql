-- A constant default: no table rewrite, and v1 may go on inserting without the column.
ALTER TABLE orders ADD COLUMN channel text NOT NULL DEFAULT 'api';
