package migrations

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/postgres"
)

// record is what a run has written down about a version table before it first
// changed anything, so that a killed run can be judged.
type record struct {
	Run string `json:"run"`
	// Before is the version at that time.
	Before string `json:"before"`
	// Target is the version that the last attempt went for; From where it started.
	From   string `json:"from"`
	Target string `json:"target"`
}

func (p *apply) recordPath(env *check.Env) string {
	sum := sha256.Sum256([]byte(env.Run.ID + "\x00" + p.DB.String() + "\x00" + p.Table))
	return filepath.Join(env.DataDir, "migrations", hex.EncodeToString(sum[:8])+".json")
}

// record reads the run's record; none yet is an empty one.
func (p *apply) record(env *check.Env) (record, error) {
	var rec record
	data, err := os.ReadFile(p.recordPath(env))
	if errors.Is(err, fs.ErrNotExist) {
		return rec, nil
	}
	if err != nil {
		return rec, fmt.Errorf("read the run's record: %w", err)
	}
	if err := json.Unmarshal(data, &rec); err != nil {
		return rec, fmt.Errorf("read the run's record: %w", err)
	}
	return rec, nil
}

// keep writes the record down, durably.
func (p *apply) keep(env *check.Env, s state, target int64) error {
	rec, err := p.record(env)
	if err != nil {
		return err
	}
	rec.Run, rec.From, rec.Target = env.Run.ID, versionText(s.Current()), versionText(target)
	if rec.Before == "" && p.To != "before" {
		rec.Before = rec.From
	}
	data, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("write the run's record: %w", err)
	}
	path := p.recordPath(env)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write the run's record: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".record-*")
	if err != nil {
		return fmt.Errorf("write the run's record: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write the run's record: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// Probe tells from the version table how far it went.
func (p *apply) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	files, s, server, err := p.look(ctx, env, lookTimeout)
	if err != nil {
		return "", check.Outcome{}, err
	}
	if err := p.still(ctx, server); err != nil {
		return "", check.Outcome{}, err
	}
	rec, err := p.record(env)
	if err != nil {
		return "", check.Outcome{}, err
	}
	target, refusal := p.target(files, env, rec)
	if refusal != "" {
		return "", check.Outcome{}, errors.New(refusal)
	}
	at := versionText(s.Current())
	switch {
	case s.Dirty:
		o := check.Failf("begun and not finished: table %s is dirty at version %s", p.Table, versionText(s.DirtyAt))
		return check.Partly, withTarget(o, server), nil
	case len(stepsTo(files, s, target)) == 0:
		o := check.Passf("at version %s, as wanted", at)
		if rec.Before != "" {
			o.Sets = map[string]string{"migrations.before": rec.Before, "migrations.after": at}
		}
		return check.Done, withTarget(o, server), nil
	case rec.From != "" && rec.From != at:
		o := check.Failf("begun and not finished: from version %s to %s, the database is at %s", rec.From, versionText(target), at)
		return check.Partly, withTarget(o, server), nil
	}
	return check.NotDone, withTarget(check.Failf("at version %s, not at %s", at, versionText(target)), server), nil
}

func withTarget(o check.Outcome, server *postgres.Server) check.Outcome {
	o.Target = server.Name()
	return o
}

// still is an error while some session has the migration lock: the server goes on
// with a statement after its client has died.
func (p *apply) still(ctx context.Context, server *postgres.Server) error {
	c, err := server.Open(ctx, postgres.Options{ReadOnly: true, StatementTimeout: lookTimeout})
	if err != nil {
		return err
	}
	defer c.Close()
	ids, err := newTable(p.Tool, p.Table).locks(ctx, c)
	if err != nil {
		return err
	}
	for _, id := range ids {
		holder, err := lockHolder(ctx, c, id)
		if err != nil {
			return err
		}
		if holder != "" {
			return fmt.Errorf("a migration is still going on: %s", holder)
		}
	}
	return nil
}

// Undo goes down to the version before.
func (p *apply) Undo(ctx context.Context, env *check.Env, done check.Outcome) (check.Outcome, error) {
	before := done.Sets["migrations.before"]
	if before == "" {
		rec, err := p.record(env)
		if err != nil {
			return check.Outcome{}, err
		}
		before = rec.Before
	}
	if before == "" {
		return check.Passf("nothing was applied, so there is nothing to take back"), nil
	}
	back := *p
	back.To, back.PlanDigest = before, "any"
	return back.Run(ctx, env)
}
