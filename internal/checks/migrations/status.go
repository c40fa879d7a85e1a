package migrations

import (
	"context"
	_ "embed" // for the type's page
	"fmt"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

//go:embed status.md
var statusDoc string

// Status is the type migrations.status.
var Status = check.Define[status](check.Desc{
	Name:    "migrations.status",
	Summary: "the migration files and the database's version table agree",
	Doc:     statusDoc,
})

type status struct {
	source
	Mode             string        `param:"mode" doc:"applied: everything must be in; plan: what is missing becomes the plan to review" default:"applied" enum:"applied,plan"`
	Unapplied        int           `param:"unapplied" doc:"how many files may be missing in the table (mode applied)" default:"0"`
	UnknownApplied   int           `param:"unknown_applied" doc:"how many applied versions may have no file" default:"0"`
	NeedDown         bool          `param:"need_down" doc:"fail when a migration of the plan has no down file" default:"false"`
	StatementTimeout time.Duration `param:"statement_timeout" doc:"longest time for one query or lock" default:"10s"`
}

// Traits tells what is read.
func (p *status) Traits() check.Traits {
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Database, Target: p.Table,
		Does: fmt.Sprintf("compares the files in %s with table %s (%s)", p.Dir, p.Table, p.Tool),
	}
}

// Run compares files and table both ways.
func (p *status) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	files, s, server, err := p.look(ctx, env, p.StatementTimeout)
	if err != nil {
		return check.Outcome{}, err
	}
	c := compare(files, s)
	o := p.decide(files, s, c)
	o.Target = server.Name()
	o.Facts = map[string]string{
		"version": versionText(s.Current()), "files": strconv.Itoa(len(files)),
		"pending": strings.Join(namesOf(c.pending), " "), "unknown_applied": strings.Join(c.unknown, " "),
		"dirty": strconv.FormatBool(s.Dirty), "irreversible": irreversible(c.pending), "plan": digest(c.pending),
	}
	if p.Mode == "plan" && o.Verdict == check.Pass {
		o.Sets = map[string]string{
			"migrations.plan": digest(c.pending), "migrations.pending": strconv.Itoa(len(c.pending)),
			"migrations.irreversible": irreversible(c.pending),
		}
	}
	return o, nil
}

func (p *status) decide(files []migration, s state, c comparison) check.Outcome {
	if len(c.unknown) <= p.UnknownApplied {
		c.unknown = nil
	}
	if trouble := c.trouble(s, p.Table); trouble != "" {
		return check.Failf("%s", trouble)
	}
	if p.Mode == "applied" {
		if len(c.pending) > p.Unapplied {
			return check.Failf("%d of %d migrations are not applied: %s", len(c.pending), len(files), strings.Join(namesOf(c.pending), ", "))
		}
		return check.Passf("%d of %d migrations are applied, at version %s", len(files)-len(c.pending), len(files), versionText(s.Current()))
	}
	switch {
	case len(c.late) > 0:
		return check.Failf("older than version %s, which is applied: %s", versionText(s.Current()), strings.Join(namesOf(c.late), ", "))
	case p.NeedDown && irreversible(c.pending) != "none":
		return check.Failf("without a down file: %s", irreversible(c.pending))
	case len(c.pending) == 0:
		return check.Passf("nothing to apply, at version %s", versionText(s.Current()))
	}
	return check.Passf("%d to apply from version %s: %s; without a way back: %s", len(c.pending), versionText(s.Current()),
		strings.Join(namesOf(c.pending), ", "), irreversible(c.pending))
}
