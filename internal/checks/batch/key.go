package batch

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/postgres"
)

// relation is the table that is gone through, by a key that tells its rows apart.
type relation struct {
	// from is the table as SQL; rows is about how many rows it has.
	from string
	rows float64
	// columns are the key's, in order.
	columns []column
}

type column struct {
	// name is unquoted; kind is its type in pg_type, written as SQL in cast.
	name, kind, cast string
}

// relationSQL gives the columns of the wanted key ($2, empty for the primary
// one), if an index makes it unique and none can be NULL.
const relationSQL = `SELECT $1::regclass::text, greatest(c.reltuples, 0), a.attname, t.typname, format_type(a.atttypid, NULL)
FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid
CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum JOIN pg_type t ON t.oid = a.atttypid
WHERE c.oid = $1::regclass AND k.n <= i.indnkeyatts AND i.indexrelid = (SELECT x.indexrelid FROM pg_index x
  WHERE x.indrelid = c.oid AND x.indisunique AND x.indisvalid AND x.indimmediate AND x.indpred IS NULL AND x.indexprs IS NULL
  AND CASE WHEN cardinality($2::text[]) = 0 THEN x.indisprimary ELSE $2::text[] = (SELECT array_agg(y.attname::text ORDER BY z.n)
      FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS z(attnum, n) JOIN pg_attribute y ON y.attrelid = c.oid AND y.attnum = z.attnum WHERE z.n <= x.indnkeyatts) END
  AND NOT EXISTS (SELECT FROM unnest(x.indkey::int2[]) AS z(attnum) JOIN pg_attribute y ON y.attrelid = c.oid AND y.attnum = z.attnum WHERE NOT y.attnotnull)
  ORDER BY x.indisprimary DESC, x.indexrelid LIMIT 1) ORDER BY k.n`

// errRefused is what is wrong with the job itself: an answer, not a doubt.
type errRefused struct{ why string }

func (e *errRefused) Error() string { return e.why }

func refuse(format string, args ...any) error { return &errRefused{fmt.Sprintf(format, args...)} }

// relation looks the table up.
func (p *job) relation(ctx context.Context, c *postgres.Conn) (relation, error) {
	name := quote(p.Table)
	found, err := c.Query(ctx, 1, "SELECT to_regclass($1)", name)
	if err != nil {
		return relation{}, fmt.Errorf("look for table %s: %w", p.Table, err)
	}
	if found.Rows[0][0].Null {
		return relation{}, refuse("there is no table %s", p.Table)
	}
	t, err := c.Query(ctx, 100, relationSQL, name, array(p.Key))
	if err != nil {
		return relation{}, fmt.Errorf("look up the key of %s: %w", p.Table, err)
	}
	if len(t.Rows) == 0 {
		return relation{}, refuse("table %s has no primary key, or no unique index without NULLs on the columns of key", p.Table)
	}
	var r relation
	for _, row := range t.Rows {
		r.from = row[0].Text
		if r.rows, err = strconv.ParseFloat(row[1].Text, 64); err != nil {
			return relation{}, fmt.Errorf("look up the size of %s: %w", p.Table, err)
		}
		r.columns = append(r.columns, column{row[2].Text, row[3].Text, row[4].Text})
	}
	return r, nil
}

// quote writes table or schema.table as SQL.
func quote(table string) string {
	schema, name, found := strings.Cut(table, ".")
	if !found {
		return postgres.Quote(schema)
	}
	return postgres.Quote(schema) + "." + postgres.Quote(name)
}

// array writes texts as PostgreSQL reads an array of them.
func array(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(t) + `"`
	}
	return "{" + strings.Join(quoted, ",") + "}"
}

// names lists the key's columns.
func (r relation) names() []string {
	var out []string
	for _, c := range r.columns {
		out = append(out, c.name)
	}
	return out
}

// key writes the columns of the table, which queries call t, for ORDER BY; row the
// same as a row to compare.
func (r relation) key() string {
	var out []string
	for _, c := range r.columns {
		out = append(out, "t."+postgres.Quote(c.name)) // a bare name would be that of the text selected
	}
	return strings.Join(out, ", ")
}

func (r relation) row() string { return "(" + r.key() + ")" }

// texts writes the columns to select as text.
func (r relation) texts() string {
	var out []string
	for _, c := range r.columns {
		out = append(out, "t."+postgres.Quote(c.name)+"::text")
	}
	return strings.Join(out, ", ")
}

// args writes the placeholders from n on as a row of the key's types.
func (r relation) args(n int) string {
	var out []string
	for i, c := range r.columns {
		out = append(out, fmt.Sprintf("$%d::%s", n+i, c.cast))
	}
	return "(" + strings.Join(out, ", ") + ")"
}

// ends finds the first key and the one that comes after the last; nothing in an
// empty table.
func (r relation) ends(ctx context.Context, c *postgres.Conn) (first, stop []string, err error) {
	if first, err = one(ctx, c, "SELECT "+r.texts()+" FROM "+r.from+" AS t ORDER BY "+r.key()+" LIMIT 1"); err != nil || first == nil {
		return nil, nil, err
	}
	last, err := one(ctx, c, "SELECT "+r.texts()+" FROM "+r.from+" AS t ORDER BY "+strings.ReplaceAll(r.key(), ",", " DESC,")+" DESC LIMIT 1")
	if err != nil || last == nil {
		return nil, nil, err
	}
	end := len(last) - 1
	after, err := r.columns[end].successor(ctx, c, last[end])
	if err != nil {
		return nil, nil, err
	}
	stop = append(append([]string{}, last[:end]...), after)
	// The order is the column's own business (collations): the server is asked.
	v, err := c.Value(ctx, "SELECT EXISTS (SELECT FROM "+r.from+" AS t WHERE "+r.row()+" = "+r.args(1)+" AND "+r.row()+" < "+r.args(len(last)+1)+")", append(last, stop...)...)
	if err != nil {
		return nil, nil, fmt.Errorf("compare keys: %w", err)
	}
	if v != "t" {
		return nil, nil, refuse("no key comes after the last one of %s", r.from)
	}
	return first, stop, nil
}

// one gives the single row of a query, nil without one.
func one(ctx context.Context, c *postgres.Conn, sql string, args ...string) ([]string, error) {
	t, err := c.Query(ctx, 1, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	if len(t.Rows) == 0 {
		return nil, nil
	}
	var out []string
	for _, cell := range t.Rows[0] {
		if cell.Null {
			return nil, errors.New("read keys: one is NULL")
		}
		out = append(out, cell.Text)
	}
	return out, nil
}

// successor gives a value that comes after another.
func (k column) successor(ctx context.Context, c *postgres.Conn, value string) (string, error) {
	var sql string
	switch k.kind {
	case "int2", "int4", "int8", "numeric":
		sql = "SELECT ($1::numeric + 1)::" + k.cast + "::text"
	case "text", "varchar", "bpchar", "citext":
		sql = "SELECT $1::text || '~'"
	case "bytea":
		sql = `SELECT ($1::bytea || '\x00'::bytea)::text`
	case "date":
		sql = "SELECT ($1::date + 1)::text"
	case "timestamp", "timestamptz":
		sql = "SELECT ($1::" + k.cast + " + interval '1 microsecond')::text"
	case "uuid":
		n, ok := new(big.Int).SetString(strings.ReplaceAll(value, "-", ""), 16)
		if !ok {
			return "", fmt.Errorf("read keys: %q is not a UUID", value)
		}
		hex := fmt.Sprintf("%032x", n.Add(n, big.NewInt(1)))
		if len(hex) > 32 {
			return "", refuse("no key comes after the last one")
		}
		return hex[:8] + "-" + hex[8:12] + "-" + hex[12:16] + "-" + hex[16:20] + "-" + hex[20:], nil
	default:
		return "", refuse("a key that ends with a column of type %s cannot be gone through", k.cast)
	}
	v, err := c.Value(ctx, sql, value)
	if code := postgres.Code(err); strings.HasPrefix(code, "22") { // out of its type's range
		return "", refuse("no key comes after the last one")
	}
	if err != nil {
		return "", fmt.Errorf("find the end: %w", err)
	}
	return v, nil
}

// next gives the key at which a range of n rows from a key on ends, without it,
// and its number of rows; that of the last range is stop.
func (r relation) next(ctx context.Context, c *postgres.Conn, from, stop []string, n int) ([]string, int64, error) {
	args := append(append([]string{}, from...), stop...)
	where := r.row() + " >= " + r.args(1) + " AND " + r.row() + " < " + r.args(len(from)+1)
	upper, err := one(ctx, c, "SELECT "+r.texts()+" FROM "+r.from+" AS t WHERE "+where+" ORDER BY "+r.key()+" OFFSET "+strconv.Itoa(n)+" LIMIT 1", args...)
	if err != nil || upper != nil {
		return upper, int64(n), err
	}
	rows, err := c.Int(ctx, "SELECT count(*) FROM "+r.from+" AS t WHERE "+where, args...)
	if err != nil {
		return nil, 0, fmt.Errorf("count rows: %w", err)
	}
	return stop, rows, nil
}
