package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

const (
	// LeaseTTL is how long a lease lives after its last heartbeat, by the server's
	// clock.
	LeaseTTL = 60 * time.Second
	// LeaseRenewal is how often its holder renews it.
	LeaseRenewal = 15 * time.Second
)

// Claim says who wants to deploy.
type Claim struct {
	Environment string
	// Owner names the process: person, host and process id.
	Owner string
	Run   string
}

// Leases keeps the deployment lease of each environment in a database, in the
// table allclear.lease, so that whoever deploys to that database meets it. Every
// step is one statement that goes by the server's clock. Its statements are
// short and each has a session of its own, so a lost connection loses nothing.
type Leases struct{ server *Server }

// NewLeases gives the leases kept in a database.
func NewLeases(server *Server) *Leases { return &Leases{server: server} }

// Lease is the right to deploy to one environment, until it is released or its
// holder stops renewing it.
type Lease struct {
	leases *Leases
	claim  Claim
	token  uint64
}

// LeaseHeld is the error of a lease that another run has.
type LeaseHeld struct {
	Environment, Owner, Run string
	// Age is the time since the holder's last heartbeat.
	Age time.Duration
	// Expired tells that the heartbeat is older than LeaseTTL: the holder may be
	// dead, and a person may take over.
	Expired bool
}

// Error names the holder.
func (e *LeaseHeld) Error() string {
	state := "alive"
	if e.Expired {
		state = "silent for longer than " + LeaseTTL.String()
	}
	return fmt.Sprintf("environment %s is held by run %s of %s (last heartbeat %s ago, %s)", e.Environment, e.Run, e.Owner, e.Age, state)
}

// LeaseLost is the error of a holder whose lease is gone: Held tells who has it
// now, nil means nobody.
type LeaseLost struct {
	Environment string
	Token       uint64
	Held        *LeaseHeld
}

// Error says what happened to it.
func (e *LeaseLost) Error() string {
	if e.Held == nil {
		return fmt.Sprintf("the lease of %s (token %d) is gone", e.Environment, e.Token)
	}
	return fmt.Sprintf("the lease of %s (token %d) was taken over: %v", e.Environment, e.Token, e.Held)
}

// Unwrap gives the present holder.
func (e *LeaseLost) Unwrap() error {
	if e.Held == nil {
		return nil
	}
	return e.Held
}

// leaseSchema makes the table. A released lease keeps its row, so that tokens
// only ever grow.
const leaseSchema = `DO $$ BEGIN
  IF to_regclass('allclear.lease') IS NULL THEN
    PERFORM pg_advisory_xact_lock(7310870969309884012);
    CREATE SCHEMA IF NOT EXISTS allclear;
    CREATE TABLE IF NOT EXISTS allclear.lease (
      environment text PRIMARY KEY,
      owner text, run text,
      token bigint NOT NULL DEFAULT 0,
      heartbeat timestamptz,
      taken_over_from text, reason text,
      CHECK ((owner IS NULL) = (run IS NULL) AND (run IS NULL) = (heartbeat IS NULL)));
  END IF;
END $$`

// Acquire takes the lease, if nobody has it or if the same run of the same owner
// had it before; each time with a new, higher token. Anyone else's, even an
// expired one, is a LeaseHeld error: taking over needs a person (TakeOver).
func (l *Leases) Acquire(ctx context.Context, claim Claim) (*Lease, error) {
	return l.take(ctx, claim, `INSERT INTO allclear.lease AS l (environment, owner, run, token, heartbeat)
		VALUES ($1, $2, $3, 1, clock_timestamp())
		ON CONFLICT (environment) DO UPDATE SET owner = $2, run = $3, token = l.token + 1,
		heartbeat = clock_timestamp(), taken_over_from = NULL, reason = NULL
		WHERE l.run IS NULL OR (l.run = $3 AND l.owner = $2)
		RETURNING token`, claim.Environment, claim.Owner, claim.Run)
}

// TakeOver takes an expired lease from its holder for a reason that a person
// gave, which is kept with it. One that is alive stays its holder's.
func (l *Leases) TakeOver(ctx context.Context, claim Claim, reason string) (*Lease, error) {
	if reason == "" {
		return nil, errors.New("taking over a lease needs a reason")
	}
	return l.take(ctx, claim, `INSERT INTO allclear.lease AS l (environment, owner, run, token, heartbeat)
		VALUES ($1, $2, $3, 1, clock_timestamp())
		ON CONFLICT (environment) DO UPDATE SET owner = $2, run = $3, token = l.token + 1,
		heartbeat = clock_timestamp(), taken_over_from = l.run || ' of ' || l.owner, reason = $4
		WHERE l.run IS NULL OR l.heartbeat < clock_timestamp() - $5::interval
		RETURNING token`, claim.Environment, claim.Owner, claim.Run, reason, millis(LeaseTTL))
}

func (l *Leases) take(ctx context.Context, claim Claim, sql string, args ...string) (*Lease, error) {
	if claim.Environment == "" || claim.Owner == "" || claim.Run == "" {
		return nil, errors.New("a lease needs an environment, an owner and a run")
	}
	c, err := l.server.Open(ctx, Options{StatementTimeout: LeaseRenewal})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.Script(ctx, leaseSchema); err != nil {
		return nil, fmt.Errorf("create the lease's table: %w", err)
	}
	t, err := c.Query(ctx, 1, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("take the lease of %s: %w", claim.Environment, err)
	}
	if len(t.Rows) == 0 {
		held, err := holder(ctx, c, claim.Environment)
		if err != nil {
			return nil, err
		}
		if held == nil {
			return nil, fmt.Errorf("take the lease of %s: it was given back at this moment, try again", claim.Environment)
		}
		return nil, held
	}
	token, err := strconv.ParseUint(t.Rows[0][0].Text, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("take the lease of %s: token: %w", claim.Environment, err)
	}
	return &Lease{leases: l, claim: claim, token: token}, nil
}

// Holder tells who has an environment's lease; nil means nobody.
func (l *Leases) Holder(ctx context.Context, environment string) (*LeaseHeld, error) {
	c, err := l.server.Open(ctx, Options{ReadOnly: true, StatementTimeout: LeaseRenewal})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return holder(ctx, c, environment)
}

func holder(ctx context.Context, c *Conn, environment string) (*LeaseHeld, error) {
	t, err := c.Query(ctx, 1, `SELECT owner, run, extract(epoch FROM clock_timestamp() - heartbeat)::bigint,
		heartbeat < clock_timestamp() - $2::interval FROM allclear.lease WHERE environment = $1 AND run IS NOT NULL`,
		environment, millis(LeaseTTL))
	if Code(err) == UndefinedTable || Code(err) == undefinedSchema {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask who holds %s: %w", environment, err)
	}
	if len(t.Rows) == 0 {
		return nil, nil
	}
	row := t.Rows[0]
	seconds, err := strconv.ParseInt(row[2].Text, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("ask who holds %s: age: %w", environment, err)
	}
	return &LeaseHeld{
		Environment: environment, Owner: row[0].Text, Run: row[1].Text,
		Age: time.Duration(seconds) * time.Second, Expired: row[3].Text == "t",
	}, nil
}

// Token is the fencing token: whoever holds the lease later has a higher one.
func (l *Lease) Token() uint64 { return l.token }

// Renew gives a sign of life. A lease that was taken over or given back is a
// LeaseLost error; one that had expired but that nobody took is kept.
func (l *Lease) Renew(ctx context.Context) error {
	return l.change(ctx, "renew", `UPDATE allclear.lease SET heartbeat = clock_timestamp() WHERE environment = $1 AND token = $2 AND run = $3`)
}

// Release gives the lease back. Giving back what is gone is a LeaseLost error.
func (l *Lease) Release(ctx context.Context) error {
	return l.change(ctx, "release", `UPDATE allclear.lease SET owner = NULL, run = NULL, heartbeat = NULL WHERE environment = $1 AND token = $2 AND run = $3`)
}

func (l *Lease) change(ctx context.Context, verb, sql string) error {
	c, err := l.leases.server.Open(ctx, Options{StatementTimeout: LeaseRenewal})
	if err != nil {
		return err
	}
	defer c.Close()
	n, err := c.Exec(ctx, sql, l.claim.Environment, strconv.FormatUint(l.token, 10), l.claim.Run)
	if err != nil {
		return fmt.Errorf("%s the lease of %s: %w", verb, l.claim.Environment, err)
	}
	if n == 1 {
		return nil
	}
	held, err := holder(ctx, c, l.claim.Environment)
	if err != nil {
		return err
	}
	return &LeaseLost{Environment: l.claim.Environment, Token: l.token, Held: held}
}
