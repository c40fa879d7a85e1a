package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"allclear.dev/allclear/internal/engine"
	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/report"
	"allclear.dev/allclear/internal/run"
)

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func replay(ctx context.Context, log journal.Reader, id string) (run.State, error) {
	state, _, err := engine.Replay(ctx, log, id)
	if err != nil {
		return state, fail(ExitStorage, "allclear verify names what is wrong", "%v", err)
	}
	return state, nil
}

func runCommand(o *options) *cobra.Command {
	var f planFlags
	var accept string
	var detach bool
	var u outputs
	cmd := &cobra.Command{
		Use: "run ENV --release VERSION", Short: "start a run, or take the open one up again", Args: cobra.MaximumNArgs(1),
		Long: `run starts the deployment in a process of its own and shows it. Ctrl-C or a closed
terminal leaves it running; watch shows it again; only pause and abort stop it.
With an open run of the same release it takes that one up.

  $ allclear run staging --release 1.4.0
  $ allclear run production --release 1.4.0 --accept 3fa94c1b2d77

EXIT STATUS
  0 done   2 usage or plan   3 waiting for a person   5 rolled back
  7 another run holds the environment   8 the plan has changed   130 view ended`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := u.check(); err != nil {
				return err
			}
			s, err := o.site(first(args))
			if err != nil {
				return err
			}
			id, err := o.startRun(cmd.Context(), s, f, accept)
			if err != nil {
				return err
			}
			if detach {
				fmt.Fprintln(o.Out, id)
				return nil
			}
			return o.watchRun(cmd.Context(), s, id, false, u)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&accept, "accept", "", "start the plan with this `DIGEST` without asking")
	u.addReports(cmd.Flags())
	cmd.Flags().BoolVar(&detach, "detach", false, "do not show the run, print its id")
	return cmd
}

// startRun starts a run or takes the open one up, and gives its id.
func (o *options) startRun(ctx context.Context, s *site, f planFlags, accept string) (string, error) {
	open, err := openRun(ctx, s.dataDir, "")
	if err != nil && !errors.Is(err, errNoRun) {
		return "", err
	}
	if err == nil {
		defer open.close()
		if err := blockedBy(&open.state); err != nil {
			return "", err
		}
		if !open.state.Closed {
			return o.takeUp(ctx, s, &open.state, f)
		}
	}
	if f.release == "" {
		return "", fail(ExitUsage, "", "--release says which version is deployed")
	}
	p, facts, err := s.bind(ctx, f)
	if err != nil {
		return "", err
	}
	if err := s.cautions.Write(o.Err); err != nil {
		return "", err
	}
	if missing := p.Missing(); len(missing) > 0 {
		return "", fail(ExitUsage, strings.Join(needed(s.environment, missing), "; "), "needs: %s (allclear plan %s shows where)", strings.Join(missing, ", "), s.environment)
	}
	starter, err := o.person(s)
	if err != nil {
		return "", err
	}
	if err := o.confirm(ctx, s, p, accept); err != nil {
		return "", err
	}
	now := time.Now().UTC()
	started := run.Event{
		Type: run.RunStarted, At: now, Actor: starter, Plan: p, Facts: facts, Epoch: 1,
		Run: fmt.Sprintf("%s-%s-%s", s.environment, now.Format("20060102-150405"), newRequestID()[:4]),
		Artefacts: []run.Artefact{
			{Name: s.cfg.Checklist, SHA256: p.Checklist, Size: int64(len(s.listText))},
			{Name: "allclear.yaml", SHA256: p.Config, Size: int64(len(s.cfgText))},
		},
	}
	if err := prepare(s, started); err != nil {
		return "", err
	}
	return started.Run, launch(ctx, s, started.Run)
}

// takeUp goes on with an open run of the same release.
func (o *options) takeUp(ctx context.Context, s *site, state *run.State, f planFlags) (string, error) {
	if f.release != "" && f.release != state.Plan.Release.Version {
		return "", fail(ExitLocked, fmt.Sprintf("allclear status %s; end it with abort or rollback", s.environment),
			"run %s of %s, started by %s %s ago, is open", state.Run, state.Plan.Release.Version, state.Starter, took(time.Since(state.StartedAt)))
	}
	return state.Run, ensureDriven(ctx, s, state)
}

// blockedBy refuses a new run while the review of an emergency is owed.
func blockedBy(state *run.State) error {
	if !state.Closed || !state.Emergency || state.Facts["emergency.reviewed"] != "" {
		return nil
	}
	return fail(ExitNotAllowed, fmt.Sprintf("allclear adopt %s %s --review TEXT closes it", state.Plan.Environment, orText(state.Plan.Previous.Version, "VERSION")),
		"the emergency rollback of run %s by %s has not been reviewed", state.Run, state.RollbackBy)
}

func watchCommand(o *options) *cobra.Command {
	var exitStatus, fullScreen bool
	var u outputs
	cmd := &cobra.Command{
		Use: "watch ENV", Short: "show the run live; Ctrl-C ends the view only", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := u.check(); err != nil {
				return err
			}
			s, err := o.site(first(args))
			if err != nil {
				return err
			}
			if fullScreen {
				return o.browseRun(cmd.Context(), s)
			}
			return o.watchRun(cmd.Context(), s, "", exitStatus, u)
		},
	}
	u.addReports(cmd.Flags())
	cmd.Flags().BoolVar(&fullScreen, "full", false, "on the full screen, with keys to look around; ? lists them")
	cmd.Flags().BoolVar(&exitStatus, "exit-status", false, "stay until the run is over and end with its exit code")
	return cmd
}

// browseRun shows a run on the full screen. Leaving it leaves the run alone.
func (o *options) browseRun(ctx context.Context, s *site) error {
	if !o.interactive() || o.screenReader {
		return fail(ExitUsage, "without --full the run is told in lines", "--full needs a terminal")
	}
	f, err := o.openRun(ctx, s, "")
	if err != nil {
		return err
	}
	defer f.close()
	if err := o.browse(ctx, s, f); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if f.state.Closed {
		return quiet(exitOf(&f.state))
	}
	fmt.Fprintf(o.Err, "the run goes on; allclear watch %s shows it again\n", s.environment)
	return quiet(ExitInterrupted)
}

// watchRun shows a run until it is over. Without a person to ask it ends as soon
// as the run waits for one.
func (o *options) watchRun(ctx context.Context, s *site, id string, stay bool, u outputs) error {
	f, err := o.openRun(ctx, s, id)
	if err != nil {
		return err
	}
	defer f.close()
	v := o.newView()
	switch {
	case id != "": // it has just been started or taken up: its story from the start
		f.rewind()
	case !v.live && !v.speak:
		o.writeStatus(&f.state, true)
	}
	err = v.follow(ctx, f, func(state *run.State) bool {
		return state.Closed || (!stay && !v.live && stuck(state))
	})
	if errors.Is(err, context.Canceled) {
		fmt.Fprintf(o.Err, "the run goes on; allclear watch %s shows it again\n", s.environment)
		return quiet(ExitInterrupted)
	}
	if err != nil {
		return err
	}
	if err := v.conclude(&f.state, s.listPath()); err != nil {
		return err
	}
	if !f.state.Closed {
		fmt.Fprintln(o.Out, f.state.Advise())
	}
	if err := o.writeRun(&f.state, s, u); err != nil {
		return err
	}
	return quiet(exitOf(&f.state))
}

// writeRun writes the reports of a run as it stands.
func (o *options) writeRun(state *run.State, s *site, u outputs) error {
	if len(u.reports) == 0 {
		return nil
	}
	set, err := report.Results(state, s.listPath())
	if err != nil {
		return err
	}
	_, err = u.write(o, set)
	return err
}

// stuck reports whether nothing goes on until a person does something.
func stuck(s *run.State) bool {
	switch s.Status() {
	case run.RunHeld, run.RunInDoubt, run.RunPaused, run.RunWaiting:
		return !s.Busy()
	}
	return false
}

// exitOf gives the exit code for how a run stands.
func exitOf(s *run.State) int {
	switch s.Status() {
	case run.RunDone:
		return ExitOK
	case run.RunRolledBack:
		return ExitRolledBack
	case run.RunAborted:
		return ExitFailed
	case run.RunInDoubt:
		return ExitInDoubt
	case run.RunWaiting, run.RunPaused:
		return ExitWaiting
	case run.RunHeld:
		return exitOfHold(s)
	}
	return ExitOK
}

// exitOfHold tells a failure from not knowing, and a rollback that failed from
// both.
func exitOfHold(s *run.State) int {
	if s.Rollback {
		return ExitInDoubt
	}
	code := ExitInconclusive
	for _, i := range s.Blocking() {
		if s.Items[i].Status != run.Inconclusive {
			code = ExitFailed
		}
	}
	return code
}

func (o *options) openRun(ctx context.Context, s *site, id string) (*follower, error) {
	f, err := openRun(ctx, s.dataDir, id)
	if errors.Is(err, errNoRun) {
		return nil, fail(ExitUsage, fmt.Sprintf("allclear run %s --release VERSION starts one", s.environment), "%v in %s", err, s.environment)
	}
	return f, err
}

func statusCommand(o *options) *cobra.Command {
	var short bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "status ENV", Short: "one screen; the exit code tells the state", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := o.site(first(args))
			if err != nil {
				return err
			}
			f, err := o.openRun(cmd.Context(), s, "")
			if err != nil {
				return err
			}
			defer f.close()
			if err := o.waitFor(cmd.Context(), f, wait); err != nil {
				return err
			}
			o.writeStatus(&f.state, short)
			if !f.state.Closed && !engine.Alive(s.dataDir) {
				fmt.Fprintf(o.Err, "allclear: hint: no process drives this run; allclear run %s takes it up\n", s.environment)
			}
			return quiet(exitOf(&f.state))
		},
	}
	cmd.Flags().BoolVar(&short, "short", false, "one line, for prompts")
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait this long until the run is over or needs a person")
	cmd.Flags().BoolVar(&o.json, "json", false, "write JSON")
	return cmd
}

func (o *options) waitFor(ctx context.Context, f *follower, wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	quietView := &view{out: io.Discard, last: time.Now(), paper: o.paper, clock: time.Now, told: map[string]time.Time{}}
	err := quietView.follow(ctx, f, func(s *run.State) bool { return s.Closed || stuck(s) })
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

func (o *options) writeStatus(s *run.State, short bool) {
	switch {
	case o.json:
		writeStatusJSON(o.Out, s)
	case short:
		fmt.Fprintf(o.Out, "%s %s %s: %s\n", s.Plan.Environment, s.Plan.Release.Version, s.Status(), s.Advise())
	case o.screenReader:
		fmt.Fprintln(o.Out, strings.Join(speak(s), "\n"))
	default:
		p := o.paper()
		p.height = 0 // it is printed once and may scroll
		fmt.Fprintln(o.Out, strings.Join(screen(s, p, time.Now()), "\n"))
	}
}
