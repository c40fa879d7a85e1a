package sql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/postgres"
)

// maxObjects bounds how many catalog objects a preset looks at.
const maxObjects = 100_000

// wholeGroup is the preset that stands for those that show whether data and
// structure are whole.
const wholeGroup = "integrity"

// preset is a ready-made question about the whole database.
type preset struct {
	name string
	// whole tells that it belongs to the group integrity.
	whole bool
	// reads tells that it reads the tables' rows, past every index, since an index
	// may be what is damaged.
	reads bool
	ask   func(context.Context, *postgres.Conn, *answers) error
}

// presets lists them from cheap to expensive, which is the order they are asked
// in.
func presets() []preset {
	return []preset{
		{name: "indexes", whole: true, ask: listing(indexes())},
		{name: "constraints", whole: true, ask: listing(constraints())},
		{name: "triggers", whole: true, ask: listing(triggers())},
		{name: "matviews", whole: true, ask: listing(matviews())},
		{name: "identity", whole: true, ask: listing(identity())},
		{name: "collations", whole: true, ask: collations},
		{name: "checksums", whole: true, ask: checksums},
		{name: "leftovers", whole: true, ask: leftovers},
		{name: "keys", ask: listing(keys())},
		{name: "foreign_key_indexes", ask: listing(foreignKeyIndexes())},
		{name: "duplicate_indexes", ask: listing(duplicateIndexes())},
		{name: "analyze", ask: analyze},
		{name: "replication", ask: replication},
		{name: "sequences", whole: true, ask: sequences},
		{name: "partitions", whole: true, ask: partitions},
		{name: "rows", whole: true, reads: true, ask: brokenRows},
		{name: "orphans", whole: true, reads: true, ask: orphans},
		{name: "unique", whole: true, reads: true, ask: duplicates},
		{name: "amcheck", whole: true, ask: amcheck},
		{name: "counts", ask: counts},
	}
}

// notHere is the error of a question that this server cannot answer as it is set
// up. Asked for by name it is an error like any other; the group goes on without
// it and says so.
type notHere struct{ why string }

func (e *notHere) Error() string { return e.why }

// ask answers the presets, cheap ones first. A database without tables has no
// answer to any.
func (p *questions) ask(ctx context.Context, c *postgres.Conn, a *answers) error {
	if len(p.Presets) == 0 {
		return nil
	}
	if err := a.someTables(ctx, c); err != nil {
		return err
	}
	group := slices.Contains(p.Presets, wholeGroup)
	for _, q := range presets() {
		named := slices.Contains(p.Presets, q.name)
		if !named && !(group && q.whole) {
			continue
		}
		err := q.answer(ctx, c, a)
		if missing, ok := errors.AsType[*notHere](err); ok && !named {
			a.skipped = append(a.skipped, q.name+" ("+missing.why+")")
			continue
		}
		if err != nil {
			return fmt.Errorf("preset %s: %w", q.name, err)
		}
	}
	return nil
}

// answer asks one preset.
func (q preset) answer(ctx context.Context, c *postgres.Conn, a *answers) error {
	if !q.reads {
		return q.ask(ctx, c, a)
	}
	for _, setting := range []string{"enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan"} {
		if _, err := c.Exec(ctx, "SET LOCAL "+setting+" = off"); err != nil {
			return fmt.Errorf("read past the indexes: %w", err)
		}
	}
	if err := q.ask(ctx, c, a); err != nil {
		return err
	}
	for _, setting := range []string{"enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan"} {
		if _, err := c.Exec(ctx, "SET LOCAL "+setting+" TO DEFAULT"); err != nil {
			return fmt.Errorf("use the indexes again: %w", err)
		}
	}
	return nil
}

// someTables is an error for a database without tables.
func (a *answers) someTables(ctx context.Context, c *postgres.Conn) error {
	t, err := c.Query(ctx, 1, `SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p') AND `+ours+` LIMIT 1`)
	if err != nil {
		return fmt.Errorf("look for tables: %w", err)
	}
	if len(t.Rows) == 0 {
		return errors.New("the database has no tables")
	}
	return nil
}

// ours leaves out, of the objects c in the schemas n, what belongs to PostgreSQL,
// to a session, to allclear or to an extension.
const ours = `n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('information_schema', 'allclear') AND c.relpersistence <> 't'
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')`

// list is a question to the catalog: every row that it gives is a name and what
// is wrong with it (or NULL).
type list struct {
	// fact names the number of rows in the evidence; what says for people what the
	// names are.
	fact, what, sql string
}

// listing fails when anything is listed.
func listing(l list) func(context.Context, *postgres.Conn, *answers) error {
	return func(ctx context.Context, c *postgres.Conn, a *answers) error { return a.none(ctx, c, l) }
}

// none asks for a list and fails unless it is empty.
func (a *answers) none(ctx context.Context, c *postgres.Conn, l list, args ...string) error {
	t, err := c.Query(ctx, maxObjects, l.sql, args...)
	if err != nil {
		return err
	}
	if t.More {
		return fmt.Errorf("more than %d %s", maxObjects, l.fact)
	}
	var found []string
	for _, row := range t.Rows {
		if a.ignored(row[0].Text) {
			continue
		}
		text := row[0].Text
		if !row[1].Null && row[1].Text != "" {
			text += " (" + row[1].Text + ")"
		}
		found = append(found, text)
	}
	a.lack(l, found)
	return nil
}

// lack notes what was found and should not be there.
func (a *answers) lack(l list, found []string) {
	a.facts[l.fact] = strconv.Itoa(len(found))
	a.note(len(found) == 0, "%s: %s", l.what, postgres.Shorten(found, 10))
}

// ignored reports whether the checklist leaves an object out. The server writes a
// name without its schema where the search path finds it.
func (a *answers) ignored(name string) bool {
	if slices.Contains(a.ignore, name) || slices.Contains(a.ignore, "public."+name) {
		if !slices.Contains(a.left, name) {
			a.left = append(a.left, name)
		}
		return true
	}
	return false
}

// array writes texts as PostgreSQL reads an array of them.
func array(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(t) + `"`
	}
	return "{" + strings.Join(quoted, ",") + "}"
}
