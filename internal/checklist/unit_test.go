package checklist

import (
	"bytes"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/diag"
)

func mustParse(t *testing.T, src string) *Checklist {
	t.Helper()
	list, problems := ParseWith("list.md", []byte(src), Options{Types: knownTypes()})
	if problems.HasErrors() {
		t.Fatalf("problems:\n%v", problems)
	}
	return list
}

func ids(list *Checklist) []string {
	var out []string
	for item := range list.Items() {
		out = append(out, item.ID)
	}
	return out
}

func TestIDsStayWhenOthersChange(t *testing.T) {
	const src = "# T\n\n## A\n- [ ] One\n- [ ] Same\n- [ ] Same\n\n## B\n- [ ] One\n  - [ ] Below\n"
	want := ids(mustParse(t, src))
	for name, other := range map[string]string{
		"title renamed":     strings.Replace(src, "# T", "# Other", 1),
		"all ticked":        strings.ReplaceAll(src, "[ ]", "[x]"),
		"section before":    strings.Replace(src, "## A", "## Zero\n- [ ] One\n\n## A", 1),
		"item between":      strings.Replace(src, "- [ ] Same", "- [ ] Unrelated\n- [ ] Same", 1),
		"Markdown added":    strings.Replace(src, "One", "**One**", 2),
		"block added":       strings.Replace(src, "One\n", "One\n  ```yaml allclear\n  http: x\n  ```\n", 1),
		"another list sign": strings.ReplaceAll(src, "- [ ]", "* [ ]"),
	} {
		got := ids(mustParse(t, other))
		for _, id := range want {
			if !slices.Contains(got, id) {
				t.Errorf("%s: %q is gone: %q", name, id, got)
			}
		}
	}
}

func TestExplicitIDSurvivesRewording(t *testing.T) {
	const block = "\n  ```yaml allclear\n  id: db.backup\n  ```\n  - [ ] verified\n"
	for _, src := range []string{"- [ ] Backup" + block, "## Database\n- [ ] The backup was taken" + block} {
		if got := ids(mustParse(t, src)); !slices.Equal(got, []string{"db.backup", "db.backup.verified"}) {
			t.Errorf("ids %q", got)
		}
	}
}

func TestSlugCutsLongTextsApart(t *testing.T) {
	long := strings.Repeat("word ", 40)
	a, b := slug(long+"a", "item"), slug(long+"b", "item")
	if a == b || len(a) > maxSlug || !strings.HasPrefix(a, "word-word-") || !validID(a) {
		t.Errorf("slugs %q and %q", a, b)
	}
	if cjk := slug(strings.Repeat("数据库", 40), "item"); len([]rune(cjk)) > maxSlug {
		t.Errorf("slug %q", cjk)
	}
}

func TestInsertBlockUnderHeadings(t *testing.T) {
	src := []byte("Title\r\n=====\r\n\r\n## Phase ##\r\n### Section\r\n- [ ] One\r\n")
	list := mustParse(t, string(src))
	var edits []Edit
	for _, owner := range []Owner{list, list.Phases[0], list.Phases[0].Sections[0], list.Item("phase.section.one")} {
		edit, err := InsertBlockEdit(src, owner, "when: a")
		if err != nil {
			t.Fatal(err)
		}
		edits = append(edits, edit)
	}
	slices.Reverse(edits)
	out, err := Apply(src, edits...)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Count(out, []byte("\n")) != bytes.Count(out, []byte("\r\n")) {
		t.Errorf("line ends differ in %q", out)
	}
	again := mustParse(t, string(out))
	section := again.Phases[0].Sections[0]
	if again.Block == nil || again.Phases[0].Block == nil || section.Block == nil || section.Items[0].Block == nil {
		t.Errorf("a block is missing in:\n%s", out)
	}
	if _, err := InsertBlock(out, section, "when: b"); err == nil {
		t.Error("a second block was put under a heading")
	}
}

func TestEditsRefuse(t *testing.T) {
	src := []byte("- [ ] One: ____\n  ```yaml allclear\n  http: x\n  ```\n- [ ] Two\n\n```\n____\n```\n")
	list := mustParse(t, string(src))
	one, two := list.Phases[0].Sections[0].Items[0], list.Phases[0].Sections[0].Items[1]
	refused := map[string]error{}
	_, refused["block of a block"] = InsertBlock(src, one, "http: y")
	_, refused["no heading"] = InsertBlock(src, list.Phases[0], "when: a")
	_, refused["empty block"] = InsertBlock(src, two, " \n")
	_, refused["carriage return"] = InsertBlock(src, two, "a: b\rc: d")
	_, refused["another source"] = InsertBlock(src[:10], two, "http: y")
	_, refused["replace in another source"] = ReplaceBlock(src[:10], one.Block, "http: y")
	_, refused["replace by nothing"] = ReplaceBlock(src, one.Block, "")
	_, refused["two lines"] = Fill(src, one.Blanks[0], "Ann\nBob")
	_, refused["nothing"] = Fill(src, one.Blanks[0], "  ")
	_, refused["blank of another source"] = Fill(src[:5], one.Blanks[0], "Ann")
	_, refused["end of the form"] = Fill(src, list.Blanks[0], "```")
	_, refused["overlap"] = Apply(src, Edit{1, 5, "a"}, Edit{4, 6, "b"})
	_, refused["beyond"] = Apply(src, Edit{1, 5000, "a"})
	for name, err := range refused {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if out := Tick(src[:4], two, true); !bytes.Equal(out, src[:4]) {
		t.Errorf("tick of another source gives %q", out)
	}
}

func TestInsertedFenceIsLongerThanThoseInIt(t *testing.T) {
	src := []byte("- [ ] One\n")
	text := "command: |\n  ```\n  ````"
	out, err := InsertBlock(src, mustParse(t, string(src)).Item("one"), text)
	if err != nil {
		t.Fatal(err)
	}
	if block := mustParse(t, string(out)).Item("one").Block; block == nil || block.Source != text+"\n" {
		t.Errorf("block %+v in:\n%s", block, out)
	}
}

func TestFillEscapesMarkdown(t *testing.T) {
	src := "- [ ] Lead: ____ Date: ___\n\n```\nBy: ____\nNotes:\n-\n```\n"
	list := mustParse(t, src)
	blanks := list.Phases[0].Sections[0].Items[0].Blanks
	var edits []Edit
	for i, text := range []string{"*Ann* <a@b>", "2025-01-12"} {
		edit, err := FillEdit(list.Source, blanks[i], text)
		if err != nil {
			t.Fatal(err)
		}
		edits = append(edits, edit)
	}
	for i, text := range []string{"*Bob*", "slow *start*"} {
		edit, err := FillEdit(list.Source, list.Blanks[i], text)
		if err != nil {
			t.Fatal(err)
		}
		edits = append(edits, edit)
	}
	out, err := Apply(list.Source, edits...)
	if err != nil {
		t.Fatal(err)
	}
	if want := "- [ ] Lead: \\*Ann\\* \\<a@b\\> Date: 2025-01-12\n\n```\nBy: *Bob*\nNotes:\n- slow *start*\n```\n"; string(out) != want {
		t.Errorf("got %q", out)
	}
	for item := range mustParse(t, string(out)).Items() {
		if item.Text != "Lead: *Ann* <a@b> Date: 2025-01-12" {
			t.Errorf("reads as %q", item.Text)
		}
	}
}

func TestLimits(t *testing.T) {
	for name, c := range map[string]struct{ src, want string }{
		"bytes":     {strings.Repeat("a", maxBytes+1), "the file has 10485761 bytes"},
		"lines":     {strings.Repeat("\n", maxLines), "the file has 500001 lines"},
		"block":     {"- [ ] a\n  ```yaml allclear\n  when: " + strings.Repeat("a", maxBlock) + "\n  ```\n", "block has 1048583 bytes; it may have 1048576"},
		"problems":  {strings.Repeat("- [] a\n", maxProblems+10) + "- [ ] b\n", "10 more problems are not shown"},
		"long line": {"- [ ] a\n" + strings.Repeat(" ", 1000) + "\n-[ ] " + strings.Repeat("b", 1000), "not an item"},
	} {
		_, problems := Parse("big.md", []byte(c.src))
		if !strings.Contains(problems.Error(), c.want) {
			t.Errorf("%s: want %q, got:\n%.300s", name, c.want, problems.Error())
		}
		for _, p := range problems {
			if len(p.Line) > maxShown {
				t.Errorf("%s: shows %d bytes of a line", name, len(p.Line))
			}
		}
	}
}

func TestTypesWithoutAList(t *testing.T) {
	for key, want := range map[string]string{
		"http": "", "postgres.backup": "", "report.junit": "", "service": "", "file": "", "run.fact": "", "notify": "", "tls.certificate": "",
		"timout": "timeout", "evidense": "evidence", "requird": "required", "wach": "watch",
		"Http": "", "a..b": "", "http-flow": "",
	} {
		list, problems := Parse("list.md", []byte("- [ ] One\n  ```yaml allclear\n  "+key+": x\n  ```\n"))
		typ := list.Item("one").Block.Type
		known := key[0] >= 'a' && want == "" && !strings.ContainsAny(key, "-") && !strings.Contains(key, "..")
		if (typ != nil) != known || problems.HasErrors() == known {
			t.Errorf("%s: type %+v, problems %v", key, typ, problems)
		}
		if want != "" && !strings.Contains(problems[0].Hint, strconv.Quote(want)) {
			t.Errorf("%s: hint %q", key, problems[0].Hint)
		}
	}
}

func TestEveryProblemHasItsLineAndSeverity(t *testing.T) {
	_, problems := Parse("list.md", []byte("- [ ] One\n  ```yaml allclear\n  id: A\n  ```\n- [] x\n"))
	if len(problems) != 2 || problems[0].Severity != diag.Error || problems[1].Severity != diag.Warning {
		t.Fatalf("problems: %+v", problems)
	}
	if p := problems[0]; p.Line != "  id: A" || p.Pos != (diag.Pos{File: "list.md", Line: 3, Col: 7}) || p.Width != 1 {
		t.Errorf("problem: %+v", p)
	}
}

// TestPackageIsPure holds the import rule: nothing that reads a clock, a file or
// the network, and of ours only diag.
func TestPackageIsPure(t *testing.T) {
	allowed := []string{"bytes", "crypto/sha256", "encoding/hex", "errors", "fmt", "iter", "slices", "strconv", "strings", "time",
		"unicode", "unicode/utf8", "allclear.dev/allclear/internal/diag", "go.yaml.in/yaml/v4"}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(allowed, path) && !strings.HasPrefix(path, "github.com/yuin/goldmark/") {
				t.Errorf("%s imports %s", file, path)
			}
		}
	}
}
