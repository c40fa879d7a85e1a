package sql

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/postgres"
)

// maxObjects bounds how many catalog objects a preset looks at.
const maxObjects = 100_000

// ask answers a preset. A database without tables has no answer to any.
func ask(ctx context.Context, c *postgres.Conn, a *answers, preset string) error {
	if err := a.read(ctx, c); err != nil {
		return err
	}
	switch preset {
	case "orphans":
		return orphans(ctx, c, a)
	case "indexes":
		return listed(ctx, c, a, "indexes", "invalid index", `SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid OR NOT indisready OR NOT indislive ORDER BY 1`)
	case "constraints":
		return listed(ctx, c, a, "constraints", "constraint that was never validated", `SELECT conrelid::regclass || '.' || conname FROM pg_constraint WHERE NOT convalidated AND conrelid <> 0 ORDER BY 1`)
	case "sequences":
		return sequences(ctx, c, a)
	default:
		total := postgres.TotalRows(a.counts)
		for _, t := range a.counts {
			a.facts["rows of "+t.Table] = strconv.FormatInt(t.Rows, 10)
		}
		a.note(total > 0, "all %d tables are empty", len(a.counts))
		return nil
	}
}

// read counts every table's rows, once.
func (a *answers) read(ctx context.Context, c *postgres.Conn) error {
	if a.counts != nil {
		return nil
	}
	counts, err := c.Digests(ctx, false)
	if err != nil {
		return err
	}
	if len(counts) == 0 {
		return fmt.Errorf("the database has no tables")
	}
	a.counts = counts
	return nil
}

// listed fails when a query lists anything.
func listed(ctx context.Context, c *postgres.Conn, a *answers, fact, what, sql string) error {
	t, err := c.Query(ctx, maxObjects, sql)
	if err != nil {
		return err
	}
	var names []string
	for _, row := range t.Rows {
		names = append(names, row[0].Text)
	}
	a.facts[fact] = strconv.Itoa(len(names))
	a.note(len(names) == 0, "%s: %s", what, postgres.Shorten(names, 10))
	return nil
}

// orphansSQL writes for each foreign key the query that counts the rows without a
// counterpart. The catalog's word that a key is valid is not enough: triggers may
// have been off. MATCH SIMPLE lets a row with any NULL pass, MATCH FULL only one
// with all NULL (manual, CREATE TABLE).
const orphansSQL = `SELECT k.conrelid::regclass || '.' || k.conname,
  format('SELECT count(*) FROM %s AS a WHERE %s AND NOT EXISTS (SELECT FROM %s AS b WHERE %s)', k.conrelid::regclass,
    CASE WHEN k.confmatchtype = 'f' THEN 'NOT (' || string_agg(format('a.%I IS NULL', x.attname), ' AND ' ORDER BY p.n) || ')'
      ELSE string_agg(format('a.%I IS NOT NULL', x.attname), ' AND ' ORDER BY p.n) END,
    k.confrelid::regclass, string_agg(format('a.%I = b.%I', x.attname, y.attname), ' AND ' ORDER BY p.n))
FROM pg_constraint k
CROSS JOIN LATERAL unnest(k.conkey, k.confkey) WITH ORDINALITY AS p(from_no, to_no, n)
JOIN pg_attribute x ON x.attrelid = k.conrelid AND x.attnum = p.from_no
JOIN pg_attribute y ON y.attrelid = k.confrelid AND y.attnum = p.to_no
WHERE k.contype = 'f' AND k.conparentid = 0
GROUP BY k.oid, k.conrelid, k.confrelid, k.conname, k.confmatchtype ORDER BY 1`

func orphans(ctx context.Context, c *postgres.Conn, a *answers) error {
	keys, err := c.Query(ctx, maxObjects, orphansSQL)
	if err != nil {
		return fmt.Errorf("list foreign keys: %w", err)
	}
	a.facts["foreign keys"] = strconv.Itoa(len(keys.Rows))
	var found []string
	for _, row := range keys.Rows {
		n, err := c.Int(ctx, row[1].Text)
		if err != nil {
			return fmt.Errorf("%s: %w", row[0].Text, err)
		}
		if n > 0 {
			found = append(found, fmt.Sprintf("%s %d", row[0].Text, n))
		}
	}
	a.note(len(found) == 0, "rows without what their foreign key points to: %s", postgres.Shorten(found, 10))
	return nil
}

// sequencesSQL lists the sequences that give a column its values, with the query
// for the highest (or, counting down, lowest) of them.
const sequencesSQL = `SELECT s.oid::regclass::text, q.seqincrement > 0,
  format('SELECT CASE WHEN is_called THEN last_value ELSE last_value - %s END FROM %s', q.seqincrement, s.oid::regclass),
  format('SELECT coalesce(%s(%I), %s) FROM %s', CASE WHEN q.seqincrement > 0 THEN 'max' ELSE 'min' END, a.attname, q.seqstart - q.seqincrement, t.oid::regclass)
FROM pg_depend d
JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_sequence q ON q.seqrelid = s.oid
JOIN pg_class t ON t.oid = d.refobjid
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') ORDER BY 1`

func sequences(ctx context.Context, c *postgres.Conn, a *answers) error {
	list, err := c.Query(ctx, maxObjects, sequencesSQL)
	if err != nil {
		return fmt.Errorf("list sequences: %w", err)
	}
	a.facts["sequences"] = strconv.Itoa(len(list.Rows))
	var behind []string
	for _, row := range list.Rows {
		at, err := c.Int(ctx, row[2].Text)
		if err != nil {
			return fmt.Errorf("%s: %w", row[0].Text, err)
		}
		used, err := c.Int(ctx, row[3].Text)
		if err != nil {
			return fmt.Errorf("%s: %w", row[0].Text, err)
		}
		if up := row[1].Text == "t"; (up && used > at) || (!up && used < at) {
			behind = append(behind, fmt.Sprintf("%s is at %d, its column at %d", row[0].Text, at, used))
		}
	}
	a.note(len(behind) == 0, "sequences that will give values again: %s", strings.TrimSpace(postgres.Shorten(behind, 10)))
	return nil
}
