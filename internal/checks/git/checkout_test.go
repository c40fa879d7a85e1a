package git_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/git"
)

func TestCheckout(t *testing.T) {
	s := newSite(t)
	fresh := func(env *check.Env) {
		env.Run.Revision, env.Run.PreviousRev = s.second, s.first
		if err := os.RemoveAll(s.path("releases")); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(s.path("releases"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	with := func(change func(env *check.Env)) func(*check.Env) {
		return func(env *check.Env) { fresh(env); change(env) }
	}
	folder := func(name string) string { return s.path("releases/" + name) }
	checktest.Run(t, git.Checkout, []checktest.Case{
		{Name: "new", Params: s.params(s.shared()), Env: fresh, Want: "pass: ...releases/1.2.3 is at " + s.second[:12] + ", checked out on local", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["revision"] != s.second || len(o.Facts["tree"]) != 40 || o.Facts["files"] != "7" || o.Facts["bytes"] == "0" {
				t.Errorf("facts: %v", o.Facts)
			}
			if s.read(t, "releases/1.2.3/REVISION") != s.second+"\n" || s.read(t, "releases/1.2.3/app/main.py") != "two" || s.read(t, "releases/1.2.3/.env") != "DEBUG=0\n" {
				t.Error("the release's files are not as they should be")
			}
			if s.names(t, "releases") != "1.2.3" {
				t.Errorf("left behind: %s", s.names(t, "releases"))
			}
		}},
		{Name: "the version before", Params: s.params(", at: previous"), Env: fresh, Want: "pass: ...releases/1.2.2 is at " + s.first[:12] + ", checked out on local"},
		{Name: "a commit", Params: s.params(", at: " + s.first), Env: fresh, Want: "pass: ...releases/" + s.first[:12] + " is at ..."},
		{Name: "a tag found in the mirror", Params: s.params(""), Env: with(func(env *check.Env) { env.Run.Revision = "" }), Want: "pass: ...1.2.3 is at " + s.second[:12] + ", checked out on local"},
		{Name: "another commit's folder", Params: s.params(""), Env: with(func(env *check.Env) {
			env.Run.Revision = s.first
			acted(t, env, git.Checkout, s.params(""))
			env.Run.Revision = s.second
		}), Want: "fail: local: ...1.2.3 holds " + s.first[:12] + ", want ..."},
		{Name: "a changed folder", Params: s.params(""), Env: with(func(env *check.Env) {
			acted(t, env, git.Checkout, s.params(""))
			write(t, folder("1.2.3/app/main.py"), "TWO")
		}), Want: "fail: local: 1 files of ... are not as in 1.2.3 (...): app/main.py"},
		{Name: "a folder of unknown origin", Params: s.params(""), Env: with(func(*check.Env) {
			if err := os.MkdirAll(folder("1.2.3/app"), 0o755); err != nil {
				t.Fatal(err)
			}
		}), Want: "fail: ...1.2.3 holds no REVISION: it is no release that was checked out to its end"},
		{Name: "a file in the folder's place", Params: s.params(""), Env: with(func(*check.Env) { write(t, folder("1.2.3"), "") }), Want: "fail: ...1.2.3 is no folder"},
		{Name: "no shared file", Params: s.params(", shared: {.env: /no/such/file}"), Env: fresh, Want: "fail: local: /no/such/file, which .env is to link to, is not there", Check: func(t *testing.T, _ check.Outcome) {
			if s.names(t, "releases") != "" {
				t.Errorf("left behind: %s", s.names(t, "releases"))
			}
		}},
		{Name: "shared over the commit's files", Params: s.params(", shared: {app: " + s.path("shared") + "}"), Env: fresh, Want: "fail: ...app is to be shared, but the commit holds app/main.py"},
		{Name: "the commit has the revision file", Params: s.params(", revision_file: run.sh"), Env: fresh, Want: "fail: ...run.sh is a file of the commit itself..."},
		{Name: "a commit that nobody has", Params: s.params(""), Env: with(func(env *check.Env) { env.Run.Revision = strings.Repeat("a", 40) }), Want: "fail: ...mirror.git does not hold ..."},
		{Name: "a tag that nobody has", Params: s.params(", at: v9.9.9"), Env: fresh, Want: "fail: local: the repository knows no v9.9.9"},
		{Name: "no previous version", Params: s.params(", at: previous"), Env: with(func(env *check.Env) { env.Run.Previous, env.Run.PreviousRev = "", "" }), Want: "error: ...the previous of this run was not supplied"},
		{Name: "no repository", Params: "{repo: /no/such, releases: /tmp/x}", Want: "fail: local: /no/such is no folder"},
		{Name: "a folder that is no repository", Params: "{repo: " + s.path("shared") + ", releases: /tmp/x}", Want: "fail: ...is no repository that can be read: fatal: not a git repository..."},
		{Name: "no folder of releases", Params: "{repo: " + s.path("mirror.git") + ", releases: " + s.path("none") + "}", Env: fresh, Want: "fail: local: mktemp: ...No such file or directory"},
		{Name: "an unknown host", Params: s.params(", on: [web-9]"), Env: fresh, Want: `error: unknown host "web-9"`},
		{Name: "relative", Params: "{repo: mirror, releases: /x}", Want: "problem: ...repo: \"mirror\" is not a whole path..."},
		{Name: "a detour", Params: "{repo: /a/../b, releases: /x}", Want: "problem: ...is not a whole path..."},
		{Name: "a name that leaves", Params: s.params(", name: ../x"), Want: "problem: ...cannot be a folder's name..."},
		{Name: "a shared path that leaves", Params: s.params(", shared: {../x: /y}"), Want: "problem: ...is not a path inside the release..."},
		{Name: "a remote that runs programs", Params: s.params(`, fetch: "ext::sh -c true"`), Want: "problem: ...transports that run programs are not allowed..."},
		{Name: "a host twice", Params: s.params(", on: [a, a]"), Want: "problem: ...a stands there twice..."},
	})
}

func TestCheckoutTwiceActsOnce(t *testing.T) {
	s := newSite(t)
	env := s.env(t)
	params := s.params(s.shared())
	if p := probed(t, env, git.Checkout, params); p != check.NotDone {
		t.Errorf("before: %s", p)
	}
	acted(t, env, git.Checkout, params)
	info, err := os.Stat(s.path("releases/1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	checktest.Match(t, "pass: ..., was there already on local", acted(t, env, git.Checkout, params))
	again, err := os.Stat(s.path("releases/1.2.3"))
	if err != nil || !os.SameFile(info, again) {
		t.Errorf("the folder was made anew (%v)", err)
	}
	if p := probed(t, env, git.Checkout, params); p != check.Done {
		t.Errorf("after: %s", p)
	}
	for name, mode := range map[string]os.FileMode{"run.sh": 0o111, "app/main.py": 0} {
		info, err := os.Stat(s.path("releases/1.2.3/" + name))
		if err != nil || info.Mode()&0o111 != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if text := s.read(t, "releases/1.2.3/windows.txt"); text != "a\r\nb\r\n" {
		t.Errorf("line ends: %q", text)
	}
}

func TestCheckoutFetchesWhatIsMissing(t *testing.T) {
	s := newSite(t)
	env := s.env(t)
	s.put(t, "app/main.py", "three")
	env.Run.Release, env.Run.Revision = "1.2.4", s.commit(t, "v1.2.4")
	checktest.Match(t, "fail: ...does not hold 1.2.4...", acted(t, env, git.Checkout, s.params(`, fetch: ""`)))
	checktest.Match(t, "pass: ...1.2.4 is at ...", acted(t, env, git.Checkout, s.params("")))
	checktest.Match(t, "fail: ...git fetch gone: ...", acted(t, env, git.Checkout, s.params(", fetch: gone, at: v7")))
	env.Run.Release, env.Run.Revision = "1.2.5", ""
	s.put(t, "app/main.py", "four")
	s.commit(t, "v1.2.5")
	checktest.Match(t, "pass: ...1.2.5 is at ...", acted(t, env, git.Checkout, s.params("")))
}

// What a checkout cannot bring must not look like a whole release.
func TestCheckoutRefusesHalfRepositories(t *testing.T) {
	s := newSite(t)
	env := s.env(t)
	s.git(t, "update-index", "--add", "--cacheinfo", "160000,"+s.first+",vendor/lib")
	s.git(t, "commit", "-q", "-m", "submodule")
	env.Run.Release, env.Run.Revision = "2.0.0", s.git(t, "rev-parse", "HEAD")
	checktest.Match(t, "fail: ...holds the submodule vendor/lib...", acted(t, env, git.Checkout, s.params("")))
	s.git(t, "reset", "-q", "--hard", s.second)
	s.put(t, ".gitattributes", "*.bin filter=lfs\n")
	s.put(t, "model.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:"+strings.Repeat("a", 64)+"\nsize 12\n")
	env.Run.Release, env.Run.Revision = "2.0.1", s.commit(t, "v2.0.1")
	checktest.Match(t, "fail: ...model.bin is only a pointer of Git LFS...", acted(t, env, git.Checkout, s.params("")))
	if got := s.names(t, "releases"); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

// Wherever the connection breaks, there is the whole release or none, and the
// next attempt makes it whole and removes what was left.
func TestCheckoutSurvivesEveryBreak(t *testing.T) {
	s := newSite(t)
	env := s.env(t)
	params := s.params(s.shared())
	breaking(t, env, git.Checkout, params, func() {
		if err := os.RemoveAll(s.path("releases/1.2.3")); err != nil {
			t.Fatal(err)
		}
	}, func(at string) {
		if _, err := os.Lstat(s.path("releases/1.2.3")); err == nil {
			if p := probed(t, env, git.Checkout, params); p != check.Done {
				t.Fatalf("%s: the folder is there, but the probe says %s", at, p)
			}
		}
	})
	checktest.Match(t, "pass: ...", acted(t, env, git.Checkout, params))
	if got := s.names(t, "releases"); got != "1.2.3" {
		t.Errorf("left behind: %s", got)
	}
}

func TestCheckoutOnSeveralHosts(t *testing.T) {
	s := newSite(t)
	env := hosts(s.env(t), func(h check.Host) check.Host { return h })
	checktest.Match(t, "pass: ...checked out on web-1, was there already on web-2", acted(t, env, git.Checkout, s.params(", on: [web-1, web-2]")))
	if said, err := decode(t, git.Checkout, s.params(", on: [web-1]")).Runner.(check.Examiner).Examine(t.Context(), env); err != nil || !strings.Contains(said, "can be read") {
		t.Errorf("examine: %s, %v", said, err)
	}
	if err := os.RemoveAll(s.path("releases")); err != nil {
		t.Fatal(err)
	}
	if _, err := decode(t, git.Checkout, s.params("")).Runner.(check.Examiner).Examine(t.Context(), env); err == nil {
		t.Error("examine: a folder that is not there may be written to")
	}
}

func TestReleaseInContainers(t *testing.T) {
	for name, shell := range map[string]string{"dash": "dash", "busybox": "env PATH=" + busyboxes(t) + " busybox sh"} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			env := s.env(t)
			box := inBox(t, shell)
			env.Host = func(string) (check.Host, error) { return box, nil }
			checktest.Match(t, "pass: ...checked out on box", acted(t, env, git.Checkout, s.params(s.shared()+", on: [box]")))
			checktest.Match(t, "pass: ...current points at 1.2.3 (...)", acted(t, env, git.Switch, s.params(s.link()+", on: [box]")))
			checktest.Match(t, "pass: ...checked out on box", acted(t, env, git.Checkout, s.params(", at: previous, on: [box]")))
			checktest.Match(t, "pass: ...current points at 1.2.2 (...)", acted(t, env, git.Switch, s.params(s.link()+", to: previous, on: [box]")))
			if s.current(t) != "1.2.2" {
				t.Errorf("current is %s", s.current(t))
			}
		})
	}
}

// busyboxes gives a folder with busybox's tools and git.
func busyboxes(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	run(t, dir, "busybox", "--install", "-s", dir)
	if err := os.Symlink(run(t, dir, "which", "git"), filepath.Join(dir, "git")); err != nil {
		t.Fatal(err)
	}
	return dir
}
