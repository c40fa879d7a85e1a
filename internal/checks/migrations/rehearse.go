package migrations

import (
	"context"
	_ "embed" // for the type's page
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/rehearse"
	"allclear.dev/allclear/internal/secret"
)

//go:embed rehearse.md
var rehearseDoc string

// Rehearse is the type migrations.rehearse.
var Rehearse = check.Define[rehearsal](check.Desc{
	Name:    "migrations.rehearse",
	Summary: "the pending migrations have been tried on a copy, and back",
	Doc:     rehearseDoc,
})

// The directions and the strictness about faults.
const (
	forward = "forward"
	andBack = "forward-back-forward"
	off     = "off"
	require = "require"
)

type rehearsal struct {
	source
	From         string        `param:"from" doc:"the backup to restore: a path; left out, this run's (fact backup.path)" default:""`
	Identity     secret.Ref    `param:"identity" doc:"the private key of an encrypted backup" default:""`
	Base         secret.Ref    `param:"base" doc:"a database to copy instead of restoring a backup; nobody may be connected to it" default:""`
	Scratch      secret.Ref    `param:"scratch" doc:"server to rehearse on; left out, the database's own, which must be accepted" default:""`
	Accept       []string      `param:"accept" doc:"signs of production that are all right: same-server, name, replicas, busy" default:""`
	On           string        `param:"on" doc:"host that has the backup and PostgreSQL's programs" default:""`
	Bin          string        `param:"bin" doc:"folder of pg_restore; left out, the usual places" default:""`
	Jobs         int           `param:"jobs" doc:"how many tables are restored at a time" default:"4"`
	Anonymise    []string      `param:"anonymise" doc:"program that takes people out of the copy before anything else" default:""`
	Up           []string      `param:"up" doc:"program that applies the migrations, for other tools; it gets the address in address_in" default:""`
	Down         []string      `param:"down" doc:"program that takes them back" default:""`
	AddressIn    string        `param:"address_in" doc:"environment variable for the address of the copy" default:"DATABASE_URL"`
	Repeat       int           `param:"repeat" doc:"how often the time is measured; the longest counts" default:"1"`
	Budget       time.Duration `param:"budget" doc:"longest time expected on production; 0s: any" default:"0s"`
	MaxWait      time.Duration `param:"max_wait" doc:"longest time that readers or writers may be kept waiting" default:"1s"`
	MinRowsRatio check.Share   `param:"min_rows_ratio" doc:"least part of production's rows that the copy has" default:"0%"`
	Direction    string        `param:"direction" doc:"forward, or also back and forward again" default:"forward" enum:"forward,forward-back-forward"`
	SchemaEqual  bool          `param:"schema_equal" doc:"going back must restore the structure (the order of columns aside)" default:"true"`
	Contention   bool          `param:"contention" doc:"try it with readers, writers and an idle transaction" default:"true"`
	Faults       string        `param:"faults" doc:"cut the connection at each point of no return: off, report what it takes to go on, or require that running it again does" default:"report" enum:"off,report,require"`
	Idle         time.Duration `param:"idle" doc:"how long the idle transaction lasts" default:"2s"`
	Writes       []string      `param:"writes" doc:"statements of users between going up and going back" default:""`
	OldSmoke     []string      `param:"old_smoke" doc:"program that tries the present release on the new structure" default:""`
}

// Validate holds the rules between parameters.
func (p *rehearsal) Validate() error {
	for _, a := range p.Accept {
		if !slices.Contains([]string{rehearse.SameServer, rehearse.Name, rehearse.Replicas, rehearse.Busy}, a) {
			return fmt.Errorf("accept: want same-server, name, replicas or busy, got %q", a)
		}
	}
	switch {
	case p.Jobs < 1 || p.Jobs > 64:
		return fmt.Errorf("jobs: want 1 to 64, got %d", p.Jobs)
	case p.Repeat < 1 || p.Repeat > 20:
		return fmt.Errorf("repeat: want 1 to 20, got %d", p.Repeat)
	case p.MaxWait <= 0:
		return errors.New("max_wait: want more than 0s")
	case p.From != "" && !p.Base.IsZero():
		return errors.New("from: a backup is restored, or base is copied, not both")
	case len(p.Down) > 0 && len(p.Up) == 0:
		return errors.New("down: goes with up")
	case p.Direction == andBack && len(p.Up) > 0 && len(p.Down) == 0:
		return errors.New("direction: to go back, say down as well as up")
	case len(p.Writes) > 0 && p.Direction != andBack:
		return errors.New("writes: go with direction: forward-back-forward")
	}
	return nil
}

// Traits tells what is done.
func (p *rehearsal) Traits() check.Traits {
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Scratch, Pool: check.Exec, Target: p.Table,
		Does: "copies the database, applies the pending migrations to copies of it, " + map[string]string{forward: "", andBack: "goes back and forward again, "}[p.Direction] + "and drops them",
	}
}

// stage is one rehearsal under way.
type stage struct {
	*rehearsal
	env        *check.Env
	production *postgres.Server
	scratch    *postgres.Server
	base       *postgres.Server // the database that is cloned
	tool       tool
	steps      []string
	report     report
	sizes      map[string][2]int64 // of tables in bytes: here, on production
	drop       []*postgres.Scratch
}

// Run rehearses. Everything that it makes is dropped again.
func (p *rehearsal) Run(ctx context.Context, env *check.Env) (o check.Outcome, err error) {
	production, err := p.server(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	s := &stage{rehearsal: p, env: env, production: production, scratch: production}
	if !p.Scratch.IsZero() {
		address, err := env.Secret(ctx, p.Scratch)
		if err != nil {
			return check.Outcome{}, err
		}
		if s.scratch, err = postgres.Parse(address, env.Dial); err != nil {
			return check.Outcome{}, err
		}
	}
	signs, err := rehearse.Signs(ctx, s.scratch, production)
	if err != nil {
		return check.Outcome{}, err
	}
	if refusal := rehearse.Refusal(signs, p.Accept); refusal != "" {
		return check.Failf("%s", refusal), nil
	}
	defer func() {
		for _, d := range slices.Backward(s.drop) {
			err = errors.Join(err, d.Drop(ctx))
		}
		if err != nil {
			o = check.Outcome{}
		}
	}()
	return s.perform(ctx)
}

// perform goes through the passes; a failure of one ends the rehearsal.
func (s *stage) perform(ctx context.Context) (check.Outcome, error) {
	if failure, err := s.prepare(ctx); err != nil || failure != "" {
		return s.outcome(ctx, failure, err)
	}
	if len(s.steps) == 0 {
		return s.outcome(ctx, "", nil)
	}
	for _, pass := range []func(context.Context) (string, error){s.trace, s.rewrite, s.time, s.predict, s.contend, s.faults, s.back} {
		if failure, err := pass(ctx); err != nil || failure != "" {
			return s.outcome(ctx, failure, err)
		}
	}
	return s.outcome(ctx, strings.Join(s.report.Findings, "; "), nil)
}

// clone gives a fresh copy of the base.
func (s *stage) clone(ctx context.Context) (*postgres.Scratch, error) {
	c, err := s.scratch.NewClone(ctx, s.base.Database())
	if err == nil {
		s.drop = append(s.drop, c)
	}
	return c, err
}

func (s *stage) say(format string, args ...any) { fmt.Fprintf(s.env.Log, format+"\n", args...) }
