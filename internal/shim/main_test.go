package shim

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary plays three parts: the tests, the shim (Verb), and a runner
// that the tests kill (runnerVerb).
const runnerVerb = "__runner"

// faultVariable names the point at which a shim or a runner kills itself; with
// "fail:" before it, the point reports a full disk once instead.
const faultVariable = "SHIM_TEST_FAULT"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case Verb:
			os.Exit(serve(os.Args[2:], os.Stdin, act, faultFrom(os.Getenv(faultVariable))))
		case runnerVerb:
			os.Exit(runnerMain(os.Args[2:]))
		}
	}
	os.Exit(m.Run())
}

func faultFrom(wanted string) at {
	failing, fails := strings.CutPrefix(wanted, "fail:")
	return func(point string) error {
		switch {
		case fails && point == failing:
			fails = false
			return syscall.ENOSPC
		case point == wanted:
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	}
}

// job is what the test's handler can do.
type job struct {
	Do   string
	File string
	Text string
	Argv []string
	Size int64
}

func (j job) bytes() []byte {
	data, err := json.Marshal(j)
	if err != nil {
		panic(err)
	}
	return data
}

// act is the handler of the test's shim.
func act(ctx context.Context, data []byte, out io.Writer) ([]byte, error) {
	var j job
	if err := json.Unmarshal(data, &j); err != nil {
		return nil, err
	}
	switch j.Do {
	case "nothing":
		return nil, nil
	case "effect":
		return []byte("done"), appendLine(j.File, j.Text)
	case "effect, then hang":
		if err := appendLine(j.File, j.Text); err != nil {
			return nil, err
		}
		select {}
	case "run":
		cmd := Command(ctx, j.Argv[0], j.Argv[1:]...)
		cmd.Stdout, cmd.Stderr = out, out
		return nil, cmd.Run()
	case "leave":
		cmd := exec.Command(j.Argv[0], j.Argv[1:]...)
		return nil, cmd.Start()
	case "flood":
		return nil, flood(out, j.Size)
	case "stdin":
		sum := sha256.Sum256(Stdin(ctx))
		return sum[:], nil
	case "panic":
		panic("secret-in-a-panic")
	case "fault":
		var none []int
		return nil, fmt.Errorf("%d", none[len(j.Argv)])
	case "long result":
		return make([]byte, MaxResult+1), nil
	case "fail":
		return []byte("half"), errors.New(j.Text)
	}
	return nil, fmt.Errorf("cannot %q", j.Do)
}

func appendLine(path, text string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text + "\n")
	return errors.Join(err, file.Close())
}

func flood(out io.Writer, size int64) error {
	chunk := []byte(strings.Repeat("x", 1<<20))
	for ; size > 0; size -= int64(len(chunk)) {
		if _, err := out.Write(chunk[:min(size, int64(len(chunk)))]); err != nil {
			return err
		}
	}
	return nil
}

// ledger counts the lines of a file that equal text.
func ledger(t *testing.T, path, text string) int {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	count := 0
	for line := range strings.Lines(string(data)) {
		if line == text+"\n" {
			count++
		}
	}
	return count
}

func number(n int) ID { return ID{Run: "r1", Item: "deploy.migrate", Target: "web-1", Attempt: n} }

// begin starts an attempt that must start.
func begin(t *testing.T, root string, id ID, j job, opts Options) *Attempt {
	t.Helper()
	a, err := Start(t.Context(), root, id, j.bytes(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// finish waits for an attempt that must end in the state wanted.
func finish(t *testing.T, a *Attempt, want State) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	result, state, err := a.Wait(ctx)
	if err != nil || state != want {
		t.Fatalf("attempt %s is %s, %v; want %s", a.ID, state, err, want)
	}
	return result
}

// until waits for what another process is about to bring about.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("waited in vain until %s", what)
}

// env is this process's environment and one fault.
func env(fault string) []string { return append(os.Environ(), faultVariable+"="+fault) }
