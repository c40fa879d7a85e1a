package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"time"

	"allclear.dev/allclear/internal/check"
	pg "allclear.dev/allclear/internal/postgres"
)

// tidyTimeout bounds removing a temporary archive after the work was stopped.
const tidyTimeout = 10 * time.Second

// create makes a backup: under a temporary name until it is complete and proven,
// with its record last. Old ones are removed only after that.
func (p *backup) create(ctx context.Context, env *check.Env, host check.Host, server *pg.Server) (check.Outcome, error) {
	if err := run(ctx, host, nil, "mkdir", "-p", "-m", "700", "--", p.Dest); err != nil {
		return check.Outcome{}, fmt.Errorf("make folder %s: %w", p.Dest, err)
	}
	start := env.Now()
	s := sidecar{Key: env.Key, Run: env.Run.ID, Release: env.Run.Release, Database: server.Name(), Format: p.Format}
	s.Path = path.Join(p.Dest, p.Name+"_"+start.UTC().Format("20060102T150405.000Z")+".dump")
	partial := s.Path + ".partial"
	published := false
	defer func() {
		p.tidy(ctx, host, partial)
		if !published && s.Globals != "" {
			p.tidy(ctx, host, s.Globals)
		}
	}()
	tools, failure, err := p.dump(ctx, host, server, partial, &s)
	if err != nil || failure != "" {
		return check.Failf("%s", failure), err
	}
	s.Tool = tools.Major
	if failure, err = p.keepGlobals(ctx, host, tools, server, &s); err != nil || failure != "" {
		return check.Failf("%s", failure), err
	}
	if s.Bytes, s.SHA256, err = measure(ctx, host, partial); err != nil {
		return check.Outcome{}, err
	}
	if failure, err = p.floor(ctx, env, s); err != nil || failure != "" {
		return check.Failf("%s", failure), err
	}
	named := s
	named.Path = partial
	if failure, err = p.readable(ctx, env, host, &named); err != nil || failure != "" {
		return check.Failf("the new backup is not good: %s", failure), err
	}
	s.Entries = named.Entries
	if failure, err = p.seal(ctx, env, partial, &s); err != nil || failure != "" {
		return check.Failf("%s", failure), err
	}
	s.Seconds = env.Now().Sub(start).Seconds()
	if err := p.publish(ctx, host, partial, s); err != nil {
		return check.Outcome{}, err
	}
	published = true
	o := check.Passf("%s: %d bytes, %d tables, %d rows, readable (%s)", s.Path, s.Bytes, len(s.Tables), pg.TotalRows(s.Tables), p.Verify)
	o.Target, o.Facts, o.Sets = server.Name(), s.facts(), s.sets()
	removed, err := p.prune(ctx, env, host, s)
	if err != nil { // the backup itself is made and proven
		return o.With("not removed", err.Error()), nil
	}
	return o.With("removed", strconv.Itoa(removed)), nil
}

// dump writes the archive and notes what the same instant held.
func (p *backup) dump(ctx context.Context, host check.Host, server *pg.Server, file string, s *sidecar) (pg.Tools, string, error) {
	c, err := server.Open(ctx, pg.Options{})
	if err != nil {
		return pg.Tools{}, "", err
	}
	defer c.Close()
	if s.Server, err = c.Major(ctx); err != nil {
		return pg.Tools{}, "", err
	}
	tools, err := pg.FindTools(ctx, host, p.Bin, s.Server)
	if err != nil {
		return tools, "", err
	}
	snapshot, at, err := c.Snapshot(ctx)
	if err != nil {
		return tools, "", err
	}
	s.At = at
	if s.Tables, err = c.Digests(ctx, p.Digests); err != nil {
		return tools, "", err
	}
	schema, err := c.Schema(ctx)
	if err != nil {
		return tools, "", err
	}
	s.Schema, s.Shape = schema.SHA256, schema.Shape
	if s.Roles, err = c.RolesUsed(ctx); err != nil {
		return tools, "", err
	}
	if pg.TotalRows(s.Tables) == 0 {
		return tools, fmt.Sprintf("%s holds no rows in %d tables: is it the right database?", server.Name(), len(s.Tables)), nil
	}
	r, err := tools.Dump(ctx, server, snapshot, p.Format, file, p.Jobs)
	if err != nil {
		return tools, "", err
	}
	failure, err := pg.Failure(r)
	if failure != "" {
		failure = "pg_dump failed: " + failure
	}
	return tools, failure, err
}

// floor compares the size with the least wanted and with the last backup's.
func (p *backup) floor(ctx context.Context, env *check.Env, s sidecar) (string, error) {
	if s.Bytes < int64(p.MinSize) {
		return fmt.Sprintf("the new backup has %d bytes, want at least %d", s.Bytes, int64(p.MinSize)), nil
	}
	past, err := env.Ledger.History(ctx, "", "backup.bytes."+s.Database, 1)
	if err != nil {
		return "", fmt.Errorf("look up the last backup's size: %w", err)
	}
	if len(past) == 0 {
		return "", nil
	}
	last, err := strconv.ParseInt(past[0].Value, 10, 64)
	if err != nil {
		return "", fmt.Errorf("look up the last backup's size: %q is not a number", past[0].Value)
	}
	if least := float64(p.Shrink) * float64(last); float64(s.Bytes) < least {
		return fmt.Sprintf("the new backup has %d bytes, the last one (run %s) had %d: want at least %.0f", s.Bytes, past[0].Run, last, least), nil
	}
	return "", nil
}

// publish gives the archive its name and then writes its record, both durably.
func (p *backup) publish(ctx context.Context, host check.Host, partial string, s sidecar) error {
	data, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return fmt.Errorf("write backup's record: %w", err)
	}
	record := sidecarOf(s.Path)
	for _, step := range []struct {
		stdin []byte
		argv  []string
	}{
		{nil, []string{"mv", "-n", "--", partial, s.Path}},
		{data, []string{"tee", "--", record + ".partial"}},
		{nil, []string{"sync", "--", s.Path, record + ".partial"}},
		{nil, []string{"mv", "-n", "--", record + ".partial", record}},
		{nil, []string{"sync", "--", p.Dest}},
	} {
		if err := run(ctx, host, step.stdin, step.argv...); err != nil {
			return fmt.Errorf("put backup in place: %w", err)
		}
	}
	wrong, err := intact(ctx, host, s)
	if err == nil && wrong != "" {
		err = errors.New(wrong)
	}
	if err != nil {
		return fmt.Errorf("put backup in place: %w", err)
	}
	return nil
}

// tidy removes what is left under the temporary name.
func (p *backup) tidy(ctx context.Context, host check.Host, partial string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
	defer cancel()
	if _, err := host.Lstat(ctx, partial); err == nil {
		_ = run(ctx, host, nil, "rm", "-rf", "--", partial) // a leftover wastes space, nothing more
	}
}

// Probe looks for a complete backup that this attempt has made.
func (p *backup) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	host, err := env.Host(p.On)
	if err != nil {
		return "", check.Outcome{}, err
	}
	files, err := host.Glob(ctx, path.Join(p.Dest, records))
	if err != nil {
		return "", check.Outcome{}, fmt.Errorf("list backups: %w", err)
	}
	for _, file := range files {
		s, err := readSidecar(ctx, host, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", check.Outcome{}, err
		}
		if s.Key != env.Key {
			continue
		}
		wrong, err := intact(ctx, host, s)
		if err != nil {
			return "", check.Outcome{}, err
		}
		if wrong != "" {
			return check.NotDone, check.Failf("%s", wrong), nil
		}
		o := check.Passf("%s was made by this attempt: %d bytes, %d rows", s.Path, s.Bytes, pg.TotalRows(s.Tables))
		o.Facts, o.Sets = s.facts(), s.sets()
		return check.Done, o, nil
	}
	return check.NotDone, check.Failf("no complete backup of this attempt in %s", p.Dest), nil
}
