package env_test

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/env"
)

const (
	strong  = "kT9$wq7!Zr2@Lm5^Xc8&Vb1*Np4(Hs6)Jd3-Gf0_Ya+Ue=Qo~Wi"
	other   = "aB3$dE6!gH9@jK2^mN5&pQ8*sT1(vW4)yZ7-bC0_eF+hI=kL~nO"
	dotenv  = "# settings\r\nexport DEBUG=false\nALLOWED_HOSTS=api.example.com, www.example.com # ours\nWORKERS = 4\nRATIO=nan\nEMPTY=\nQ='a # b'\nD=\"x\\ny \\$z\"\nLAST=1\nLAST=2\nDATABASE_URL=postgres://u:hunter22@db/x\nMULTI=\"one\ntwo\"\nSECRET_KEY='" + strong + "'\nJWT_SECRET_KEY='" + other + "'\nSAME_KEY='" + strong + "'\nDEV_KEY=django-insecure-abc\nPLACE_KEY=change-me-in-production\nB64_KEY=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n"
	hidden  = "hunter22"
	process = "acenvtest" // the kernel keeps 15 characters of a name
)

// world puts the file into the case's folder and makes its values known secrets,
// so that the harness looks for them in everything that is said.
func world(t *testing.T, more ...string) func(*check.Env) {
	return func(e *check.Env) {
		for i, text := range append([]string{".env", dotenv}, more...) {
			if i%2 == 1 {
				name := append([]string{".env", dotenv}, more...)[i-1]
				if err := os.WriteFile(filepath.Join(e.Dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		checktest.SetSecrets(e, checktest.Secrets{"env:A": strong, "env:B": other, "env:C": hidden, "env:EMPTY": ""})
	}
}

func TestValue(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Host == "evil.example":
			w.WriteHeader(400)
		case r.URL.Path == "/gone":
			w.WriteHeader(404)
			_, _ = io.WriteString(w, "you see this because DEBUG = True")
		case r.URL.Path == "/packed":
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, "you see this because DEBUG = True")
			_ = z.Close()
		case r.URL.Path == "/busy":
			w.WriteHeader(429)
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		}
	}))
	t.Cleanup(s.Close)
	f := "file: .env\n"
	probes := "probes: [{url: " + s.URL + "}, {url: " + s.URL + ", host: evil.example, status: 400}]"
	checktest.Run(t, env.Value, []checktest.Case{
		{Name: "bool", Params: f + "var: DEBUG\nas: bool\nexpect: v == false", Env: world(t), Want: "pass: DEBUG is as expected in .env", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["value"] != "false" {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "bool wrong", Params: f + "var: DEBUG\nas: bool\nexpect: v", Env: world(t), Want: `fail: DEBUG is "false"; does not hold: v`},
		{Name: "list and probes", Params: f + "var: ALLOWED_HOSTS\nas: list\nexpect: '!(\"*\" in v) && \"www.example.com\" in v && len(v) == 2'\n" + probes, Env: world(t), Want: "pass: ...", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["probe.2"] != "GET "+s.URL+" for host evil.example: 400" {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "int", Params: f + "var: WORKERS\nas: int\nexpect: v >= 4", Env: world(t), Want: "pass: ..."},
		{Name: "NaN", Params: f + "var: RATIO\nas: number\nexpect: '!(v > 1)'", Env: world(t), Want: "error: ...v is NaN"},
		{Name: "not an int", Params: f + "var: DEBUG\nas: int\nexpect: v > 1", Env: world(t), Want: "error: DEBUG in .env is not of type int"},
		{Name: "quoted", Params: f + "var: Q\nexpect: 'v == \"a # b\"'", Env: world(t), Want: "pass: ..."},
		{Name: "escapes", Params: f + "var: D\nexpect: v == \"x\\ny $z\"", Env: world(t), Want: "pass: ..."},
		{Name: "several lines", Params: f + "var: MULTI\nexpect: v == \"one\\ntwo\"", Env: world(t), Want: "pass: ..."},
		{Name: "the last counts", Params: f + "var: LAST\nexpect: v == \"2\"", Env: world(t), Want: "pass: ..."},
		{Name: "empty", Params: f + "var: EMPTY", Env: world(t), Want: "fail: EMPTY is empty"},
		{Name: "only white space", Params: "file: blank\nvar: A", Env: world(t, "blank", "A=' \t'\n"), Want: "fail: A is empty"},
		{Name: "packed page", Params: f + "var: DEBUG\nprobes: [{url: " + s.URL + "/packed, headers: {Accept-Encoding: gzip}, lacks: DEBUG = True}]", Env: world(t), Want: "error: ...the answer is encoded as gzip..."},
		{Name: "HEAD has no text", Params: f + "var: DEBUG\nprobes: [{url: " + s.URL + ", method: HEAD, lacks: DEBUG}]", Want: "problem: ...probes: the answer to HEAD has no text to look into"},
		{Name: "not set", Params: f + "var: GONE", Env: world(t), Want: "fail: GONE is not set in .env"},
		{Name: "default", Params: f + "var: GONE\ndefault: 'false'\nas: bool\nexpect: v == false", Env: world(t), Want: "pass: ..."},
		{Name: "secret by name", Params: f + "var: SECRET_KEY\nexpect: v == \"x\"", Env: world(t), Want: "fail: SECRET_KEY is [not shown]; does not hold: ..."},
		{Name: "secret by value", Params: f + "var: DATABASE_URL\nexpect: v == \"x\"", Env: world(t), Want: "fail: DATABASE_URL is [not shown]; ..."},
		{Name: "secret of a wrong type", Params: f + "var: SECRET_KEY\nas: int\nexpect: v == 1", Env: world(t), Want: "error: SECRET_KEY in .env is not of type int"},
		{Name: "command", Params: "var: DEBUG\ncommand: [echo, 'False']\nas: bool\nexpect: v == false", Want: "pass: DEBUG is as expected in the output of echo"},
		{Name: "command fails", Params: "var: DEBUG\ncommand: ['false']", Want: "error: false ended with code 1..."},
		{Name: "command says nothing", Params: "var: DEBUG\ncommand: ['true']", Want: "error: true printed nothing"},
		{Name: "command hangs", Params: "var: DEBUG\ncommand: [sleep, '60']", Timeout: 100 * time.Millisecond, Want: "error: ...deadline exceeded..."},
		{Name: "huge output", Params: "var: DEBUG\ncommand: [head, -c, '3000000', /dev/zero]", Want: "error: head printed more than 1048576 bytes"},
		{Name: "debug page", Params: f + "var: DEBUG\nprobes: [{url: " + s.URL + "/gone, status: 404, lacks: DEBUG = True}]", Env: world(t), Want: `fail: ...holds "DEBUG = True"`},
		{Name: "redirect", Params: f + "var: DEBUG\nprobes: " + s.URL + "/moved", Env: world(t), Want: "fail: GET ...answered 302, want 200"},
		{Name: "too many", Params: f + "var: DEBUG\nprobes: " + s.URL + "/busy", Env: world(t), Want: "error: ...429 (too many requests)"},
		{Name: "nobody", Params: f + "var: DEBUG\nprobes: http://127.0.0.1:1/", Env: world(t), Want: "error: ...refused"},
		{Name: "no file", Params: "file: gone\nvar: DEBUG", Want: "error: read gone: ..."},
		{Name: "malformed", Params: "file: bad\nvar: DEBUG", Env: world(t, "bad", "A=1\n"+strong+"\n"), Want: "error: read bad: line 2 is not NAME=value"},
		{Name: "open quote", Params: "file: bad\nvar: DEBUG", Env: world(t, "bad", "A=1\nB='"+strong+"\n"), Want: "error: read bad: line 2: a quote is not closed"},
		{Name: "after a quote", Params: "file: bad\nvar: DEBUG", Env: world(t, "bad", "A='1' "+strong), Want: "error: read bad: line 1: text after the closing quote"},
		{Name: "huge", Params: "file: bad\nvar: DEBUG", Env: world(t, "bad", strings.Repeat("A=1\n", 1<<20)), Want: "error: read bad: ...longer than..."},
		{Name: "no process", Params: "process: no-such-prog\nvar: DEBUG", Want: "error: no process is named no-such-prog"},
		{Name: "no pid file", Params: "pid_file: gone.pid\nvar: DEBUG", Want: "error: gone.pid is not there: is the process running?"},
		{Name: "two sources", Params: f + "process: x\nvar: DEBUG", Want: "problem: ...give one of file, process, pid_file and command"},
		{Name: "other name", Params: f + "var: DEBUG\nexpect: w == 1", Want: `problem: ...reads "w"...`},
		{Name: "not a name", Params: f + "var: a b", Want: "problem: ...is not a variable's name"},
	})
}

// TestProcess reads the environment of a program that runs.
func TestProcess(t *testing.T) {
	dir := t.TempDir()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprint(process, os.Getpid())
	if err := os.WriteFile(filepath.Join(dir, name), program, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, name), "600")
	cmd.Env = []string{"DEBUG=False", "SECRET_KEY=" + strong}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	pidFile := func(e *check.Env) {
		world(t, "app.pid", fmt.Sprintln(cmd.Process.Pid))(e)
	}
	checktest.Run(t, env.Value, []checktest.Case{
		{Name: "by name", Params: "process: " + name[:min(15, len(name))] + "\nvar: DEBUG\nas: bool\nexpect: v == false", Want: "pass: ..."},
		{Name: "by pid", Params: "pid_file: app.pid\nvar: DEBUG\nas: bool\nexpect: v == false", Env: pidFile, Want: "pass: ..."},
		{Name: "of a service item", Params: "pid_file: app.pid\nvar: GONE", Env: world(t, "app.pid", fmt.Sprintf(`{"pid": %d, "start_ticks": "1", "boot_id": "other"}`, cmd.Process.Pid)),
			Want: "error: the process of app.pid: pid ... was started after app.pid was written..."},
		{Name: "not set", Params: "pid_file: app.pid\nvar: GONE", Env: pidFile, Want: "fail: GONE is not set in the process of app.pid"},
		{Name: "pid of a later program", Params: "pid_file: app.pid\nvar: DEBUG", Env: func(e *check.Env) {
			pidFile(e)
			old := time.Now().Add(-24 * time.Hour)
			if err := os.Chtimes(filepath.Join(e.Dir, "app.pid"), old, old); err != nil {
				t.Fatal(err)
			}
		}, Want: "error: the process of app.pid: pid ... was started after app.pid was written..."},
		{Name: "bad pid", Params: "pid_file: app.pid\nvar: GONE", Env: world(t, "app.pid", "hello"), Want: "error: the process of app.pid: \"hello\" is malformed"},
	})
}

func TestSecret(t *testing.T) {
	f := "file: .env\nvar: SECRET_KEY\n"
	checktest.Run(t, env.Secret, []checktest.Case{
		{Name: "strong", Params: f + "min_len: 50\nmin_unique: 20\nmin_entropy: 200\ndiffers_from: [JWT_SECRET_KEY]\nfile_mode: 0600", Env: world(t), Want: "pass: SECRET_KEY in .env: all rules hold", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["SECRET_KEY.length"] != "51" || len(o.Facts["SECRET_KEY.fingerprint"]) != 16 || o.Sets["secret.SECRET_KEY.fingerprint"] == "" {
				t.Errorf("facts %v sets %v", o.Facts, o.Sets)
			}
		}},
		{Name: "several", Params: "file: .env\nvar: [SECRET_KEY, JWT_SECRET_KEY]\ndiffers_from: [SECRET_KEY, JWT_SECRET_KEY]", Env: world(t), Want: "pass: ..."},
		{Name: "short", Params: f + "min_len: 60\nmin_unique: 60\nmin_entropy: 1000", Env: world(t), Want: "fail: SECRET_KEY has 51 characters, want at least 60; SECRET_KEY has 51 different characters, want at least 60; SECRET_KEY has 289 bits of entropy, want at least 1000"},
		{Name: "same", Params: f + "differs_from: SAME_KEY", Env: world(t), Want: "fail: SECRET_KEY is the same as SAME_KEY in .env"},
		{Name: "same as staging", Params: f + "differs_from: {var: SECRET_KEY, file: staging}", Env: world(t, "staging", "SECRET_KEY='"+strong+"'"), Want: "fail: SECRET_KEY is the same as SECRET_KEY in staging"},
		{Name: "other is not set", Params: f + "differs_from: GONE", Env: world(t), Want: "error: SECRET_KEY: cannot compare: GONE is not set in .env"},
		{Name: "development", Params: "file: .env\nvar: DEV_KEY", Env: world(t), Want: `fail: DEV_KEY begins with "django-insecure-": it was made for development`},
		{Name: "placeholder", Params: "file: .env\nvar: PLACE_KEY", Env: world(t), Want: "fail: PLACE_KEY is a placeholder that nobody replaced"},
		{Name: "own placeholder", Params: f + "placeholders: ['^kT9']", Env: world(t), Want: "fail: SECRET_KEY is a placeholder..."},
		{Name: "base64", Params: "file: .env\nvar: B64_KEY\ndecode: base64\nbytes: 32", Env: world(t), Want: "pass: ..."},
		{Name: "base64 of another length", Params: "file: .env\nvar: B64_KEY\ndecode: base64\nbytes: 16", Env: world(t), Want: "fail: B64_KEY decodes to 32 bytes, want 16"},
		{Name: "not base64", Params: f + "decode: base64", Env: world(t), Want: "fail: SECRET_KEY is not base64"},
		{Name: "stored", Params: f + "stored_in: env:A", Env: world(t), Want: "pass: ..."},
		{Name: "another is stored", Params: f + "stored_in: env:B", Env: world(t), Want: "fail: SECRET_KEY is another value than env:B"},
		{Name: "empty is stored", Params: f + "stored_in: env:EMPTY", Env: world(t), Want: "error: ...env:EMPTY is empty"},
		{Name: "not stored", Params: f + "stored_in: env:GONE", Env: world(t), Want: "error: ...secret env:GONE: not set"},
		{Name: "not set", Params: "file: .env\nvar: GONE", Env: world(t), Want: "fail: GONE is not set in .env"},
		{Name: "only white space", Params: "file: blank\nvar: A_KEY", Env: world(t, "blank", "A_KEY=' \t '\n"), Want: "fail: A_KEY is not set in blank"},
		{Name: "differs from itself", Params: f + "differs_from: SECRET_KEY", Want: "problem: ...differs_from: SECRET_KEY is the variable itself"},
		{Name: "seen in the future", Params: f + "max_age: 24h", Env: func(e *check.Env) {
			world(t)(e)
			later := time.Now().Add(48 * time.Hour).UTC()
			text := fmt.Sprintf(`[{"fingerprint":"aa","first":%q,"last":%q}]`, later.Format(time.RFC3339), later.Format(time.RFC3339))
			if err := os.WriteFile(filepath.Join(e.DataDir, "seen-SECRET_KEY.json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}, Want: "error: SECRET_KEY: a value was seen at ..., which is in the future: a clock is wrong"},
		{Name: "readable", Params: f + "file_mode: 0600", Env: func(e *check.Env) {
			world(t)(e)
			if err := os.Chmod(filepath.Join(e.Dir, ".env"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, Want: "fail: .env has mode 0644, want at most 0600"},
		{Name: "of another", Params: f + "file_owner: nobody-here", Env: world(t), Want: "fail: .env belongs to ...want nobody-here"},
		{Name: "age on first sight", Params: f + "max_age: 24h", Env: world(t), Want: "error: SECRET_KEY: its age is not known..."},
		{Name: "age as said, in the future", Params: f + "max_age: 24h\nsince: '2999-01-01'", Env: world(t), Want: "error: SECRET_KEY: since: 2999-01-01 is in the future"},
		{Name: "age as said", Params: f + "max_age: 24h\nsince: '" + time.Now().UTC().Format(time.DateOnly) + "'", Env: world(t), Want: "pass: ..."},
		{Name: "earlier runs unknown", Params: f, Env: func(e *check.Env) {
			world(t)(e)
			e.Ledger = &checktest.Ledger{Failure: errors.New("the journal is locked")}
		}, Want: "error: SECRET_KEY: read earlier runs: the journal is locked"},
		{Name: "first-seen file damaged", Params: f, Env: func(e *check.Env) {
			world(t)(e)
			if err := os.WriteFile(filepath.Join(e.DataDir, "seen-SECRET_KEY.json"), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, Want: "error: ...seen-SECRET_KEY.json is damaged..."},
		{Name: "no data directory", Params: f, Env: func(e *check.Env) { world(t)(e); e.DataDir = filepath.Join(e.Dir, ".env", "below") }, Want: "error: read fingerprint key: ..."},
		{Name: "mode of a process", Params: "process: x\nvar: A\nfile_mode: 0600", Want: "problem: ...file_mode and file_owner need file"},
		{Name: "odd mode", Params: f + "file_mode: rw", Want: "problem: ...want permissions such as 0600"},
		{Name: "odd day", Params: f + "since: yesterday", Want: "problem: ...want a day such as 2026-11-23"},
	})
}

// TestSecretAge follows a secret over a year: what is known are bounds.
func TestSecretAge(t *testing.T) {
	e := checktest.NewEnv(t)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	e.Now = func() time.Time { return now }
	inst, problems := checktest.Decode(env.Secret, "file: .env\nvar: SECRET_KEY\nmax_age: 2160h\nold_keys: OLD_KEYS", nil)
	if inst == nil {
		t.Fatal(problems)
	}
	for _, step := range []struct {
		after      int
		text, want string
	}{
		{0, "SECRET_KEY=first-value-of-all\n", "error: SECRET_KEY: its age is not known: it was seen first 0s ago..."},
		{80, "SECRET_KEY=first-value-of-all\n", "error: SECRET_KEY: its age is not known: it was seen first 80 days ago..."},
		{20, "SECRET_KEY=first-value-of-all\n", "fail: SECRET_KEY is at least 100 days old, want at most 90 days"},
		{10, "SECRET_KEY=second-value-of-all\nOLD_KEYS=zero, first-value-of-all\n", "pass: ..."},
		{10, "SECRET_KEY=second-value-of-all\n", "fail: SECRET_KEY has changed, and OLD_KEYS does not hold the value before"},
		{75, "SECRET_KEY=second-value-of-all\nOLD_KEYS=first-value-of-all\n", "error: ...its age is not known..."},
		{20, "SECRET_KEY=second-value-of-all\nOLD_KEYS=first-value-of-all\n", "fail: SECRET_KEY is at least 105 days old, want at most 90 days"},
	} {
		now = now.Add(time.Duration(step.after) * 24 * time.Hour)
		if err := os.WriteFile(filepath.Join(e.Dir, ".env"), []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := inst.Runner.Run(t.Context(), e)
		got := string(o.Verdict) + ": " + o.Reason
		if err != nil {
			got = "error: " + err.Error()
		}
		checktest.Match(t, step.want, got)
	}
	kept, err := os.ReadFile(filepath.Join(e.DataDir, "seen-SECRET_KEY.json"))
	if err != nil || strings.Contains(string(kept), "value") {
		t.Errorf("kept %s, %v", kept, err)
	}
}

// TestSecretInGit proves that a value is found wherever it was ever committed.
func TestSecretInGit(t *testing.T) {
	git := func(dir string, args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-c", "init.defaultBranch=main"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	write := func(dir, name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	commit := func(dir, text string) string {
		write(dir, "f", text)
		git(dir, "add", "f")
		git(dir, "commit", "-qm", "change")
		return git(dir, "rev-parse", "HEAD")
	}
	clean, leaked, branch, empty := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	for _, dir := range []string{clean, leaked, branch, empty} {
		git(dir, "init", "-q")
	}
	commit(clean, "A=1")
	commit(leaked, strings.Repeat("line\n", 20000))
	bad := commit(leaked, strings.Repeat("line\n", 19999)+"KEY="+strong+"\n")
	commit(leaked, "A=1")
	commit(branch, "A=1")
	git(branch, "checkout", "-qb", "side")
	side := commit(branch, "KEY\x00="+strong) // a binary file on a branch
	git(branch, "checkout", "-q", "main")
	// A leaked commit that git is told to show as another one.
	replaced := t.TempDir()
	git(replaced, "init", "-q")
	hiddenCommit := commit(replaced, "KEY="+strong)
	git(replaced, "replace", hiddenCommit, git(replaced, "commit-tree", "-m", "x", "4b825dc642cb6eb9a060e54bf8d69288fbee4904"))
	shallow := t.TempDir()
	git(shallow, "clone", "-q", "--depth=1", "file://"+leaked, "c")
	f := "file: .env\nvar: SECRET_KEY\nnot_in_git: "
	checktest.Run(t, env.Secret, []checktest.Case{
		{Name: "clean", Params: f + clean, Env: world(t), Want: "pass: ..."},
		{Name: "committed and removed", Params: f + leaked, Env: world(t), Want: "fail: SECRET_KEY stands in the git history, in commit " + bad},
		{Name: "on a branch", Params: f + branch, Env: world(t), Want: "fail: SECRET_KEY stands in the git history, in commit " + side},
		{Name: "replaced", Params: f + replaced, Env: world(t), Want: "fail: SECRET_KEY stands in the git history, in commit " + hiddenCommit},
		{Name: "shallow", Params: f + shallow + "/c", Env: world(t), Want: "error: ...is shallow: its history is not known"},
		{Name: "no commits", Params: f + empty, Env: world(t), Want: "error: ...has no history: no commits"},
		{Name: "no checkout", Params: f + t.TempDir(), Env: world(t), Want: "error: ...not a git repository..."},
	})
}

func TestPages(t *testing.T) {
	checktest.Page(t, env.Value)
	checktest.Page(t, env.Secret)
}
