package file_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/file"
)

// world fills the checkout with files of every sort.
func world(t *testing.T) func(*check.Env) {
	return func(env *check.Env) {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		env.Now = func() time.Time { return now }
		for name, mode := range map[string]fs.FileMode{".env": 0o600, "logs/a.log": 0o644, "logs/b.log": 0o666, "big": 0o600, "future": 0o600} {
			path := filepath.Join(env.Dir, name)
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			must(t, os.WriteFile(path, []byte("KEY=value\n"), 0o600))
			must(t, os.Chmod(path, mode))
			must(t, os.Chtimes(path, now, now.Add(-time.Hour)))
		}
		must(t, os.Chtimes(filepath.Join(env.Dir, "future"), now, now.Add(time.Hour)))
		must(t, os.WriteFile(filepath.Join(env.Dir, "big"), []byte(strings.Repeat("x", 2000)), 0o600))
		must(t, os.Chmod(filepath.Join(env.Dir, "logs"), fs.ModeSticky|0o777))
		must(t, os.Symlink(".env", filepath.Join(env.Dir, "link")))
		must(t, os.Symlink("nowhere", filepath.Join(env.Dir, "broken")))
		must(t, syscall.Mkfifo(filepath.Join(env.Dir, "pipe"), 0o600))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFile(t *testing.T) {
	const sum = "a9f2b8d7e2a3b0f6" // not the right one, and too short
	w := world(t)
	checktest.Run(t, file.File, []checktest.Case{
		{Name: "there", Params: ".env", Env: w, Want: "pass: 1 file as wanted", Check: func(t *testing.T, o check.Outcome) {
			if !strings.HasPrefix(o.Facts["file..env"], "file 0600 ") {
				t.Errorf("facts %v", o.Facts)
			}
		}},
		{Name: "missing", Params: "nothing-here", Env: w, Want: "fail: nothing-here is missing"},
		{Name: "missing folder", Params: "no/such/file", Env: w, Want: "fail: no/such/file is missing"},
		{Name: "absent", Params: "{path: nothing-here, absent: true}", Env: w, Want: "pass: 1 path absent, as wanted"},
		{Name: "not absent", Params: "{path: .env, absent: true}", Env: w, Want: "fail: .env is there, but should not be"},
		{Name: "absent pattern", Params: "{path: '*.pem', absent: true}", Env: w, Want: "pass: 1 path absent, as wanted"},
		{Name: "not absent pattern", Params: "{path: 'logs/*', absent: true}", Env: w, Want: "fail: logs/* should match nothing, but matches logs/a.log; logs/b.log"},
		{Name: "mode", Params: "{path: .env, mode: 0600}", Env: w, Want: "pass: ..."},
		{Name: "mode differs", Params: "{path: logs/b.log, mode: 0600}", Env: w, Want: "fail: logs/b.log has mode 0666, want 0600"},
		{Name: "sticky", Params: "{path: logs, mode: 0777}", Env: w, Want: "fail: logs has mode 1777, want 0777"},
		{Name: "mode at most", Params: "{path: .env, mode_at_most: 0640}", Env: w, Want: "pass: ..."},
		{Name: "mode more", Params: "{path: logs/a.log, mode_at_most: 0640}", Env: w, Want: "fail: logs/a.log has mode 0644, want at most 0640"},
		{Name: "world", Params: "{path: '**', not_world_writable: true, follow: true}", Env: func(e *check.Env) { w(e); must(t, os.Remove(filepath.Join(e.Dir, "broken"))) },
			Want: "fail: logs can be written by everybody (mode 1777); logs/b.log can be written by everybody (mode 0666)"},
		{Name: "owner", Params: "{path: .env, owner: nobody-here, group: none-here}", Env: w, Want: "fail: .env belongs to ..., want nobody-here; .env belongs to group ..., want none-here"},
		{Name: "content", Params: "{path: .env, contains: KEY=, matches: '(?m)^KEY=.+$', lacks: DEBUG}", Env: w, Want: "pass: ..."},
		{Name: "content differs", Params: "{path: .env, contains: X=, matches: '^y', lacks: KEY}", Env: w, Want: `fail: .env does not contain "X="; .env contains "KEY"; .env has nothing that matches ^y`},
		{Name: "sha256", Params: "{path: .env, sha256: 6c6a9ee69b30dc59a5e9a6e3c2f31ed7b5f2f2b1fc5ed9fba1b0b1a0b7d0c0de}", Env: w, Want: "fail: .env has sha256 ..."},
		{Name: "size", Params: "{path: .env, min_size: 1kB}", Env: w, Want: "fail: .env has 10 bytes, want at least 1000"},
		{Name: "size of a folder", Params: "{path: logs, min_size: 1kB}", Env: w, Want: "fail: logs is a folder, whose size says nothing about content"},
		{Name: "problem: empty text", Params: "{path: .env, contains: ''}", Want: "problem: ...contains and lacks: an empty text is in every file"},
		{Name: "age", Params: "{path: .env, max_age: 2h}", Env: w, Want: "pass: ..."},
		{Name: "too old", Params: "{path: .env, max_age: 30m}", Env: w, Want: "fail: .env was written 1h0m0s ago, want at most 30m0s"},
		{Name: "from the future", Params: "{path: future, max_age: 30m}", Env: w, Want: "fail: future was written 1h0m0s in the future"},
		{Name: "link", Params: "{path: link, mode: 0777}", Env: w, Want: "fail: link is a link; follow: true judges what it points to"},
		{Name: "link followed", Params: "{path: link, mode: 0600, contains: KEY, follow: true}", Env: w, Want: "pass: ..."},
		{Name: "link wanted", Params: "{path: link, type: link}", Env: w, Want: "pass: ..."},
		{Name: "link to nowhere", Params: "{path: broken, follow: true}", Env: w, Want: "error: follow broken: the link leads nowhere"},
		{Name: "folder", Params: "{path: logs, type: file}", Env: w, Want: "fail: logs is a folder, want a file"},
		{Name: "content of a pipe", Params: "{path: pipe, contains: x}", Env: w, Want: "fail: pipe is device, pipe or socket, which has no content to read"},
		{Name: "count", Params: "{path: 'logs/*.log', min_count: 3}", Env: w, Want: "fail: logs/*.log matches 2 files, want at least 3"},
		{Name: "count at most", Params: "{path: 'logs/*.log', max_count: 1}", Env: w, Want: "fail: logs/*.log matches 2 files, want at most 1"},
		{Name: "no match", Params: "'*.nope'", Env: w, Want: "fail: *.nope matches 0 files, want at least 1"},
		{Name: "several", Params: "{paths: {.env: {mode: 0644}, logs: {}, gone: {absent: true}}}", Env: w, Want: "fail: .env has mode 0600, want 0644"},
		{Name: "too large to read", Params: "{path: big, contains: x, limit: 1kB}", Env: w, Want: "error: read big: ...longer than 1000 bytes"},
		{Name: "no host", Params: "{path: .env, on: web-9}", Env: w, Want: `error: unknown host "web-9"`},

		{Name: "problem: nothing", Params: "{}", Want: "problem: ...needs either path or paths"},
		{Name: "problem: both", Params: "{path: a, paths: {b: {}}}", Want: "problem: ...needs either path or paths"},
		{Name: "problem: rule beside paths", Params: "{paths: {b: {}}, mode: 0600}", Want: "problem: ...the rules stand under each path"},
		{Name: "problem: mode", Params: "{path: a, mode: rw-r--r--}", Want: "problem: ...mode: want a mode...octal..."},
		{Name: "problem: sha256", Params: "{path: a, sha256: " + sum + "}", Want: "problem: ...sha256 is not 64 hexadecimal digits..."},
		{Name: "problem: absent and more", Params: "{path: a, absent: true, owner: me}", Want: "problem: ...absent goes with no other rule"},
		{Name: "problem: count of one", Params: "{path: a, min_count: 2}", Want: "problem: ...are for patterns"},
		{Name: "problem: none", Params: "{path: 'a*', min_count: 0}", Want: "problem: ...for none use absent"},
		{Name: "problem: bad pattern", Params: "{path: a, matches: '('}", Want: "problem: ...matches: want a regexp..."},
		{Name: "problem: content of a folder", Params: "{path: a, type: folder, contains: x}", Want: "problem: ...a folder has no content to read"},
	})
}

func TestPage(t *testing.T) { checktest.Page(t, file.File) }

// denied is a host on which nothing may be read.
type denied struct{ check.Host }

func (denied) Lstat(context.Context, string) (check.FileInfo, error) {
	return check.FileInfo{}, fs.ErrPermission
}

func TestNotAllowedToLookIsNotMissing(t *testing.T) {
	for _, params := range []string{".env", "{path: .env, absent: true}"} {
		env := checktest.NewEnv(t)
		env.Host = func(string) (check.Host, error) { return denied{}, nil }
		inst, _ := checktest.Decode(file.File, params, nil)
		if o, err := inst.Runner.Run(t.Context(), env); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: got %+v, %v", params, o, err)
		}
	}
}
