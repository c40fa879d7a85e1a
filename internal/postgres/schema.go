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
	// Shape is the digest of the objects alone, without the text of defaults,
	// conditions and views: a dump and its restore may write those differently
	// (an IN over varchar gains casts) and mean the same.
	Shape string
}

// schemaParts are the queries whose rows make up a Schema: an object and its
// detail. Columns are named rather than numbered, since a column that was dropped
// and added again comes last without being another.
func schemaParts() []string {
	own := ` AND n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('information_schema', 'allclear') `
	return []string{
		`SELECT format('%s %I.%I', CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view'
			WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' ELSE 'foreign table' END, n.nspname, c.relname),
			CASE WHEN c.relkind IN ('v','m') THEN pg_get_viewdef(c.oid) END
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r','p','v','m','S','f')` + own,
		`SELECT format('column %I.%I.%I %s%s%s', n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
			CASE WHEN a.attnotnull THEN ' not null' END, CASE WHEN a.attidentity <> '' THEN ' identity ' || a.attidentity::text END),
			' default ' || pg_get_expr(d.adbin, d.adrelid)
			FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
			LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
			WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r','p','f')` + own,
		`SELECT format('constraint %I.%I.%I %s%s', n.nspname, c.relname, k.conname, k.contype, CASE WHEN NOT k.convalidated THEN ' not valid' END), pg_get_constraintdef(k.oid)
			FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE true` + own,
		`SELECT format('index %I.%I on %I', n.nspname, x.relname, c.relname), pg_get_indexdef(i.indexrelid) || CASE WHEN NOT i.indisvalid THEN ' invalid' ELSE '' END
			FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
			JOIN pg_namespace n ON n.oid = c.relnamespace WHERE true` + own,
		`SELECT format('trigger %I.%I.%I %s', n.nspname, c.relname, g.tgname, g.tgenabled), pg_get_triggerdef(g.oid)
			FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT g.tgisinternal` + own,
		`SELECT format('function %s', p.oid::regprocedure), md5(coalesce(p.prosrc, ''))
			FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
			WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')` + own,
		`SELECT format('enum %I.%I %s', n.nspname, t.typname, string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)), NULL
			FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid JOIN pg_namespace n ON n.oid = t.typnamespace WHERE true` + own + `GROUP BY n.nspname, t.typname`,
		`SELECT format('extension %I', extname), NULL FROM pg_extension`,
	}
}

// Schema reads the structure of the session's database. Names are written in
// full from then on: it empties the session's search path.
func (c *Conn) Schema(ctx context.Context) (Schema, error) {
	if _, err := c.Exec(ctx, "SELECT set_config('search_path', 'pg_catalog', false)"); err != nil {
		return Schema{}, fmt.Errorf("set search path: %w", err)
	}
	union := strings.Join(schemaParts(), "\nUNION ALL ")
	t, err := c.Query(ctx, maxTables*10, "SELECT object, coalesce(detail, '') FROM ("+union+`) AS s(object, detail) ORDER BY object COLLATE "C", detail COLLATE "C"`)
	if err != nil {
		return Schema{}, fmt.Errorf("read schema: %w", err)
	}
	if t.More {
		return Schema{}, fmt.Errorf("read schema: more than %d objects", maxTables*10)
	}
	var text, objects strings.Builder
	for _, row := range t.Rows {
		text.WriteString(strings.Join(strings.Fields(row[0].Text+" "+row[1].Text), " ") + "\n")
		objects.WriteString(row[0].Text + "\n")
	}
	return Schema{Text: text.String(), SHA256: digest(text.String()), Shape: digest(objects.String())}, nil
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
