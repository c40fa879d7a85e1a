package git_test

import (
	"fmt"
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
	"allclear.dev/allclear/internal/checks/git"
)

// lab is a real repository with two releases and a bare remote.
type lab struct {
	dir, remote, first, second string
}

// template is a lab that is made once and copied, because git takes its time.
type template struct{ lab }

func newTemplate(t *testing.T) template {
	t.Helper()
	t.Setenv("HOME", t.TempDir()) // no configuration of whoever runs the tests
	l := lab{dir: t.TempDir(), remote: filepath.Join(t.TempDir(), "remote.git")}
	run(t, ".", "git", "init", "-q", "--bare", l.remote)
	l.git(t, "init", "-q", "-b", "main")
	l.git(t, "config", "user.name", "Eve")
	l.git(t, "config", "user.email", "eve@example.com")
	l.git(t, "remote", "add", "origin", l.remote)
	l.first = l.commit(t, "one")
	l.git(t, "tag", "-a", "-m", "first", "v1.2.2")
	l.second = l.commit(t, "two")
	return template{l}
}

// copy puts the repository into a folder, with a remote of its own.
func (m template) copy(t *testing.T, dir string) lab {
	t.Helper()
	l := m.lab
	l.dir, l.remote = dir, filepath.Join(t.TempDir(), "remote.git")
	for from, to := range map[string]string{m.dir: l.dir, m.remote: l.remote} {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(dir, ".git", "config")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, config, strings.ReplaceAll(string(text), m.remote, l.remote))
	return l
}

func (l lab) commit(t *testing.T, text string) string {
	t.Helper()
	write(t, filepath.Join(l.dir, "file"), text)
	l.git(t, "add", "file")
	l.git(t, "commit", "-q", "-m", text)
	return l.git(t, "rev-parse", "HEAD")
}

func (l lab) git(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, l.dir, "git", args...)
}

func run(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// in gives an Env hook that puts a copy into its folder, with the run's
// revisions, and then does whatever the case changes.
func (m template) in(t *testing.T, change func(lab, *check.Env)) func(*check.Env) {
	return func(env *check.Env) {
		l := m.copy(t, env.Dir)
		env.Run.Revision, env.Run.PreviousRev = l.second, l.first
		if change != nil {
			change(l, env)
		}
	}
}

// answers serves a body at every address.
func answers(t *testing.T, status int, body func() string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Revision", "abcdef1")
		w.WriteHeader(status)
		fmt.Fprint(w, body())
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestRevision(t *testing.T) {
	m := newTemplate(t)
	var second string
	url := answers(t, 200, func() string { return `{"build": {"revision": "` + second[:7] + `", "n": 1}}` })
	notFound := answers(t, 404, func() string { return second })
	know := m.in(t, func(l lab, _ *check.Env) { second = l.second })
	behind := m.in(t, func(l lab, _ *check.Env) { l.git(t, "checkout", "-q", "--detach", l.first) })
	dirty := m.in(t, func(l lab, e *check.Env) {
		write(t, filepath.Join(e.Dir, "file"), "changed")
		write(t, filepath.Join(e.Dir, "new file"), "x")
	})
	file := func(text string) func(*check.Env) {
		return m.in(t, func(l lab, e *check.Env) {
			write(t, filepath.Join(e.Dir, "REVISION"), strings.ReplaceAll(text, "SECOND", l.second)+"\n")
		})
	}
	checktest.Run(t, git.Revision, []checktest.Case{
		{Name: "release", Params: "{}", Env: know, Want: "pass: 1 of 1 on 1.2.3 (...)"},
		{Name: "other commit", Params: "release", Env: behind, Want: "fail: want 1.2.3 (...): worktree . has ..."},
		{Name: "previous", Params: "previous", Env: behind, Want: "pass: 1 of 1 on 1.2.2 (...)"},
		{Name: "previous by its tag", Params: "previous", Env: m.in(t, func(l lab, e *check.Env) {
			e.Run.PreviousRev = ""
			l.git(t, "checkout", "-q", "--detach", l.first)
		}), Want: "pass: 1 of 1 on 1.2.2 (...)"},
		{Name: "tag", Params: "v1.2.2", Env: behind, Want: "pass: 1 of 1 on v1.2.2 (...)"},
		{Name: "branch", Params: "main", Env: know, Want: "pass: ..."},
		{Name: "clean", Params: "{clean: true}", Env: know, Want: "pass: ..."},
		{Name: "changes", Params: "{clean: true}", Env: dirty, Want: "fail: ...: worktree . has 2 changed files (M file)"},
		{Name: "changes that git is told not to see", Params: "{clean: true}", Env: m.in(t, func(l lab, e *check.Env) {
			l.git(t, "update-index", "--assume-unchanged", "file")
			write(t, filepath.Join(e.Dir, "file"), "changed")
		}), Want: "error: worktree .: local: git is told to overlook changes of file..."},
		{Name: "untracked files that git is told not to see", Params: "{clean: true}", Env: m.in(t, func(l lab, e *check.Env) {
			l.git(t, "config", "status.showUntrackedFiles", "no")
			write(t, filepath.Join(e.Dir, "new file"), "x")
		}), Want: "fail: ...worktree . has 1 changed files..."},
		{Name: "a changed submodule that git is told not to see", Params: "{clean: true}", Env: m.in(t, func(l lab, e *check.Env) {
			l.git(t, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", m.dir, "sub")
			l.git(t, "config", "-f", ".gitmodules", "submodule.sub.ignore", "all")
			l.git(t, "add", "-A")
			l.git(t, "commit", "-qm", "sub")
			e.Run.Revision = l.git(t, "rev-parse", "HEAD")
			write(t, filepath.Join(e.Dir, "sub/file"), "changed")
			l.git(t, "config", "submodule.sub.ignore", "all")
		}), Want: "fail: ...worktree . has 1 changed files (M sub)"},
		{Name: "changes do not matter", Params: "{}", Env: dirty, Want: "pass: ..."},
		{Name: "http", Params: "{from: [{http: {url: '" + url + "', json: build.revision}}]}", Env: know, Want: "pass: ..."},
		{Name: "http header", Params: "{from: [{http: {url: '" + url + "', header: X-Revision}}]}", Env: know, Want: "fail: ... has abcdef1"},
		{Name: "http malformed", Params: "{from: [{http: '" + url + "'}]}", Env: know, Want: `error: http...: "{..." is no revision`},
		{Name: "http no data", Params: "{from: [{http: {url: '" + url + "', json: build.gone}}]}", Env: know, Want: "error: ...: the answer has no build.gone"},
		{Name: "http no text", Params: "{from: [{http: {url: '" + url + "', json: build.n}}]}", Env: know, Want: "error: ...: build.n is no text"},
		{Name: "http 404", Params: "{from: [{http: '" + notFound + "'}]}", Env: know, Want: "error: http...: answers 404"},
		{Name: "file", Params: "{from: [{file: REVISION}]}", Env: file("SECOND"), Want: "pass: ..."},
		{Name: "file with the version", Params: "{from: [{file: REVISION}]}", Env: file("v1.2.3"), Want: "pass: ..."},
		{Name: "file with another version", Params: "{from: [{file: REVISION}]}", Env: file("v1.2.30"), Want: "fail: ...file REVISION has v1.2.30"},
		{Name: "file too short to tell", Params: "{from: [{file: REVISION}]}", Env: file("a"), Want: "fail: ..."},
		{Name: "file empty", Params: "{from: [{file: REVISION}]}", Env: file(""), Want: "error: file REVISION: local: tells no revision"},
		{Name: "file missing", Params: "{from: [{file: REVISION}]}", Env: know, Want: "error: file REVISION: ..."},
		{Name: "command", Params: "{from: [{command: [git, rev-parse, HEAD]}]}", Env: know, Want: "pass: ..."},
		{Name: "command fails", Params: "{from: [{command: [sh, -c, 'echo gone >&2; exit 1']}]}", Env: know, Want: "error: command sh: local: sh: gone"},
		{Name: "command hangs", Params: "{from: [{command: [sleep, '60']}]}", Env: know, Timeout: 300 * time.Millisecond, Want: "error: ...deadline exceeded"},
		{Name: "one of two differs", Params: "{from: [., {file: REVISION}]}", Env: file("0123456789"), Want: "fail: want ...: file REVISION has 0123456789"},
		{Name: "release not known", Params: "{}", Env: m.in(t, func(_ lab, e *check.Env) { e.Run.Revision = "" }), Want: "error: the repository knows no 1.2.3"},
		{Name: "no release", Params: "{}", Env: m.in(t, func(_ lab, e *check.Env) { e.Run.Revision, e.Run.Release = "", "" }), Want: "error: the release of this run was not supplied"},
		{Name: "no repository", Params: "v1.2.2", Want: "error: git rev-parse v1.2.2: fatal: not a git repository..."},
		{Name: "unknown host", Params: "{from: [{worktree: ., on: web-9}]}", Env: know, Want: `error: worktree .: unknown host "web-9"`},
		{Name: "problem: option", Params: "--upload-pack=x", Want: "problem: ...it begins with -"},
		{Name: "problem: operator", Params: "'v1^{/x}'", Want: "problem: ...is no name of a reference..."},
		{Name: "problem: two kinds", Params: "{from: [{file: a, worktree: b}]}", Want: "problem: ...needs one of worktree, http, file, command, pid_file and container"},
		{Name: "problem: address", Params: "{from: [{http: 'ftp://x/y'}]}", Want: "problem: ...is no http or https address"},
		{Name: "problem: clean without worktree", Params: "{from: [{file: a}], clean: true}", Want: "problem: ...clean is for worktrees"},
	})
}

func TestPages(t *testing.T) {
	checktest.Page(t, git.Revision)
	checktest.Page(t, git.Tag)
}
