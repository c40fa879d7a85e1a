package migrations

import (
	"context"
	_ "embed" // for the type's page
	"fmt"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/postgres"
)

//go:embed apply.md
var applyDoc string

// Apply is the type migrations.apply.
var Apply = check.Define[apply](check.Desc{
	Name:    "migrations.apply",
	Summary: "the database is at the wanted version",
	Doc:     applyDoc,
})

type apply struct {
	source
	To               string        `param:"to" doc:"a version, latest, before (the deployment) or none" default:"latest"`
	PlanDigest       string        `param:"plan_digest" doc:"digest of the reviewed files; left out, the fact migrations.plan; any: whatever is there" default:""`
	LockTimeout      time.Duration `param:"lock_timeout" doc:"longest wait for one lock; each try takes half of it or more" default:"750ms"`
	StatementTimeout time.Duration `param:"statement_timeout" doc:"longest time for one statement; 0s: no limit" default:"0s"`
	Retries          int           `param:"retries" doc:"how often a file that met a lock is tried again" default:"25"`
	Pause            time.Duration `param:"pause" doc:"the first pause before trying again; it doubles up to 30s" default:"500ms"`
	Rehearsed        string        `param:"rehearsed" doc:"whether the plan must be the rehearsed one (fact migrations.rehearsed): if there is one, or in any case" default:"optional" enum:"optional,required"`
}

// Validate refuses a version that is none and settings without sense.
func (p *apply) Validate() error {
	if p.To != "latest" && p.To != "before" {
		if _, err := parseVersion(p.To); err != nil {
			return fmt.Errorf("to: want a version, latest, before or none, got %q", p.To)
		}
	}
	if p.LockTimeout <= 0 {
		return fmt.Errorf("lock_timeout: want more than 0s: waiting for a lock makes everybody else wait too")
	}
	if p.Retries < 0 || p.Retries > 100 {
		return fmt.Errorf("retries: want 0 to 100, got %d", p.Retries)
	}
	return nil
}

// Traits tells what changes.
func (p *apply) Traits() check.Traits {
	t := check.Traits{
		Kind: check.Action, Class: check.Probed, Effect: check.Changes, Pool: check.Database, Target: p.Table,
		Does: fmt.Sprintf("applies the migrations in %s up to %s", p.Dir, p.To),
		Undo: "goes down to the version before, where every migration has a down file",
	}
	if p.To == "before" {
		t.Does = "takes the migrations of this deployment back"
		t.Undo, t.Irreversible = "", "going down drops what the migrations added, with the data in it"
	}
	return t
}

// Run brings the database to the target. It fails for certain while nothing has
// been begun, and when the server says that a step was rolled back.
func (p *apply) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	files, s, server, err := p.look(ctx, env, lookTimeout)
	if err != nil {
		return check.Outcome{}, err
	}
	rec, err := p.record(env)
	if err != nil {
		return check.Outcome{}, err
	}
	target, refusal := p.target(files, env, rec)
	if refusal == "" {
		refusal = p.refuse(files, s, target, env, rec)
	}
	if refusal != "" {
		return check.Failf("%s; nothing was changed", refusal), nil
	}
	return p.run(ctx, env, server, server, files, target)
}

// run takes the lock and goes. Where to look on from is the same server, or nil
// for nobody to look on.
func (p *apply) run(ctx context.Context, env *check.Env, server, from *postgres.Server, files []migration, target int64) (check.Outcome, error) {
	options := postgres.Options{LockTimeout: p.LockTimeout, StatementTimeout: p.StatementTimeout, Plain: true}
	c, err := server.Open(ctx, options)
	if err != nil {
		return check.Outcome{}, err
	}
	defer c.Close()
	w := &worker{apply: p, env: env, from: from, c: c, options: options, table: newTable(p.Tool, p.Table)}
	holder, err := w.lock(ctx)
	if err != nil {
		return check.Outcome{}, err
	}
	if holder != "" {
		return check.Failf("another deployer is applying migrations: %s; nothing was changed", holder), nil
	}
	o, err := w.work(ctx, files, target)
	o.Target = server.Name()
	return o, err
}

// lookTimeout bounds reading the version table.
const lookTimeout = 10 * time.Second

// target gives the version to go to, or why there is none.
func (p *apply) target(files []migration, env *check.Env, rec record) (int64, string) {
	text := p.To
	switch p.To {
	case "latest":
		return files[len(files)-1].Version, ""
	case "before":
		fact, ok := env.Ledger.Fact("migrations.before")
		if !ok && rec.Before != "" {
			fact, ok = rec.Before, true
		}
		if !ok {
			return 0, "the version before the deployment is not known (fact migrations.before): migrations.apply has not run"
		}
		text = fact
	}
	v, err := parseVersion(text)
	if err != nil {
		return 0, err.Error()
	}
	if v != none && !slices.ContainsFunc(files, func(m migration) bool { return m.Version == v }) {
		return 0, fmt.Sprintf("version %d has no file in %s", v, p.Dir)
	}
	return v, ""
}

// refuse says why the plan must not be carried out, or "".
func (p *apply) refuse(files []migration, s state, target int64, env *check.Env, rec record) string {
	c := compare(files, s)
	if trouble := c.trouble(s, p.Table); trouble != "" {
		return trouble
	}
	steps := stepsTo(files, s, target)
	for _, st := range steps {
		if !st.up && !st.HasDown {
			return fmt.Sprintf("%s has no down file: it cannot be taken back", st.Name)
		}
		if st.up && st.Version < s.Current() {
			return fmt.Sprintf("%s is older than version %s, which is applied", st.Name, versionText(s.Current()))
		}
	}
	if target < s.Current() {
		return ""
	}
	plan := planned(files, s, target, rec)
	if refusal := p.refuseUnrehearsed(plan, env); refusal != "" || p.PlanDigest == "any" {
		return refusal
	}
	want, from := p.PlanDigest, "plan_digest"
	if want == "" {
		from = "the fact migrations.plan"
		want, _ = env.Ledger.Fact("migrations.plan")
	}
	if want == "" {
		return "the reviewed plan is not known: run migrations.status with mode: plan before, or say plan_digest"
	}
	if got := digest(plan); got != want {
		return fmt.Sprintf("the files to apply are not the reviewed ones: digest %.12s of %s, %s says %.12s",
			got, strings.Join(namesOf(plan), ", "), from, want)
	}
	return ""
}

// refuseUnrehearsed says why a plan is not the one that was rehearsed, or "".
func (p *apply) refuseUnrehearsed(plan []migration, env *check.Env) string {
	tried, known := env.Ledger.Fact("migrations.rehearsed")
	switch {
	case len(plan) == 0, !known && p.Rehearsed != "required":
		return ""
	case !known:
		return "the migrations have not been rehearsed: run migrations.rehearse before"
	case tried != digest(plan):
		return fmt.Sprintf("the files to apply are not the rehearsed ones: digest %.12s of %s, the fact migrations.rehearsed says %.12s",
			digest(plan), strings.Join(namesOf(plan), ", "), tried)
	}
	return ""
}

// planned lists what goes up, counted from where the run found the database, so
// that the digest of a plan that was carried out in part is still the plan's.
func planned(files []migration, s state, target int64, rec record) []migration {
	var out []migration
	before, err := parseVersion(rec.Before)
	known := err == nil && before <= s.Current()
	for _, m := range files {
		if m.Version <= target && (!s.has(m.Version) || known && m.Version > before) {
			out = append(out, m)
		}
	}
	return out
}

// stepsTo lists the steps from where the table is to the target.
func stepsTo(files []migration, s state, target int64) []step {
	var up, down []step
	previous := none
	for _, m := range files {
		switch {
		case m.Version <= target && !s.has(m.Version):
			up = append(up, step{migration: m, up: true, target: m.Version})
		case m.Version > target && s.has(m.Version):
			down = append(down, step{migration: m, target: previous})
		}
		previous = m.Version
	}
	slices.Reverse(down)
	return append(down, up...)
}
