package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"allclear.dev/allclear/internal/cli"
	"allclear.dev/allclear/internal/engine"
	"allclear.dev/allclear/internal/mail/mailtest"
	"allclear.dev/allclear/internal/postgres/postgrestest"
)

func TestMain(m *testing.M) {
	testscript.Main(withPostgres{m}, map[string]func(){
		"allclear": func() {
			os.Exit(cli.Main(os.Args, cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
		},
	})
}

// withPostgres gives the tests, and not the programs they start, a server.
type withPostgres struct{ m *testing.M }

func (w withPostgres) Run() int { return postgrestest.Main(w.m) }

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		RequireExplicitExec: false,
		Setup: func(env *testscript.Env) error {
			env.Setenv("SITE", serveSite(t, filepath.Join(env.WorkDir, "maintenance.flag")))
			env.Setenv("DATABASE_URL", postgrestest.Start(t))
			env.Setenv("SMTP_PORT", serveMail(t, env.WorkDir))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("COLUMNS", "80")
			env.Setenv("LANG", "C.UTF-8")
			env.Setenv("USER", "eve")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"killdrive": killDrive, "exitcode": exitCode, "waituntil": waitUntil, "waitlines": waitLines, "killshim": killShim,
		},
	})
}

// serveSite is a site that shows its maintenance page while a file is there.
func serveSite(t *testing.T, flag string) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := os.Stat(flag); err == nil {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// serveMail is a mail server that writes down who got a message in the file mails,
// and refuses gone@example.com until there is a file moved-in.
func serveMail(t *testing.T, dir string) string {
	s := mailtest.New(t, mailtest.Options{
		Rcpt: func(to string) error {
			if _, err := os.Stat(filepath.Join(dir, "moved-in")); to == "gone@example.com" && err != nil {
				return mailtest.Say(550, "no such user")
			}
			return nil
		},
		Data: func(to string) error {
			f, err := os.OpenFile(filepath.Join(dir, "mails"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(f, to)
			return errors.Join(err, f.Close())
		},
	})
	return strconv.Itoa(s.Port)
}

// killDrive kills the process that drives the run of a data directory.
func killDrive(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(filepath.Join(args[0], "lock"))
	var holder struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal([]byte(text), &holder); err != nil || holder.PID == 0 {
		ts.Fatalf("who holds %s? %q %v", args[0], text, err)
	}
	ts.Check(syscall.Kill(holder.PID, syscall.SIGKILL))
	dir := ts.MkAbs(args[0])
	for end := time.Now().Add(10 * time.Second); engine.Alive(dir); {
		if time.Now().After(end) {
			ts.Fatalf("process %d is still there", holder.PID)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// exitCode runs allclear and wants this exit code: exitcode 3 status test.
func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("allclear", args[1:]...)
	got := "0"
	if err != nil {
		got = err.Error()[len("exit status "):]
	}
	if got != args[0] {
		ts.Fatalf("allclear %v: exit code %s, want %s", args[1:], got, args[0])
	}
}

// waitUntil waits until status of an environment shows a text.
func waitUntil(ts *testscript.TestScript, _ bool, args []string) {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_ = ts.Exec("allclear", "status", args[0], "--short")
		out := ts.ReadFile("stdout")
		if bytes.Contains([]byte(out), []byte(args[1])) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("status never showed %q, but %q", args[1], out)
		}
	}
}

// waitLines waits until a file has this many lines.
func waitLines(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		text, _ := os.ReadFile(path)
		if fmt.Sprint(bytes.Count(text, []byte("\n"))) == args[1] {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%s never had %s lines, but holds %q", args[0], args[1], text)
		}
	}
}

// killShim kills the processes that the attempts of a data directory say were
// started, with all that belongs to their sessions.
func killShim(ts *testscript.TestScript, _ bool, args []string) {
	killed := 0
	ts.Check(filepath.WalkDir(filepath.Join(ts.MkAbs(args[0]), "attempts"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		for _, line := range bytes.Split(text, []byte("\n")) {
			var started struct {
				Started struct {
					PID int `json:"pid"`
				} `json:"started"`
			}
			if json.Unmarshal(line, &started) == nil && started.Started.PID > 0 {
				killed++
				killSession(started.Started.PID)
			}
		}
		return err
	}))
	if killed == 0 {
		ts.Fatalf("no attempt has begun in %s", args[0])
	}
}

// killSession kills every process of a session.
func killSession(leader int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		var pid int
		var name, state string
		var parent, group, session int
		rest := text[bytes.LastIndexByte(text, ')')+1:]
		_, _ = fmt.Sscan(string(text), &pid, &name)
		if n, _ := fmt.Sscan(string(rest), &state, &parent, &group, &session); n == 4 && session == leader {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
