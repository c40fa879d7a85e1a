package postgres

import (
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	pg "allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/secret"
)

//go:embed stats.md
var statsDoc string

// Stats is the type postgres.stats.
var Stats = check.Define[stats](check.Desc{
	Name:    "postgres.stats",
	Summary: "what the server says about its connections, statements, locks, replicas or indexes is within limits",
	Doc:     statsDoc,
})

// The views.
const (
	viewConnections = "connections"
	viewStatements  = "statements"
	viewLocks       = "locks"
	viewReplication = "replication"
	viewIndexes     = "indexes"
)

type stats struct {
	View      string           `param:"view,short" doc:"what is looked at" enum:"connections,statements,locks,replication,indexes"`
	DB        secret.Ref       `param:"db" doc:"the database's address" default:"${env.database}"`
	Expect    check.Expression `param:"expect" doc:"what must hold besides, over the view's numbers" default:""`
	Statement time.Duration    `param:"statement_timeout" doc:"longest time for one question to the server, or for a lock" default:"30s"`
	connectionLimits
	statementLimits
	MaxWait time.Duration `param:"max_wait" doc:"longest acceptable wait, for a lock (locks) or for a connection of PgBouncer's (connections)" default:"5s"`
	replicaLimits
}

// connectionLimits are what view: connections judges by.
type connectionLimits struct {
	Demand    *arithmetic        `param:"demand" doc:"connections that everything together may open, as a sum over the names in with: web * threads + celery + 5" default:""`
	With      map[string]float64 `param:"with" doc:"the numbers of demand by name" default:""`
	Headroom  check.Share        `param:"headroom" doc:"share of the connections that must stay free" default:"20%"`
	PgBouncer secret.Ref         `param:"pgbouncer" doc:"address of PgBouncer's console, postgres://user:password@host:6432/pgbouncer" default:""`
}

// statementLimits are what view: statements judges by.
type statementLimits struct {
	Look      string        `param:"look" doc:"before: take down the counters; after: judge what came since; apart: look twice" default:"apart" enum:"before,after,apart"`
	Apart     time.Duration `param:"apart" doc:"time between the two looks of look: apart" default:"10s"`
	MeanRatio float64       `param:"mean_ratio" doc:"how many times as long as before a statement may take on average" default:"1.5"`
	MinMean   time.Duration `param:"min_mean" doc:"an average shorter than this is not too slow, whatever it was" default:"1ms"`
	NewSlow   time.Duration `param:"new_slow" doc:"longest acceptable average of a statement that was not there before" default:"500ms"`
	MinCalls  int           `param:"min_calls" doc:"fewest calls, before and since, from which an average is compared; and fewest calls of all statements together" default:"20"`
}

// replicaLimits are what view: replication judges by.
type replicaLimits struct {
	Replicas    []string      `param:"replicas" doc:"application names of the replicas that must be connected" default:""`
	MinReplicas int           `param:"min_replicas" doc:"fewest replicas that must be connected" default:"1"`
	MaxLag      time.Duration `param:"max_lag" doc:"longest time until a replica has replayed what was written before" default:"30s"`
	MaxLagBytes check.Size    `param:"max_lag_bytes" doc:"how much log a replica may be behind" default:"64MiB"`
}

// names lists the numbers of a view, for expect.
func (p *stats) names() []string {
	return map[string][]string{
		viewConnections: {"max", "reserved", "room", "used", "active", "idle", "idle_in_transaction", "demand", "fatal", "waiting"},
		viewStatements:  {"calls", "statements", "seconds", "slower", "new_slow"},
		viewLocks:       {"locks", "waiting", "longest"},
		viewReplication: {"replicas", "lag_bytes", "lag_seconds"},
		viewIndexes:     {"indexes", "invalid", "unused", "unused_bytes"},
	}[p.View]
}

// Validate holds the rules between the parameters.
func (p *stats) Validate() error {
	switch {
	case p.Statement <= 0 || p.MaxWait <= 0:
		return errors.New("statement_timeout and max_wait: want more than 0s")
	case p.View != viewConnections && (p.Demand != nil || len(p.With) > 0 || !p.PgBouncer.IsZero()):
		return errors.New("demand, with and pgbouncer belong to view: connections")
	case p.View != viewReplication && len(p.Replicas) > 0:
		return errors.New("replicas belongs to view: replication")
	case p.View != viewStatements && p.Look != "apart":
		return errors.New("look belongs to view: statements")
	case p.Headroom >= 1:
		return errors.New("headroom: want below 100%")
	case p.MeanRatio <= 1:
		return errors.New("mean_ratio: want more than 1, such as 1.5")
	case p.MinCalls < 1:
		return errors.New("min_calls: want at least 1")
	case p.Apart < time.Second:
		return errors.New("apart: want at least 1s")
	case p.MinReplicas < 0 || p.View == viewReplication && p.MinReplicas == 0 && len(p.Replicas) == 0:
		return errors.New("min_replicas: with 0, and no replicas, nothing would be judged")
	case p.MaxLag < 100*time.Millisecond:
		return errors.New("max_lag: want at least 100ms")
	}
	if p.Demand != nil {
		if _, err := p.Demand.eval(p.With); err != nil {
			return fmt.Errorf("demand: %w", err)
		}
	}
	if err := p.Expect.Only(p.names()...); err != nil {
		return fmt.Errorf("expect: %w", err)
	}
	return nil
}

// Traits tells what is read.
func (p *stats) Traits() check.Traits {
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Database, Target: p.DB.String(),
		Does: "reads the server's " + p.View + " in a read-only session",
	}
}

// sight is what was seen of a view.
type sight struct {
	// saw is one sentence; wrong lists what is beyond limits.
	saw   string
	wrong []string
	facts map[string]string
	// numbers are for expect.
	numbers   map[string]any
	sets      map[string]string
	artefacts []check.Artefact
}

func newSight() *sight {
	return &sight{facts: map[string]string{}, numbers: map[string]any{}}
}

func (s *sight) miss(format string, args ...any) {
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}

// number notes a number for facts and expect.
func (s *sight) number(name string, v float64) {
	s.numbers[name] = v
	s.facts[name] = strconv.FormatFloat(v, 'f', -1, 64)
}

// Run looks at the view and judges it.
func (p *stats) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	server, err := p.server(ctx, env, p.DB, "db")
	if err != nil {
		return check.Outcome{}, err
	}
	c, err := server.Open(ctx, pg.Options{ReadOnly: true, StatementTimeout: p.Statement, LockTimeout: p.Statement})
	if err != nil {
		return check.Outcome{}, err
	}
	defer c.Close()
	if err := allowed(ctx, c); err != nil {
		return check.Outcome{}, err
	}
	s, err := map[string]func(context.Context, *check.Env, *pg.Conn) (*sight, error){
		viewConnections: p.connections, viewLocks: p.locks, viewReplication: p.replication, viewIndexes: p.indexes,
		viewStatements: func(ctx context.Context, env *check.Env, c *pg.Conn) (*sight, error) {
			return p.statements(ctx, env, c, server.Name())
		},
	}[p.View](ctx, env, c)
	if err != nil {
		return check.Outcome{}, err
	}
	if !p.Expect.IsZero() {
		ok, err := p.Expect.Eval(s.numbers)
		if err != nil {
			return check.Outcome{}, err
		}
		if !ok {
			s.miss("%s does not hold (%s)", p.Expect, s.values(p.Expect.Names()))
		}
	}
	o := check.Passf("%s", s.saw)
	if len(s.wrong) > 0 {
		o = check.Failf("%s", pg.Shorten(s.wrong, 5))
	}
	o.Target, o.Facts, o.Sets, o.Artefacts = server.Name(), s.facts, s.sets, s.artefacts
	return o, ctx.Err()
}

func (s *sight) values(names []string) string {
	var out []string
	for _, name := range names {
		out = append(out, name+" = "+s.facts[name])
	}
	return strings.Join(out, ", ")
}

func (p *stats) server(ctx context.Context, env *check.Env, ref secret.Ref, what string) (*pg.Server, error) {
	if ref.IsZero() {
		return nil, &check.NotSupplied{What: "the database's address (" + what + ")"}
	}
	address, err := env.Secret(ctx, ref)
	if err != nil {
		return nil, err
	}
	return pg.Parse(address, env.Dial)
}

// allowed refuses a role that sees other users' sessions and statements only in
// part: what is hidden would look like what is not there.
// https://www.postgresql.org/docs/current/monitoring-stats.html
func allowed(ctx context.Context, c *pg.Conn) error {
	ok, err := c.Value(ctx, "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')")
	if err != nil {
		return fmt.Errorf("ask for the role's rights: %w", err)
	}
	if ok != "t" {
		return errors.New("the role may not see other users' sessions and statements: GRANT pg_monitor to it")
	}
	return nil
}

// numbersOf reads a row of numbers; NULL is an error.
func numbersOf(t pg.Table, columns int) ([]float64, error) {
	if len(t.Rows) != 1 || len(t.Rows[0]) < columns {
		return nil, errors.New("the server gave no row")
	}
	var out []float64
	for i := range columns {
		v, err := strconv.ParseFloat(t.Rows[0][i].Text, 64)
		if err != nil || t.Rows[0][i].Null {
			return nil, fmt.Errorf("%s is %q, want a number", t.Columns[i].Name, t.Rows[0][i].Text)
		}
		out = append(out, v)
	}
	return out, nil
}

// bytesText writes a number of bytes for people.
func bytesText(n float64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	i := 0
	for ; n >= 1000 && i < len(units)-1; i++ {
		n /= 1000
	}
	return strconv.FormatFloat(n, 'f', min(i, 1), 64) + " " + units[i]
}
