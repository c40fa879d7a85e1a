package cli

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"allclear.dev/allclear/internal/run"
)

// confirm lets a plan be started: by its digest, or where somebody can be asked by
// typing the environment's name below the plan. Only an environment that is not
// protected starts without.
func (o *options) confirm(ctx context.Context, s *site, p *run.Plan, accept string) error {
	digest := p.Digest()
	if accept != "" {
		return accepted(digest, accept)
	}
	if !s.env.IsProtected() {
		return nil
	}
	if !o.interactive() {
		return fail(ExitUsage, "", "%s is protected: start it with --accept %s", s.environment, short(digest))
	}
	if err := writePlan(o.Err, o.paper(), p, s.cfg.Checklist); err != nil {
		return err
	}
	if !o.typed(ctx, s.environment, "start") {
		return fail(ExitUsage, "", "nothing was started")
	}
	return nil
}

// verbOf gives the verb of what must be confirmed; the rest of what people do can
// be taken back, or has its own form, as a signature has.
func verbOf(kind run.EventType) string {
	switch kind {
	case run.RollbackStarted:
		return "roll back"
	case run.Aborted:
		return "abort"
	case run.Waived:
		return "waive it"
	case run.MarkedNA:
		return "leave it out"
	case run.Resolved:
		return "say so"
	}
	return ""
}

func needsConfirming(kind run.EventType) bool { return verbOf(kind) != "" }

func (o *options) acceptFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.accept, "accept", "", "the `DIGEST` of the run's plan, instead of typing the environment's name")
}

// confirmEvent lets somebody do to the run of a protected environment what cannot
// be taken back: the consequence is shown and the environment's name typed, or the
// digest of the run's plan given. A line from the shell's history is not enough.
func (o *options) confirmEvent(ctx context.Context, s *site, state *run.State, e run.Event, it *run.Item) error {
	verb := verbOf(e.Type)
	if verb == "" || state.Closed { // the run refuses what comes too late
		return nil
	}
	if o.accept != "" {
		return accepted(state.PlanDigest, o.accept)
	}
	if !s.env.IsProtected() {
		return nil
	}
	text := consequence(e.Type, state, it)
	if !o.interactive() {
		return fail(ExitUsage, text, "%s is protected: to %s, add --accept %s", s.environment, verb, short(state.PlanDigest))
	}
	p := o.paper()
	for _, line := range append(p.head(state, time.Now()), p.wrap(text, "")...) {
		fmt.Fprintln(o.Err, line)
	}
	if !o.typed(ctx, s.environment, verb) {
		return fail(ExitUsage, "", "nothing was changed")
	}
	return nil
}

// accepted compares a digest, or its first characters, with what was given.
func accepted(digest, given string) error {
	if len(given) < 8 || !strings.HasPrefix(digest, given) {
		return fail(ExitChanged, "allclear plan shows what would happen now", "the plan's digest is %s, not %s: something has changed since", short(digest), given)
	}
	return nil
}

// typed asks for the environment's name. The end of ctx, which is Ctrl-C, is a no.
func (o *options) typed(ctx context.Context, environment, verb string) bool {
	fmt.Fprintf(o.Err, "Type the environment's name to %s: ", verb)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(o.In).ReadString('\n')
		answer <- line
	}()
	select {
	case line := <-answer:
		return strings.TrimSpace(line) == environment
	case <-ctx.Done():
		fmt.Fprintln(o.Err)
		return false
	}
}

// consequence says what a person's verb does to the run.
func consequence(kind run.EventType, state *run.State, it *run.Item) string {
	env := state.Plan.Environment
	switch kind {
	case run.RollbackStarted:
		return fmt.Sprintf("Rolling back takes %s from %s to %s by the checklist's rollback phase. Going back: %s.", env, state.Plan.Release.Version, orText(state.Plan.Previous.Version, "the version before"), goingBack(state.Plan))
	case run.Aborted:
		return fmt.Sprintf("Aborting ends the run and leaves %s as it is now: nothing goes back, what is held is given back.", env)
	case run.Waived:
		return fmt.Sprintf("Waiving lets %q through although it is %s.", it.Text, statusOf(state, it))
	case run.MarkedNA:
		return fmt.Sprintf("Marking %q n/a takes it out of this run.", it.Text)
	case run.Resolved:
		return fmt.Sprintf("Your word counts as what became of %q.", it.Text)
	}
	return ""
}

func statusOf(state *run.State, it *run.Item) run.Status {
	_, st := state.Of(it.ID)
	return st.Status
}
