package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	pg "allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/secret"
)

// trial restores an archive into a scratch database and compares it with what
// was known when it was made.
type trial struct {
	place
	scratch secret.Ref
	jobs    int
	checks  []string
	level   string
}

// run gives what is wrong with the archive ("" for nothing) and how long loading
// took. The scratch database is dropped in any case.
func (t *trial) run(ctx context.Context, env *check.Env, tools pg.Tools, s sidecar) (wrong string, took time.Duration, err error) {
	own, err := t.server(ctx, env, t.DB)
	if err != nil {
		return "", 0, err
	}
	server, like := own, pg.Locale{}
	if t.scratch.IsZero() {
		if like, err = localeOf(ctx, own); err != nil {
			return "", 0, err
		}
	} else if server, err = t.server(ctx, env, t.scratch); err != nil {
		return "", 0, err
	}
	scratch, err := server.NewScratch(ctx, like)
	if err != nil {
		return "", 0, err
	}
	defer func() {
		if dropErr := scratch.Drop(ctx); dropErr != nil {
			err = errors.Join(err, dropErr)
		}
	}()
	start := env.Now()
	wrong, err = load(ctx, tools, scratch.Server, s, t.level, t.jobs, false)
	took = env.Now().Sub(start)
	if wrong != "" || err != nil {
		return wrong, took, err
	}
	if reaches(t.level, levelAmcheck) {
		if wrong, err = sound(ctx, scratch.Server); wrong != "" || err != nil {
			return wrong, took, err
		}
	}
	wrong, err = t.ask(ctx, scratch.Server)
	return wrong, took, err
}

func localeOf(ctx context.Context, server *pg.Server) (pg.Locale, error) {
	c, err := server.Open(ctx, pg.Options{ReadOnly: true})
	if err != nil {
		return pg.Locale{}, err
	}
	defer c.Close()
	return c.Locale(ctx)
}

// load restores an archive into an empty database and compares structure, rows and
// content with the archive's record, as far as the level says.
func load(ctx context.Context, tools pg.Tools, into *pg.Server, s sidecar, level string, jobs int, owners bool) (string, error) {
	var r check.Result
	var err error
	if s.Format == formatPlain {
		r, err = tools.Script(ctx, into, s.Path)
	} else {
		r, err = tools.Restore(ctx, into, s.Path, jobs, owners)
	}
	if err != nil {
		return "", err
	}
	failure, err := pg.Failure(r)
	if err != nil {
		return "", err
	}
	c, err := into.Open(ctx, pg.Options{ReadOnly: true})
	if err != nil {
		return "", err // a server that has gone says nothing about the archive
	}
	defer c.Close()
	if failure != "" {
		return "it cannot be restored: " + failure, nil
	}
	return compare(ctx, c, s, level)
}

// compare holds a restored database against the archive's record.
func compare(ctx context.Context, c *pg.Conn, s sidecar, level string) (string, error) {
	invalid, err := c.InvalidIndexes(ctx)
	if err != nil {
		return "", err
	}
	if len(invalid) > 0 {
		return "restored, it has invalid indexes: " + pg.Shorten(invalid, 5), nil
	}
	hashes := reaches(level, levelRestore) && len(s.Tables) > 0 && s.Tables[0].Method != ""
	tables, err := c.Digests(ctx, hashes)
	if err != nil {
		return "", err
	}
	if reaches(level, levelCounts) {
		if different := pg.Differences(comparable(s.Tables, hashes), tables); len(different) > 0 {
			return "restored, it differs from what was dumped: " + pg.Shorten(different, 5), nil
		}
	}
	if pg.TotalRows(tables) == 0 && reaches(level, levelCounts) {
		return "restored, it holds no rows", nil
	}
	if !reaches(level, levelSchema) {
		return "", nil
	}
	schema, err := c.Schema(ctx)
	if err != nil {
		return "", err
	}
	if s.Shape != "" && schema.Shape != s.Shape {
		return fmt.Sprintf("restored, its structure differs from what was dumped: %.12s, was %.12s", schema.Shape, s.Shape), nil
	}
	return "", nil
}

// comparable leaves the digests out where they are not asked for.
func comparable(tables []pg.TableDigest, hashes bool) []pg.TableDigest {
	out := slices.Clone(tables)
	for i := range out {
		if !hashes {
			out[i].Digest, out[i].Method = "", ""
		}
	}
	return out
}

// ask runs the team's own questions: each must answer with a single true.
func (t *trial) ask(ctx context.Context, server *pg.Server) (string, error) {
	if len(t.checks) == 0 {
		return "", nil
	}
	c, err := server.Open(ctx, pg.Options{ReadOnly: true})
	if err != nil {
		return "", err
	}
	defer c.Close()
	for _, sql := range t.checks {
		answer, err := c.Value(ctx, sql)
		if err != nil {
			return "", fmt.Errorf("check %q: %w", strings.TrimSpace(sql), err)
		}
		switch answer {
		case "t":
		case "f":
			return fmt.Sprintf("check %q is false", strings.TrimSpace(sql)), nil
		default:
			return "", fmt.Errorf("check %q: want true or false, got %.50q", strings.TrimSpace(sql), answer)
		}
	}
	return "", nil
}
