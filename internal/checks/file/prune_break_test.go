package file_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
)

// faulty is a host to which the connection breaks, or that answers otherwise.
type faulty struct {
	check.Host
	left   *int
	after  bool
	mounts string
}

var errLost = errors.New("connection lost")

func (f faulty) Exec(ctx context.Context, c check.Command) (check.Result, error) {
	if *f.left--; *f.left >= 0 {
		return f.Host.Exec(ctx, c)
	}
	if f.after && *f.left == -1 {
		_, _ = f.Host.Exec(ctx, c)
	}
	return check.Result{}, errLost
}

func (f faulty) ReadFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	if name == "/proc/self/mountinfo" && f.mounts != "" {
		return []byte(f.mounts), nil
	}
	return f.Host.ReadFile(ctx, name, limit)
}

// Wherever the connection breaks, everything is there or in the archive, and the
// next attempt carries the list out to its end.
func TestPruneSurvivesEveryBreak(t *testing.T) {
	s := newServer(t)
	real := s.env.Host
	params := "{paths: ['ROOT/releases/*'], keep: 1, do: remove, archive_to: ROOT/archive}"
	for _, after := range []bool{false, true} {
		for n := 0; ; n++ {
			s.fill(t)
			must(t, os.RemoveAll(filepath.Join(s.env.DataDir, "prune")))
			s.env.Host = real
			s.is(t, strings.Replace(params, ", do: remove, archive_to: ROOT/archive", "", 1), "pass: 2 paths of ...")
			left := n
			s.env.Host = func(string) (check.Host, error) {
				h, err := real("")
				return faulty{Host: h, left: &left, after: after}, err
			}
			_, got := s.do(t, params)
			s.env.Host = real
			if left >= 0 {
				checktest.Match(t, "pass: ...", got)
				break
			}
			at := fmt.Sprintf("broken at call %d (carried out: %v)", n, after)
			checktest.Match(t, "error: ...connection lost", got)
			if gone := !strings.HasPrefix(s.all(t, "releases"), "1.1.0 1.2.0 "); gone && !strings.HasSuffix(s.all(t, "archive"), ".tar.gz") {
				t.Fatalf("%s: removed without an archive: %s", at, s.all(t, "archive"))
			}
			// A folder that was removed in part looks younger.
			begun, err := filepath.Glob(filepath.Join(s.env.DataDir, "prune", "begun-*"))
			must(t, err)
			if len(begun) > 0 {
				_ = os.Remove(s.path("releases/1.1.0/app.py"))
			}
			_, again := s.do(t, params)
			if !strings.HasPrefix(again, "pass: ") && (len(begun) > 0 || !strings.Contains(again, "list again")) {
				t.Fatalf("%s: again: %s", at, again)
			}
			if strings.HasPrefix(again, "pass: ") && s.all(t, "releases") != "1.2.1 1.2.2 1.2.3" {
				t.Fatalf("%s: left %s", at, s.all(t, "releases"))
			}
		}
	}
}

// stuck is a host on which nothing can be removed.
type stuck struct{ check.Host }

func (h stuck) Exec(ctx context.Context, c check.Command) (check.Result, error) {
	if c.Argv[0] == "rm" {
		return check.Result{}, errLost
	}
	return h.Host.Exec(ctx, c)
}

// What was made anew between an attempt and its repetition is not on the list any
// more, and neither is what has become live.
func TestPruneGoesOnWithCare(t *testing.T) {
	s := newServer(t)
	real := s.env.Host
	for name, c := range map[string]struct {
		change func()
		want   string
	}{
		"a new file":  {func() { s.put(t, "log/a.log", "new", 0) }, "fail: ...a.log was made anew since the removal began, and stays"},
		"a live file": {func() { must(t, os.Symlink("log/a.log", s.path("live"))) }, "fail: ...a.log, which is listed, stays: protected by ..."},
		"nothing":     {func() {}, "pass: 3 paths of ..."},
	} {
		t.Run(name, func(t *testing.T) {
			s.fill(t)
			must(t, os.RemoveAll(filepath.Join(s.env.DataDir, "prune")))
			s.env.Host = real
			s.is(t, listLogs, "pass: 3 paths of ...")
			h, err := real("")
			must(t, err)
			s.env.Host = func(string) (check.Host, error) { return stuck{h}, nil }
			s.is(t, packLogs, "error: rm: connection lost")
			s.env.Host = real
			c.change()
			s.is(t, packLogs, c.want)
		})
	}
}
