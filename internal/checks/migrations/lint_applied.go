package migrations

import (
	"context"
	"fmt"
	"strings"

	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/lint"
)

// applied is what a version table says to be in.
type applied struct {
	table string
	// versions are in, as the tool writes them without leading zeros; for django
	// app.name, for flyway the parts joined by dots.
	versions map[string]bool
	// upTo is a version up to which all is in: golang-migrate's only one, flyway's
	// baseline; "" means none.
	upTo string
	// sums are the checksums of flyway's repeatable migrations, by file.
	sums map[string]string
	// last names the newest version, for people.
	last string
}

// has tells whether a version is in.
func (a *applied) has(version string) bool {
	return a.versions[version] || a.upTo != "" && lint.CompareVersions(version, a.upTo) <= 0
}

// proof says what the table shows.
func (a *applied) proof(tool string, all int) string {
	if tool == "alembic" {
		return fmt.Sprintf("table %s is at %s, the head", a.table, a.last)
	}
	last := ""
	if a.last != "" {
		last = ", the last is " + a.last
	}
	return fmt.Sprintf("all %d migrations are in table %s%s", all, a.table, last)
}

// readApplied reads the tool's version table. What the table cannot tell, or tells to
// be half done, is an error.
func (p *linting) readApplied(ctx context.Context, c *postgres.Conn) (*applied, error) {
	usual := map[string]string{"goose": "goose_db_version", "flyway": "flyway_schema_history", "alembic": "alembic_version", "django": "django_migrations"}
	name := p.Table
	if name == "" {
		if name = usual[p.Tool]; name == "" {
			name = "schema_migrations"
		}
	}
	t := newTable(p.Tool, name)
	a := &applied{table: name, versions: map[string]bool{}, sums: map[string]string{}}
	if p.Tool == toolSQL || p.Tool == toolMigrate {
		return a, a.ours(ctx, c, t)
	}
	columns := map[string]string{
		"goose":   "version_id::text, is_applied::text FROM %s ORDER BY id",
		"flyway":  "coalesce(version, ''), script, type, coalesce(checksum::text, ''), success::text FROM %s ORDER BY installed_rank",
		"alembic": "version_num FROM %s",
		"django":  "app, name FROM %s ORDER BY id",
		"rails":   "version FROM %s ORDER BY length(version), version",
	}[p.Tool]
	found, err := c.Query(ctx, 1, "SELECT to_regclass($1)", t.quoted())
	if err != nil {
		return nil, fmt.Errorf("look for table %s: %w", name, err)
	}
	if found.Rows[0][0].Null {
		return a, t.elsewhere(ctx, c)
	}
	rows, err := c.Query(ctx, maxVersions, "SELECT "+fmt.Sprintf(columns, t.quoted()))
	if err != nil {
		return nil, fmt.Errorf("read table %s: %w", name, err)
	}
	if rows.More {
		return nil, fmt.Errorf("read table %s: more than %d rows", name, maxVersions)
	}
	for _, row := range rows.Rows {
		var cells []string
		for _, cell := range row {
			cells = append(cells, cell.Text)
		}
		if err := a.add(p.Tool, cells); err != nil {
			return nil, fmt.Errorf("read table %s: %w", name, err)
		}
	}
	return a, nil
}

// ours takes over what the sibling types read.
func (a *applied) ours(ctx context.Context, c *postgres.Conn, t table) error {
	s, err := t.read(ctx, c)
	if err != nil {
		return err
	}
	if s.Dirty {
		return fmt.Errorf("table %s is dirty at version %s: what is pending cannot be told", t.name, versionText(s.DirtyAt))
	}
	for _, v := range s.Applied {
		a.versions[versionText(v)] = true
	}
	if s.Current() != none {
		a.last = versionText(s.Current())
		if t.tool == toolMigrate {
			a.upTo = a.last
		}
	}
	return nil
}

// add takes a row.
func (a *applied) add(tool string, row []string) error {
	switch tool {
	case "goose":
		// goose itself is asked: the last row of a version decides (store.ListMigrations).
		a.versions[row[0]] = row[1] == "true"
		if row[1] == "true" && row[0] != "0" {
			a.last = row[0]
		}
	case "flyway":
		return a.flyway(row[0], row[1], row[2], row[3], row[4] == "true")
	case "django":
		a.last = row[0] + "." + row[1]
		a.versions[a.last] = true
	case "alembic":
		if a.last != "" {
			return fmt.Errorf("it has two heads, %s and %s: what is between them and the files cannot be told in one command", a.last, row[0])
		}
		a.last = row[0]
	default:
		version := strings.TrimLeft(row[0], "0")
		if strings.Trim(version, "0123456789") != "" || row[0] == "" {
			return fmt.Errorf("version %q is not a number", row[0])
		}
		a.versions[version], a.last = true, version
	}
	return nil
}

// flyway takes a row of Flyway's history (its documentation, "Flyway schema history
// table").
func (a *applied) flyway(version, script, kind, sum string, success bool) error {
	key := lint.FlywayVersion(version)
	switch {
	case !success:
		return fmt.Errorf("%s failed and was not repaired", script)
	case strings.HasPrefix(kind, "UNDO") || kind == "DELETE":
		delete(a.versions, key)
	case kind == "BASELINE":
		a.upTo, a.last = key, version
	case version == "":
		a.sums[script] = sum
	default:
		a.versions[key], a.last = true, version
	}
	return nil
}
