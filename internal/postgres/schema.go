package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Schema is a database's structure in a form that can be compared: one line per
// object, sorted, without numbers that differ between two equal databases.
type Schema struct {
	Text string
	// SHA256 is the digest of Text, in hexadecimal.
	SHA256 string
}

// schemaParts are the queries whose lines make up a Schema. Columns are named
// rather than numbered, since a column that was dropped and added again comes
// last without being another.
func schemaParts() []string {
	own := ` AND n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('information_schema', 'allclear') `
	return []string{
		`SELECT format('%s %I.%I', CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view'
			WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' ELSE 'foreign table' END, n.nspname, c.relname)
			|| CASE WHEN c.relkind IN ('v','m') THEN ' ' || pg_get_viewdef(c.oid) ELSE '' END
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r','p','v','m','S','f')` + own,
		`SELECT format('column %I.%I.%I %s%s%s%s', n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
			CASE WHEN a.attnotnull THEN ' not null' ELSE '' END, coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), ''),
			CASE WHEN a.attidentity <> '' THEN ' identity ' || a.attidentity::text ELSE '' END)
			FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
			LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
			WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r','p','f')` + own,
		`SELECT format('constraint %I.%I.%I %s', n.nspname, c.relname, k.conname, pg_get_constraintdef(k.oid))
			FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE true` + own,
		`SELECT format('index %s%s', pg_get_indexdef(i.indexrelid), CASE WHEN i.indisvalid THEN '' ELSE ' invalid' END)
			FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE true` + own,
		`SELECT format('trigger %s %s', pg_get_triggerdef(g.oid), g.tgenabled)
			FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT g.tgisinternal` + own,
		`SELECT format('function %s %s', p.oid::regprocedure, md5(coalesce(p.prosrc, '')))
			FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
			WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')` + own,
		`SELECT format('enum %I.%I %s', n.nspname, t.typname, string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder))
			FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid JOIN pg_namespace n ON n.oid = t.typnamespace WHERE true` + own + `GROUP BY n.nspname, t.typname`,
		`SELECT format('extension %I', extname) FROM pg_extension`,
	}
}

// Schema reads the structure of the session's database.
func (c *Conn) Schema(ctx context.Context) (Schema, error) {
	union := strings.Join(schemaParts(), "\nUNION ALL ")
	t, err := c.Query(ctx, maxTables*10, "SELECT line FROM ("+union+`) AS s(line) ORDER BY line COLLATE "C"`)
	if err != nil {
		return Schema{}, fmt.Errorf("read schema: %w", err)
	}
	if t.More {
		return Schema{}, fmt.Errorf("read schema: more than %d objects", maxTables*10)
	}
	var b strings.Builder
	for _, row := range t.Rows {
		b.WriteString(strings.Join(strings.Fields(row[0].Text), " "))
		b.WriteByte('\n')
	}
	sum := sha256.Sum256([]byte(b.String()))
	return Schema{Text: b.String(), SHA256: hex.EncodeToString(sum[:])}, nil
}
