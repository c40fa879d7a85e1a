package sql

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/postgres"
)

// limited keeps of the tables c those that the checklist names: $1 is the array
// of their numbers in the catalog; an empty one means all.
const limited = `(cardinality($1::oid[]) = 0 OR c.oid = ANY ($1::oid[]))`

// oidsOf finds the tables that the checklist names, with their partitions, as an
// array of their numbers.
func oidsOf(ctx context.Context, c *postgres.Conn, names []string) (string, error) {
	var oids []string
	for _, name := range names {
		t, err := c.Query(ctx, maxObjects, `SELECT r::oid::text FROM (SELECT to_regclass($1) UNION SELECT relid FROM pg_partition_tree(to_regclass($1))) AS t(r)`, quoted(name))
		if err != nil {
			return "", fmt.Errorf("look for table %s: %w", name, err)
		}
		for _, row := range t.Rows {
			if row[0].Null {
				return "", fmt.Errorf("tables: there is no table %s", name)
			}
			oids = append(oids, row[0].Text)
		}
	}
	return array(oids), nil
}

// quoted writes table or schema.table as SQL.
func quoted(table string) string {
	schema, name, found := strings.Cut(table, ".")
	if !found {
		return postgres.Quote(schema)
	}
	return postgres.Quote(schema) + "." + postgres.Quote(name)
}

// counted gives, for each query, a name with the number that it counted, where
// that is not 0. Each row is a name and its query.
func (a *answers) counted(ctx context.Context, c *postgres.Conn, queries [][]postgres.Cell) ([]string, error) {
	var found []string
	for _, row := range queries {
		if a.ignored(row[0].Text) {
			continue
		}
		n, err := c.Int(ctx, row[1].Text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", row[0].Text, err)
		}
		if n > 0 {
			found = append(found, fmt.Sprintf("%s %d", row[0].Text, n))
		}
	}
	return found, nil
}

// orphansSQL writes for each foreign key the query that counts the rows without a
// counterpart. The catalog's word that a key is valid is not enough: triggers may
// have been off. MATCH SIMPLE lets a row with any NULL pass, MATCH FULL only one
// with all NULL (manual, CREATE TABLE). A key of a table with children by
// inheritance is about its own rows only; one of a partitioned table about all.
// The last column of a key with PERIOD (18) must be covered by the rows found.
const orphansSQL = `SELECT c.oid::regclass || '.' || k.conname,
  format('SELECT count(*) FROM %s%s AS a WHERE %s AND NOT EXISTS (SELECT FROM %s%s AS b WHERE %s)',
    CASE c.relkind WHEN 'r' THEN 'ONLY ' END, c.oid::regclass,
    CASE WHEN k.confmatchtype = 'f' THEN 'num_nonnulls(' || string_agg(format('a.%I', x.attname), ', ' ORDER BY p.n) || ') > 0'
      ELSE string_agg(format('a.%I IS NOT NULL', x.attname), ' AND ' ORDER BY p.n) END,
    CASE (SELECT relkind FROM pg_class WHERE oid = k.confrelid) WHEN 'r' THEN 'ONLY ' END, k.confrelid::regclass,
    concat(string_agg(format('a.%I = b.%I', x.attname, y.attname), ' AND ' ORDER BY p.n) FILTER (WHERE NOT (e.period AND p.n = cardinality(k.conkey))),
      string_agg(format(' HAVING range_agg(b.%I) @> a.%I', y.attname, x.attname), '') FILTER (WHERE e.period AND p.n = cardinality(k.conkey))))
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
CROSS JOIN LATERAL (SELECT coalesce(to_jsonb(k) ->> 'conperiod', 'false')::boolean) AS e(period)
CROSS JOIN LATERAL unnest(k.conkey, k.confkey) WITH ORDINALITY AS p(from_no, to_no, n)
JOIN pg_attribute x ON x.attrelid = k.conrelid AND x.attnum = p.from_no
JOIN pg_attribute y ON y.attrelid = k.confrelid AND y.attnum = p.to_no
WHERE k.contype = 'f' AND k.conparentid = 0 AND ` + limited + `
GROUP BY k.oid, c.oid, c.relkind, k.confrelid, k.conname, k.confmatchtype ORDER BY 1`

func orphans(ctx context.Context, c *postgres.Conn, a *answers) error {
	keys, err := c.Query(ctx, maxObjects, orphansSQL, a.oids)
	if err != nil {
		return fmt.Errorf("list foreign keys: %w", err)
	}
	a.facts["foreign keys"] = strconv.Itoa(len(keys.Rows))
	found, err := a.counted(ctx, c, keys.Rows)
	if err != nil {
		return err
	}
	a.lack(list{fact: "orphans", what: "rows without what their foreign key points to"}, found)
	return nil
}

// promisesSQL lists what the catalog promises of each row of a table: the names
// and the conditions under which a row breaks it. num_nulls is used because the
// planner (17 and later) takes "IS NULL" of a NOT NULL column for false without
// looking. An unknown condition holds, as it does when a row is written.
const promisesSQL = `SELECT c.oid::regclass::text, q.name, q.broken
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL (
  SELECT k.conname::text, format('NOT (%s)', pg_get_expr(k.conbin, k.conrelid))
    FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c' AND coalesce(to_jsonb(k) ->> 'conenforced', 'true') = 'true'
  UNION ALL SELECT a.attname || ' NOT NULL', format('num_nulls(%I) > 0', a.attname)
    FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnotnull AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL SELECT 'bounds of its partition', 'NOT (' || d.bounds || ')'
    FROM (SELECT pg_get_partition_constraintdef(c.oid) WHERE c.relispartition) AS d(bounds) WHERE d.bounds IS NOT NULL
) AS q(name, broken) WHERE c.relkind = 'r' AND ` + ours + ` AND ` + limited + ` ORDER BY 1, 2`

// maxPromises bounds the conditions that one reading of a table looks at; a query
// has at most 1664 columns.
const maxPromises = 500

// brokenRows reads each table once and counts the rows that break a promise.
func brokenRows(ctx context.Context, c *postgres.Conn, a *answers) error {
	t, err := c.Query(ctx, maxObjects*10, promisesSQL, a.oids)
	if err != nil {
		return fmt.Errorf("list constraints: %w", err)
	}
	if t.More {
		return fmt.Errorf("list constraints: more than %d", maxObjects*10)
	}
	var found []string
	asked := 0
	for rest := t.Rows; len(rest) > 0; {
		n := 1
		for n < len(rest) && n < maxPromises && rest[n][0] == rest[0][0] {
			n++
		}
		broken, err := a.breaks(ctx, c, rest[:n])
		if err != nil {
			return fmt.Errorf("%s: %w", rest[0][0].Text, err)
		}
		found, asked, rest = append(found, broken...), asked+n, rest[n:]
	}
	a.facts["conditions on rows"] = strconv.Itoa(asked)
	a.lack(list{fact: "broken conditions", what: "rows that break a constraint of their table"}, found)
	return nil
}

// breaks counts the rows of one table that break each of its promises.
func (a *answers) breaks(ctx context.Context, c *postgres.Conn, promises [][]postgres.Cell) ([]string, error) {
	var counts []string
	for _, p := range promises {
		counts = append(counts, "count(*) FILTER (WHERE "+p[2].Text+")")
	}
	t, err := c.Query(ctx, 1, "SELECT "+strings.Join(counts, ", ")+" FROM ONLY "+promises[0][0].Text)
	if err != nil {
		return nil, err
	}
	var found []string
	for i, p := range promises {
		name := p[0].Text + "." + p[1].Text
		if n := t.Rows[0][i].Text; n != "0" && !a.ignored(name) {
			found = append(found, name+" "+n)
		}
	}
	return found, nil
}

// uniqueSQL lists the unique indexes with their columns or expressions, their
// condition, and whether two NULLs are equal (15).
const uniqueSQL = `SELECT i.indexrelid::regclass::text, i.indrelid::regclass::text,
  (SELECT string_agg(pg_get_indexdef(i.indexrelid, g, true), ', ' ORDER BY g) FROM generate_series(1, i.indnkeyatts) AS g),
  coalesce(pg_get_expr(i.indpred, i.indrelid), 'true'), coalesce(to_jsonb(i) ->> 'indnullsnotdistinct', 'false')
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.indisunique AND i.indisvalid AND c.relkind = 'r' AND ` + ours + ` AND ` + limited + ` ORDER BY 1`

// duplicates counts the values that stand twice under a unique index, from the
// table itself: a damaged or wrongly ordered index does not see them.
func duplicates(ctx context.Context, c *postgres.Conn, a *answers) error {
	t, err := c.Query(ctx, maxObjects, uniqueSQL, a.oids)
	if err != nil {
		return fmt.Errorf("list unique indexes: %w", err)
	}
	var queries [][]postgres.Cell
	for _, row := range t.Rows {
		index, table, keys, where, nulls := row[0], row[1].Text, row[2].Text, row[3].Text, row[4].Text
		if nulls == "false" {
			where = "(" + where + ") AND num_nulls(" + keys + ") = 0"
		}
		queries = append(queries, []postgres.Cell{index, {Text: "SELECT count(*) FROM (SELECT FROM ONLY " + table + " WHERE " + where + " GROUP BY " + keys + " HAVING count(*) > 1) AS d"}})
	}
	a.facts["unique indexes"] = strconv.Itoa(len(queries))
	found, err := a.counted(ctx, c, queries)
	if err != nil {
		return err
	}
	a.lack(list{fact: "duplicates", what: "values that stand twice under a unique index"}, found)
	return nil
}

// amcheckSQL lists the B-tree indexes, and the tables where the extension can
// check those too (14 and later), with the query that checks each.
const amcheckSQL = `SELECT x.oid::regclass::text, format('SELECT %I.bt_index_check(%s::regclass, true)', $2::text, quote_literal(x.oid::regclass))
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE m.amname = 'btree' AND x.relkind = 'i' AND i.indisvalid AND i.indisready AND ` + ours + ` AND ` + limited + `
UNION ALL SELECT c.oid::regclass::text, format('SELECT coalesce(min(msg), '''') FROM %I.verify_heapam(%s::regclass, true)', $2::text, quote_literal(c.oid::regclass))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND EXISTS (SELECT FROM pg_proc p WHERE p.proname = 'verify_heapam' AND p.pronamespace = to_regnamespace(quote_ident($2::text)))
AND ` + ours + ` AND ` + limited + ` ORDER BY 1`

// amcheck lets PostgreSQL's own extension compare every index with its table.
func amcheck(ctx context.Context, c *postgres.Conn, a *answers) error {
	t, err := c.Query(ctx, 1, "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'amcheck'")
	if err != nil {
		return fmt.Errorf("look for the extension: %w", err)
	}
	if len(t.Rows) == 0 {
		return &notHere{"the extension amcheck is not installed"}
	}
	objects, err := c.Query(ctx, maxObjects, amcheckSQL, a.oids, t.Rows[0][0].Text)
	if err != nil {
		return fmt.Errorf("list indexes: %w", err)
	}
	var found []string
	for _, row := range objects.Rows {
		if a.ignored(row[0].Text) {
			continue
		}
		damage, err := damaged(ctx, c, row[1].Text)
		if err != nil {
			return fmt.Errorf("%s: %w", row[0].Text, err)
		}
		if damage != "" {
			found = append(found, row[0].Text+": "+damage)
		}
	}
	a.facts["checked by amcheck"] = strconv.Itoa(len(objects.Rows))
	a.lack(list{fact: "damaged", what: "damaged indexes and tables"}, found)
	return nil
}

// damaged runs one check. Corruption comes as an error of its own class (XX001,
// XX002), or as the query's answer; the transaction goes on.
func damaged(ctx context.Context, c *postgres.Conn, sql string) (string, error) {
	if _, err := c.Exec(ctx, "SAVEPOINT damaged"); err != nil {
		return "", err
	}
	t, err := c.Query(ctx, 1, sql)
	code := postgres.Code(err)
	if code != dataCorrupted && code != indexCorrupted {
		if err != nil {
			return "", err
		}
		_, err = c.Exec(ctx, "RELEASE SAVEPOINT damaged")
		return t.Rows[0][0].Text, err
	}
	_, back := c.Exec(ctx, "ROLLBACK TO SAVEPOINT damaged")
	return postgres.Message(err, ""), back
}

// The SQLSTATEs of damage.
const (
	dataCorrupted  = "XX001"
	indexCorrupted = "XX002"
)
