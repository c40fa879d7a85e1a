package sql

import (
	"context"
	"fmt"
	"strconv"

	"allclear.dev/allclear/internal/postgres"
)

// Columns that came with a later version are read as JSON of the catalog's row,
// where an older server simply has none: conenforced and conperiod came with 18,
// indnullsnotdistinct with 15, inhdetachpending with 14.

// indexes lists those that queries or the check of uniqueness cannot rely on. One
// that is being built at the moment is not ready either.
func indexes() list {
	return list{"indexes", "indexes that cannot be relied on", `SELECT i.indexrelid::regclass::text, concat_ws(', ',
  CASE WHEN NOT i.indisvalid THEN CASE WHEN c.relkind = 'I' THEN 'invalid: not on every partition' ELSE 'invalid' END END,
  CASE WHEN NOT i.indisready THEN 'not ready' END,
  CASE WHEN NOT i.indislive THEN 'being dropped' END,
  CASE WHEN c.relname ~ '_cc(new|old)[0-9]*$' THEN 'left by REINDEX CONCURRENTLY' END,
  CASE WHEN EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid) THEN 'being built now' END)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE NOT i.indisvalid OR NOT i.indisready OR NOT i.indislive OR c.relname ~ '_cc(new|old)[0-9]*$' ORDER BY 1`}
}

// constraints lists those of tables and domains that do not speak for the rows
// that are there.
func constraints() list {
	return list{"constraints", "constraints that were never validated", `SELECT
  CASE WHEN k.conrelid <> 0 THEN k.conrelid::regclass::text ELSE k.contypid::regtype::text END || '.' || k.conname,
  CASE WHEN to_jsonb(k) ->> 'conenforced' = 'false' THEN 'not enforced' END
FROM pg_constraint k WHERE NOT k.convalidated OR to_jsonb(k) ->> 'conenforced' = 'false' ORDER BY 1`}
}

// triggers lists what has been switched off: triggers, those behind a constraint
// (a foreign key that checks nothing), rules, event triggers, and settings that
// switch all of them off for every new session of a database or role.
func triggers() list {
	return list{"triggers", "triggers that are switched off", `SELECT DISTINCT g.tgrelid::regclass || '.' || coalesce(k.conname, g.tgname),
  CASE WHEN k.contype = 'f' THEN 'foreign key' WHEN k.oid IS NOT NULL THEN 'constraint' END
FROM pg_trigger g LEFT JOIN pg_constraint k ON k.oid = g.tgconstraint
WHERE g.tgenabled = 'D' OR (g.tgisinternal AND g.tgenabled = 'R')
UNION ALL SELECT r.ev_class::regclass || '.' || r.rulename, 'rule' FROM pg_rewrite r WHERE r.ev_enabled = 'D'
UNION ALL SELECT evtname, 'event trigger' FROM pg_event_trigger WHERE evtenabled = 'D'
UNION ALL SELECT coalesce('role ' || pg_get_userbyid(nullif(s.setrole, 0)), 'database ' || d.datname), v
  FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) AS v
  WHERE v LIKE 'session\_replication\_role=%' AND v <> 'session_replication_role=origin' AND (s.setdatabase = 0 OR d.datname = current_database())
ORDER BY 1`}
}

// matviews lists materialized views that cannot be read.
func matviews() list {
	return list{"matviews", "materialized views without content", `SELECT oid::regclass::text, NULL FROM pg_class WHERE relkind = 'm' AND NOT relispopulated ORDER BY 1`}
}

// identity lists published tables whose rows a subscriber cannot tell apart: on
// these UPDATE or DELETE fails (manual, section 31.1).
func identity() list {
	return list{"tables without identity", "published tables without a replica identity", `SELECT DISTINCT c.oid::regclass::text, 'publication ' || p.pubname
FROM pg_publication p JOIN pg_publication_tables t ON t.pubname = p.pubname
JOIN pg_namespace n ON n.nspname = t.schemaname JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
WHERE (p.pubupdate OR p.pubdelete) AND (c.relreplident = 'n'
  OR c.relreplident = 'd' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid)
  OR c.relreplident = 'i' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident AND i.indisvalid)) ORDER BY 1`}
}

// keys lists the tables whose rows nothing tells apart.
func keys() list {
	return list{"tables without key", "tables without a primary key", `SELECT c.oid::regclass::text, NULL FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND ` + ours + `
AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) ORDER BY 1`}
}

// foreignKeyIndexes lists foreign keys for which deleting or updating a row that
// they point to reads the whole table. An index serves if its first columns are
// those of the key, in any order, for all rows that have one.
func foreignKeyIndexes() list {
	return list{"foreign keys without index", "foreign keys without an index", `SELECT k.conrelid::regclass || '.' || k.conname, NULL FROM pg_constraint k
WHERE k.contype = 'f' AND k.conparentid = 0 AND NOT EXISTS (SELECT FROM pg_index i
  JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
  JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
  WHERE i.indrelid = k.conrelid AND i.indisvalid AND m.amname IN ('btree', 'hash') AND i.indnkeyatts >= cardinality(k.conkey)
  AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey
  AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) = format('(%I IS NOT NULL)', a.attname))) ORDER BY 1`}
}

// duplicateIndexes lists indexes that hold the same.
func duplicateIndexes() list {
	return list{"duplicate indexes", "indexes that hold the same", `SELECT string_agg(c.oid::regclass::text, ' = ' ORDER BY c.oid::regclass::text), NULL
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.indisvalid AND NOT c.relispartition AND ` + ours + `
GROUP BY i.indrelid, c.relam, i.indnkeyatts, i.indkey::text, i.indclass::text, i.indcollation::text, i.indoption::text,
  pg_get_expr(i.indexprs, i.indrelid), pg_get_expr(i.indpred, i.indrelid) HAVING count(*) > 1 ORDER BY 1`}
}

// collationsSQL lists collations whose order has changed since they were made or
// last refreshed: indexes and partitions by such a text may have rows where a
// search does not find them. Only those that something is ordered by count.
const collationsSQL = `SELECT 'collation ' || l.collname, format('made with version %s, now %s', coalesce(l.collversion, 'unknown'), coalesce(pg_collation_actual_version(l.oid), 'unknown'))
FROM pg_collation l WHERE l.oid <> 100 AND l.collversion IS DISTINCT FROM pg_collation_actual_version(l.oid)
AND (EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname <> 'pg_catalog' AND l.oid = ANY (i.indcollation))
  OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid >= 16384 AND a.attcollation = l.oid))`

// databaseCollationSQL asks the same of the database's own, recorded since 15.
const databaseCollationSQL = ` UNION ALL SELECT 'database ' || datname, format('made with version %s, now %s', coalesce(datcollversion, 'unknown'), coalesce(pg_database_collation_actual_version(oid), 'unknown'))
FROM pg_database WHERE datname = current_database() AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid)`

// collations compares the versions.
func collations(ctx context.Context, c *postgres.Conn, a *answers) error {
	major, err := c.Major(ctx)
	if err != nil {
		return err
	}
	sql := collationsSQL
	if major >= 15 {
		sql += databaseCollationSQL
	}
	if err := a.none(ctx, c, list{"collations", "collations of another version", sql + " ORDER BY 1"}); err != nil {
		return err
	}
	if major < 15 {
		return &notHere{fmt.Sprintf("PostgreSQL %d does not record the version of the database's own collation", major)}
	}
	return nil
}

// partitionsSQL lists partitions that are being detached, and for each partition
// for what no other takes the query that counts its rows.
const partitionsSQL = `SELECT c.oid::regclass::text, format('SELECT count(*) FROM %s', c.oid::regclass) FROM pg_class c
WHERE c.relispartition AND c.relkind IN ('r', 'p') AND pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT'
UNION ALL SELECT i.inhrelid::regclass::text, NULL FROM pg_inherits i WHERE to_jsonb(i) ->> 'inhdetachpending' = 'true' ORDER BY 1`

// partitions finds rows that found no partition of their own.
func partitions(ctx context.Context, c *postgres.Conn, a *answers) error {
	t, err := c.Query(ctx, maxObjects, partitionsSQL)
	if err != nil {
		return err
	}
	var found []string
	for _, row := range t.Rows {
		name := row[0].Text
		if a.ignored(name) {
			continue
		}
		if row[1].Null {
			found = append(found, name+" (being detached, never finished)")
			continue
		}
		n, err := c.Int(ctx, row[1].Text)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if n > 0 {
			found = append(found, name+" "+strconv.FormatInt(n, 10)+" rows")
		}
	}
	a.lack(list{fact: "partitions", what: "default partitions with rows"}, found)
	return nil
}
