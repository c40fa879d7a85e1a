package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"allclear.dev/allclear/internal/engine"
	"allclear.dev/allclear/internal/run"
	"allclear.dev/allclear/internal/secret"
)

// act loads what a verb of a person needs, lets it make its event, and hands the
// event to the run.
func (o *options) act(ctx context.Context, environment string, make func(s *site, state *run.State, who string) (run.Event, error)) error {
	s, err := o.site(environment)
	if err != nil {
		return err
	}
	f, err := o.openRun(ctx, s, "")
	if err != nil {
		return err
	}
	defer f.close()
	who, err := o.person(s)
	if err != nil {
		return err
	}
	event, err := make(s, &f.state, who)
	if err != nil {
		return err
	}
	event.Actor, event.At = who, time.Now().UTC()
	if err := request(ctx, s, &f.state, event); err != nil {
		return err
	}
	if err := f.advance(ctx, nil); err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "%s: %s\n", strings.ReplaceAll(string(event.Type), ".", " "), f.state.Advise())
	return nil
}

// item finds an item by its id, or by a beginning of it that no other has.
func item(state *run.State, name string) (*run.Item, error) {
	if it, _ := state.Of(name); it != nil {
		return it, nil
	}
	var found []*run.Item
	for i := range state.Plan.Items {
		if strings.Contains(state.Plan.Items[i].ID, name) {
			found = append(found, &state.Plan.Items[i])
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	var ids []string
	for _, it := range found {
		if len(ids) < 5 {
			ids = append(ids, it.ID)
		}
	}
	hint := "allclear plan lists the items"
	if len(ids) > 0 {
		hint = "did you mean one of " + strings.Join(ids, ", ") + "?"
	}
	return nil, fail(ExitUsage, hint, "there is no single item %q in this run", name)
}

// roleFor picks the role in which a person resolves an item.
func roleFor(s *site, it *run.Item, who, wanted string) (string, error) {
	has := s.cfg.RolesOf(who)
	if wanted != "" {
		if !slices.Contains(has, wanted) {
			return "", fail(ExitNotAllowed, "", "%s does not have the role %q", who, wanted)
		}
		return wanted, nil
	}
	if it.Person == nil || len(it.Person.Roles) == 0 {
		return "", nil
	}
	for _, role := range it.Person.Roles {
		if slices.Contains(has, role) {
			return role, nil
		}
	}
	return "", fail(ExitNotAllowed, "allclear show tells who may", "%s is for %s; %s is %s", it.ID, strings.Join(it.Person.Roles, " or "), who, orText(strings.Join(has, ", "), "without a role"))
}

// evidence is what a person brings.
type evidence struct{ text, url, file, ticket string }

func (e evidence) summary() string {
	var parts []string
	for _, part := range []string{e.text, e.url, e.ticket} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if e.file != "" {
		parts = append(parts, "file "+filepath.Base(e.file))
	}
	return strings.Join(parts, "; ")
}

// event checks the evidence against what the item accepts and stores it.
func (e evidence) event(s *site, it *run.Item) (run.Event, error) {
	event := run.Event{Type: run.Attested, Facts: map[string]string{}}
	given := map[string]string{"text": e.text, "url": e.url, "file": e.file, "ticket": e.ticket}
	accepted := []string{"text", "url", "file", "ticket"}
	if it.Person != nil && len(it.Person.Evidence) > 0 {
		accepted = it.Person.Evidence
	}
	enough := false
	for kind, value := range given {
		if value == "" {
			continue
		}
		event.Facts["evidence."+kind] = value
		enough = enough || slices.Contains(accepted, kind)
	}
	if !enough {
		return event, fail(ExitUsage, "give --"+strings.Join(accepted, " or --"), "%s needs evidence: %s", it.ID, strings.Join(accepted, " or "))
	}
	if it.Person != nil && e.text != "" && len([]rune(e.text)) < it.Person.MinText {
		return event, fail(ExitUsage, "", "%s: the text has %d characters, want at least %d", it.ID, len([]rune(e.text)), it.Person.MinText)
	}
	redactor := secret.NewRedactor(nil)
	blobs := filepath.Join(s.dataDir, "blobs")
	if e.file != "" {
		file, err := os.Open(e.file)
		if err != nil {
			return event, fail(ExitUsage, "", "read the evidence: %v", err)
		}
		defer file.Close()
		a, err := engine.StoreBlob(blobs, filepath.Base(e.file), file, redactor)
		if err != nil {
			return event, fail(ExitStorage, "", "keep the evidence: %v", err)
		}
		event.Artefacts = append(event.Artefacts, run.Artefact(a))
	}
	statement := strings.NewReader(strings.Join([]string{it.Text, e.text, e.url, e.ticket}, "\n"))
	a, err := engine.StoreBlob(blobs, "statement.txt", statement, redactor)
	if err != nil {
		return event, fail(ExitStorage, "", "keep the evidence: %v", err)
	}
	event.Artefacts = append(event.Artefacts, run.Artefact(a))
	return event, nil
}

func waiveCommand(o *options) *cobra.Command {
	var reason string
	var until time.Duration
	cmd := &cobra.Command{
		Use: "waive ENV ITEM --reason TEXT --for DURATION", Short: "let an item through although it is not green", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.act(cmd.Context(), args[0], func(s *site, state *run.State, who string) (run.Event, error) {
				it, err := item(state, args[1])
				if err != nil {
					return run.Event{}, err
				}
				if err := mayWaive(s, who, until); err != nil {
					return run.Event{}, err
				}
				event := run.Event{Type: run.Waived, Item: it.ID, Reason: reason, Until: time.Now().UTC().Add(until)}
				return event, o.confirmEvent(cmd.Context(), s, state, event, it)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why (required)")
	cmd.Flags().DurationVar(&until, "for", 24*time.Hour, "how long the waiver stands")
	o.acceptFlag(cmd)
	return cmd
}

func mayWaive(s *site, who string, length time.Duration) error {
	if length > s.cfg.Policy.WaiveMax {
		return fail(ExitNotAllowed, "", "a waiver stands at most %s, not %s", s.cfg.Policy.WaiveMax, length)
	}
	if len(s.cfg.Policy.WaiveRoles) == 0 {
		return nil
	}
	for _, role := range s.cfg.RolesOf(who) {
		if slices.Contains(s.cfg.Policy.WaiveRoles, role) {
			return nil
		}
	}
	return fail(ExitNotAllowed, "", "waiving is for %s", strings.Join(s.cfg.Policy.WaiveRoles, " or "))
}

// itemVerb makes a verb that needs an item and perhaps a reason.
func itemVerb(o *options, use, short string, kind run.EventType, verdict func() (string, error), reason *string) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.act(cmd.Context(), args[0], func(s *site, state *run.State, _ string) (run.Event, error) {
				it, err := item(state, args[1])
				if err != nil {
					return run.Event{}, err
				}
				event := run.Event{Type: kind, Item: it.ID, Reason: *reason}
				if verdict != nil {
					if event.Verdict, err = verdict(); err != nil {
						return event, err
					}
				}
				return event, o.confirmEvent(cmd.Context(), s, state, event, it)
			})
		},
	}
	if needsConfirming(kind) {
		o.acceptFlag(cmd)
	}
	cmd.Flags().StringVar(reason, "reason", "", "why")
	return cmd
}

func naCommand(o *options) *cobra.Command {
	return itemVerb(o, "na ENV ITEM --reason TEXT", "say that an item does not apply this time", run.MarkedNA, nil, new(string))
}

func retryCommand(o *options) *cobra.Command {
	return itemVerb(o, "retry ENV ITEM", "try a failed item again, or a check anew", run.Retried, nil, new(string))
}

func resolveCommand(o *options) *cobra.Command {
	var happened, didNot, undone bool
	cmd := itemVerb(o, "resolve ENV ITEM --happened|--did-not|--undone --reason TEXT", "say what became of an action in doubt", run.Resolved, func() (string, error) {
		switch {
		case happened && !didNot && !undone:
			return "done", nil
		case didNot && !happened && !undone:
			return "not_done", nil
		case undone && !happened && !didNot:
			return "undone", nil
		}
		return "", fail(ExitUsage, "", "say one of --happened, --did-not, --undone")
	}, new(string))
	cmd.Flags().BoolVar(&happened, "happened", false, "it was done")
	cmd.Flags().BoolVar(&didNot, "did-not", false, "it was not done")
	cmd.Flags().BoolVar(&undone, "undone", false, "it was done and has been taken back by hand")
	return cmd
}

// runVerb makes a verb for the whole run.
func runVerb(o *options, use, short string, kind run.EventType, reason *string, emergency *bool) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.act(cmd.Context(), first(args), func(s *site, state *run.State, _ string) (run.Event, error) {
				event := run.Event{Type: kind, Reason: *reason}
				if emergency != nil {
					event.Emergency = *emergency
				}
				return event, o.confirmEvent(cmd.Context(), s, state, event, nil)
			})
		},
	}
	if needsConfirming(kind) {
		o.acceptFlag(cmd)
	}
	cmd.Flags().StringVar(reason, "reason", "", "why")
	return cmd
}

func pauseCommand(o *options) *cobra.Command {
	return runVerb(o, "pause ENV", "begin nothing new; what is under way goes on", run.Paused, new(string), nil)
}

func resumeCommand(o *options) *cobra.Command {
	return runVerb(o, "resume ENV", "go on after a pause", run.Unpaused, new(string), nil)
}

func abortCommand(o *options) *cobra.Command {
	return runVerb(o, "abort ENV --reason TEXT", "end the run without going back; what is held is given back", run.Aborted, new(string), nil)
}

func rollbackCommand(o *options) *cobra.Command {
	emergency := new(bool)
	cmd := runVerb(o, "rollback ENV --reason TEXT", "go back to the previous version by the checklist's rollback phase", run.RollbackStarted, new(string), emergency)
	cmd.Flags().BoolVar(emergency, "emergency", false, "at once, without the statements of the rollback phase; its review blocks the next run")
	return cmd
}
