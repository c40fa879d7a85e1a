package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"allclear.dev/allclear/internal/engine"
	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/journal/sqlite"
	"allclear.dev/allclear/internal/run"
	"allclear.dev/allclear/internal/shim"
)

// probeGap is the time between the two probes of an action in doubt that must
// agree.
const probeGap = 5 * time.Second

// driveCommand is the process that drives one run. It is started by run and by
// every verb that finds none; people do not call it.
func driveCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: driveVerb + " ENV DATADIR RUN", Hidden: true, Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			ready := os.NewFile(3, "ready")
			err := drive(cmd.Context(), o, args[0], args[1], args[2], func() { say(ready, "ok\n") })
			if err != nil {
				f, ok := errors.AsType[*failure](err)
				if !ok {
					f = &failure{code: ExitStorage, err: err}
				}
				say(ready, fmt.Sprintf("%d\n%v\n%s", f.code, f.err, f.hint))
			}
			return err
		},
	}
}

// say writes to the starter, who may be gone.
func say(ready *os.File, text string) {
	if ready == nil {
		return
	}
	_, _ = io.WriteString(ready, text)
	_ = ready.Close()
}

func drive(ctx context.Context, o *options, environment, dataDir, id string, ready func()) error {
	signal.Ignore(os.Interrupt, syscall.SIGHUP, syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	s, err := frozenSite(o, environment, dataDir, id)
	if err != nil {
		return err
	}
	log, err := sqlite.Open(ctx, dataDir, sqlite.Options{})
	if err != nil {
		return openFailure(err)
	}
	defer log.Close()
	lease, err := s.acquireLease(ctx, id)
	if err != nil {
		return err
	}
	defer s.releaseLease(lease)
	if err := beginOnce(ctx, log, dataDir, id, lease); err != nil {
		return err
	}
	world, err := s.world()
	if err != nil {
		return err
	}
	eng := engine.New(engine.Options{
		World: world, Log: log, Run: id, Attempts: filepath.Join(dataDir, "attempts"),
		Shim: shim.Options{}, Lease: lease, Open: s.openEnvironment, Notify: s.notifier(world, filepath.Join(runFolder(dataDir, id), "notices")),
		BypassToken: s.bypassToken(), ProbeGap: probeGap, Verify: s.verifySignature,
	})
	serving := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	go func() { serving <- eng.ServeControl(ctx, dataDir, ready) }()
	state, err := eng.Drive(ctx)
	cancel()
	if serveErr := <-serving; err == nil {
		err = serveErr
	}
	if state.Closed && err == nil {
		return nil
	}
	return err
}

func openFailure(err error) error {
	if errors.Is(err, journal.ErrLocked) {
		return fail(ExitLocked, "allclear status shows the run", "%v", err)
	}
	return fail(ExitStorage, "allclear verify looks at the record", "%v", err)
}

// beginOnce appends the run's first event unless that was done before.
func beginOnce(ctx context.Context, log journal.Log, dataDir, id string, lease engine.Lease) error {
	tail, err := log.Tail(ctx, id)
	if err != nil {
		return fmt.Errorf("read the run's end: %w", err)
	}
	if tail.Seq > 0 {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(runFolder(dataDir, id), startFile))
	if err != nil {
		return fmt.Errorf("read the run's start: %w", err)
	}
	var started run.Event
	if err := json.Unmarshal(text, &started); err != nil {
		return fmt.Errorf("read the run's start: %w", err)
	}
	if lease != nil {
		started.Epoch = lease.Token()
	}
	return engine.Begin(ctx, log, started)
}

// runJob does an action in the process that its attempt has for itself.
func runJob(ctx context.Context, text []byte, out io.Writer) ([]byte, error) {
	var job engine.Job
	if err := json.Unmarshal(text, &job); err != nil {
		return nil, fmt.Errorf("read job: %w", err)
	}
	world := newWorld(job.Dir, job.DataDir, job.Bypass)
	world.Hosts = job.Hosts
	if err := resolveBypass(ctx, world, job.BypassToken, job.Maintenance); err != nil {
		return nil, err
	}
	state := &run.State{Run: job.Info.ID, Facts: job.Facts, Plan: &run.Plan{Environment: job.Info.Environment}}
	ledger := &engine.Ledger{Environment: job.Info.Environment, State: state,
		Open: func(ctx context.Context, environment string) (journal.Reader, error) {
			if environment != job.Info.Environment {
				return nil, fmt.Errorf("an action sees only the record of its own environment")
			}
			return sqlite.OpenReadOnly(ctx, job.DataDir)
		},
		Own: func(ctx context.Context) (run.State, error) {
			log, err := sqlite.OpenReadOnly(ctx, job.DataDir)
			if err != nil {
				return run.State{}, err
			}
			defer log.Close()
			return replay(ctx, log, job.Info.ID)
		}}
	return engine.Execute(ctx, world, text, out, ledger)
}
