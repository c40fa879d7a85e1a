package document_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/document"
)

const good = `# Changelog

## [Unreleased]

### Added

- Something new.

## [1.2.3] - 2026-11-23

### Added

- Orders can be exported.

### Fixed

- Totals are rounded once.

## [1.2.2] - 2026-10-01

Only a note.

[Unreleased]: https://example.com/tulia/compare/v1.2.3...HEAD
[1.2.3]: https://example.com/tulia/compare/v1.2.2...v1.2.3
[1.2.2]: https://example.com/tulia/releases/tag/v1.2.2
`

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// today is the day of the tests.
func today(env *check.Env) {
	env.Now = func() time.Time { return time.Date(2026, 12, 1, 10, 0, 0, 0, time.UTC) }
}

// with gives an Env hook that puts the changelog into the checkout.
func with(t *testing.T, text string) func(*check.Env) {
	return func(env *check.Env) {
		today(env)
		write(t, env.Dir, "CHANGELOG.md", text)
	}
}

func TestEntry(t *testing.T) {
	checktest.Page(t, document.Entry)
	change := func(pairs ...string) func(*check.Env) { return with(t, strings.NewReplacer(pairs...).Replace(good)) }
	checktest.Run(t, document.Entry, []checktest.Case{
		{Name: "good", Params: "1.2.3", Env: with(t, good), Want: "pass: CHANGELOG.md, line 9: [1.2.3] - 2026-11-23, with Added, Fixed", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["entries"] != "2" || !strings.Contains(o.Facts["text"], "rounded once") || len(o.Facts["sha256"]) != 64 {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "v before the number", Params: "v1.2.3", Env: with(t, good), Want: "pass: ..."},
		{Name: "carriage returns", Params: "1.2.3", Env: change("\n", "\r\n"), Want: "pass: ..."},
		{Name: "without brackets", Params: "1.2.3", Env: change("[1.2.3] - ", "1.2.3 - "), Want: "pass: ..."},
		{Name: "link in the heading", Params: "1.2.3", Env: change("[1.2.3] - ", "[1.2.3](https://example.com/1.2.3) - "), Want: "pass: ..."},
		{Name: "unreleased", Params: "Unreleased", Env: with(t, good), Want: "pass: CHANGELOG.md, line 3: [Unreleased], with Added"},
		{Name: "nothing unreleased", Params: "unreleased", Env: change("- Something new.", ""), Want: "fail: ...line 3: line 5: nothing stands under Added; it says nothing"},
		{Name: "a note counts", Params: "{version: 1.2.2, newest: false}", Env: with(t, good), Want: "pass: ..., with text"},
		{Name: "missing", Params: "1.3.0", Env: with(t, good), Want: "fail: CHANGELOG.md has no section 1.3.0; its newest is 1.2.3 (line 9)"},
		{Name: "no file", Params: "1.2.3", Env: today, Want: "fail: there is no CHANGELOG.md"},
		{Name: "not the newest", Params: "1.2.2", Env: with(t, good), Want: "fail: ...1.2.3 stands above it (line 9)..."},
		{Name: "no such day", Params: "1.2.3", Env: change("2026-11-23", "2026-02-30"), Want: `fail: ..."2026-02-30" is no day such as 2026-11-23`},
		{Name: "day of another form", Params: "1.2.3", Env: change("- 2026-11-23", "(23.11.2026)"), Want: "fail: ...want the version, a hyphen and the day..."},
		{Name: "future", Params: "1.2.3", Env: change("2026-11-23", "2026-12-05"), Want: "fail: ...its date, 2026-12-05, is in the future"},
		{Name: "yanked", Params: "1.2.3", Env: change("2026-11-23", "2026-11-23 [YANKED]"), Want: "fail: ...[YANKED]: such a release is not deployed"},
		{Name: "unknown category", Params: "1.2.3", Env: change("### Fixed", "### Bugs"), Want: `fail: ...line 15: "Bugs" is no category (Added, ...)`},
		{Name: "own categories", Params: "{version: 1.2.3, categories: [Added, Bugs]}", Env: change("### Fixed", "### Bugs"), Want: "pass: ..."},
		{Name: "required", Params: "{version: 1.2.3, require: [Security]}", Env: with(t, good), Want: "fail: ...it has no Security"},
		{Name: "category twice", Params: "1.2.3", Env: change("### Fixed", "### Added"), Want: "fail: ...Added stands twice in it"},
		{Name: "empty category", Params: "1.2.3", Env: change("- Totals are rounded once.", "- TBD"), Want: "fail: ...line 15: nothing stands under Fixed"},
		{Name: "may be empty", Params: "{version: 1.2.3, non_empty: false}", Env: change("- Totals are rounded once.", ""), Want: "pass: ..."},
		{Name: "only a comment", Params: "1.2.3", Env: change("- Totals are rounded once.", "<!-- say what was fixed -->"), Want: "fail: ...nothing stands under Fixed"},
		{Name: "version twice", Params: "1.2.3", Env: change("[1.2.2] - 2026-10-01", "[1.2.3] - 2026-10-01"), Want: "fail: ...1.2.3 stands twice (lines 9 and 19)"},
		{Name: "no definition", Params: "1.2.3", Env: change("[1.2.3]: ", "[1.2.4]: "), Want: "fail: ...[1.2.3] has no link definition"},
		{Name: "definitions do not matter", Params: "{version: 1.2.3, links: false}", Env: change("[1.2.3]: ", "[1.2.4]: "), Want: "pass: ..."},
		{Name: "in a fence", Params: "1.2.3", Env: change("## [1.2.3]", "```\n## [1.2.3]", "## [1.2.2]", "```\n## [1.2.2]"), Want: "fail: CHANGELOG.md has no section 1.2.3..."},
		{Name: "in a comment", Params: "1.2.3", Env: change("## [1.2.3]", "<!--\n## [1.2.3]", "## [1.2.2]", "-->\n## [1.2.2]"), Want: "fail: CHANGELOG.md has no section 1.2.3..."},
		{Name: "no headings", Params: "1.2.3", Env: with(t, "1.2.3\n"), Want: "fail: ...it has no heading of the second level at all"},
		{Name: "empty", Params: "1.2.3", Env: with(t, " \n"), Want: "error: CHANGELOG.md: the file is empty"},
		{Name: "no text", Params: "1.2.3", Env: with(t, "## [1.2.3]\xff"), Want: "error: ...no UTF-8 text"},
		{Name: "too long", Params: "1.2.3", Env: with(t, good+strings.Repeat("x", 4<<20)), Want: "error: ...longer than..."},
		{Name: "a folder", Params: "{version: 1.2.3, file: .}", Env: today, Want: "error: ...not a regular file"},
		{Name: "problem: version", Params: "'1 2'", Want: "problem: ...is no version"},
		{Name: "problem: date", Params: "{version: 1.2.3, do: release, date: 1.2.2026}", Want: "problem: ...want a day such as..."},
		{Name: "problem: commit of a look", Params: "{version: 1.2.3, commit: true}", Want: "problem: ...go with do: release"},
		{Name: "problem: release of nothing", Params: "{version: Unreleased, do: release}", Want: "problem: ...name the version..."},
		{Name: "problem: required", Params: "{version: 1.2.3, require: [Other]}", Want: "problem: ...is none of the categories"},
	})
}

const released = `# Changelog

## [Unreleased]

## [1.3.0] - 2026-12-01

### Added

- Something new.

## [1.2.3] - 2026-11-23
`

// lab is a checkout with a changelog, under git where asked for.
type lab struct {
	env  *check.Env
	inst *check.Instance
}

func newLab(t *testing.T, params, text string) lab {
	t.Helper()
	env := checktest.NewEnv(t)
	with(t, text)(env)
	env.Key = "run-1/changelog"
	inst, problems := checktest.Decode(document.Entry, params, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return lab{env, inst}
}

func (l lab) act(t *testing.T, want string) check.Outcome {
	t.Helper()
	o, err := l.inst.Runner.Run(t.Context(), l.env)
	got := string(o.Verdict) + ": " + o.Reason
	if err != nil {
		got = "error: " + err.Error()
	}
	checktest.Match(t, want, got)
	return o
}

func (l lab) probe(t *testing.T, want check.Progress) {
	t.Helper()
	if got, _, err := l.inst.Prober().Probe(t.Context(), l.env); err != nil || got != want {
		t.Errorf("probe: %s %v, want %s", got, err, want)
	}
}

func (l lab) undo(t *testing.T, want string) {
	t.Helper()
	o, err := l.inst.Undoer().Undo(t.Context(), l.env, check.Outcome{})
	if err != nil {
		t.Fatal(err)
	}
	checktest.Match(t, want, string(o.Verdict)+": "+o.Reason)
}

func TestRelease(t *testing.T) {
	for name, text := range map[string]string{"line feeds": good, "carriage returns": strings.ReplaceAll(good, "\n", "\r\n"), "no last line end": strings.TrimSuffix(good, "\n")} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, "{version: 1.3.0, do: release}", text)
			l.probe(t, check.NotDone)
			l.act(t, "pass: CHANGELOG.md, line 5: [1.3.0] - 2026-12-01, with Added")
			got := read(t, l.env.Dir, "CHANGELOG.md")
			eol := "\n"
			if name == "carriage returns" {
				eol = "\r\n"
				if strings.Count(got, "\r\n") != strings.Count(got, "\n") {
					t.Errorf("a line ends in another way: %q", got)
				}
			}
			want := strings.ReplaceAll(released, "\n", eol)
			if !strings.HasPrefix(got, want) {
				t.Errorf("got %q", got)
			}
			links := "[Unreleased]: https://example.com/tulia/compare/v1.3.0...HEAD" + eol + "[1.3.0]: https://example.com/tulia/compare/v1.2.3...v1.3.0" + eol + "[1.2.3]: "
			if !strings.Contains(got, links) {
				t.Errorf("links: %q", got)
			}
			// Without what was put in, it is what it was.
			back := strings.NewReplacer("## [1.3.0] - 2026-12-01"+eol+eol, "", "v1.3.0...HEAD", "v1.2.3...HEAD", "[1.3.0]: https://example.com/tulia/compare/v1.2.3...v1.3.0"+eol, "").Replace(got)
			if back != text {
				t.Errorf("another byte was changed: %q", back)
			}
			l.probe(t, check.Done)
			l.act(t, "pass: ...")
			if again := read(t, l.env.Dir, "CHANGELOG.md"); again != got {
				t.Error("done twice, it is another file")
			}
			l.undo(t, "pass: CHANGELOG.md is as it was")
			if read(t, l.env.Dir, "CHANGELOG.md") != text {
				t.Error("undo gives another file")
			}
			l.undo(t, "pass: CHANGELOG.md is as it was")
			l.probe(t, check.NotDone)
		})
	}
}

func TestReleaseRefused(t *testing.T) {
	for name, c := range map[string]struct{ params, text, want string }{
		"nothing to release":   {"{version: 1.3.0, do: release}", strings.Replace(good, "- Something new.", "", 1), "fail: CHANGELOG.md: nothing stands under Unreleased (line 3)"},
		"no unreleased":        {"{version: 1.3.0, do: release}", strings.Replace(good, "## [Unreleased]", "## [1.2.4] - 2026-11-24", 1), "fail: CHANGELOG.md: there is no section Unreleased; its newest is 1.2.4 (line 3)"},
		"twice":                {"{version: 1.3.0, do: release}", good + "\n## Unreleased\n\n- x\n", "fail: CHANGELOG.md: Unreleased stands twice..."},
		"no comparison":        {"{version: 1.3.0, do: release}", strings.Replace(good, "compare/v1.2.3...HEAD", "commits/main", 1), "fail: CHANGELOG.md: line 23: the link of [Unreleased] is no comparison..."},
		"would be malformed":   {"{version: 1.3.0, do: release, categories: [Fixed]}", good, "fail: nothing was written, because afterwards CHANGELOG.md, line 5: line 7: \"Added\" is no category (Fixed)"},
		"day in the future":    {"{version: 1.3.0, do: release, date: 2027-01-01}", good, "fail: nothing was written, because afterwards ...in the future"},
		"not a file":           {"{version: 1.3.0, do: release, file: none.md}", good, "error: ...no such file..."},
		"definition elsewhere": {"{version: 1.3.0, do: release}", strings.Replace(good, "[Unreleased]: ", "[Next]: ", 1), "fail: CHANGELOG.md: [Unreleased] has no link definition to carry on..."},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, c.params, c.text)
			l.act(t, c.want)
			if read(t, l.env.Dir, "CHANGELOG.md") != c.text {
				t.Error("the file was written")
			}
		})
	}
}

func TestReleaseForms(t *testing.T) {
	for name, c := range map[string]struct{ params, text, want string }{
		"no brackets, no links": {"{version: 1.3.0, do: release}", "## Unreleased\n- x\n## 1.2.3 - 2026-11-23\n- y\n", "## Unreleased\n\n## 1.3.0 - 2026-12-01\n- x\n## 1.2.3 - 2026-11-23\n- y\n"},
		"links left alone":      {"{version: 1.3.0, do: release, links: false}", "## [Unreleased]\n- x\n\n[Unreleased]: https://example.com/commits", "## [Unreleased]\n\n## [1.3.0] - 2026-12-01\n- x\n\n[Unreleased]: https://example.com/commits"},
		"first release":         {"{version: v0.1.0, do: release, date: 2026-11-30}", "## [Unreleased]\n- x\n\n[unreleased]: https://example.com/-/compare/main...HEAD", "## [Unreleased]\n\n## [v0.1.0] - 2026-11-30\n- x\n\n[unreleased]: https://example.com/-/compare/v0.1.0...HEAD\n[v0.1.0]: https://example.com/-/compare/main...v0.1.0"},
		"definitions first":     {"{version: 1.3.0, do: release}", "[Unreleased]: https://example.com/compare/1.2.3...HEAD\n\n## [Unreleased]\n- x\n", "[Unreleased]: https://example.com/compare/1.3.0...HEAD\n[1.3.0]: https://example.com/compare/1.2.3...1.3.0\n\n## [Unreleased]\n\n## [1.3.0] - 2026-12-01\n- x\n"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, c.params, c.text)
			l.act(t, "pass: ...")
			if got := read(t, l.env.Dir, "CHANGELOG.md"); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			if info, err := os.Stat(filepath.Join(l.env.Dir, "CHANGELOG.md")); err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("mode %v %v", info, err)
			}
		})
	}
}

func TestUndoLeavesWhatOthersWrote(t *testing.T) {
	l := newLab(t, "{version: 1.3.0, do: release}", good)
	l.undo(t, "fail: CHANGELOG.md was not changed by this item and stays")
	l.act(t, "pass: ...")
	write(t, l.env.Dir, "CHANGELOG.md", read(t, l.env.Dir, "CHANGELOG.md")+"\nmore\n")
	l.undo(t, "fail: CHANGELOG.md was changed again since and stays; as it was it is kept in ...")
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func initGit(t *testing.T, dir string) {
	t.Helper()
	t.Setenv("HOME", t.TempDir()) // no configuration of whoever runs the tests
	git(t, dir, "init", "-q", "-b", "main")
	git(t, dir, "config", "user.name", "Eve")
	git(t, dir, "config", "user.email", "eve@example.com")
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", "one")
}

func TestReleaseCommitted(t *testing.T) {
	l := newLab(t, `{version: 1.3.0, do: release, commit: true, message: "Changelog: 1.3.0"}`, good)
	initGit(t, l.env.Dir)
	write(t, l.env.Dir, "other", "staged")
	git(t, l.env.Dir, "add", "other")
	l.probe(t, check.NotDone)
	o := l.act(t, "pass: ..., committed")
	if head := git(t, l.env.Dir, "rev-parse", "HEAD"); o.Facts["commit"] != head {
		t.Errorf("commit %s, head %s", o.Facts["commit"], head)
	}
	if files := git(t, l.env.Dir, "show", "--name-only", "--format=%B", "HEAD"); files != "Changelog: 1.3.0\n\nAllclear-Attempt: run-1/changelog\n\n\nCHANGELOG.md" {
		t.Errorf("committed: %q", files)
	}
	l.probe(t, check.Done)
	l.act(t, "pass: ..., committed")
	if n := git(t, l.env.Dir, "rev-list", "--count", "HEAD"); n != "2" {
		t.Errorf("%s commits", n)
	}
	l.undo(t, "pass: ...")
	if read(t, l.env.Dir, "CHANGELOG.md") != good || git(t, l.env.Dir, "rev-list", "--count", "HEAD") != "3" {
		t.Error("undo was not committed")
	}
	if staged := git(t, l.env.Dir, "diff", "--cached", "--name-only"); staged != "other" {
		t.Errorf("staged: %q", staged)
	}
}

func TestReleaseAfterACrashBeforeTheCommit(t *testing.T) {
	l := newLab(t, "{version: 1.3.0, do: release, commit: true, message: m}", good)
	initGit(t, l.env.Dir)
	git(t, l.env.Dir, "config", "user.useConfigOnly", "true")
	git(t, l.env.Dir, "config", "--unset", "user.email")
	l.act(t, "fail: git commit: ...")
	l.probe(t, check.Partly)
	git(t, l.env.Dir, "config", "user.email", "eve@example.com")
	l.act(t, "pass: ..., committed")
	l.probe(t, check.Done)
}

func TestReleaseDoesNotCommitForOthers(t *testing.T) {
	l := newLab(t, "{version: 1.3.0, do: release, commit: true, message: m}", good)
	l.act(t, "error: git status: fatal: not a git repository...")
	initGit(t, l.env.Dir)
	write(t, l.env.Dir, "CHANGELOG.md", good+"\n")
	l.act(t, "fail: CHANGELOG.md has changes that are not committed: commit them first")
	by := newLab(t, "{version: 1.3.0, do: release}", good)
	by.act(t, "pass: ...")
	write(t, l.env.Dir, "CHANGELOG.md", read(t, by.env.Dir, "CHANGELOG.md"))
	l.act(t, "fail: CHANGELOG.md has the section 1.3.0, but with changes that are not committed and not of this item: commit them")
}

func TestExamine(t *testing.T) {
	l := newLab(t, "{version: 1.3.0, do: release, commit: true, message: m}", good)
	initGit(t, l.env.Dir)
	said, err := l.inst.Runner.(check.Examiner).Examine(t.Context(), l.env)
	if err != nil || said != "CHANGELOG.md can be written and has what to release" {
		t.Errorf("%q %v", said, err)
	}
	if read(t, l.env.Dir, "CHANGELOG.md") != good {
		t.Error("it was written")
	}
}
