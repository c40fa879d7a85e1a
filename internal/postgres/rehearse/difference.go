package rehearse

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/postgres"
)

// State is what a database holds at one time, to be compared with another.
type State struct {
	Schema postgres.Schema
	// Order is the columns of each table in their order.
	Order  string
	Tables []postgres.TableDigest
}

// Look reads a database's state. The tables named in without are left out: a
// version table differs by its nature.
func Look(ctx context.Context, server *postgres.Server) (State, error) {
	c, err := server.Open(ctx, postgres.Options{ReadOnly: true})
	if err != nil {
		return State{}, err
	}
	defer c.Close()
	return LookBy(ctx, c)
}

// LookBy reads the state that a session sees, its own transaction included.
func LookBy(ctx context.Context, c *postgres.Conn) (s State, err error) {
	if s.Tables, err = c.Digests(ctx, true); err != nil {
		return State{}, err
	}
	if s.Order, err = c.Value(ctx, `SELECT coalesce(string_agg(line, E'\n' ORDER BY line COLLATE "C"), '') FROM (
		SELECT format('%I.%I ', n.nspname, c.relname) || string_agg(quote_ident(a.attname), ' ' ORDER BY a.attnum) AS line
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'allclear')
		GROUP BY n.nspname, c.relname) AS t`); err != nil {
		return State{}, fmt.Errorf("read the order of columns: %w", err)
	}
	s.Schema, err = c.Schema(ctx)
	return s, err
}

// Likeness is how two structures compare.
type Likeness string

// The likenesses. A column that was dropped and added again comes last, which
// changes nothing for code that names its columns.
const (
	Identical Likeness = "identical"
	OrderOnly Likeness = "order-only"
	Differs   Likeness = "differs"
)

// Compare compares structures and says what differs: lines with - are missing in
// b, lines with + were not in a.
func Compare(a, b State) (Likeness, []string) {
	if a.Schema.SHA256 == b.Schema.SHA256 {
		if a.Order == b.Order {
			return Identical, nil
		}
		return OrderOnly, lines(a.Order, b.Order)
	}
	return Differs, lines(a.Schema.Text, b.Schema.Text)
}

func lines(a, b string) []string {
	has := func(list []string, line string) bool { _, found := slices.BinarySearch(list, line); return found }
	left, right := strings.Split(strings.TrimSpace(a), "\n"), strings.Split(strings.TrimSpace(b), "\n")
	slices.Sort(left)
	slices.Sort(right)
	var out []string
	for _, l := range left {
		if !has(right, l) {
			out = append(out, "-"+l)
		}
	}
	for _, r := range right {
		if !has(left, r) {
			out = append(out, "+"+r)
		}
	}
	slices.SortStableFunc(out, func(x, y string) int { return cmp.Compare(x[1:], y[1:]) })
	return out
}

// Loss is a column whose values going down has not brought back.
type Loss struct {
	Column string `json:"column"`
	// Before and After are the values that are not NULL; Rows are the table's.
	Before int64 `json:"before"`
	After  int64 `json:"after"`
	Rows   int64 `json:"rows"`
}

// Losses compares the data of two databases column by column, where their tables
// differ. A value counts with its row's key, so that exchanged values are found.
// A table that is only in b is nobody's loss.
func Losses(ctx context.Context, a, b *postgres.Server, before, after State, without ...string) ([]Loss, error) {
	now := map[string]postgres.TableDigest{}
	for _, t := range after.Tables {
		now[t.Table] = t
	}
	var out []Loss
	for _, t := range before.Tables {
		is, there := now[t.Table]
		if slices.Contains(without, strings.TrimPrefix(t.Table, "public.")) || there && is.Digest == t.Digest && is.Rows == t.Rows {
			continue
		}
		was, err := columns(ctx, a, t.Table)
		if err != nil {
			return nil, err
		}
		got := map[string]column{}
		if there {
			if got, err = columns(ctx, b, t.Table); err != nil {
				return nil, err
			}
		}
		for name, w := range was {
			if g := got[name]; g.digest != w.digest || g.values != w.values {
				out = append(out, Loss{Column: t.Table + "." + name, Before: w.values, After: g.values, Rows: t.Rows})
			}
		}
	}
	slices.SortFunc(out, func(x, y Loss) int { return cmp.Compare(x.Column, y.Column) })
	return out, nil
}

// column is what a column holds: how many values, and the sum of their hashes.
type column struct {
	values int64
	digest string
}

// columnsSQL writes the query that digests each column of table $1 with the key
// of its row. The result's columns alternate between count and sum.
const columnsSQL = `SELECT string_agg(quote_ident(a.attname), ',' ORDER BY a.attnum),
	'SELECT ' || string_agg(format('count(t.%1$I), coalesce(sum(hashtextextended(%2$s t.%1$I::text, 0)::numeric), 0)', a.attname, k.key), ', ' ORDER BY a.attnum)
	|| ' FROM ONLY ' || $1::regclass || ' AS t'
FROM pg_attribute a, (SELECT coalesce(string_agg(format('t.%I::text || '':'' ||', x.attname), ' ' ORDER BY x.attnum), '') AS key
	FROM pg_index i JOIN pg_attribute x ON x.attrelid = i.indrelid AND x.attnum = ANY (i.indkey) WHERE i.indrelid = $1::regclass AND i.indisprimary) AS k
WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped`

func columns(ctx context.Context, server *postgres.Server, table string) (map[string]column, error) {
	c, err := server.Open(ctx, postgres.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	schema, relation, _ := strings.Cut(table, ".")
	query, err := c.Query(ctx, 1, columnsSQL, postgres.Quote(schema)+"."+postgres.Quote(relation))
	if err != nil {
		return nil, fmt.Errorf("read columns of %s: %w", table, err)
	}
	out := map[string]column{}
	if len(query.Rows) == 0 || query.Rows[0][1].Null {
		return out, nil // a table without columns
	}
	values, err := c.Query(ctx, 1, query.Rows[0][1].Text)
	if err != nil {
		return nil, fmt.Errorf("digest columns of %s: %w", table, err)
	}
	for i, name := range strings.Split(query.Rows[0][0].Text, ",") {
		var n int64
		if _, err := fmt.Sscan(values.Rows[0][2*i].Text, &n); err != nil {
			return nil, fmt.Errorf("digest columns of %s: %w", table, err)
		}
		out[name] = column{values: n, digest: values.Rows[0][2*i+1].Text}
	}
	return out, nil
}

// Invalid lists the indexes that a failed build has left behind: they cost writes
// and answer nothing.
func Invalid(ctx context.Context, server *postgres.Server) ([]string, error) {
	c, err := server.Open(ctx, postgres.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	t, err := c.Query(ctx, 1000, "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid OR NOT indisready ORDER BY 1")
	if err != nil {
		return nil, fmt.Errorf("look for invalid indexes: %w", err)
	}
	return first(t), nil
}
