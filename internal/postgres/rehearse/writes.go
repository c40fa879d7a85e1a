package rehearse

import (
	"context"
	"fmt"

	"allclear.dev/allclear/internal/postgres"
)

// Write is a change that the new structure takes and the old one does not.
type Write struct {
	// Why says what became possible, SQL does it to one row.
	Why, SQL string
}

// shape is what decides which values a column takes.
type shape struct {
	table, column, kind, notNull, labels string
}

// shapesSQL lists the columns of tables with what they take: their type with its
// length, NOT NULL, and the labels of an enum.
const shapesSQL = `SELECT c.oid::regclass::text, quote_ident(a.attname), format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
	coalesce((SELECT string_agg(quote_literal(e.enumlabel), ',' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = a.atttypid), '')
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'allclear')`

func shapes(ctx context.Context, server *postgres.Server) (map[string]shape, []string, error) {
	c, err := server.Open(ctx, postgres.Options{ReadOnly: true})
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	t, err := c.Query(ctx, 1_000_000, shapesSQL+" ORDER BY 1, a.attnum")
	if err != nil {
		return nil, nil, fmt.Errorf("list columns: %w", err)
	}
	out := map[string]shape{}
	var order []string
	for _, r := range t.Rows {
		key := r[0].Text + "." + r[1].Text
		out[key] = shape{table: r[0].Text, column: r[1].Text, kind: r[2].Text, notNull: r[3].Text, labels: r[4].Text}
		order = append(order, key)
	}
	return out, order, nil
}

// WritesBetween finds what users may write once a migration is in that it could
// not hold before: a NULL, a longer text, a larger number, a new label. Going down
// has to cope with them, and many downs fail only then.
func WritesBetween(ctx context.Context, before, after *postgres.Server) ([]Write, error) {
	old, _, err := shapes(ctx, before)
	if err != nil {
		return nil, err
	}
	now, order, err := shapes(ctx, after)
	if err != nil {
		return nil, err
	}
	var out []Write
	for _, key := range order {
		was, there := old[key]
		is := now[key]
		if !there {
			continue
		}
		set := func(why, value string) {
			out = append(out, Write{Why: why, SQL: fmt.Sprintf("UPDATE %[1]s SET %[2]s = %[3]s WHERE ctid = (SELECT ctid FROM %[1]s LIMIT 1)", is.table, is.column, value)})
		}
		if was.notNull == "true" && is.notNull == "false" {
			set(key+" may be NULL", "NULL")
		}
		if was.kind != is.kind {
			if value := wider(was.kind, is.kind); value != "" {
				set(fmt.Sprintf("%s has become %s, from %s", key, is.kind, was.kind), value)
			}
		}
		if len(is.labels) > len(was.labels) && was.labels != "" && was.kind == is.kind {
			set(key+" has a new label", fmt.Sprintf("(SELECT e FROM unnest(enum_range(NULL::%s)) AS e WHERE e::text <> ALL (ARRAY[%s]) LIMIT 1)", is.kind, was.labels))
		}
	}
	return out, nil
}

// wider is a value that fits the new type and not the old one, or "".
func wider(was, is string) string {
	var limit, to int
	if n, _ := fmt.Sscanf(was, "character varying(%d)", &limit); n == 1 {
		if n, _ := fmt.Sscanf(is, "character varying(%d)", &to); n == 0 && is != "text" && is != "character varying" {
			return ""
		}
		if to == 0 {
			to = limit + 1
		}
		return fmt.Sprintf("repeat('x', %d)", min(to, limit+1))
	}
	switch {
	case was == "smallint" && (is == "integer" || is == "bigint" || is == "numeric"):
		return "32768"
	case was == "integer" && (is == "bigint" || is == "numeric"):
		return "2147483648"
	case (was == "integer" || was == "bigint" || was == "numeric" || was == "uuid") && is == "text":
		return "'not a number'"
	}
	return ""
}

// Carry makes the writes, as far as the database takes them: a constraint may
// still refuse one. It tells which were made.
func Carry(ctx context.Context, server *postgres.Server, writes []Write) ([]Write, error) {
	c, err := server.Open(ctx, postgres.Options{})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var made []Write
	for _, w := range writes {
		switch n, err := c.Exec(ctx, w.SQL); {
		case err == nil && n > 0:
			made = append(made, w)
		case err != nil && postgres.Code(err) == "":
			return made, fmt.Errorf("write in between: %w", err)
		}
	}
	return made, nil
}
