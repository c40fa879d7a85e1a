package sql

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/postgres"
)

// parts is how many ranges of its key a table's digest is made of, so that a
// difference can be found without the rows from before.
const parts = 64

// content is what a table held: its rows and the sum of their hashes, for each
// range of the key. Sums do not depend on the order of the rows.
type content struct {
	// Method is "record" (the row's own hash) or "text" (the hash of its text, for
	// types without a hash such as json, and before PostgreSQL 14).
	Method string `json:"method"`
	// Bounds are the keys at which the next range begins; Parts are the ranges, one
	// more than there are bounds.
	Bounds []string `json:"bounds,omitempty"`
	Parts  []part   `json:"parts"`
	// Columns are the digests column by column, where they were asked for.
	Columns map[string]string `json:"columns,omitempty"`
}

// part is one range.
type part struct {
	Rows   int64  `json:"rows"`
	Digest string `json:"digest"`
}

func (c content) rows() int64 {
	var n int64
	for _, p := range c.Parts {
		n += p.Rows
	}
	return n
}

// contents takes down what every table holds, or compares it.
func (w *comparison) contents(ctx context.Context, of string) error {
	tables, err := w.a.list(ctx, w.c)
	if err != nil {
		return err
	}
	before := map[string]content{}
	switch w.Compare {
	case wayBefore:
	case wayOther:
		if before, err = w.there(ctx, of); err != nil {
			return err
		}
	default:
		if before, err = recall[map[string]content](w, of); err != nil {
			return err
		}
	}
	now := map[string]content{}
	for _, t := range tables {
		if w.a.ignored(t.name) {
			continue
		}
		if now[t.name], err = w.content(ctx, t, before[t.name], of); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	if w.Compare == wayBefore {
		return keep(w, of, now)
	}
	return w.judge(ctx, tables, before, now)
}

// there reads the other database's tables.
func (w *comparison) there(ctx context.Context, of string) (map[string]content, error) {
	tables, err := w.elsewhere().list(ctx, w.other)
	if err != nil {
		return nil, fmt.Errorf("the other database: %w", err)
	}
	out := map[string]content{}
	for _, t := range tables {
		if w.a.ignored(t.name) {
			continue
		}
		if out[t.name], err = read(ctx, w.other, t, nil, "", of == ofColumns); err != nil {
			return nil, fmt.Errorf("the other database: %s: %w", t.name, err)
		}
	}
	return out, nil
}

// content reads one table, in the ranges and by the method of before.
func (w *comparison) content(ctx context.Context, t table, before content, of string) (content, error) {
	bounds := before.Bounds
	if w.Compare == wayBefore && !t.private {
		var err error
		if bounds, err = sample(ctx, w.c, t); err != nil {
			return content{}, err
		}
	}
	return read(ctx, w.c, t, bounds, before.Method, of == ofColumns)
}

// sample gives keys that cut a table into ranges of about the same size.
func sample(ctx context.Context, c *postgres.Conn, t table) ([]string, error) {
	if t.key == "" {
		return nil, nil
	}
	// About 30,000 rows of random pages; all of a table whose size is not known.
	share, err := c.Value(ctx, "SELECT CASE WHEN reltuples > 30000 THEN 100 * 30000 / reltuples ELSE 100 END FROM pg_class WHERE oid = $1::regclass", t.from)
	if err != nil {
		return nil, fmt.Errorf("sample keys: %w", err)
	}
	return cuts(ctx, c, t, "ONLY "+t.from+" TABLESAMPLE SYSTEM ("+share+")", "true")
}

// cuts gives up to parts-1 keys of the rows that fit, in ascending order and each
// once; none if there are no rows.
func cuts(ctx context.Context, c *postgres.Conn, t table, from, where string, args ...string) ([]string, error) {
	rows, err := c.Query(ctx, parts, fmt.Sprintf(`SELECT DISTINCT k::text, k FROM unnest((SELECT percentile_disc((SELECT array_agg(g::float8 / %d) FROM generate_series(1, %d) AS g))
		WITHIN GROUP (ORDER BY %s) FROM %s WHERE %s)) AS k WHERE k IS NOT NULL ORDER BY 2`, parts, parts-1, t.key, from, where), args...)
	if err != nil {
		return nil, fmt.Errorf("choose keys: %w", err)
	}
	var out []string
	for _, r := range rows.Rows {
		out = append(out, r[0].Text)
	}
	return out, nil
}

// read sums the hashes of a table's rows. method "" means the best one.
func read(ctx context.Context, c *postgres.Conn, t table, bounds []string, method string, columns bool) (content, error) {
	var err error
	if method == "" {
		if method, err = hashMethod(ctx, c, t); err != nil {
			return content{}, err
		}
	}
	out := content{Method: method, Bounds: bounds}
	if out.Parts, err = sums(ctx, c, t, method, bounds, "true"); err != nil {
		return content{}, err
	}
	if columns {
		out.Columns, err = columnSums(ctx, c, t)
	}
	return out, err
}

// hashMethod finds out whether rows of a table have a hash of their own, by
// hashing one: json, for one, has none (42883, or 0A000 within a record).
func hashMethod(ctx context.Context, c *postgres.Conn, t table) (string, error) {
	if _, err := c.Exec(ctx, "SAVEPOINT hashing"); err != nil {
		return "", err
	}
	_, err := c.Query(ctx, 1, "SELECT hash_record_extended(t, 0) FROM ONLY "+t.from+" AS t LIMIT 1")
	if err == nil {
		_, err = c.Exec(ctx, "RELEASE SAVEPOINT hashing")
		return "record", err
	}
	if postgres.Code(err) != postgres.UndefinedFunc {
		return "", fmt.Errorf("hash a row: %w", err)
	}
	_, err = c.Exec(ctx, "ROLLBACK TO SAVEPOINT hashing")
	return "text", err
}

// sums gives the ranges' digests in one reading.
func sums(ctx context.Context, c *postgres.Conn, t table, method string, bounds []string, where string, args ...string) ([]part, error) {
	hash := "hash_record_extended(t, 0)"
	if method == "text" {
		hash = "hashtextextended(t::text, 0)"
	}
	bucket := "0"
	if len(bounds) > 0 {
		args = append(args, array(bounds))
		bucket = fmt.Sprintf("width_bucket(t.%s, $%d::%s[])", t.key, len(args), t.keyType)
	}
	rows, err := c.Query(ctx, parts+1, fmt.Sprintf("SELECT %s, count(*), sum(%s::numeric) FROM ONLY %s AS t WHERE %s GROUP BY 1", bucket, hash, t.from, where), args...)
	if err != nil {
		return nil, fmt.Errorf("sum hashes: %w", err)
	}
	out := make([]part, len(bounds)+1)
	for _, r := range rows.Rows {
		i, err := strconv.Atoi(r[0].Text)
		if err != nil || i < 0 || i >= len(out) {
			return nil, fmt.Errorf("sum hashes: there is no range %q", r[0].Text)
		}
		n, err := strconv.ParseInt(r[1].Text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("sum hashes: %w", err)
		}
		out[i] = part{Rows: n, Digest: r[2].Text}
	}
	return out, nil
}

// columnSums gives the digest of each column by itself.
func columnSums(ctx context.Context, c *postgres.Conn, t table) (map[string]string, error) {
	names, err := c.Query(ctx, maxPromises*4, "SELECT attname, quote_ident(attname) FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum", t.from)
	if err != nil {
		return nil, fmt.Errorf("list columns: %w", err)
	}
	if len(names.Rows) == 0 {
		return nil, nil
	}
	var list []string
	for _, r := range names.Rows {
		list = append(list, "sum(hashtextextended(coalesce('=' || t."+r[1].Text+"::text, ''), 0)::numeric)")
	}
	sums, err := c.Query(ctx, 1, "SELECT "+strings.Join(list, ", ")+" FROM ONLY "+t.from+" AS t")
	if err != nil {
		return nil, fmt.Errorf("sum columns: %w", err)
	}
	out := map[string]string{}
	for i, r := range names.Rows {
		out[r[0].Text] = sums.Rows[0][i].Text
	}
	return out, nil
}

// judge compares table by table.
func (w *comparison) judge(ctx context.Context, tables []table, before, now map[string]content) error {
	if len(before) == 0 {
		return errors.New("what was taken down before holds no table")
	}
	byName := map[string]table{}
	for _, t := range tables {
		byName[t.name] = t
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if w.a.ignored(name) {
			continue
		}
		was := before[name]
		is, found := now[name]
		if !found {
			w.a.note(false, "%s is gone (%d rows)", name, was.rows())
			continue
		}
		if is.Method != was.Method {
			return fmt.Errorf("%s was hashed by %s, now by %s: they cannot be compared", name, was.Method, is.Method)
		}
		same := slices.Equal(was.Parts, is.Parts)
		where := ""
		if !same {
			var err error
			if where, err = w.where(ctx, byName[name], was, is); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		w.a.note(same, "%s is not what it was: %d rows, %d before%s", name, is.rows(), was.rows(), where)
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if _, known := before[name]; !known && w.Compare == wayOther {
			w.a.note(false, "%s is not in the other database (%d rows)", name, now[name].rows())
		}
	}
	w.a.facts["tables digested"] = strconv.Itoa(len(now))
	return nil
}

// where says for people which columns and which keys differ.
func (w *comparison) where(ctx context.Context, t table, was, is content) (string, error) {
	text := ""
	var columns []string
	for _, name := range sortedKeys(was.Columns, is.Columns) {
		if was.Columns[name] != is.Columns[name] {
			columns = append(columns, name)
		}
	}
	if len(columns) > 0 {
		text = ", in the columns " + postgres.Shorten(columns, 10)
	}
	if w.Compare == wayOther {
		found, err := (&locator{here: w.c, there: w.other, table: t, method: is.Method}).locate(ctx)
		if err != nil || len(found) == 0 {
			return text, err
		}
		return text + ", at " + postgres.Shorten(found, 5), nil
	}
	var ranges []string
	for i := range min(len(was.Parts), len(is.Parts)) {
		if len(was.Bounds) > 0 && was.Parts[i] != is.Parts[i] {
			ranges = append(ranges, fmt.Sprintf("%s (%d rows, %d before)", between(t.key, was.Bounds, i), is.Parts[i].Rows, was.Parts[i].Rows))
		}
	}
	if len(ranges) > 0 {
		text += ", where " + postgres.Shorten(ranges, 5)
	}
	return text, nil
}

// between names the range i between bounds.
func between(key string, bounds []string, i int) string {
	switch {
	case i == 0:
		return key + " < " + bounds[0]
	case i == len(bounds):
		return key + " >= " + bounds[i-1]
	}
	return fmt.Sprintf("%s <= %s < %s", bounds[i-1], key, bounds[i])
}
