package cli

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/spf13/cobra"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/engine"
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
	cmd := &cobra.Command{
		Use: "check ENV [ITEM…]", Short: "evaluate checks now, without a run", Args: cobra.MinimumNArgs(1),
		Long: `check evaluates the checks that match (ids, patterns such as deploy.smoke.*, or all)
now. Nothing is recorded and no action is done.

  $ allclear check production
  $ allclear check staging 'pre.infra.*'

EXIT STATUS
  0 all passed   1 one failed   4 one could not be found out`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := o.site(args[0])
			if err != nil {
				return err
			}
			p, facts, err := s.bind(cmd.Context(), f)
			if err != nil {
				return err
			}
			return o.checkNow(cmd.Context(), s, p, facts, args[1:])
		},
	}
	f.add(cmd)
	return cmd
}

func (o *options) checkNow(ctx context.Context, s *site, p *run.Plan, facts map[string]string, patterns []string) error {
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
	results := make([]checked, len(items))
	var working sync.WaitGroup
	slots := make(chan struct{}, max(8*runtime.NumCPU(), 64))
	for i, it := range items {
		working.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			start := time.Now()
			outcome, err := eng.CheckNow(ctx, &state, it)
			results[i] = checked{it, outcome, err, time.Since(start)}
		})
	}
	working.Wait()
	return o.writeChecked(results)
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

func (o *options) writeChecked(results []checked) error {
	p := o.paper()
	passed, failed, unknown := 0, 0, 0
	var b strings.Builder
	for _, r := range results {
		m, reason := markOf(run.Pass), r.outcome.Reason
		switch {
		case r.err != nil:
			unknown++
			m, reason = markOf(run.Inconclusive), r.err.Error()
		case r.outcome.Verdict == check.Fail:
			failed++
			m = markOf(run.Fail)
		default:
			passed++
		}
		fmt.Fprintf(&b, "%s %s: %s (%s)\n", p.mark(m), r.item.ID, p.plain(reason), r.took.Round(time.Millisecond))
	}
	fmt.Fprintf(&b, "%d passed, %d failed, %d inconclusive\n", passed, failed, unknown)
	if _, err := io.WriteString(o.Out, b.String()); err != nil {
		return err
	}
	switch {
	case failed > 0:
		return quiet(ExitFailed)
	case unknown > 0:
		return quiet(ExitInconclusive)
	}
	return nil
}
