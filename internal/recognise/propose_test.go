package recognise_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"allclear.dev/allclear/internal/catalog"
	"allclear.dev/allclear/internal/checklist"
	"allclear.dev/allclear/internal/config"
	"allclear.dev/allclear/internal/plan"
	"allclear.dev/allclear/internal/recognise"
	"allclear.dev/allclear/internal/run"
)

// apply binds a document and gives it with its proposals.
func apply(t *testing.T, src []byte, repo recognise.Repository, roles []string) ([]byte, []recognise.Proposal) {
	t.Helper()
	list, _ := checklist.Parse("list.md", src)
	proposals, err := recognise.Propose(list, repo, roles)
	if err != nil {
		t.Fatal(err)
	}
	edits, err := recognise.Edits(src, proposals)
	if err != nil {
		t.Fatal(err)
	}
	after, err := checklist.Apply(src, edits...)
	if err != nil {
		t.Fatal(err)
	}
	return after, proposals
}

// binds fails unless a plan can be made from a document and its configuration.
func binds(t *testing.T, src []byte, repo recognise.Repository) {
	t.Helper()
	list, problems := checklist.Parse("list.md", src)
	if problems.HasErrors() {
		t.Fatalf("%v\n%s", problems, src)
	}
	text := recognise.Configuration("shop", list, repo, &recognise.Person{ID: "ana", Name: "Ana"})
	cfg, problems := config.Parse("allclear.yaml", text)
	if cfg == nil {
		t.Fatalf("%v\n%s", problems, text)
	}
	for _, environment := range []string{"staging", "production"} {
		p, problems := plan.Bind(plan.Input{
			Checklist: list, Types: catalog.ByName(), Roles: cfg.RoleNames(), Unfilled: cfg.UnfilledRoles(),
			Vars:  config.Vars{Project: "shop", Env: cfg.Environments[environment]},
			Facts: map[string]any{"env": map[string]any{"name": environment}, "changed": map[string]any{}},
			Plan:  run.Plan{Project: "shop", Environment: environment},
		})
		if p == nil {
			t.Fatalf("%s: %v\n%s", environment, problems, src)
		}
	}
}

// TestMeanings: one line per item, under its heading; after => the type and the
// beginning of the block's id, or nothing.
func TestMeanings(t *testing.T) {
	text, err := os.ReadFile("testdata/meanings.txt")
	if err != nil {
		t.Fatal(err)
	}
	phase, section := "", ""
	for number, line := range strings.Split(string(text), "\n") {
		switch item, want, ok := strings.Cut(line, " => "); {
		case strings.HasPrefix(line, "## "):
			phase, section = line, ""
		case strings.HasPrefix(line, "### "):
			section = line
		case ok:
			src := fmt.Sprintf("# List\n\n%s\n\n%s\n\n- [ ] %s\n", phase, section, item)
			after, proposals := apply(t, []byte(src), recognise.Repository{}, nil)
			got := ""
			for _, p := range proposals {
				if p.Item != nil {
					got = p.Type + " " + blockID(p.YAML)
				}
			}
			binds(t, after, recognise.Repository{})
			if strings.TrimSpace(got) != strings.TrimSpace(want) {
				t.Errorf("testdata/meanings.txt:%d: %s: got %q, want %q", number+1, item, got, want)
			}
		}
	}
}

func blockID(yaml string) string {
	for _, line := range strings.Split(yaml, "\n") {
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			return id
		}
	}
	return ""
}

// TestDocuments holds for all kinds of documents that nothing but blocks is
// added, that the result binds, and that a second time there is nothing to add.
func TestDocuments(t *testing.T) {
	files, err := filepath.Glob("../checklist/testdata/documents/*.md")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d documents, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			onlyAdds(t, src)
		})
	}
}

func onlyAdds(t *testing.T, src []byte) {
	t.Helper()
	list, problems := checklist.Parse("list.md", src)
	proposals, err := recognise.Propose(list, recognise.Repository{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	edits, err := recognise.Edits(src, proposals)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range edits {
		if e.Start != e.End {
			t.Errorf("bytes %d to %d are replaced", e.Start, e.End)
		}
	}
	after, err := checklist.Apply(src, edits...)
	if err != nil {
		t.Fatal(err)
	}
	if problems.HasErrors() {
		return
	}
	bound, problems := checklist.Parse("list.md", after)
	if problems.HasErrors() || texts(bound) != texts(list) {
		t.Fatalf("%v\n%s\nwas\n%s", problems, after, src)
	}
	if again, more := apply(t, after, recognise.Repository{}, nil); !bytes.Equal(again, after) {
		t.Fatalf("a second time proposes %+v", more)
	}
}

// texts gives what a reader sees of the items.
func texts(list *checklist.Checklist) string {
	var b strings.Builder
	for item := range list.Items() {
		fmt.Fprintf(&b, "%v %t %s\n", item.Path, item.Ticked, item.Text)
	}
	return b.String()
}

// TestAskedFor: what a document with every part asks for stands in the
// configuration, that with the most items first, and the repository fills what it
// can.
func TestAskedFor(t *testing.T) {
	repo := recognise.Scan(fstest.MapFS{
		"manage.py": {Data: []byte("from django.core.management import execute")}, "requirements.txt": {Data: []byte("celery==5")},
		".env.example": {}, "docs/deployment.md": {}, "db/migrations/1_a.up.sql": {}, "compose.yaml": {}, "src/x.py": {},
		"Makefile": {Data: []byte("test:\n\ttrue\nlint:\n\ttrue\n")},
	})
	if got := strings.Join(repo.Found, ", "); got != "make, Django, Celery, SQL migrations, compose" {
		t.Errorf("found %s", got)
	}
	after, _ := apply(t, []byte("# L\n\n## Pre-deployment\n\n- [ ] All tests pass\n- [ ] Linter is happy\n- [ ] Migrations reviewed\n- [ ] Coverage above 91 %\n- [ ] User acceptance testing done\n\n"+
		"## Deployment\n\n- [ ] Run the migrations\n- [ ] Users can log in\n- [ ] Orders work\n- [ ] Latency under 350 ms\n\n## Sign-off\n\n- [ ] Head of Ops: ______\n"), repo, nil)
	for _, want := range []string{
		"id: pre.code.tests-pass\n  command: {run: [make, test]}", "run: [make, lint]",
		"run: [python, manage.py, migrate, --noinput], changes: true", "signoff: {role: Head of Ops}", "Makefile has the command",
		"min: 91}", "p95: 350ms", "“latency”, with its limit",
	} {
		if !strings.Contains(string(after), want) {
			t.Errorf("there is no %q in\n%s", want, after)
		}
	}
	binds(t, after, repo)
	list, _ := checklist.Parse("list.md", after)
	text := string(recognise.Configuration("shop", list, repo, nil))
	for _, want := range []string{"  Head of Ops: []\n", "  Product Owner: []\n", "      # critical_endpoint: # 1 item:"} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
}

// TestLimits: a limit in an item's text is put where its block has it.
func TestLimits(t *testing.T) {
	for text, want := range map[string]string{
		"Error rate below 2.5%":   "max: 0.025\n",
		"Error rate below 3 %":    "max: 0.03\n",
		"p95 below 1.5 s":         "max: 1.5\n",
		"p95 below 800 ms":        "max: 0.8\n",
		"Response time is normal": "max: 2\n",
		"Failure rate is normal":  "max: 0.01\n",
	} {
		src := []byte("## After the deployment\n\n### First 30 minutes\n\n- [ ] " + text + "\n")
		after, _ := apply(t, src, recognise.Repository{}, nil)
		binds(t, after, recognise.Repository{})
		if !strings.Contains(string(after), want) {
			t.Errorf("%s: there is no %q in\n%s", text, want, after)
		}
	}
}

// TestOrderOfTheDocument: a rehearsal above the backup does not wait for it, and
// works on a copy; one below does.
func TestOrderOfTheDocument(t *testing.T) {
	const rehearse, backup = "- [ ] Migration duration estimated\n", "- [ ] Backup taken\n"
	for name, c := range map[string]struct{ src, want, lacks string }{
		"above": {rehearse + backup, `base: "${env.rehearsal}", scratch:`, "needs:"},
		"below": {backup + rehearse, "needs: [pre.db.backup-verified]", "base:"},
		"alone": {rehearse, "migrations.rehearse:", "needs:"},
	} {
		after, _ := apply(t, []byte("## Before\n\n### Database\n\n"+c.src), recognise.Repository{}, nil)
		binds(t, after, recognise.Repository{})
		if text := string(after); !strings.Contains(text, c.want) || strings.Contains(text, c.lacks) {
			t.Errorf("%s: want %q and no %q in\n%s", name, c.want, c.lacks, text)
		}
	}
}

// TestRehearsedFirst: migrations must have been rehearsed where an item does that.
func TestRehearsedFirst(t *testing.T) {
	const applied = "## Deployment\n\n- [ ] Run the migrations\n"
	for src, want := range map[string]bool{applied: false, "## Before\n\n- [ ] Migration tried on a copy\n\n" + applied: true} {
		after, _ := apply(t, []byte(src), recognise.Repository{}, nil)
		if text := string(after); strings.Contains(text, "rehearsed: required") != want || !strings.Contains(text, "migrations.apply:") {
			t.Errorf("want rehearsed: required %t in\n%s", want, text)
		}
	}
}

// TestConditions: a section of special cases is asked for when its files changed,
// which is found out and not said in the configuration.
func TestConditions(t *testing.T) {
	for title, want := range map[string]string{
		"Database schema changes": "when: changed.migrations", "Breaking API changes": "when: changed.api",
		"Infrastructure changes": "when: changed.infrastructure", "Security updates": "when: changed.advisories",
	} {
		after, _ := apply(t, []byte("## Special cases\n\n### "+title+"\n\n- [ ] Done\n"), recognise.Repository{}, nil)
		if !strings.Contains(string(after), want) {
			t.Errorf("%s: there is no %q in\n%s", title, want, after)
		}
	}
}

// TestOtherItems: a block refers to items that the document has, and to no other.
func TestOtherItems(t *testing.T) {
	const reviewed = "## After the release\n\n### First hour\n\n- [ ] Logs reviewed\n"
	for name, c := range map[string]struct{ src, want, lacks string }{
		"none of them":  {reviewed, "attest: {question: What did the log show?}", "attach_items"},
		"one of them":   {reviewed + "- [ ] No unusual errors\n", "attach_items: [post.h1.no-unusual-errors]}", "deploy.verify"},
		"none to rerun": {"## Rollback\n\n- [ ] Critical flows tested\n", "Critical flows tested", "run.items"},
		"some to rerun": {"## Deployment\n\n- [ ] Users can log in\n\n## Rollback\n\n- [ ] Critical flows tested\n", `run.items: {rerun: ["deploy.smoke.**"]}`, "items: []"},
	} {
		after, _ := apply(t, []byte(c.src), recognise.Repository{}, nil)
		binds(t, after, recognise.Repository{})
		if text := string(after); !strings.Contains(text, c.want) || strings.Contains(text, c.lacks) {
			t.Errorf("%s: want %q and no %q in\n%s", name, c.want, c.lacks, text)
		}
	}
}

// TestStandardConfiguration: nothing that the standard checklist asks for is
// left without a line of its own that says what it is.
func TestStandardConfiguration(t *testing.T) {
	binds(t, recognise.Standard(), recognise.Repository{})
	list, _ := checklist.Parse("list.md", recognise.Standard())
	text := string(recognise.Configuration("shop", list, recognise.Repository{}, nil))
	if strings.Contains(text, "asked for by the checklist") {
		t.Error(text)
	}
	for _, environment := range []string{"staging", "production"} {
		for _, name := range standardPlan(t, environment, nil).Missing() {
			if !regexp.MustCompile(`(?m)^ +(# )?(`+regexp.QuoteMeta(strings.TrimPrefix(name, "windows."))+`|windows): `).MatchString(text) && !ofTheRun[name] {
				t.Errorf("%s: nothing is said about %s in\n%s", environment, name, text)
			}
		}
	}
}

// ofTheRun are the variables that no configuration sets.
var ofTheRun = map[string]bool{"release.revision": true, "previous.version": true, "previous.revision": true}

// TestOtherRoles: with a configuration, only its roles are proposed.
func TestOtherRoles(t *testing.T) {
	src := []byte("## Pre-deployment\n\n- [ ] Code reviewed\n\n## Sign-off\n\n- [ ] captain: ____\n- [ ] Product Owner: ____\n")
	after, _ := apply(t, src, recognise.Repository{}, []string{"Captain"})
	if text := string(after); strings.Contains(text, "by:") || strings.Contains(text, "role: Product Owner") || !strings.Contains(text, "role: Captain") {
		t.Errorf("%s", text)
	}
}

func FuzzPropose(f *testing.F) {
	f.Add([]byte("## Rollback\n\n- [ ] Revert the code\n"))
	f.Add([]byte("# A\r\n\r\n## Deploy\r\n\r\n* [ ] Run `npm run lint`\r\n* [ ] Back up\r\n"))
	f.Add([]byte("## Sign-off\n1. [ ] Tech Lead: ____\n"))
	f.Fuzz(func(t *testing.T, src []byte) { onlyAdds(t, src) })
}
