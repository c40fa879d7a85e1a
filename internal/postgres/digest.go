package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// maxTables bounds how many tables a database may have for its digests.
const maxTables = 100_000

// TableDigest is what a table held at one instant.
type TableDigest struct {
	// Table is schema.name, unquoted.
	Table string `json:"table"`
	Rows  int64  `json:"rows"`
	// Digest does not depend on the rows' order: the sum of their 64-bit hashes.
	// Empty when only the rows were counted.
	Digest string `json:"digest,omitempty"`
	// Method says what was hashed: "record" the row itself (PostgreSQL 14 and
	// later), "text" its text, for rows that hold values without a hash.
	Method string `json:"method,omitempty"`
}

// tablesSQL lists the tables whose rows a dump holds: ordinary tables and
// partitions, but neither an extension's own, nor temporary ones, nor ours.
const tablesSQL = `SELECT n.nspname, c.relname,
  EXISTS (SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_type b ON b.oid = t.typbasetype
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    AND (coalesce(b.typname, t.typname) IN ('json','_json','xml','_xml','point','_point','box','_box','path','polygon','line','lseg','circle',
      'tsvector','tsquery','_tsvector','bit','varbit','_bit','_varbit','money','txid_snapshot','pg_snapshot')
      OR t.typtype = 'c' OR t.typcategory = 'U' AND t.typname NOT IN ('uuid','jsonb','bytea','macaddr','macaddr8','pg_lsn','tid','xid','cid','xid8')))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('information_schema', 'allclear')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2`

// Digests counts the rows of every table and, if asked to, sums their hashes.
// Row security that would hide rows is an error. Call it inside a Snapshot for
// numbers of one instant.
func (c *Conn) Digests(ctx context.Context, hashes bool) ([]TableDigest, error) {
	major, err := c.Major(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := c.Exec(ctx, "SELECT set_config('row_security', 'off', false)"); err != nil {
		return nil, fmt.Errorf("refuse row security: %w", err)
	}
	tables, err := c.Query(ctx, maxTables, tablesSQL)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	if tables.More {
		return nil, fmt.Errorf("list tables: more than %d", maxTables)
	}
	out := make([]TableDigest, 0, len(tables.Rows))
	for _, row := range tables.Rows {
		d := TableDigest{Table: row[0].Text + "." + row[1].Text}
		if hashes {
			d.Method = "record"
			if major < 14 || row[2].Text == "t" {
				d.Method = "text"
			}
		}
		if err := c.digest(ctx, &d, Quote(row[0].Text)+"."+Quote(row[1].Text)); err != nil {
			return nil, fmt.Errorf("read table %s: %w", d.Table, err)
		}
		out = append(out, d)
	}
	return out, nil
}

// digest fills in rows and digest.
func (c *Conn) digest(ctx context.Context, d *TableDigest, from string) error {
	sum := "NULL"
	switch d.Method {
	case "record":
		sum = "coalesce(sum(hash_record_extended(t, 0)::numeric), 0)"
	case "text":
		sum = "coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)"
	}
	t, err := c.Query(ctx, 1, "SELECT count(*), "+sum+" FROM ONLY "+from+" AS t")
	if err != nil {
		return err
	}
	d.Digest = t.Rows[0][1].Text
	d.Rows, err = strconv.ParseInt(t.Rows[0][0].Text, 10, 64)
	return err
}

// Differences says table by table how what is there differs from what should be.
func Differences(want, got []TableDigest) []string {
	have := map[string]TableDigest{}
	for _, d := range got {
		have[d.Table] = d
	}
	var out []string
	for _, w := range want {
		g, found := have[w.Table]
		delete(have, w.Table)
		switch {
		case !found:
			out = append(out, fmt.Sprintf("%s is missing (%d rows)", w.Table, w.Rows))
		case g.Rows != w.Rows:
			out = append(out, fmt.Sprintf("%s has %d rows, want %d", w.Table, g.Rows, w.Rows))
		case g.Method != w.Method:
			out = append(out, fmt.Sprintf("%s was digested by %s, now by %s", w.Table, w.Method, g.Method))
		case g.Digest != w.Digest:
			out = append(out, fmt.Sprintf("%s has %d rows of other content", w.Table, w.Rows))
		}
	}
	for _, g := range got {
		if _, extra := have[g.Table]; extra {
			out = append(out, fmt.Sprintf("%s was not there (%d rows)", g.Table, g.Rows))
		}
	}
	return out
}

// TotalRows adds up the rows.
func TotalRows(tables []TableDigest) int64 {
	var n int64
	for _, t := range tables {
		n += t.Rows
	}
	return n
}

// Shorten joins a list for people: the first few and how many more.
func Shorten(list []string, keep int) string {
	if len(list) <= keep {
		return strings.Join(list, "; ")
	}
	return strings.Join(list[:keep], "; ") + fmt.Sprintf("; and %d more", len(list)-keep)
}
