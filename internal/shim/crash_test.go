package shim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runnerMain starts attempts one after the other until it is killed or has done
// all of them: args are root, ledger, the last attempt's number.
func runnerMain(args []string) int {
	last, err := strconv.Atoi(args[2])
	if err != nil {
		return 1
	}
	fault := faultFrom(os.Getenv("SHIM_TEST_RUNNER_FAULT"))
	for n := 1; n <= last; n++ {
		j := job{Do: "effect", File: args[1], Text: number(n).String()}
		a, err := start(context.Background(), args[0], number(n), j.bytes(), Options{}, fault)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if _, state, err := a.Wait(context.Background()); err != nil || state != Finished {
			fmt.Fprintln(os.Stderr, a.ID, state, err)
			return 1
		}
	}
	return 0
}

// TestRunnerKilledAtRandom is scenario F01 and F04, and a part of F03: whatever
// the moment, nothing is lost, done twice or in doubt.
func TestRunnerKilledAtRandom(t *testing.T) {
	const kills, attempts = 200, 600
	root, book := t.TempDir(), filepath.Join(t.TempDir(), "ledger")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	count := map[State]int{}
	for range kills {
		cmd := exec.Command(os.Args[0], runnerVerb, root, book, strconv.Itoa(attempts))
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The moment of the kill is the random input, not a wait for something.
		time.Sleep(time.Duration(random.IntN(15_000)) * time.Microsecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		a, before := newest(t, root, attempts)
		count[before]++
		_, state, err := a.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if effects := ledger(t, book, a.ID.String()); (state == Finished) != (effects == 1) || effects > 1 || state == InDoubt {
			t.Fatalf("attempt %s is %s and had its effect %d times", a.ID, state, effects)
		}
	}
	for n := 1; n <= attempts; n++ {
		_, state, err := Open(root, number(n))
		effects := ledger(t, book, number(n).String())
		if err != nil || (state != Finished || effects != 1) && (state != NeverStarted || effects != 0) {
			t.Fatalf("attempt %d is %s, %v, and had its effect %d times", n, state, err, effects)
		}
	}
	t.Logf("newest attempt right after the kill: %v", count)
}

// newest gives the attempt that a killed runner was busy with.
func newest(t *testing.T, root string, attempts int) (*Attempt, State) {
	t.Helper()
	for n := attempts; n > 1; n-- {
		a, err := locate(root, number(n))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(a.Path); err == nil {
			state, err := a.State()
			if err != nil {
				t.Fatal(err)
			}
			return a, state
		}
	}
	a, state, err := Open(root, number(1))
	if err != nil {
		t.Fatal(err)
	}
	return a, state
}

func TestRunnerKilledAtEveryPoint(t *testing.T) {
	for point, want := range map[string]State{
		"before intent": NeverStarted, "after intent": NeverStarted, "before spawn": NeverStarted, "after spawn": Finished,
	} {
		t.Run(point, func(t *testing.T) {
			root, book := t.TempDir(), filepath.Join(t.TempDir(), "ledger")
			cmd := exec.Command(os.Args[0], runnerVerb, root, book, "1")
			cmd.Env = append(os.Environ(), "SHIM_TEST_RUNNER_FAULT="+point)
			if err := cmd.Run(); cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the runner ended with %v", err)
			}
			a, _, err := Open(root, number(1))
			if err != nil {
				t.Fatal(err)
			}
			finish(t, a, want)
			j := job{Do: "effect", File: book, Text: number(1).String()}
			finish(t, begin(t, root, number(1), j, Options{}), Finished)
			if n := ledger(t, book, number(1).String()); n != 1 {
				t.Errorf("the effect happened %d times", n)
			}
		})
	}
}

// TestShimKilledAtEveryPoint is scenario F02: without the shim nobody knows, and
// that is what the state says.
func TestShimKilledAtEveryPoint(t *testing.T) {
	for point, want := range map[string]struct {
		state   State
		effects int
	}{
		"entered": {NeverStarted, 0}, "before started": {NeverStarted, 0}, "sync started": {InDoubt, 0}, "after started": {InDoubt, 0},
		"handler returned": {InDoubt, 1}, "before result": {InDoubt, 1}, "after result": {Finished, 1},
	} {
		t.Run(point, func(t *testing.T) {
			root, book := t.TempDir(), filepath.Join(t.TempDir(), "ledger")
			j := job{Do: "effect", File: book, Text: "x"}
			finish(t, begin(t, root, number(1), j, Options{Env: env(point)}), want.state)
			if n := ledger(t, book, "x"); n != want.effects {
				t.Errorf("the effect happened %d times, want %d", n, want.effects)
			}
			after := want.state
			if after == NeverStarted {
				after = Finished
			}
			finish(t, begin(t, root, number(1), j, Options{}), after)
			if n := ledger(t, book, "x"); n > 1 {
				t.Errorf("a second start had the effect %d times", n)
			}
		})
	}
}

func TestFullDisk(t *testing.T) {
	t.Run("before the handler nothing happens", func(t *testing.T) {
		root, book := t.TempDir(), filepath.Join(t.TempDir(), "ledger")
		j := job{Do: "effect", File: book, Text: "x"}
		a := begin(t, root, number(1), j, Options{Env: env("fail:sync started")})
		_, state, err := a.Wait(t.Context())
		if state != NeverStarted || err == nil || ledger(t, book, "x") != 0 {
			t.Fatalf("%s, %v", state, err)
		}
		finish(t, begin(t, root, number(1), j, Options{}), Finished)
	})
	t.Run("after the handler the result is kept", func(t *testing.T) {
		a := begin(t, t.TempDir(), number(1), job{Do: "nothing"}, Options{Env: env("fail:before result")})
		finish(t, a, Finished)
	})
}

// TestChildOutlivesShim: while the command runs the attempt does, with or
// without the lock.
func TestChildOutlivesShim(t *testing.T) {
	for name, script := range map[string]string{
		"holding the lock":  "read line < $0",
		"having closed it":  "exec 64>&-; read line < $0",
		"in its own group":  "set -m; (exec 64>&-; read line < $0) & wait",
		"as a daemon of it": "setsid sh -c 'read line < $0' $0 & wait",
	} {
		t.Run(name, func(t *testing.T) {
			fifo := filepath.Join(t.TempDir(), "fifo")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			a := begin(t, t.TempDir(), number(1), job{Do: "run", Argv: []string{"bash", "-c", "echo up; " + script, fifo}}, Options{})
			until(t, "the command runs", func() bool { return read(t, a, 0) == "up\n" })
			writer := openFIFO(t, fifo)
			kill(t, a)
			if state, err := a.State(); err != nil || state != Running {
				t.Errorf("with the command alive: %s, %v", state, err)
			}
			writer.Close()
			finish(t, a, InDoubt)
		})
	}
}

// openFIFO waits for the reader of a fifo.
func openFIFO(t *testing.T, path string) *os.File {
	t.Helper()
	var file *os.File
	until(t, "the fifo is read", func() (ready bool) {
		var err error
		file, err = os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		return err == nil
	})
	t.Cleanup(func() { file.Close() })
	return file
}

// kill kills the shim alone and waits until it is gone.
func kill(t *testing.T, a *Attempt) {
	t.Helper()
	known, err := readContents(a.Path)
	if err != nil || known.started == nil {
		t.Fatal(known, err)
	}
	leader := known.started
	if err := syscall.Kill(leader.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-a.done
	until(t, "the shim is gone", func() bool { _, alive := readStat(leader.PID); return !alive })
}

// TestReboot is scenario F05. The boot id is the only thing that a restart of the
// machine changes besides ending every process.
func TestReboot(t *testing.T) {
	root, book := t.TempDir(), filepath.Join(t.TempDir(), "ledger")
	a := begin(t, root, number(1), job{Do: "effect, then hang", File: book, Text: "x"}, Options{})
	until(t, "the effect happened", func() bool { return ledger(t, book, "x") == 1 })
	kill(t, a)
	after, _, err := Open(root, number(1))
	if err != nil {
		t.Fatal(err)
	}
	// Somebody else has the pid now, in the new boot even with equal ticks.
	me, err := self()
	if err != nil {
		t.Fatal(err)
	}
	writeStarted(t, a, started{Process: me, BootID: a.boot})
	after.boot = "another boot"
	if state, err := after.State(); err != nil || state != InDoubt {
		t.Errorf("after the restart: %s, %v", state, err)
	}
	// A loss of power can leave the name without the content.
	rewrite(t, a, "\x00\x00\x00")
	if state, err := after.State(); err != nil || state != InDoubt {
		t.Errorf("with a torn line: %s, %v", state, err)
	}
}

func TestReusedPIDIsNotTheShim(t *testing.T) {
	a := begin(t, t.TempDir(), number(1), job{Do: "effect, then hang", File: filepath.Join(t.TempDir(), "l"), Text: "x"}, Options{})
	until(t, "the shim began", func() bool { known, err := readContents(a.Path); return err == nil && known.started != nil })
	kill(t, a)
	other := exec.Command("sleep", "60")
	other.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	now, alive := readStat(other.Process.Pid)
	if !alive {
		t.Fatal("the other process ended")
	}
	writeStarted(t, a, started{Process: now.Process, BootID: a.boot})
	if state, err := a.State(); err != nil || state != Running {
		t.Fatalf("with the same start time: %s, %v", state, err)
	}
	now.Ticks--
	writeStarted(t, a, started{Process: now.Process, BootID: a.boot})
	if state, err := a.State(); err != nil || state != InDoubt {
		t.Errorf("with another start time: %s, %v", state, err)
	}
}

// awaitEnd waits until nothing of an attempt is left: its result is stored a moment
// before its process ends.
func awaitEnd(t *testing.T, a *Attempt) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		lock, err := a.takeLock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if lock != nil {
			lock.Close()
			return
		}
	}
	t.Fatal("the attempt's lock is never free")
}

func TestMalformedResultIsNoResult(t *testing.T) {
	root := t.TempDir()
	a := begin(t, root, number(1), job{Do: "nothing"}, Options{})
	finish(t, a, Finished)
	awaitEnd(t, a)
	start := line(t, record{Started: &started{}})
	for _, text := range []string{"\n", "{\n", "{}\n", line(t, record{Result: &Result{ID: number(2)}})} {
		rewrite(t, a, start+text)
		if _, state, err := Open(root, number(1)); err == nil || state != InDoubt {
			t.Errorf("%q: %s, %v", text, state, err)
		}
	}
	rewrite(t, a, start+strings.TrimSuffix(line(t, record{Result: &Result{ID: number(1)}}), "\n"))
	if _, state, err := Open(root, number(1)); err != nil || state != InDoubt {
		t.Errorf("torn: %s, %v", state, err)
	}
}

// TestTornIntentIsReplaced: a runner that is killed, or a machine that loses
// power, while the intent is written leaves an attempt that can be started.
func TestTornIntentIsReplaced(t *testing.T) {
	for _, text := range []string{"", "{\"intent\":{\"id\"", "\x00\x00\n"} {
		root := t.TempDir()
		path, err := number(1).path(root)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(makeDir(filepath.Dir(path)), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, state, err := Open(root, number(1)); err != nil || state != NeverStarted {
			t.Errorf("%q: %s, %v", text, state, err)
		}
		finish(t, begin(t, root, number(1), job{Do: "nothing"}, Options{}), Finished)
	}
}

// line writes a record as the attempt file has it.
func line(t *testing.T, one record) string {
	t.Helper()
	data, err := json.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	return string(data) + "\n"
}

// rewrite keeps the intent and replaces everything after it.
func rewrite(t *testing.T, a *Attempt, rest string) {
	t.Helper()
	data, err := os.ReadFile(a.Path)
	if err != nil {
		t.Fatal(err)
	}
	intent, _, _ := strings.Cut(string(data), "\n")
	if err := os.WriteFile(a.Path, []byte(intent+"\n"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
}

func writeStarted(t *testing.T, a *Attempt, s started) {
	t.Helper()
	rewrite(t, a, line(t, record{Started: &s}))
}
