package recognise_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
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
	after, _ := apply(t, []byte("# L\n\n## Pre-deployment\n\n- [ ] All tests pass\n- [ ] Linter is happy\n- [ ] Migrations reviewed\n- [ ] Coverage above 91 %\n\n"+
		"## Deployment\n\n- [ ] Run the migrations\n- [ ] Users can log in\n- [ ] Orders work\n- [ ] Latency under 350 ms\n\n## Sign-off\n\n- [ ] Head of Ops: ______\n"), repo, nil)
	for _, want := range []string{
		"id: pre.code.tests-pass\n  command: {run: [make, test]}", "run: [make, lint]",
		"run: [python, manage.py, migrate, --noinput], changes: true", "signoff: {role: Head of Ops}", "Makefile has the command",
		"min: 91}", "max_latency: 350ms", "“latency”, with its limit",
	} {
		if !strings.Contains(string(after), want) {
			t.Errorf("there is no %q in\n%s", want, after)
		}
	}
	binds(t, after, repo)
	list, _ := checklist.Parse("list.md", after)
	text := string(recognise.Configuration("shop", list, repo, nil))
	for _, want := range []string{"  Head of Ops: []\n", "  Tech Lead: []\n", "      # smoke_test: # 2 items:"} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
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
}

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
