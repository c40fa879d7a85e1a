package checklist

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// documentLines are pieces that a generated checklist is made of; together they
// hold every trap that real checklists have.
func documentLines() []string {
	return []string{
		"# Title", "## Phase", "### Section", "#### Deeper", "Setext", "======", "------", "---", "",
		"- [ ] Item", "- [x] Ticked", "* [ ] Star", "+ [X] Plus", "1. [ ] One", "10. [ ] Ten", "2) [ ] Two", "- plain",
		"  - [ ] Nested", "   - [ ] Three in", "    - [ ] Four in", "\t- [ ] Tab in", "-\t[ ] Tab", "  text", "lazy",
		"> - [ ] Quoted", "> text", ">- [ ] Tight", "> > - [ ] Twice", "- > - [ ] List, quote, list", "- - [ ] Two markers",
		"```", "  ```", "   ```", "    ```", "~~~", "```yaml allclear", "  ```yaml allclear", "   ```yaml allclear", "    ```yaml allclear",
		"\t```yaml allclear", "> ```yaml allclear", ">   ```yaml allclear", ">   ```", "  id: one", "  http: {url: x}", "   http: y", "    http: z",
		"http: w", ">   http: q", "| a | [ ] |", "|---|---|", "<!--", "-->", "- [ ] hidden <!-- x -->", "<details>", "</details>",
		"- [ ] Tech Lead: ____ Date: ___", "Owner: ____", "- [ ] \xf0\x9f\x9a\x80", "- [ ] \u0642\u0627\u0639\u062f\u0629 \u6570\u636e\u5e93", "- [ ] `code`", "- [ ] **b** [l](u) <v>",
		"- [ ]", "- [ ] ", "- [] no", "[ ] bare", "-", "- ", "[ref]: x", "    indented", "- [ ] end  ", "\\", "- [ ]\t\ttabs", "1. [ ]     far",
	}
}

// document generates a checklist, with LF or CRLF, with or without a byte order
// mark and a final line end.
func document() *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		lines := rapid.SliceOfN(rapid.SampledFrom(documentLines()), 1, 25).Draw(t, "lines")
		end := rapid.SampledFrom([]string{"\n", "\n", "\r\n"}).Draw(t, "end")
		text := strings.Join(lines, end)
		if rapid.Bool().Draw(t, "final") {
			text += end
		}
		if rapid.IntRange(0, 9).Draw(t, "mark") == 0 {
			text = byteOrderMark + text
		}
		return []byte(text)
	})
}

func TestAnyDocumentIsConsistent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { consistent(t, document().Draw(t, "document")) })
}

func TestEditsKeepEveryOtherByte(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := document().Draw(t, "document")
		pick := rapid.IntRange(0, 30).Draw(t, "pick")
		editOnce(t, src, pick, "http: {url: x}\nwhen: a\n\ntimeout: 5s")
	})
}

// failer is what a test, a property and a fuzz target share.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// consistent checks what holds for every input at all.
func consistent(t failer, src []byte) {
	t.Helper()
	before := bytes.Clone(src)
	list, problems := Parse("any.md", src)
	if !bytes.Equal(before, src) {
		t.Fatalf("source changed")
	}
	ids := map[string]bool{}
	last := 0
	for item := range list.Items() {
		if ids[item.ID] || item.ID == "" || list.Item(item.ID) != item {
			t.Fatalf("id %q is not unique", item.ID)
		}
		ids[item.ID] = true
		if item.Box <= last || src[item.Box-1] != '[' || src[item.Box+1] != ']' || item.Ticked != (src[item.Box] != ' ') {
			t.Fatalf("item %q: box at byte %d", item.ID, item.Box)
		}
		last = item.Box
		if item.ExplicitID && item.Block.Settings.ID.Value != item.ID {
			t.Fatalf("item %q has the id %q", item.ID, item.Block.Settings.ID.Value)
		}
		if item.Text == "" || strings.ContainsAny(item.Text, "\r\n") {
			t.Fatalf("item %q: text %q", item.ID, item.Text)
		}
		if b := item.Block; b != nil && (src[b.Start] != '`' && src[b.Start] != '~' || src[b.End-1] != src[b.Start] || list.PosAt(b.Start) != b.Pos) {
			t.Fatalf("block from %d to %d: %q", b.Start, b.End, src[b.Start:b.End])
		}
		for _, blank := range item.Blanks {
			if strings.Trim(string(src[blank.Start:blank.End]), "_") != "" || list.PosAt(blank.Start) != blank.Pos {
				t.Fatalf("blank %q: %q", blank.Label, src[blank.Start:blank.End])
			}
		}
	}
	if last == 0 && !problems.HasErrors() {
		t.Fatalf("no items and no error")
	}
	for _, p := range problems {
		if p.Pos.Line > 0 && (p.Pos.Line > len(list.lines.starts) || p.Pos.Col < 1 || p.Pos.Col > len(list.Line(p.Pos.Line))+1) {
			t.Fatalf("problem outside the file: %v", p)
		}
	}
	if err := problems.Write(&bytes.Buffer{}); err != nil {
		t.Fatalf("write: %v", err)
	}
}

// editOnce makes each kind of edit at one item and checks that nothing else
// changes and that the items stay the same.
func editOnce(t failer, src []byte, pick int, yamlText string) {
	t.Helper()
	list, _ := Parse("any.md", src)
	var items []*Item
	for item := range list.Items() {
		items = append(items, item)
	}
	if len(items) == 0 {
		return
	}
	item := items[pick%len(items)]
	tickOnce(t, src, items, item)
	if item.Block == nil {
		insertOnce(t, src, items, item, yamlText)
	} else {
		replaceOnce(t, src, items, item, yamlText)
	}
	for _, blank := range append(item.Blanks, list.Blanks...) {
		fillOnce(t, src, items, blank, "*Ann_ [x] `<b>` 1. - ___ \\")
		fillOnce(t, src, items, blank, "1. [ ] Ann")
		fillOnce(t, src, items, blank, "- [ ] Ann")
	}
}

func tickOnce(t failer, src []byte, items []*Item, item *Item) {
	t.Helper()
	out := Tick(src, item, !item.Ticked)
	if len(out) != len(src) || out[item.Box] == src[item.Box] {
		t.Fatalf("tick changed nothing or the length")
	}
	for i := range out {
		if i != item.Box && out[i] != src[i] {
			t.Fatalf("tick changed byte %d", i)
		}
	}
	if back := Tick(out, item, item.Ticked); !bytes.Equal(bytes.ToLower(back), bytes.ToLower(src)) {
		t.Fatalf("ticking back gives another file")
	}
	for i, got := range sameItems(t, out, items, "tick", nil) {
		if got.ID != items[i].ID || got.Ticked != (items[i].Ticked != (items[i] == item)) {
			t.Fatalf("item %q became %q, ticked %v", items[i].ID, got.ID, got.Ticked)
		}
	}
}

func insertOnce(t failer, src []byte, items []*Item, item *Item, yamlText string) {
	t.Helper()
	edit, err := InsertBlockEdit(src, item, yamlText)
	if err != nil {
		t.Fatalf("insert: %v", err)
	}
	out, err := InsertBlock(src, item, yamlText)
	if err != nil {
		t.Fatalf("insert: %v", err)
	}
	kept(t, src, out, edit)
	for i, got := range sameItems(t, out, items, "insert", item) {
		bound := items[i] == item
		if bound && (got.Block == nil || strings.TrimRight(got.Block.Source, "\n") != yamlText) {
			t.Fatalf("the item has no block or another one in:\n%s", out)
		}
		if !bound && (got.Block == nil) != (items[i].Block == nil) {
			t.Fatalf("another item's block changed: %q in:\n%s", got.ID, out)
		}
	}
}

func replaceOnce(t failer, src []byte, items []*Item, item *Item, yamlText string) {
	t.Helper()
	out, err := ReplaceBlock(src, item.Block, yamlText)
	if err != nil {
		t.Fatalf("replace: %v", err)
	}
	kept(t, src, out, Edit{Start: item.Block.Start, End: item.Block.End})
	for i, got := range sameItems(t, out, items, "replace", item) {
		if items[i] == item && (got.Block == nil || strings.TrimRight(got.Block.Source, "\n") != yamlText) {
			t.Fatalf("the item has no block or another one in:\n%s", out)
		}
	}
}

func fillOnce(t failer, src []byte, items []*Item, blank Blank, text string) {
	t.Helper()
	edit, err := FillEdit(src, blank, text)
	if err != nil {
		t.Fatalf("fill: %v", err)
	}
	out, err := Fill(src, blank, text)
	if err != nil {
		t.Fatalf("fill: %v", err)
	}
	kept(t, src, out, edit)
	again, _ := Parse("any.md", out)
	count := 0
	for item := range again.Items() {
		if item.Box < blank.Start && item.Box != items[count].Box {
			t.Fatalf("fill moved a box in:\n%s", out)
		}
		count++
	}
	if count != len(items) {
		t.Fatalf("fill made %d items of %d in:\n%s", count, len(items), out)
	}
}

// kept checks that everything outside an edit survives.
func kept(t failer, src, out []byte, edit Edit) {
	t.Helper()
	if !bytes.HasPrefix(out, src[:edit.Start]) || !bytes.HasSuffix(out, src[edit.End:]) {
		t.Fatalf("lost a byte outside %d to %d in:\n%s", edit.Start, edit.End, out)
	}
}

// sameItems reads an edited file and checks that it has the same items in the same
// order; changed is the one whose id may differ, with those nested in it.
func sameItems(t failer, out []byte, items []*Item, what string, changed *Item) []*Item {
	t.Helper()
	list, _ := Parse("any.md", out)
	var again []*Item
	for item := range list.Items() {
		again = append(again, item)
	}
	if len(again) != len(items) {
		t.Fatalf("%s: %d items became %d in:\n%s", what, len(items), len(again), out)
	}
	for i, item := range again {
		if item.Text != items[i].Text || item.Depth != items[i].Depth {
			t.Fatalf("%s: item %q became %q in:\n%s", what, items[i].Text, item.Text, out)
		}
		if item.ID != items[i].ID && changed == nil {
			t.Fatalf("%s: id %q became %q in:\n%s", what, items[i].ID, item.ID, out)
		}
	}
	return again
}
