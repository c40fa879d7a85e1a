package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"allclear.dev/allclear/internal/engine"
	"allclear.dev/allclear/internal/run"
)

// driveVerb is the hidden verb of the process that drives a run.
const driveVerb = "__drive"

// Files of a run's folder in the data directory: everything that its process
// needs, frozen when the run starts.
const (
	startFile     = "start.json"
	configFile    = "allclear.yaml"
	policyFile    = "policy.yaml"
	checklistFile = "checklist.md"
	driveLog      = "drive.log"
)

// errNoRun means that an environment has no run.
var errNoRun = errors.New("there is no run")

// launchTime bounds how long a run's process may take to say that it drives.
const launchTime = 30 * time.Second

func runFolder(dataDir, id string) string { return filepath.Join(dataDir, "runs", id) }

// prepare writes a run's folder.
func prepare(s *site, started run.Event) error {
	text, err := json.Marshal(started)
	if err != nil {
		return fmt.Errorf("encode the run's start: %w", err)
	}
	dir := runFolder(s.dataDir, started.Run)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create the run's folder: %w", err)
	}
	files := map[string][]byte{startFile: text, configFile: s.cfgText, checklistFile: s.listText}
	if s.policyText != nil {
		files[policyFile] = s.policyText
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return fmt.Errorf("write the run's folder: %w", err)
		}
	}
	return nil
}

// launch starts the process that drives a run, detached from this one, and waits
// until it says that it drives, or why it cannot.
func launch(ctx context.Context, s *site, id string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(runFolder(s.dataDir, id), driveLog), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the run's log: %w", err)
	}
	defer log.Close()
	ready, tell, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("create pipe: %w", err)
	}
	defer ready.Close()
	cmd := exec.Command(self, driveVerb, "-C", s.root, s.environment, s.dataDir, id)
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{tell}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	tell.Close()
	if err != nil {
		return fmt.Errorf("start the run's process: %w", err)
	}
	defer func() { _ = cmd.Process.Release() }()
	return awaitReady(ctx, ready)
}

// awaitReady reads "ok", or an exit code, the reason and a hint.
func awaitReady(ctx context.Context, ready *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, launchTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = ready.SetReadDeadline(time.Now()) })
	defer stop()
	text, err := io.ReadAll(io.LimitReader(bufio.NewReader(ready), 64<<10))
	first, rest, _ := strings.Cut(string(text), "\n")
	if first == "ok" {
		return nil
	}
	code, bad := strconv.Atoi(first)
	if bad != nil {
		return fail(ExitStorage, "its log has the rest", "the run's process did not start: %v", errors.Join(err, ctx.Err()))
	}
	reason, hint, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	return &failure{code: code, err: errors.New(reason), hint: hint}
}

// ensureDriven makes sure that a process drives the environment's open run.
func ensureDriven(ctx context.Context, s *site, state *run.State) error {
	if state.Closed {
		return fail(ExitUsage, "", "the run %s is over: %s", state.Run, state.Result)
	}
	if engine.Alive(s.dataDir) {
		return nil
	}
	return launch(ctx, s, state.Run)
}

// request hands what a person does to the run's process, starting it if none is
// there.
func request(ctx context.Context, s *site, state *run.State, event run.Event) error {
	if state.Closed {
		return fail(ExitUsage, "", "the run %s is over: %s", state.Run, state.Result)
	}
	if err := run.Refuse(state, event); err != nil {
		return fail(ExitNotAllowed, "", "%v", err)
	}
	if err := ensureDriven(ctx, s, state); err != nil {
		return err
	}
	event.Request = newRequestID()
	err := engine.Request(ctx, s.dataDir, event)
	if refused, ok := errors.AsType[*engine.Refused](err); ok {
		return fail(ExitNotAllowed, "", "%v", refused)
	}
	if err != nil {
		return fail(ExitStorage, "look with allclear status whether it was accepted", "%v", err)
	}
	return nil
}
