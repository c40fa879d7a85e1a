package file_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/file"
	"allclear.dev/allclear/internal/transport"
)

// server is a folder with releases and logs of several ages.
type server struct {
	root string
	now  time.Time
	env  *check.Env
	// kept is what was stored as evidence, by name.
	kept map[string]string
	// ledger is the run's memory.
	ledger *checktest.Ledger
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{root: t.TempDir(), now: time.Now(), env: checktest.NewEnv(t), kept: map[string]string{}, ledger: &checktest.Ledger{Facts: map[string]string{}}}
	s.env.Ledger = s.ledger
	s.env.Store = func(name string, content io.Reader) (check.Artefact, error) {
		text, err := io.ReadAll(content)
		s.kept[name] = string(text)
		return check.Artefact{Name: name}, err
	}
	s.fill(t)
	return s
}

func (s *server) fill(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(s.root)
	must(t, err)
	for _, e := range entries {
		must(t, os.RemoveAll(s.path(e.Name())))
	}
	for i, name := range []string{"1.1.0", "1.2.0", "1.2.1", "1.2.2", "1.2.3"} {
		s.put(t, "releases/"+name+"/app.py", name, 10-i)
		s.age(t, "releases/"+name, 10-i)
	}
	must(t, os.Symlink("releases/1.2.1", s.path("current")))
	for i, name := range []string{"a.log", "b.log", "c with space\nand line end.log", "d.log"} {
		s.put(t, "log/"+name, strings.Repeat("x", 1000), 20-5*i)
	}
	must(t, os.MkdirAll(s.path("archive"), 0o755))
}

func (s *server) path(name string) string { return filepath.Join(s.root, name) }

func (s *server) put(t *testing.T, name, text string, days int) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(s.path(name)), 0o755))
	must(t, os.WriteFile(s.path(name), []byte(text), 0o640))
	s.age(t, name, days)
}

func (s *server) age(t *testing.T, name string, days int) {
	t.Helper()
	at := s.now.AddDate(0, 0, -days)
	must(t, os.Chtimes(s.path(name), at, at))
}

// all lists the names in a folder.
func (s *server) all(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(s.path(dir))
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func (s *server) instance(t *testing.T, params string) *check.Instance {
	t.Helper()
	inst, problems := checktest.Decode(file.Prune, strings.ReplaceAll(params, "ROOT", s.root), nil)
	if inst == nil {
		t.Fatal(problems.Error())
	}
	return inst
}

// do runs an item, with what it sets remembered as the engine does.
func (s *server) do(t *testing.T, params string) (check.Outcome, string) {
	t.Helper()
	outcome, err := s.instance(t, params).Runner.Run(t.Context(), s.env)
	maps.Copy(s.ledger.Facts, outcome.Sets)
	if err != nil {
		return outcome, "error: " + err.Error()
	}
	return outcome, string(outcome.Verdict) + ": " + outcome.Reason
}

func (s *server) is(t *testing.T, params, want string) check.Outcome {
	t.Helper()
	outcome, got := s.do(t, params)
	checktest.Match(t, want, got)
	return outcome
}

func (s *server) probe(t *testing.T, params string) string {
	t.Helper()
	progress, _, err := s.instance(t, params).Prober().Probe(t.Context(), s.env)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(progress)
}

const (
	listLogs   = "{paths: ['ROOT/log/*.log'], older: 168h}"
	removeLogs = "{paths: ['ROOT/log/*.log'], older: 168h, do: remove}"
	packLogs   = "{paths: ['ROOT/log/*.log'], older: 168h, do: remove, archive_to: ROOT/archive}"
)

func TestPruneLists(t *testing.T) {
	s := newServer(t)
	in := func(change func()) func(*check.Env) {
		return func(env *check.Env) {
			s.fill(t)
			env.Store, env.Ledger = s.env.Store, s.env.Ledger
			if change != nil {
				change()
			}
		}
	}
	stay := func(want ...string) func(*testing.T, check.Outcome) {
		return func(t *testing.T, _ check.Outcome) {
			t.Helper()
			for _, w := range want {
				name, why, _ := strings.Cut(w, ": ")
				if !strings.Contains(s.kept["stays.txt"], fmt.Sprintf("%q\t%s", s.path(name), why)) {
					t.Errorf("%s is not kept because of %q:\n%s", name, why, s.kept["stays.txt"])
				}
			}
		}
	}
	var cases []checktest.Case
	for _, c := range []checktest.Case{
		{Name: "by age", Params: listLogs, Env: in(nil), Want: "pass: 3 paths of 3.0 kB may go, 1 stay", Check: stay("log/d.log: younger")},
		{Name: "the newest, what is live and the releases of this run stay", Params: "{paths: ['ROOT/releases/*'], keep: 1}", Env: in(nil), Want: "pass: 2 paths of ... may go, 3 stay",
			Check: stay("releases/1.2.1: protected by "+s.path("releases/1.2.1"), "releases/1.2.2: a release of this run", "releases/1.2.3: a release of this run")},
		{Name: "more kept", Params: "{paths: ['ROOT/releases/*'], keep: 4}", Env: in(nil), Want: "pass: 1 path of ... may go, 4 stay", Check: stay("releases/1.2.0: one of the newest 4")},
		{Name: "by its revision", Params: "{paths: ['ROOT/releases/*'], keep: 1}", Env: func(env *check.Env) {
			in(func() { s.put(t, "releases/1.1.0/REVISION", "abc\n", 10); s.age(t, "releases/1.1.0", 10) })(env)
			env.Run.PreviousRev = "abc"
		}, Want: "pass: 1 path of ...", Check: stay("releases/1.1.0: a release of this run, by its REVISION")},
		{Name: "protected by hand", Params: "{paths: ['ROOT/releases/*'], keep: 1, protect: [ROOT/releases/1.1.0/app.py]}", Env: in(nil), Want: "pass: 1 path of ...", Check: stay("releases/1.1.0: protected by " + s.path("releases/1.1.0/app.py"))},
		{Name: "excluded", Params: "{paths: ['ROOT/log/*'], older: 168h, exclude: ['ROOT/log/a*']}", Env: in(nil), Want: "pass: 2 paths of ...", Check: stay("log/a.log: excluded by " + s.path("log/a*"))},
		{Name: "links are not followed", Params: listLogs, Env: in(func() { must(t, os.Symlink("../releases", s.path("log/r.log"))) }), Want: "pass: 3 paths of 3.0 kB may go, 2 stay", Check: stay("log/r.log: neither a file nor a folder")},
		{Name: "a folder in which a file is young", Params: "{paths: ['ROOT/releases/*'], older: 216h}", Env: in(func() {
			s.put(t, "releases/1.1.0/deep/er", "x", 1)
			s.age(t, "releases/1.1.0/deep", 10)
			s.age(t, "releases/1.1.0", 10)
		}), Want: "pass: 0 paths of 0 bytes may go, 5 stay", Check: stay("releases/1.1.0: something in it is younger")},
		{Name: "what lies in a folder goes with it", Params: "{paths: ['ROOT/releases/**'], older: 216h}", Env: in(func() { s.age(t, "releases/1.1.0/app.py", 10) }), Want: "pass: 1 path of ..."},
		{Name: "a folder that holds what stays", Params: "{paths: ['ROOT/releases/**'], older: 216h, exclude: ['ROOT/releases/1.1.0/app.py']}", Env: in(nil), Want: "pass: 0 paths of ...", Check: stay("releases/1.1.0: holds " + s.path("releases/1.1.0/app.py") + ", which stays")},
		{Name: "too many", Params: "{paths: ['ROOT/log/*'], older: 168h, at_most: 2}", Env: in(nil), Want: "fail: 3 paths match, more than 2: look at the list and at the patterns"},
		{Name: "nothing old", Params: "{paths: ['ROOT/log/*'], older: 1000h}", Env: in(nil), Want: "pass: 0 paths of 0 bytes may go, 4 stay"},
		{Name: "no such folder", Params: "{paths: ['ROOT/no/*'], older: 1h}", Env: in(nil), Want: "error: ...no is no folder"},
		{Name: "through a link", Params: "{paths: ['ROOT/current/*'], older: 1h}", Env: in(nil), Want: "error: ...current goes through a link to ...1.2.1: write the real path"},
		{Name: "nothing to protect", Params: "{paths: ['ROOT/log/*'], older: 1h, protect: [ROOT/none]}", Env: in(nil), Want: "error: what is to be protected is not found..."},
		{Name: "no limit", Params: "{paths: ['ROOT/log/*']}", Want: "problem: ...needs older or keep..."},
		{Name: "relative", Params: "{paths: ['log/*'], older: 1h}", Want: "problem: ...is not a whole path..."},
		{Name: "a detour", Params: "{paths: ['/srv/a/../*'], older: 1h}", Want: "problem: ...is not a whole path..."},
		{Name: "an archive without removing", Params: "{paths: ['/srv/a/b/*'], older: 1h, archive_to: /x}", Want: "problem: ...are for do: remove..."},
		{Name: "no name", Params: "{paths: ['/srv/a/b/*'], older: 1h, name: A-b}", Want: "problem: ...want small letters..."},
		{Name: "unknown host", Params: "{paths: ['/srv/a/b/*'], older: 1h, on: web-9}", Want: `error: unknown host "web-9"`},
	} {
		c.Params = strings.ReplaceAll(c.Params, "ROOT", s.root)
		cases = append(cases, c)
	}
	for _, pattern := range []string{"/*", "/srv/*", "/tmp/*", "/etc/app/*", "/usr/**", "/var/lib/*", "/**/x", "/proc/1/*"} {
		cases = append(cases, checktest.Case{Name: "pattern " + pattern, Params: "{paths: ['" + pattern + "'], older: 1h}", Want: "problem: ..."})
	}
	checktest.Run(t, file.Prune, cases)
	for _, pattern := range []string{"/tmp/tulia-*", "/srv/tulia/releases/*", "/var/log/*.gz", "/srv/tulia/**/__pycache__"} {
		s.instance(t, "{paths: ['"+pattern+"'], older: 1h}")
	}
	checktest.Page(t, file.Prune)
}

func TestPruneRemovesWhatWasListed(t *testing.T) {
	s := newServer(t)
	s.is(t, removeLogs, "error: a list called files: an item without do: remove makes it was not supplied")
	s.is(t, listLogs, "pass: 3 paths of ...")
	if got := s.probe(t, removeLogs); got != "not_done" {
		t.Errorf("probe: %s", got)
	}
	// Hours go by: what becomes old meanwhile is not on the list and stays.
	s.env.Now = func() time.Time { return s.now.AddDate(0, 0, 100) }
	outcome := s.is(t, removeLogs, "pass: 3 paths of 3.0 kB removed, as listed; 1 stay")
	if got := s.all(t, "log"); got != "d.log" || outcome.Facts["removed"] != "3" || !strings.Contains(s.kept["removed.txt"], "a.log") {
		t.Errorf("left: %s, facts %v", got, outcome.Facts)
	}
	if got := s.probe(t, removeLogs); got != "done" {
		t.Errorf("probe: %s", got)
	}
	s.put(t, "log/a.log", "new", 0)
	s.is(t, removeLogs, "pass: the list was carried out before: nothing more is removed")
	if got := s.all(t, "log"); got != "a.log d.log" || s.probe(t, removeLogs) != "done" {
		t.Errorf("done twice: left %s", got)
	}
}

func TestPruneStopsWhenTheListIsNotTheSame(t *testing.T) {
	s := newServer(t)
	for name, c := range map[string]struct {
		change func()
		want   string
	}{
		"a file more":           {func() { s.put(t, "log/new.log", "x", 30) }, "fail: nothing was removed: ...new.log is not on the list; list again"},
		"a file changed":        {func() { s.put(t, "log/a.log", "other", 30) }, "fail: nothing was removed: ...a.log has changed since it was listed; list again"},
		"a file written":        {func() { s.age(t, "log/a.log", 0) }, "fail: nothing was removed: ...a.log may not go any more; list again"},
		"a link in its place":   {func() { must(t, os.Remove(s.path("log/a.log"))); must(t, os.Symlink("d.log", s.path("log/a.log"))) }, "fail: nothing was removed: ...a.log may not go any more; list again"},
		"a file less":           {func() { must(t, os.Remove(s.path("log/a.log"))) }, "pass: 2 paths of 2.0 kB removed, as listed; 1 stay"},
		"it is live now":        {func() { must(t, os.Symlink("log/a.log", s.path("live"))) }, "fail: nothing was removed: ...a.log may not go any more; list again"},
		"the list was tampered": {func() { s.tamper(t) }, "error: the list in ... is not the one that was looked at"},
		"the fact is no digest": {func() { s.ledger.Facts["prune.files"] = "../../x" }, "error: the fact prune.files holds ..."},
		"the list is gone":      {func() { must(t, os.RemoveAll(filepath.Join(s.env.DataDir, "prune"))) }, "error: recall the list: ..."},
		"a folder in its place": {func() {
			must(t, os.Remove(s.path("log/a.log")))
			s.put(t, "log/a.log/x", "", 30)
			s.age(t, "log/a.log", 20)
		}, "fail: nothing was removed: ...a.log has changed since it was listed; list again"},
		"another list's pattern": {func() { s.is(t, "{paths: ['ROOT/releases/*'], keep: 4}", "pass: ...") }, "fail: nothing was removed: ...is not on the list..."},
	} {
		t.Run(name, func(t *testing.T) {
			s.fill(t)
			s.is(t, listLogs, "pass: 3 paths of ...")
			c.change()
			s.is(t, removeLogs, c.want)
			if strings.HasPrefix(c.want, "fail") && !strings.Contains(s.all(t, "log"), "b.log") {
				t.Errorf("something was removed: %s", s.all(t, "log"))
			}
		})
	}
}

// tamper adds a path to the list that is kept.
func (s *server) tamper(t *testing.T) {
	t.Helper()
	name := filepath.Join(s.env.DataDir, "prune", s.ledger.Facts["prune.files"]+".json")
	text, err := os.ReadFile(name)
	must(t, err)
	must(t, os.WriteFile(name, []byte(strings.Replace(string(text), "a.log", "d.log", 1)), 0o600))
}

func TestPruneArchivesAndPutsBack(t *testing.T) {
	for _, compress := range []string{"gzip", "zstd", "none"} {
		t.Run(compress, func(t *testing.T) {
			s := newServer(t)
			params := strings.Replace(packLogs, "}", ", compress: "+compress+"}", 1)
			s.is(t, listLogs, "pass: ...")
			done := s.is(t, params, "pass: 3 paths of 3.0 kB removed, as listed; 1 stay; archived in "+s.path("archive")+"...")
			if got := s.all(t, "log"); got != "d.log" || len(done.Facts["archive_sha256"]) != 64 {
				t.Errorf("left %s, facts %v", got, done.Facts)
			}
			undo := s.instance(t, params).Undoer()
			for range 2 {
				outcome, err := undo.Undo(t.Context(), s.env, done)
				if err != nil || outcome.Verdict != check.Pass {
					t.Fatalf("undo: %v, %v", outcome, err)
				}
			}
			info, err := os.Stat(s.path("log/c with space\nand line end.log"))
			must(t, err)
			if age := s.now.Sub(info.ModTime()); age < 9*24*time.Hour || info.Mode() != 0o640 || info.Size() != 1000 {
				t.Errorf("came back with age %s, mode %s", age, info.Mode())
			}
			s.is(t, params, "pass: 3 paths of ...") // and the list may be carried out again
			must(t, os.WriteFile(done.Facts["archive"], []byte("x"), 0o600))
			outcome, err := undo.Undo(t.Context(), s.env, done)
			if err != nil || outcome.Verdict != check.Fail || !strings.Contains(outcome.Reason, "has sha256") {
				t.Errorf("undo with another archive: %v, %v", outcome, err)
			}
		})
	}
	s := newServer(t)
	s.is(t, listLogs, "pass: ...")
	s.is(t, strings.Replace(packLogs, "ROOT/archive", "ROOT/none", 1), "fail: nothing was removed: tar ended with exit 2 ...")
	if outcome, err := s.instance(t, packLogs).Undoer().Undo(t.Context(), s.env, check.Outcome{}); err != nil || outcome.Reason != "nothing was removed" {
		t.Errorf("undo: %v, %v", outcome, err)
	}
	if _, err := s.instance(t, removeLogs).Undoer().Undo(t.Context(), s.env, check.Outcome{}); err == nil {
		t.Error("undone without an archive")
	}
}

func TestPruneUnseen(t *testing.T) {
	s := newServer(t)
	params := strings.Replace(packLogs, "do: remove", "do: remove, unseen: true", 1)
	if got := s.probe(t, params); got != "not_done" {
		t.Errorf("probe: %s", got)
	}
	said, err := s.instance(t, params).Runner.(check.Examiner).Examine(t.Context(), s.env)
	if err != nil || said != "3 paths of 3.0 kB would go now" {
		t.Errorf("examine: %s, %v", said, err)
	}
	s.is(t, strings.Replace(params, "do: remove", "at_most: 2, do: remove", 1), "fail: the list holds 3 paths, more than 2")
	s.is(t, params, "pass: 3 paths of 3.0 kB removed, as listed; 1 stay; archived in ...")
	if got := s.probe(t, params); got != "done" {
		t.Errorf("probe: %s", got)
	}
	s.put(t, "log/new.log", "x", 30)
	s.is(t, params, "pass: the list was carried out before...") // the same attempt once more does nothing more
	if got := s.all(t, "log"); got != "d.log new.log" {
		t.Errorf("left %s", got)
	}
}

func TestPruneLeavesOtherFileSystemsAlone(t *testing.T) {
	s := newServer(t)
	h, err := s.env.Host("")
	must(t, err)
	left := 1000
	s.put(t, "releases/a b/x", "", 20)
	mounts := "22 1 0:20 / " + s.path("releases/1.1.0/media") + " rw - ext4 /dev/a rw\n23 1 0:20 / " + s.path(`releases/a\040b`) + " rw - ext4 /dev/a rw\n"
	s.env.Host = func(string) (check.Host, error) { return faulty{Host: h, left: &left, mounts: mounts}, nil }
	s.is(t, "{paths: ['ROOT/releases/*'], keep: 1}", "pass: ...")
	for _, want := range []string{"1.1.0\"\tanother file system", "a b\"\tanother file system"} {
		if !strings.Contains(s.kept["stays.txt"], want) {
			t.Errorf("not kept: %s\n%s", want, s.kept["stays.txt"])
		}
	}
	mounts = "garbage\n"
	s.is(t, "{paths: ['ROOT/releases/*'], keep: 1}", "error: /proc/self/mountinfo is malformed")
}

// What tar cannot read must not be removed.
func TestPruneNeedsAWholeArchive(t *testing.T) {
	s := newServer(t)
	h, err := s.env.Host("")
	must(t, err)
	s.is(t, listLogs, "pass: ...")
	s.env.Host = func(string) (check.Host, error) { return growing{h, s.path("log/a.log")}, nil }
	s.is(t, packLogs, "fail: tar: exit 1: ...")
	if got := s.all(t, "log"); !strings.HasPrefix(got, "a.log b.log ") {
		t.Errorf("left %s", got)
	}
}

// growing writes to a log just after it was packed.
type growing struct {
	check.Host
	log string
}

func (g growing) Exec(ctx context.Context, c check.Command) (check.Result, error) {
	if slices.Contains(c.Argv, "--compare") {
		if err := os.WriteFile(g.log, []byte("more"), 0o600); err != nil {
			return check.Result{}, err
		}
	}
	return g.Host.Exec(ctx, c)
}

func TestPruneToolsAreThere(t *testing.T) {
	for _, name := range []string{"tar", "gzip", "zstd", "find", "du", "stat", "sha256sum"} {
		if _, err := exec.LookPath(name); errors.Is(err, fs.ErrNotExist) || err != nil {
			t.Errorf("%s is missing: apt-get install tar gzip zstd findutils coreutils", name)
		}
	}
}

// Over a shell on the far side, names with blanks and line ends stay whole.
func TestPruneInAContainer(t *testing.T) {
	s := newServer(t)
	bin := t.TempDir()
	must(t, os.WriteFile(filepath.Join(bin, "docker"), []byte("#!/bin/sh\n[ \"$1 $2 $3\" = 'exec --interactive box' ] || exit 125\nshift 4\nexec dash \"$@\"\n"), 0o755))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	box, err := transport.Open("box", transport.Spec{Docker: &transport.Docker{Container: "box"}}, &transport.Local{Dir: t.TempDir()})
	must(t, err)
	s.env.Host = func(string) (check.Host, error) { return box, nil }
	s.is(t, listLogs, "pass: 3 paths of 3.0 kB may go, 1 stay")
	done := s.is(t, packLogs, "pass: 3 paths of 3.0 kB removed, as listed; 1 stay; archived in ...")
	outcome, err := s.instance(t, packLogs).Undoer().Undo(t.Context(), s.env, done)
	if err != nil || outcome.Verdict != check.Pass || !strings.Contains(s.all(t, "log"), "c with space\nand line end.log") {
		t.Errorf("undo: %v, %v: %s", outcome, err, s.all(t, "log"))
	}
}
