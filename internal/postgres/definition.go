package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Definition is a database's structure as statements that would make it, for a
// reader that knows what exists: no rows, no privileges, triggers without their
// conditions.
type Definition struct {
	SQL string
	// Sizes are the sizes of tables with their indexes in bytes, by name; those in
	// public without it.
	Sizes map[string]int64
	// TimeZone is the server's setting.
	TimeZone string
}

// definitionParts are queries whose rows are statements, in an order in which each
// finds what it needs.
func definitionParts() []string {
	own := ` AND n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('information_schema', 'allclear') `
	foreign := ` AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.objid = %s AND x.deptype = 'e') `
	return []string{
		`SELECT format('CREATE TYPE %I.%I AS ENUM (%s)', n.nspname, t.typname, string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder))
			FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid JOIN pg_namespace n ON n.oid = t.typnamespace WHERE true` + own + `GROUP BY n.nspname, t.typname`,
		`SELECT format('CREATE DOMAIN %I.%I AS %s %s %s', n.nspname, t.typname, format_type(t.typbasetype, t.typtypmod), CASE WHEN t.typnotnull THEN 'NOT NULL' END,
			(SELECT string_agg(pg_get_constraintdef(k.oid), ' ') FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c' AND k.convalidated))
			FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype = 'd'` + own + fmt.Sprintf(foreign, "t.oid"),
		`SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.prokind = 'f'` + own + fmt.Sprintf(foreign, "p.oid"),
		`SELECT format('CREATE TABLE %I.%I (%s)%s', n.nspname, c.relname,
			(SELECT string_agg(format('%I %s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
				CASE WHEN a.attcollation <> t.typcollation THEN (SELECT format(' COLLATE %I', l.collname) FROM pg_collation l WHERE l.oid = a.attcollation) END,
				CASE WHEN a.attnotnull THEN ' NOT NULL' END), ', ' ORDER BY a.attnum)
				FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
			CASE WHEN c.relkind = 'p' THEN ' PARTITION BY ' || pg_get_partkeydef(c.oid) END)
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r','p')` + own,
		`SELECT format('ALTER TABLE %s ATTACH PARTITION %I.%I %s', i.inhparent::regclass, n.nspname, c.relname, pg_get_expr(c.relpartbound, c.oid))
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_inherits i ON i.inhrelid = c.oid WHERE c.relispartition AND c.relkind IN ('r','p')` + own,
		`SELECT format('CREATE %sVIEW %I.%I AS %s', CASE WHEN c.relkind = 'm' THEN 'MATERIALIZED ' END, n.nspname, c.relname, rtrim(pg_get_viewdef(c.oid), ';'))
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('v','m')` + own + `ORDER BY c.oid`,
		`SELECT format('ALTER TABLE %I.%I ADD CONSTRAINT %I %s', n.nspname, c.relname, k.conname, pg_get_constraintdef(k.oid))
			FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE k.contype IN ('c','p','u','x','f') AND k.conparentid = 0 AND c.relkind IN ('r','p')` + own + `ORDER BY k.contype = 'f', k.oid`,
		`SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)` + own,
		`SELECT pg_get_triggerdef(g.oid) FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT g.tgisinternal` + own,
	}
}

// maxDefinition bounds the objects of one kind.
const maxDefinition = 200_000

// Definition reads the structure of the session's database.
func (c *Conn) Definition(ctx context.Context) (Definition, error) {
	d := Definition{Sizes: map[string]int64{}}
	var err error
	if d.TimeZone, err = c.Value(ctx, "SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'"); err != nil {
		return d, fmt.Errorf("read the time zone: %w", err)
	}
	if _, err := c.Exec(ctx, "SELECT set_config('search_path', 'pg_catalog', false)"); err != nil {
		return d, fmt.Errorf("set search path: %w", err)
	}
	var b strings.Builder
	for _, query := range definitionParts() {
		t, err := c.Query(ctx, maxDefinition, query)
		if err != nil {
			return d, fmt.Errorf("read the structure: %w", err)
		}
		if t.More {
			return d, fmt.Errorf("more than %d objects of a kind", maxDefinition)
		}
		for _, row := range t.Rows {
			b.WriteString(row[0].Text + ";\n")
		}
	}
	d.SQL = b.String()
	sizes, err := c.Query(ctx, maxDefinition, `SELECT CASE WHEN n.nspname = 'public' THEN '' ELSE n.nspname || '.' END || c.relname, pg_total_relation_size(c.oid)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r','m') AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'`)
	if err != nil {
		return d, fmt.Errorf("read the sizes: %w", err)
	}
	for _, row := range sizes.Rows {
		if d.Sizes[row[0].Text], err = strconv.ParseInt(row[1].Text, 10, 64); err != nil {
			return d, fmt.Errorf("read the sizes: %w", err)
		}
	}
	return d, nil
}
