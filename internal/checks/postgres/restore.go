package postgres

import (
	"context"
	_ "embed" // for the type's page
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	pg "allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/secret"
)

//go:embed restore.md
var restoreDoc string

// Restore is the type postgres.restore.
var Restore = check.Define[restore](check.Desc{
	Name:    "postgres.restore",
	Summary: "the backup can be restored, or has been",
	Doc:     restoreDoc,
})

type restore struct {
	place
	Into        string        `param:"into" doc:"scratch: a database made for it and dropped; account: none, what would be lost is counted; live: in place of the real one" default:"scratch" enum:"scratch,account,live"`
	ApprovedBy  string        `param:"approved_by" doc:"the sign-off (its id) that was shown what would be lost; live needs one" default:""`
	Jobs        int           `param:"jobs" doc:"how many tables are restored at a time" default:"4"`
	Verify      string        `param:"verify" doc:"how far the restored database is proven; each level has those before it" default:"restore" enum:"load,schema,counts,restore,amcheck"`
	Checks      []string      `param:"checks" doc:"queries on the restored database that each answer a single true" default:""`
	MaxAge      time.Duration `param:"max_age" doc:"how old an earlier run's success may be to stand for this one; 0s: restore now" default:"0s"`
	Limit       time.Duration `param:"within" doc:"longest time that restoring may take (the recovery time wanted); 0s: any" default:"0s"`
	Scratch     secret.Ref    `param:"scratch" doc:"server for the scratch database; left out, the database's own" default:""`
	Maintenance string        `param:"maintenance_db" doc:"database to be connected to while the real one is renamed (live)" default:"postgres"`
}

// Validate holds the rules between parameters.
func (p *restore) Validate() error {
	if err := p.place.validate(); err != nil {
		return err
	}
	if p.Jobs < 1 || p.Jobs > 64 {
		return fmt.Errorf("jobs: want 1 to 64, got %d", p.Jobs)
	}
	for i, sql := range p.Checks {
		if strings.TrimSpace(sql) == "" {
			return fmt.Errorf("checks: query %d is empty", i+1)
		}
	}
	if p.Into == "live" && p.ApprovedBy == "" {
		return errors.New("into: live needs approved_by: a sign-off that was shown what would be lost (attach: [restore.loss])")
	}
	if p.Into != "live" && p.ApprovedBy != "" {
		return errors.New("approved_by: goes with into: live")
	}
	if p.Into != "scratch" && (p.MaxAge != 0 || !p.Scratch.IsZero()) {
		return errors.New("max_age and scratch: go with into: scratch")
	}
	return nil
}

// Traits tells what is done.
func (p *restore) Traits() check.Traits {
	if p.Into == "live" {
		return check.Traits{
			Kind: check.Action, Class: check.Unsafe, Effect: check.Changes, Pool: check.Exec, Target: p.Dest,
			Does:         "restores the backup beside the database, ends all sessions, and puts it in the database's place; the old one is kept under another name",
			Irreversible: "everything written since the backup is lost to the application (fact restore.rows_lost counts the rows)",
		}
	}
	if p.Into == "account" {
		return check.Traits{
			Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Database, Target: p.Dest,
			Does: "counts what going back to the backup would lose",
		}
	}
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Scratch, Pool: check.Exec, Target: p.Dest,
		Does: "restores the backup into a database made for it, compares it with what was dumped, and drops it",
	}
}

// Run restores.
func (p *restore) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	host, err := env.Host(p.On)
	if err != nil {
		return check.Outcome{}, err
	}
	server, err := p.server(ctx, env, p.DB)
	if err != nil {
		return check.Outcome{}, err
	}
	if earlier, err := p.earlier(ctx, env, server.Name()); err != nil || earlier.Verdict != "" {
		return earlier, err
	}
	s, err := p.find(ctx, env, host, server.Name())
	if errors.Is(err, errNoBackup) {
		return check.Failf("%v", err), ctx.Err()
	}
	if err != nil {
		return check.Outcome{}, err
	}
	wrong, err := intact(ctx, host, s)
	if err != nil {
		return check.Outcome{}, err
	}
	if wrong != "" {
		return check.Failf("%s", wrong), nil
	}
	if p.Into == "account" {
		return p.account(ctx, env, server, s)
	}
	tools, err := pg.FindTools(ctx, host, p.Bin, s.Tool)
	if err != nil {
		return check.Outcome{}, err
	}
	opened, wrong, closeAgain, err := p.open(ctx, env, s)
	if err != nil {
		return check.Outcome{}, err
	}
	if wrong != "" {
		return check.Failf("%s: %s", s.Path, wrong), nil
	}
	defer closeAgain()
	if p.Into == "live" {
		return p.live(ctx, env, tools, server, opened)
	}
	return p.rehearse(ctx, env, tools, server, opened)
}

// earlier looks for an earlier run's success with this database that is still
// fresh.
func (p *restore) earlier(ctx context.Context, env *check.Env, database string) (check.Outcome, error) {
	if p.MaxAge == 0 || p.Into == "live" {
		return check.Outcome{}, nil
	}
	past, err := env.Ledger.History(ctx, "", "restore.seconds."+database, 1)
	if err != nil {
		return check.Outcome{}, fmt.Errorf("look up the last restore: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return check.Outcome{}, err
	}
	if len(past) == 0 {
		return check.Outcome{}, nil
	}
	age := env.Now().Sub(past[0].At).Round(time.Second)
	if age < -clockSkew || age > p.MaxAge {
		return check.Outcome{}, nil
	}
	took, err := strconv.ParseFloat(past[0].Value, 64)
	if err != nil || took < 0 || (p.Limit > 0 && took > p.Limit.Seconds()) {
		return check.Outcome{}, nil
	}
	return check.Passf("run %s restored a backup %s ago, in %s s", past[0].Run, age, past[0].Value).With("earlier_run", past[0].Run), nil
}

// rehearse restores into a scratch database and says what going back would lose.
func (p *restore) rehearse(ctx context.Context, env *check.Env, tools pg.Tools, server *pg.Server, s sidecar) (check.Outcome, error) {
	t := trial{place: p.place, scratch: p.Scratch, jobs: p.Jobs, checks: p.Checks, level: p.Verify}
	wrong, took, err := t.run(ctx, env, tools, s)
	if err != nil {
		return check.Outcome{}, err
	}
	if wrong != "" {
		o := check.Failf("%s: %s", s.Path, wrong)
		o.Facts = s.facts()
		return o, nil
	}
	lost, err := p.countLoss(ctx, server, s)
	if err != nil {
		return check.Outcome{}, err
	}
	o := check.Passf("%s was restored in %.3f s and holds what was dumped: %d tables, %d rows; going back to it now would lose %d rows and %s of changes",
		s.Path, took.Seconds(), len(s.Tables), pg.TotalRows(s.Tables), lost.rows(), env.Now().Sub(s.At).Round(time.Second))
	if p.Limit > 0 && took > p.Limit {
		o = check.Failf("%s was restored in %.3f s, want at most %s", s.Path, took.Seconds(), p.Limit)
	}
	o.Target, o.Facts = server.Name(), s.facts()
	o.Facts["restore.seconds"], o.Facts["rows_lost"] = strconv.FormatFloat(took.Seconds(), 'f', 3, 64), strconv.FormatInt(lost.rows(), 10)
	o.Facts["rows_lost_in"] = lost.String()
	if o.Verdict == check.Pass {
		o.Facts["rpo_seconds"] = strconv.FormatFloat(env.Now().Sub(s.At).Seconds(), 'f', 0, 64)
		if o.Sets, err = lost.sets(s); err != nil {
			return check.Outcome{}, err
		}
		for _, name := range []string{"restore.seconds", "restore.seconds." + server.Name()} {
			o.Sets[name] = o.Facts["restore.seconds"]
		}
		o.Sets["restore.rpo_seconds"] = o.Facts["rpo_seconds"]
	}
	return o, nil
}
