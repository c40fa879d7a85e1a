package checklist

import (
	"bytes"
	"strings"

	"github.com/yuin/goldmark/ast"

	"allclear.dev/allclear/internal/diag"
)

// infoWords are the info string of a fence that binds.
const infoWords = "yaml allclear"

// fence is a fenced code block with its exact extent.
type fence struct {
	node *ast.FencedCodeBlock
	// open is the offset of the first fence character, end the offset behind the
	// last byte, its line end left out.
	open, end int
	info      string
	closed    bool
	// atEnd tells that an unclosed fence runs to the end of the file.
	atEnd bool
	lines []fenceLine
}

// fenceLine is one line of a fence's content.
type fenceLine struct {
	// text is the line without its indentation and line end.
	text string
	// start is the offset of the text in the file; padding is how many columns
	// of its beginning stand for a part of a tab.
	start, padding int
}

func (f fence) text() string {
	var b strings.Builder
	for _, line := range f.lines {
		b.WriteString(line.text)
		b.WriteByte('\n')
	}
	return b.String()
}

func (f fence) language() string {
	word, _, _ := strings.Cut(strings.TrimSpace(f.info), " ")
	return word
}

func (b *builder) readFence(n *ast.FencedCodeBlock) fence {
	f := fence{node: n}
	at := min(max(n.Pos(), 0), len(b.src))
	if n.Info != nil {
		at = n.Info.Segment.Start
		f.info = strings.TrimSpace(string(n.Info.Segment.Value(b.src)))
	}
	number := b.lines.number(at)
	f.open = b.lines.start(number)
	if i := bytes.IndexAny(b.src[f.open:b.lines.end(number)], "`~"); i >= 0 {
		f.open += i
	}
	for i := range n.Lines().Len() {
		segment := n.Lines().At(i)
		value := strings.TrimRight(string(segment.Value(b.src)), "\r\n")
		f.lines = append(f.lines, fenceLine{value, segment.Start, segment.Padding})
		number = b.lines.number(max(segment.Stop-1, segment.Start))
	}
	f.end = b.lines.end(number)
	if next := number + 1; next <= len(b.lines.starts) && b.closes(f, next) {
		line := bytes.TrimRight(b.src[b.lines.start(next):b.lines.end(next)], " \t\r")
		f.end, f.closed = b.lines.start(next)+len(line), true
	}
	f.atEnd = !f.closed && len(bytes.TrimSpace(b.src[f.end:])) == 0
	return f
}

// closes reports whether a line ends the fence. Markdown does not keep that: the
// line must look like an end and belong to no other block.
func (b *builder) closes(f fence, number int) bool {
	line := b.src[b.lines.start(number):b.lines.end(number)]
	line = bytes.TrimLeft(line, "> \t")
	width := 0
	for f.open+width < len(b.src) && b.src[f.open+width] == b.src[f.open] {
		width++
	}
	rest := bytes.TrimLeft(line, string(b.src[f.open]))
	if len(line)-len(rest) < width || len(bytes.TrimSpace(rest)) > 0 {
		return false
	}
	next := nextBlock(f.node)
	return next == nil || b.lines.number(blockOffset(next)) != number
}

// nextBlock gives the leaf block that follows a node in the document, or nil.
func nextBlock(n ast.Node) ast.Node {
	for n != nil && n.NextSibling() == nil {
		n = n.Parent()
	}
	if n == nil {
		return nil
	}
	n = n.NextSibling()
	for n.FirstChild() != nil && n.FirstChild().Type() == ast.TypeBlock {
		n = n.FirstChild()
	}
	return n
}

func blockOffset(n ast.Node) int {
	if n.Kind() != ast.KindFencedCodeBlock && n.Lines().Len() > 0 {
		return n.Lines().At(0).Start
	}
	return max(n.Pos(), 0)
}

// fence takes a fenced code block: a binding, or code of an item or section.
func (b *builder) fence(n *ast.FencedCodeBlock, at *place) {
	f := b.readFence(n)
	if binds, near := bindingInfo(f.info); binds {
		b.binding(f, at)
		return
	} else if near {
		b.problem(f.open, len(b.firstLine(f.open)), "a binding's info string is %q, got %q", infoWords, f.info).
			Hint = "did you mean \"yaml allclear\"?"
		return
	}
	if !f.closed {
		b.unclosedCode(f)
	}
	b.codeBoxes(f)
	code := CodeBlock{Language: f.language(), Text: f.text(), Pos: b.list.PosAt(f.open)}
	switch {
	case at.item != nil:
		at.item.Code = append(at.item.Code, code)
	case b.phase != nil:
		section := b.ensureSection(f.open)
		section.Code = append(section.Code, code)
	}
	if isForm(code.Language) {
		b.formBlanks(f)
	}
}

// bindingInfo reports whether an info string marks a binding, or nearly does.
func bindingInfo(info string) (binds, near bool) {
	words := strings.Fields(info)
	if len(words) == 2 && words[0] == "yaml" && words[1] == "allclear" {
		return true, false
	}
	if len(words) > 4 {
		return false, false
	}
	for i, word := range words {
		if i == 0 && len(words) > 1 && !strings.EqualFold(word, "allclear") {
			continue
		}
		if diag.Nearest(strings.ToLower(word), []string{"allclear"}) != "" {
			return false, true
		}
	}
	return false, false
}

func (b *builder) unclosedCode(f fence) {
	width := len(b.firstLine(f.open))
	if f.atEnd {
		b.warning(f.open, width, "code fence is never closed: everything below it is code")
		return
	}
	p := b.warning(f.open, width, "code fence ends with its list entry, before its closing fence")
	p.Hint = "indent the closing fence like the opening one"
}

// firstLine gives the rest of the line at an offset.
func (b *builder) firstLine(offset int) string {
	return string(b.src[offset:max(b.lines.end(b.lines.number(offset)), offset)])
}

// owner is what a binding stands under.
type owner struct {
	block **Block
	// keys are the settings that may stand there; types may not under a heading.
	keys    []string
	heading bool
}

// binding reads a block and gives it to the item or heading it belongs to.
func (b *builder) binding(f fence, at *place) {
	o, ok := b.owner(f, at)
	if !ok {
		return
	}
	width := len(b.firstLine(f.open))
	if !f.closed {
		p := b.problem(f.open, width, "block is never closed")
		p.Hint = "end it with a line of " + strings.Repeat(string(b.src[f.open]), 3) + " indented like the first"
		return
	}
	block := b.readBlock(f, o)
	switch {
	case block == nil:
	case *o.block != nil:
		what := "item"
		if o.heading {
			what = "heading"
		}
		p := b.problem(f.open, width, "second block of the same %s; the first is on line %d", what, (*o.block).Pos.Line)
		p.Hint = "put all keys into one block"
	default:
		*o.block = block
		if !o.heading {
			at.own.ExplicitID = block.Settings.ID.IsSet()
		}
	}
}

func (b *builder) owner(f fence, at *place) (owner, bool) {
	if at.own != nil {
		return owner{&at.own.Block, ItemKeys(), false}, true
	}
	if b.pushedOut(f, at) {
		return owner{}, false
	}
	width := len(b.firstLine(f.open))
	switch {
	case at.entry != nil:
		p := b.problem(f.open, width, "block under a list entry without a box")
		p.Hint = "only an item (- [ ] text) or a heading has a block"
		return owner{}, false
	case at.nested, b.heading == noHeading:
		p := b.problem(f.open, width, "block outside an item or heading")
		p.Hint = "indent it under an item, or put it right under a heading"
		return owner{}, false
	case b.headingItems > 0:
		p := b.problem(f.open, width, "block outside an item or heading: items stand between it and its heading")
		p.Hint = "indent it under an item, or move it right under the heading"
		return owner{}, false
	}
	switch b.heading {
	case titleHeading:
		return owner{&b.list.Block, HeadingKeys(), true}, true
	case phaseHeading:
		return owner{&b.phase.Block, HeadingKeys(), true}, true
	case sectionHeading:
		return owner{&b.section.Block, HeadingKeys(), true}, true
	}
	p := b.problem(f.open, width, "block under a heading below the section's")
	p.Hint = "only # ## and ### headings have a block"
	return owner{}, false
}

// pushedOut reports a block that follows an item's list but is indented too
// little to belong to the item, with the indent that would.
func (b *builder) pushedOut(f fence, at *place) bool {
	previous := f.node.PreviousSibling()
	if previous == nil || previous.Kind() != ast.KindList || len(b.items) == 0 {
		return false
	}
	item := b.items[len(b.items)-1]
	if item.Box < blockOffset(previous) {
		return false
	}
	need := b.textColumn(item)
	have := columns(string(b.src[b.lines.start(b.lines.number(f.open)):f.open]))
	if have >= need {
		return false
	}
	p := b.problem(f.open, len(b.firstLine(f.open)),
		"block is outside %s: it is indented by %d, the item's text by %d", where(item), have, need)
	p.Hint = "indent every line of the block by " + plural(need-have, "more space")
	return true
}

// textColumn is how far the lines of an item are indented.
func (b *builder) textColumn(item *Item) int {
	return len(item.lead)
}

// pushedIntoText reports a block that is indented so far that Markdown reads it
// as text of the paragraph.
func (b *builder) pushedIntoText(n ast.Node, item *Item) bool {
	found := false
	for i := range n.Lines().Len() {
		segment := n.Lines().At(i)
		line := bytes.TrimLeft(b.src[segment.Start:segment.Stop], " \t")
		if !bytes.HasPrefix(line, []byte("```")) && !bytes.HasPrefix(line, []byte("~~~")) {
			continue
		}
		info := strings.TrimSpace(strings.TrimLeft(string(line), "`~"))
		if binds, _ := bindingInfo(info); !binds {
			continue
		}
		start := segment.Stop - len(line)
		p := b.problem(start, len(strings.TrimSpace(string(line))), "block is indented too far: Markdown reads it as text")
		p.Hint = "begin every line of the block at the same column as the text of its item"
		if item != nil {
			p.Hint = "indent every line of the block by exactly " + plural(b.textColumn(item), "space")
		}
		found = true
	}
	return found
}

// misplaced takes code that is no fence: boxes in it are no items, and a block in
// it is none.
func (b *builder) misplaced(n ast.Node, at *place, reason string) {
	if !b.pushedIntoText(n, at.own) {
		b.lineBoxes(n, reason)
	}
}
