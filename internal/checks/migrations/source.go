package migrations

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/secret"
)

// source is what both types are told: where the files and the table are.
type source struct {
	Tool  string     `param:"tool" doc:"whose version table it is" default:"sql" enum:"sql,golang-migrate"`
	Dir   string     `param:"dir" doc:"folder of the migration files" default:"migrations"`
	DB    secret.Ref `param:"db" doc:"the database's address" default:"${env.database}"`
	Table string     `param:"table" doc:"the version table" default:"schema_migrations"`
}

// server resolves the database's address.
func (p *source) server(ctx context.Context, env *check.Env) (*postgres.Server, error) {
	if p.DB.IsZero() {
		return nil, &check.NotSupplied{What: "the database's address (db)"}
	}
	address, err := env.Secret(ctx, p.DB)
	if err != nil {
		return nil, err
	}
	return postgres.Parse(address, env.Dial)
}

// look reads the files and the table.
func (p *source) look(ctx context.Context, env *check.Env, timeout time.Duration) ([]migration, state, *postgres.Server, error) {
	files, err := load(ctx, env, p.Dir)
	if err != nil {
		return nil, state{}, nil, err
	}
	server, err := p.server(ctx, env)
	if err != nil {
		return nil, state{}, nil, err
	}
	c, err := server.Open(ctx, postgres.Options{ReadOnly: true, StatementTimeout: timeout, LockTimeout: timeout})
	if err != nil {
		return nil, state{}, server, err
	}
	defer c.Close()
	s, err := newTable(p.Tool, p.Table).read(ctx, c)
	return files, s, server, err
}

// comparison is how files and table differ.
type comparison struct {
	pending []migration
	// late are pending ones older than the newest applied one.
	late    []migration
	unknown []string // applied, but no file
	changed []string // the file is not what was applied
}

func compare(files []migration, s state) comparison {
	var c comparison
	for _, m := range files {
		switch sum := s.sums[m.Version]; {
		case !s.has(m.Version):
			c.pending = append(c.pending, m)
			if m.Version < s.Current() {
				c.late = append(c.late, m)
			}
		case sum != "" && sum != hash(m.Up):
			c.changed = append(c.changed, m.Name)
		}
	}
	for _, v := range s.Applied {
		if !slices.ContainsFunc(files, func(m migration) bool { return m.Version == v }) {
			c.unknown = append(c.unknown, versionText(v))
		}
	}
	return c
}

// trouble says in one sentence why the table cannot be worked from, or "".
func (c comparison) trouble(s state, tableName string) string {
	switch {
	case s.Dirty:
		return fmt.Sprintf("table %s is dirty at version %s: a migration was begun and not finished; look at what it did, repair it by hand, then set the version and dirty = false", tableName, versionText(s.DirtyAt))
	case len(c.unknown) > 0:
		return fmt.Sprintf("applied, but without a file: %s", strings.Join(c.unknown, ", "))
	case len(c.changed) > 0:
		return fmt.Sprintf("changed after they were applied: %s", strings.Join(c.changed, ", "))
	}
	return ""
}

// irreversible names the steps without a down file, or says "none".
func irreversible(plan []migration) string {
	var out []string
	for _, m := range plan {
		if !m.HasDown {
			out = append(out, m.Name)
		}
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, " ")
}
