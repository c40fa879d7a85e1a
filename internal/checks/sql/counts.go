package sql

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"allclear.dev/allclear/internal/postgres"
)

// table is one whose rows are counted: ordinary ones and partitions.
type table struct {
	// name is schema.name, unquoted; from is the same as SQL.
	name, from string
	// key is the first column of the primary key as SQL, keyType its type; empty
	// without a primary key. private tells that its values may be anybody's name.
	key, keyType string
	private      bool
}

const tablesSQL = `SELECT n.nspname || '.' || c.relname, format('%I.%I', n.nspname, c.relname),
  quote_ident(a.attname), format_type(a.atttypid, a.atttypmod), coalesce(t.typcategory NOT IN ('N', 'D', 'B', 'T') AND t.typname <> 'uuid', true)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
LEFT JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relkind = 'r' AND ` + ours + ` AND ` + limited + ` ORDER BY 1`

// tables lists the tables that the question is about, once. None is an error.
func (a *answers) list(ctx context.Context, c *postgres.Conn) ([]table, error) {
	if a.tables != nil {
		return a.tables, nil
	}
	t, err := c.Query(ctx, maxObjects, tablesSQL, a.oids)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	if t.More || len(t.Rows) == 0 {
		return nil, fmt.Errorf("list tables: there are %d, want 1 to %d", len(t.Rows), maxObjects)
	}
	for _, r := range t.Rows {
		a.tables = append(a.tables, table{name: r[0].Text, from: r[1].Text, key: r[2].Text, keyType: r[3].Text, private: r[4].Text == "t"})
	}
	return a.tables, nil
}

// maxShown bounds the tables whose numbers stand among the facts; of more the
// largest are there. Empty tables are not listed.
const maxShown = 100

// count counts every table's rows, once.
func (a *answers) count(ctx context.Context, c *postgres.Conn) (map[string]int64, error) {
	if a.rows != nil {
		return a.rows, nil
	}
	tables, err := a.list(ctx, c)
	if err != nil {
		return nil, err
	}
	rows, total := map[string]int64{}, int64(0)
	for _, t := range tables {
		n, err := c.Int(ctx, "SELECT count(*) FROM ONLY "+t.from)
		if err != nil {
			return nil, fmt.Errorf("count %s: %w", t.name, err)
		}
		rows[t.name] = n
		total += n
	}
	a.rows = rows
	a.facts["rows"], a.facts["tables"] = strconv.FormatInt(total, 10), strconv.Itoa(len(rows))
	names := slices.SortedFunc(maps.Keys(rows), func(x, y string) int {
		return cmp.Or(cmp.Compare(rows[y], rows[x]), cmp.Compare(x, y))
	})
	for _, name := range names[:min(len(names), maxShown)] {
		if rows[name] > 0 {
			a.facts["rows of "+name] = strconv.FormatInt(rows[name], 10)
		}
	}
	return rows, nil
}

// counts is the preset: something must be there.
func counts(ctx context.Context, c *postgres.Conn, a *answers) error {
	rows, err := a.count(ctx, c)
	if err != nil {
		return err
	}
	a.note(a.facts["rows"] != "0", "all %d tables are empty", len(rows))
	return nil
}

// atLeast compares tables with the least number of rows wanted.
func (p *questions) atLeast(ctx context.Context, c *postgres.Conn, a *answers) error {
	for _, name := range slices.Sorted(maps.Keys(p.AtLeast)) {
		n, err := c.Int(ctx, "SELECT count(*) FROM "+quoted(name))
		if err != nil {
			return fmt.Errorf("count %s: %w", name, err)
		}
		a.facts["rows of "+name] = strconv.FormatInt(n, 10)
		a.note(n >= int64(p.AtLeast[name]), "%s has %d rows, want at least %d", name, n, p.AtLeast[name])
	}
	return nil
}

// compareCounts decides table by table: by the difference that is expected of it,
// or else by the expression for all.
func (p *questions) compareCounts(before, now map[string]int64, a *answers) error {
	for _, name := range slices.Sorted(maps.Keys(p.Delta)) {
		if _, found := before[name]; !found {
			return fmt.Errorf("delta: there were no rows of a table %s (write schema.name)", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if a.ignored(name) {
			continue
		}
		after, found := now[name]
		if !found {
			a.note(false, "%s is gone (%d rows)", name, before[name])
			continue
		}
		if delta, ok := p.Delta[name]; ok {
			a.note(after-before[name] == int64(delta), "%s had %d rows, has %d, want %+d", name, before[name], after, delta)
			continue
		}
		ok, err := p.Counts.Eval(map[string]any{"table": name, "before": int(before[name]), "after": int(after)})
		if err != nil {
			return err
		}
		a.note(ok, "%s had %d rows, has %d, want %s", name, before[name], after, p.Counts)
	}
	return nil
}
