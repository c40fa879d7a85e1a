package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/spf13/cobra"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/engine"
	"allclear.dev/allclear/internal/results"
	"allclear.dev/allclear/internal/run"
)

// checked is what looking at one item now gave.
type checked struct {
	item    *run.Item
	outcome check.Outcome
	err     error
	took    time.Duration
}

func checkCommand(o *options) *cobra.Command {
	var f planFlags
	var u outputs
	cmd := &cobra.Command{
		Use: "check ENV [ITEM…]", Short: "evaluate checks now, without a run", Args: cobra.MinimumNArgs(1),
		Long: `check evaluates the checks that match (ids, patterns such as deploy.smoke.*, or all)
now. Nothing is recorded and no action is done.

  $ allclear check production
  $ allclear check staging 'pre.infra.*'
  $ allclear check staging --format github --report junit=checks.xml

EXIT STATUS
  0 all passed   1 one failed   4 one could not be found out
  with --format nagios those of a monitoring plugin: 0 OK, 2 CRITICAL, 3 UNKNOWN`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := u.check(); err != nil {
				return err
			}
			s, err := o.site(args[0])
			if err != nil {
				return err
			}
			p, facts, err := s.bind(cmd.Context(), f)
			if err != nil {
				return err
			}
			return o.checkNow(cmd.Context(), s, p, facts, args[1:], u)
		},
	}
	f.add(cmd)
	u.addFormat(cmd.Flags())
	u.addReports(cmd.Flags())
	return cmd
}

func (o *options) checkNow(ctx context.Context, s *site, p *run.Plan, facts map[string]string, patterns []string, u outputs) error {
	var items []*run.Item
	for i := range p.Items {
		it := &p.Items[i]
		if (it.Kind == run.Check || it.Kind == run.Watch) && wanted(patterns, it.ID) && it.Applies != run.NotApplicable {
			items = append(items, it)
		}
	}
	if len(items) == 0 {
		return fail(ExitInconclusive, "allclear plan lists the checks", "no check was looked at")
	}
	world, err := s.world()
	if err != nil {
		return err
	}
	world.Discard = true
	eng := engine.New(engine.Options{World: world, Open: s.openEnvironment})
	state, _ := run.Step(run.State{}, run.Event{Type: run.RunStarted, At: time.Now(), Run: "check", Plan: p, Facts: facts, Actor: "check"})
	found := make([]checked, len(items))
	began := time.Now()
	var working sync.WaitGroup
	for i, it := range items {
		working.Go(func() {
			start := time.Now() // the engine's pools bound how many are under way
			outcome, err := eng.CheckNow(ctx, &state, it)
			found[i] = checked{it, outcome, err, time.Since(start)}
		})
	}
	working.Wait()
	set := &results.Set{Name: strings.TrimSpace(s.environment + " " + p.Release.Version), File: s.listPath(), Started: began, Took: time.Since(began)}
	for _, c := range found {
		set.Results = append(set.Results, c.result(p))
	}
	shown, err := u.write(o, set)
	if err != nil {
		return err
	}
	if !shown {
		err = o.writeChecked(set)
	}
	return cmp.Or(err, quiet(exitOfChecks(set, u.format)))
}

// result is what was found, for all formats.
func (c *checked) result(p *run.Plan) results.Result {
	r := results.Result{
		ID: c.item.ID, Text: c.item.Text, Line: c.item.Line, Took: c.took, Verdict: results.Pass, Reason: c.outcome.Reason,
	}
	for _, ph := range p.Phases {
		if ph.ID == c.item.Gate {
			r.Gate = orText(ph.Title, ph.ID)
		}
	}
	switch {
	case c.err != nil:
		r.Verdict, r.Reason = results.Inconclusive, c.err.Error()
	case c.outcome.Verdict == check.Fail:
		r.Verdict = results.Fail
	}
	r.Word = string(r.Verdict)
	return r
}

// exitOfChecks gives the exit code; monitoring plugins have their own
// (nagios-plugins.org, "Development guidelines").
func exitOfChecks(set *results.Set, format string) int {
	failed, unknown := ExitFailed, ExitInconclusive
	if format == "nagios" {
		failed, unknown = 2, 3
	}
	switch {
	case set.Count(results.Fail) > 0:
		return failed
	case set.Count(results.Inconclusive) > 0:
		return unknown
	}
	return ExitOK
}

func wanted(patterns []string, id string) bool {
	if len(patterns) == 0 {
		return true
	}
	for _, p := range patterns {
		if ok, err := doublestar.Match(strings.ReplaceAll(p, ".", "/"), strings.ReplaceAll(id, ".", "/")); err == nil && ok {
			return true
		}
	}
	return false
}

func (o *options) writeChecked(set *results.Set) error {
	p := o.paper()
	marks := map[results.Verdict]run.Status{results.Pass: run.Pass, results.Fail: run.Fail, results.Inconclusive: run.Inconclusive}
	var b strings.Builder
	for _, r := range set.Results {
		fmt.Fprintf(&b, "%s %s: %s (%s)\n", p.mark(markOf(marks[r.Verdict])), r.ID, p.plain(r.Reason), r.Took.Round(time.Millisecond))
	}
	fmt.Fprintf(&b, "%d passed, %d failed, %d inconclusive\n", set.Count(results.Pass), set.Count(results.Fail), set.Count(results.Inconclusive))
	_, err := io.WriteString(o.Out, b.String())
	return err
}
