// Package batch holds the type postgres.batches: a change of many rows, made in
// short transactions one after the other, each exactly once.
package batch

import (
	"context"
	"crypto/sha256"
	_ "embed" // for the type's page
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/secret"
)

//go:embed batches.md
var doc string

// Batches is the type postgres.batches.
var Batches = check.Define[job](check.Desc{
	Name:    "postgres.batches",
	Summary: "a statement has been applied to all rows of a table, range by range",
	Doc:     doc,
})

// job is the type at work.
type job struct {
	DB        secret.Ref `param:"db" doc:"the database's address" default:"${env.database}"`
	Table     string     `param:"table" doc:"the table whose key is gone through"`
	Key       []string   `param:"key" doc:"columns of the primary key or of a unique index without NULLs; left out, the primary key" default:""`
	Statement string     `param:"statement" doc:"UPDATE, DELETE, INSERT or MERGE of one range: key >= $1 AND key < $2; of two columns (a, b) >= ($1, $2) AND (a, b) < ($3, $4)"`
	Until     string     `param:"until" doc:"a query whose one value is true or 0 when nothing is left to do"`
	Name      string     `param:"name" doc:"the job's name in the database: a job that has ended is not begun again; left out, made from table and statement" default:""`
	PerKey    int        `param:"per_key" doc:"how many rows the statement may change for one row of the table; 0: any number" default:"1"`

	Batch        int           `param:"batch" doc:"rows of the first batch" default:"1000"`
	MaxBatch     int           `param:"max_batch" doc:"rows of the largest batch" default:"50000"`
	Target       time.Duration `param:"target" doc:"how long one batch should take; its size follows" default:"250ms"`
	BatchTimeout time.Duration `param:"batch_timeout" doc:"longest time for one batch; a slower one is rolled back and made smaller" default:"10s"`
	LockTimeout  time.Duration `param:"lock_timeout" doc:"longest wait for one lock" default:"1s"`
	Retries      int           `param:"retries" doc:"how often a batch that met a lock, or a connection that was lost, is tried again" default:"10"`
	Pause        time.Duration `param:"pause" doc:"pause between two batches" default:"20ms"`
	throttle
}

// Validate holds the rules between parameters.
func (p *job) Validate() error {
	columns, err := placeholders(p.Statement)
	if err != nil {
		return fmt.Errorf("statement: %w", err)
	}
	switch {
	case len(p.Key) > 0 && len(p.Key) != columns:
		return fmt.Errorf("statement: it has bounds of %d columns, key has %d", columns, len(p.Key))
	case strings.TrimSpace(p.Table) == "":
		return errors.New("table: want a name")
	case strings.TrimSpace(p.Until) == "":
		return errors.New("until: want a query")
	case p.Batch < 1 || p.MaxBatch < p.Batch:
		return errors.New("batch: want 1 to max_batch rows")
	case p.Target <= 0 || p.BatchTimeout < p.Target:
		return errors.New("target: want more than 0s and no more than batch_timeout")
	case p.LockTimeout <= 0:
		return errors.New("lock_timeout: want more than 0s: waiting for a lock makes everybody else wait too")
	case p.Retries < 0 || p.Retries > 1000:
		return errors.New("retries: want 0 to 1000")
	case p.PerKey < 0:
		return errors.New("per_key: want 0 or more")
	}
	return p.throttle.validate()
}

// Traits tells what changes.
func (p *job) Traits() check.Traits {
	return check.Traits{
		Kind: check.Action, Class: check.Probed, Effect: check.Changes, Pool: check.Database, Target: p.Table,
		Does:         fmt.Sprintf("goes through %s in batches of about %s: %s", p.Table, p.Target, strings.Join(strings.Fields(p.Statement), " ")),
		Irreversible: "what the statement has changed is not taken back",
	}
}

// name identifies the job in the database.
func (p *job) name() string {
	if p.Name != "" {
		return p.Name
	}
	return p.Table + " " + p.digest()[:12]
}

// digest tells one statement from another, whatever its white space.
func (p *job) digest() string {
	sum := sha256.Sum256([]byte(strings.Join(strings.Fields(p.Statement), " ")))
	return hex.EncodeToString(sum[:])
}

func (p *job) server(ctx context.Context, env *check.Env) (*postgres.Server, error) {
	if p.DB.IsZero() {
		return nil, &check.NotSupplied{What: "the database's address (db)"}
	}
	address, err := env.Secret(ctx, p.DB)
	if err != nil {
		return nil, err
	}
	return postgres.Parse(address, env.Dial)
}

// Run goes through the table from where the job stands. It fails for certain
// when the server has refused something, which was rolled back; what was done
// before stays done, and running again goes on from there.
func (p *job) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	server, err := p.server(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	w := &worker{job: p, env: env, server: server, size: p.Batch}
	defer w.close()
	refusal, err := w.begin(ctx)
	if err != nil {
		return check.Outcome{}, err
	}
	o := check.Failf("%s; nothing was changed", refusal)
	if refusal == "" {
		if o, err = w.work(ctx); err != nil {
			return check.Outcome{}, err
		}
	}
	o.Target = server.Name()
	return o, nil
}

// Probe reads how far the job is. A job that was begun and has not ended is not
// done: going on with it repeats nothing. While a session works on it, its end
// is not known.
func (p *job) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	server, err := p.server(ctx, env)
	if err != nil {
		return "", check.Outcome{}, err
	}
	c, err := server.Open(ctx, postgres.Options{ReadOnly: true, StatementTimeout: p.UntilTimeout, Plain: true})
	if err != nil {
		return "", check.Outcome{}, err
	}
	defer c.Close()
	busy, err := holder(ctx, c, p.name())
	if err != nil {
		return "", check.Outcome{}, err
	}
	if busy != "" {
		return "", check.Outcome{}, fmt.Errorf("the job is still at work: %s", busy)
	}
	s, found, err := read(ctx, c, p.name())
	if err != nil {
		return "", check.Outcome{}, err
	}
	left, err := p.left(ctx, c)
	if err != nil {
		return "", check.Outcome{}, err
	}
	o := check.Failf("%s: %d rows in %d batches are done, and the job has not ended; it goes on from there", p.name(), s.Rows, s.Batches)
	switch {
	case left == "" && (!found || s.Finished):
		o, o.Target = check.Passf("%s: %d rows in %d batches, nothing is left", p.name(), s.Rows, s.Batches), server.Name()
		return check.Done, o, nil
	case found && s.Finished:
		o = check.Failf("%s: all %d rows are done, and %s", p.name(), s.Rows, left)
	case !found:
		o = check.Failf("%s: not begun", p.name())
	}
	o.Target = server.Name()
	return check.NotDone, o, nil
}

// left asks the query until: "" means that nothing is left.
func (p *job) left(ctx context.Context, c *postgres.Conn) (string, error) {
	// Rows that a policy hides would count as rows that are done.
	if _, err := c.Exec(ctx, "SET row_security = off"); err != nil {
		return "", fmt.Errorf("until: %w", err)
	}
	v, err := c.Value(ctx, p.Until)
	if err != nil {
		return "", fmt.Errorf("until: %w", err)
	}
	switch {
	case v == "t" || v == "0":
		return "", nil
	case v == "f":
		return "until says that something is left", nil
	case strings.Trim(v, "0123456789") == "":
		return "until says that " + v + " are left", nil
	}
	return "", errors.New("until: want true, false or a whole number")
}
