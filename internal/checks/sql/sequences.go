package sql

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"allclear.dev/allclear/internal/postgres"
)

// sequencesSQL lists the sequences that give a column of whole numbers its
// values, because it owns them or by its default: where each is, the query for
// the highest (or, counting down, lowest) value that is there, and the last value
// that both the sequence and the column's type can take.
const sequencesSQL = `WITH given AS (
  SELECT d.objid AS seq, d.refobjid AS tab, d.refobjsubid AS col FROM pg_depend d
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
  UNION SELECT d.refobjid, f.adrelid, f.adnum FROM pg_depend d JOIN pg_attrdef f ON f.oid = d.objid
  WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'n')
SELECT s.oid::regclass::text, q.seqincrement > 0,
  format('SELECT CASE WHEN is_called THEN last_value ELSE last_value - %s END FROM %s', q.seqincrement, s.oid::regclass),
  format('SELECT coalesce(%s(%I), %s) FROM %s', CASE WHEN q.seqincrement > 0 THEN 'max' ELSE 'min' END, a.attname, q.seqstart - q.seqincrement, c.oid::regclass),
  CASE WHEN q.seqcycle THEN NULL WHEN q.seqincrement > 0 THEN least(q.seqmax, w.top) ELSE greatest(q.seqmin, -w.top - 1) END,
  q.seqstart
FROM given g JOIN pg_class s ON s.oid = g.seq AND s.relkind = 'S'
JOIN pg_sequence q ON q.seqrelid = s.oid
JOIN pg_class c ON c.oid = g.tab
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = g.col
JOIN (VALUES (21, 32767), (23, 2147483647), (20, 9223372036854775807)) AS w(type, top) ON w.type = a.atttypid
WHERE ` + limited + ` ORDER BY 1`

// sequences finds those that will give a value again, and those that come to
// their end.
func sequences(ctx context.Context, c *postgres.Conn, a *answers) error {
	t, err := c.Query(ctx, maxObjects, sequencesSQL, a.oids)
	if err != nil {
		return fmt.Errorf("list sequences: %w", err)
	}
	a.facts["sequences"] = strconv.Itoa(len(t.Rows))
	var behind, full []string
	for _, row := range t.Rows {
		name := row[0].Text
		if a.ignored(name) {
			continue
		}
		at, err := c.Int(ctx, row[2].Text)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		used, err := c.Int(ctx, row[3].Text)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if up := row[1].Text == "t"; (up && used > at) || (!up && used < at) {
			behind = append(behind, fmt.Sprintf("%s is at %d, its column at %d", name, at, used))
		}
		share, err := sequenceUsed(at, row[4], row[5].Text)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if share > float64(a.SequenceUsed) {
			full = append(full, fmt.Sprintf("%s is at %d of %s (%.0f %%)", name, at, row[4].Text, 100*share))
		}
	}
	trouble := append(behind, full...)
	slices.Sort(trouble)
	trouble = slices.Compact(trouble) // one sequence may serve several tables
	a.note(len(trouble) == 0, "sequences that will give values again or come to their end: %s", postgres.Shorten(trouble, 10))
	return nil
}

// sequenceUsed gives the part of a sequence's values that are gone, from its start
// to its last; none of one that begins again.
func sequenceUsed(at int64, last postgres.Cell, start string) (float64, error) {
	if last.Null {
		return 0, nil
	}
	end, err := strconv.ParseFloat(last.Text, 64)
	if err != nil {
		return 0, fmt.Errorf("its last value: %w", err)
	}
	from, err := strconv.ParseFloat(start, 64)
	if err != nil {
		return 0, fmt.Errorf("its first value: %w", err)
	}
	if end == from {
		return 0, nil
	}
	return max((float64(at)-from)/(end-from), 0), nil
}
