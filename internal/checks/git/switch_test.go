package git_test

import (
	"os"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/git"
)

// newReleases is a site with both releases checked out and none live.
func newReleases(t *testing.T) site {
	t.Helper()
	s := newSite(t)
	for _, at := range []string{"release", "previous"} {
		checktest.Match(t, "pass: ...", acted(t, s.env(t), git.Checkout, s.params(s.shared()+", at: "+at)))
	}
	return s
}

func (s site) point(t *testing.T, name string) {
	t.Helper()
	if err := os.RemoveAll(s.path("current")); err != nil {
		t.Fatal(err)
	}
	if name == "" {
		return
	}
	if err := os.Symlink("releases/"+name, s.path("current")); err != nil {
		t.Fatal(err)
	}
}

func TestSwitch(t *testing.T) {
	s := newReleases(t)
	live := func(name string, change func(env *check.Env)) func(*check.Env) {
		return func(env *check.Env) {
			env.Run.Revision, env.Run.PreviousRev = s.second, s.first
			s.point(t, name)
			if change != nil {
				change(env)
			}
		}
	}
	is := func(name string) func(*testing.T, check.Outcome) {
		return func(t *testing.T, _ check.Outcome) {
			t.Helper()
			if got := s.current(t); got != name {
				t.Errorf("current is %q, want %q", got, name)
			}
		}
	}
	p := func(more string) string { return s.params(s.link() + more) }
	checktest.Run(t, git.Switch, []checktest.Case{
		{Name: "forward", Params: p(""), Env: live("1.2.2", nil), Want: "pass: ...current points at 1.2.3 (" + s.second[:12] + ")", Check: is("1.2.3")},
		{Name: "the first time", Params: p(""), Env: live("", nil), Want: "pass: ...", Check: is("1.2.3")},
		{Name: "again", Params: p(""), Env: live("1.2.3", nil), Want: "pass: ...points at 1.2.3 (...) already", Check: is("1.2.3")},
		{Name: "back", Params: p(", to: previous"), Env: live("1.2.3", nil), Want: "pass: ...points at 1.2.2 (...)", Check: is("1.2.2")},
		{Name: "not checked out", Params: p(""), Env: live("1.2.2", func(env *check.Env) { env.Run.Release = "1.2.4" }), Want: "fail: local: ...1.2.4 is not there: check the release out first", Check: is("1.2.2")},
		{Name: "another commit", Params: p(""), Env: live("1.2.2", func(env *check.Env) { env.Run.Revision = s.first }), Want: "fail: ...1.2.3 holds " + s.second[:12] + ", want ...", Check: is("1.2.2")},
		{Name: "a folder", Params: p(""), Env: live("", func(*check.Env) {
			if err := os.Mkdir(s.path("current"), 0o755); err != nil {
				t.Fatal(err)
			}
		}), Want: "fail: ...current is there, but is no link: it is left alone"},
		{Name: "added files do not matter", Params: p(""), Env: live("1.2.2", func(*check.Env) { write(t, s.path("releases/1.2.3/app/static.css"), "x") }), Want: "pass: ...", Check: is("1.2.3")},
		{Name: "a changed file that may", Params: p(`, may_differ: ["app/*.py"]`), Env: live("1.2.2", func(*check.Env) { write(t, s.path("releases/1.2.3/app/main.py"), "built") }), Want: "pass: ...", Check: is("1.2.3")},
		{Name: "a changed file", Params: p(""), Env: live("1.2.2", nil), Want: "fail: ...1 files of ... are not as in ...: app/main.py", Check: is("1.2.2")},
		{Name: "a file less", Params: p(""), Env: live("1.2.2", func(*check.Env) {
			write(t, s.path("releases/1.2.3/app/main.py"), "two")
			if err := os.Remove(s.path("releases/1.2.3/run.sh")); err != nil {
				t.Fatal(err)
			}
		}), Want: "fail: ...: run.sh", Check: is("1.2.2")},
		{Name: "an unknown host", Params: p(", on: [web-9]"), Env: live("1.2.2", nil), Want: `error: unknown host "web-9"`},
		{Name: "no revision known", Params: p(", to: previous"), Env: live("1.2.3", func(env *check.Env) { env.Run.Previous, env.Run.PreviousRev = "", "" }), Want: "error: ...was not supplied", Check: is("1.2.3")},
		{Name: "among the releases", Params: s.params(", link: " + s.path("releases/current")), Want: "problem: ...lies among the releases..."},
		{Name: "to a commit", Params: p(", to: main"), Want: "problem: ...to: unknown value \"main\"..."},
		{Name: "git's own patterns", Params: p(`, may_differ: [":(top)x"]`), Want: "problem: ...is not a pattern of paths inside the release..."},
	})
}

// Wherever the connection breaks, the link points at the one release or the
// other, and the undo finds the way back.
func TestSwitchSurvivesEveryBreak(t *testing.T) {
	s := newReleases(t)
	env := s.env(t)
	params := s.params(s.link())
	inst := decode(t, git.Switch, params)
	breaking(t, env, git.Switch, params, func() {
		s.point(t, "1.2.2")
		if err := os.RemoveAll(s.path(".current.switched")); err != nil {
			t.Fatal(err)
		}
	}, func(at string) {
		now := s.current(t)
		want := map[string]check.Progress{"1.2.2": check.NotDone, "1.2.3": check.Done}[now]
		if p := probed(t, env, git.Switch, params); p != want {
			t.Fatalf("%s: current is %q, the probe says %s", at, now, p)
		}
		// The repetition after the crash must not take the new release for the old one.
		checktest.Match(t, "pass: ...", acted(t, env, git.Switch, params))
		outcome, err := inst.Undoer().Undo(t.Context(), env, check.Outcome{})
		if err != nil || outcome.Verdict != check.Pass || s.current(t) != "1.2.2" {
			t.Fatalf("%s: undo: %v, %v: current is %s", at, outcome, err, s.current(t))
		}
	})
}

func TestSwitchUndo(t *testing.T) {
	s := newReleases(t)
	env := s.env(t)
	undo := func() string {
		outcome, err := decode(t, git.Switch, s.params(s.link())).Undoer().Undo(t.Context(), env, check.Outcome{})
		if err != nil {
			return "error: " + err.Error()
		}
		return string(outcome.Verdict) + ": " + outcome.Reason
	}
	s.point(t, "1.2.3")
	checktest.Match(t, "pass: ...was not switched by this item", undo())
	s.point(t, "1.2.2")
	acted(t, env, git.Switch, s.params(s.link()))
	mine := env.Key
	env.Key = "allclear/another"
	checktest.Match(t, "pass: ...was not switched by this item", undo())
	env.Key = mine
	s.point(t, "1.2.4")
	checktest.Match(t, "fail: ...1.2.4 since, and stays", undo())
	s.point(t, "1.2.3")
	if err := os.Rename(s.path("releases/1.2.2"), s.path("releases/old")); err != nil {
		t.Fatal(err)
	}
	checktest.Match(t, "fail: ...is no folder any more", undo())
	// Releases that had other names before are found by what was noted.
	if err := os.Rename(s.path("releases/old"), s.path("releases/1.2.2")); err != nil {
		t.Fatal(err)
	}
	checktest.Match(t, "pass: ...points at what it pointed at before on local", undo())
	checktest.Match(t, "pass: ...points at what it pointed at before on local", undo())
	if s.current(t) != "1.2.2" {
		t.Errorf("current is %s", s.current(t))
	}
	s.point(t, "")
	acted(t, env, git.Switch, s.params(s.link()))
}

func TestSwitchFindsAPreviousOfAnotherName(t *testing.T) {
	s := newReleases(t)
	env := s.env(t)
	if err := os.Rename(s.path("releases/1.2.2"), s.path("releases/20240101")); err != nil {
		t.Fatal(err)
	}
	back := s.params(s.link() + ", to: previous")
	checktest.Match(t, "fail: ...1.2.2 is not there: check the release out first", acted(t, env, git.Switch, back))
	s.point(t, "20240101")
	acted(t, env, git.Switch, s.params(s.link()))
	checktest.Match(t, "pass: ...points at 1.2.2 (...)", acted(t, env, git.Switch, back))
	if s.current(t) != "20240101" {
		t.Errorf("current is %s", s.current(t))
	}
}

// No host is switched before every host has the release.
func TestSwitchOnSeveralHosts(t *testing.T) {
	s := newReleases(t)
	s.point(t, "1.2.2")
	env := hosts(s.env(t), func(h check.Host) check.Host {
		left := 1000
		if h.Name() == "web-2" {
			left = 0
		}
		return lost{h, &left, false}
	})
	params := s.params(s.link() + ", on: [web-1, web-2]")
	checktest.Match(t, "error: web-2: ...connection lost", acted(t, env, git.Switch, params))
	if s.current(t) != "1.2.2" {
		t.Errorf("current is %s", s.current(t))
	}
	env = hosts(s.env(t), func(h check.Host) check.Host { return h })
	checktest.Match(t, "pass: ...", acted(t, env, git.Switch, params))
	said, err := decode(t, git.Switch, params).Runner.(check.Examiner).Examine(t.Context(), env)
	if err != nil {
		t.Errorf("examine: %s, %v", said, err)
	}
}
