package checklist

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/diag"
)

var update = flag.Bool("update", false, "write the golden files")

// knownTypes are the types that the golden files may bind.
func knownTypes() []string {
	return []string{"attest", "command", "http", "http.flow", "postgres.backup", "redis.info", "service", "signoff", "sql"}
}

// TestDocuments reads each document of testdata/documents and compares what was
// understood with the .out beside it.
func TestDocuments(t *testing.T) {
	eachDocument(t, "testdata/documents", func(t *testing.T, name string, src []byte) string {
		list, problems := ParseWith(name, src, Options{Types: knownTypes()})
		if problems.HasErrors() && name != "empty.md" {
			t.Errorf("problems:\n%v", problems)
		}
		return dump(t, list, problems)
	})
}

// TestProblems reads each broken document of testdata/problems and compares the
// drawn problems with the .out beside it. Each file has at least one.
func TestProblems(t *testing.T) {
	eachDocument(t, "testdata/problems", func(t *testing.T, name string, src []byte) string {
		list, problems := ParseWith(name, src, Options{Types: knownTypes()})
		if len(problems) == 0 {
			t.Error("no problem")
		}
		for _, p := range problems {
			if p.Pos.Line > 0 && p.Line != list.Line(p.Pos.Line) {
				t.Errorf("%v shows %q, the line is %q", p, p.Line, list.Line(p.Pos.Line))
			}
		}
		var b bytes.Buffer
		if err := problems.Write(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	})
}

func eachDocument(t *testing.T, folder string, read func(t *testing.T, name string, src []byte) string) {
	files, err := filepath.Glob(filepath.Join(folder, "*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no documents in %s: %v", folder, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(strings.TrimSuffix(name, ".md"), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := read(t, name, src)
			golden := strings.TrimSuffix(file, ".md") + ".out"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant (%s):\n%s", got, golden, want)
			}
		})
	}
}

// dump writes a checklist as text, one line per thing.
func dump(t *testing.T, list *Checklist, problems diag.Problems) string {
	var b strings.Builder
	if list.Title != "" {
		fmt.Fprintf(&b, "title %s %q\n", at(list.Pos), list.Title)
	}
	dumpBlock(&b, "", list.Block)
	for _, p := range list.Phases {
		fmt.Fprintf(&b, "phase %s %s %q\n", at(p.Pos), p.ID, p.Title)
		dumpBlock(&b, "  ", p.Block)
		for _, s := range p.Sections {
			fmt.Fprintf(&b, "  section %s %s %q\n", at(s.Pos), s.ID, s.Title)
			dumpBlock(&b, "    ", s.Block)
			for _, item := range s.Items {
				dumpItem(t, &b, list, item)
			}
			for _, c := range s.Code {
				fmt.Fprintf(&b, "    code %s %q %q\n", at(c.Pos), c.Language, c.Text)
			}
		}
	}
	for _, blank := range list.Blanks {
		fmt.Fprintf(&b, "blank %s %q code=%v list=%v under %q\n", at(blank.Pos), blank.Label, blank.Code, blank.List, blank.Path)
	}
	for _, i := range list.Ignored {
		fmt.Fprintf(&b, "ignored %s %s: %q\n", at(i.Pos), i.Reason, i.Text)
	}
	if err := problems.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func dumpItem(t *testing.T, b *strings.Builder, list *Checklist, item *Item) {
	indent := "    " + strings.Repeat("  ", item.Depth)
	ticked, group := " ", ""
	if item.Ticked {
		ticked = "x"
	}
	if item.Group {
		group = " group"
	}
	fmt.Fprintf(b, "%sitem %s [%s] %s %q%s\n", indent, at(item.Pos), ticked, item.ID, item.Text, group)
	if want := strings.Join(strings.Fields(item.Raw), " "); want != item.Text {
		fmt.Fprintf(b, "%s  raw %q\n", indent, item.Raw)
	}
	if len(item.Path) > 0 {
		fmt.Fprintf(b, "%s  path %q\n", indent, item.Path)
	}
	dumpBlock(b, indent+"  ", item.Block)
	for _, c := range item.Code {
		fmt.Fprintf(b, "%s  code %s %q %q\n", indent, at(c.Pos), c.Language, c.Text)
	}
	for _, blank := range item.Blanks {
		fmt.Fprintf(b, "%s  blank %s %q\n", indent, at(blank.Pos), blank.Label)
	}
	if item.Depth != len(ancestors(item)) || list.Item(item.ID) != item {
		t.Errorf("%s: depth %d, ancestors %d, found by id: %v", item.ID, item.Depth, len(ancestors(item)), list.Item(item.ID) == item)
	}
	if list.PosAt(item.Box-1) != item.Pos {
		t.Errorf("%s: box at byte %d, position %v", item.ID, item.Box, item.Pos)
	}
}

func ancestors(item *Item) []*Item {
	var out []*Item
	for p := item.Parent; p != nil; p = p.Parent {
		out = append(out, p)
	}
	return out
}

func dumpBlock(b *strings.Builder, indent string, block *Block) {
	if block == nil {
		return
	}
	fmt.Fprintf(b, "%sblock %s bytes %d-%d", indent, at(block.Pos), block.Start, block.End)
	if block.Type != nil {
		fmt.Fprintf(b, " type %s at %s", block.Type.Name, at(block.Type.Pos))
	}
	for i := 0; i+1 < len(block.Node.Content); i += 2 {
		key := block.Node.Content[i]
		fmt.Fprintf(b, " %s@%d:%d", key.Value, key.Line, key.Column)
	}
	b.WriteByte('\n')
}

func at(p diag.Pos) string { return fmt.Sprintf("%d:%d", p.Line, p.Col) }
