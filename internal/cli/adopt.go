package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"allclear.dev/allclear/internal/run"
)

func adoptCommand(o *options) *cobra.Command {
	var revision, review string
	cmd := &cobra.Command{
		Use: "adopt ENV VERSION", Short: "record which version is live, without deploying it", Args: cobra.ExactArgs(2),
		Long: `adopt records what is live now, for the first deployment or after a change that
was made outside allclear. After an emergency rollback it also carries the review
that the next run waits for.

  $ allclear adopt production 1.3.9
  $ allclear adopt production 1.3.9 --review "cause found, OPS-412; nothing lost"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := o.site(args[0])
			if err != nil {
				return err
			}
			who, err := o.person(s)
			if err != nil {
				return err
			}
			facts := map[string]string{"adopted": args[1]}
			f, err := openRun(cmd.Context(), s.dataDir, "")
			if err != nil && !errors.Is(err, errNoRun) {
				return err
			}
			if err == nil {
				defer f.close()
				if err := mayAdopt(s, &f.state, review); err != nil {
					return err
				}
			}
			if review != "" {
				facts["emergency.reviewed"] = review
			}
			now := time.Now().UTC()
			started := run.Event{
				Type: run.RunStarted, At: now, Actor: who, Facts: facts, Epoch: 1,
				Run: fmt.Sprintf("%s-%s-adopt", s.environment, now.Format("20060102-150405")),
				Plan: &run.Plan{
					Project: s.cfg.Project, Environment: s.environment, Release: run.Release{Version: args[1], Revision: revision},
					Config: s.cfg.Digest, Policy: s.cfg.PolicyDigest,
				},
			}
			if err := prepare(s, started); err != nil {
				return err
			}
			if err := launch(cmd.Context(), s, started.Run); err != nil {
				return err
			}
			if err := untilClosed(cmd.Context(), s, started.Run); err != nil {
				return err
			}
			fmt.Fprintf(o.Out, "%s of %s is recorded as live in %s\n", args[1], s.cfg.Project, s.environment)
			return nil
		},
	}
	cmd.Flags().StringVar(&revision, "revision", "", "its commit")
	cmd.Flags().StringVar(&review, "review", "", "the review of an emergency rollback")
	return cmd
}

const (
	// adoptTime bounds how long a run without items is waited for, adoptLook is the
	// pause between two looks at its record.
	adoptTime = time.Minute
	adoptLook = 10 * time.Millisecond
)

// untilClosed waits until a run that has nothing to do is over, so that the next
// one can begin at once.
func untilClosed(ctx context.Context, s *site, id string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, adoptTime, fail(ExitInconclusive, "allclear status ENV shows how it stands", "run %s is not over after %s", id, adoptTime))
	defer cancel()
	for {
		f, err := openRun(ctx, s.dataDir, id)
		if err != nil {
			return err
		}
		closed := f.state.Closed
		f.close()
		if closed {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(adoptLook):
		}
	}
}

// mayAdopt refuses while a run is open, and after an emergency without a review.
func mayAdopt(s *site, newest *run.State, review string) error {
	if !newest.Closed {
		return fail(ExitLocked, "end it first", "run %s is open", newest.Run)
	}
	if blockedBy(newest) != nil && strings.TrimSpace(review) == "" {
		return fail(ExitNotAllowed, "--review TEXT carries it", "the emergency rollback of run %s has not been reviewed", newest.Run)
	}
	return nil
}
