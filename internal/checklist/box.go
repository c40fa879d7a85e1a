package checklist

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/yuin/goldmark/ast"
)

// plural counts things in a message.
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// ignore lists a box that is no item.
func (b *builder) ignore(offset int, reason string) {
	if len(b.list.Ignored) >= maxProblems {
		return
	}
	text := b.firstLine(offset)
	b.list.Ignored = append(b.list.Ignored, Ignored{
		Pos: b.list.PosAt(offset), Text: text[:min(len(text), maxShown)], Reason: reason,
	})
}

// listBox finds a box behind a list marker at the beginning of a line and gives
// the index of its bracket, or -1.
func listBox(line []byte) int {
	i := skipBlanks(line, 0)
	start := i
	for i < len(line) && line[i] >= '0' && line[i] <= '9' {
		i++
	}
	switch {
	case i >= len(line):
		return -1
	case i == start && (line[i] == '-' || line[i] == '*' || line[i] == '+'):
	case i > start && (line[i] == '.' || line[i] == ')'):
	default:
		return -1
	}
	at := skipBlanks(line, i+1)
	if at == i+1 || !isBox(line[at:]) {
		return -1
	}
	return at
}

func skipBlanks(line []byte, i int) int {
	for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
		i++
	}
	return i
}

// signBox finds a ballot box sign, which Markdown does not know, or gives -1.
func signBox(line []byte) int {
	// The signs ☐ ☑ ☒ are E2 98 90 to E2 98 92.
	i := bytes.Index(line, []byte("\xe2\x98"))
	if i < 0 || i+2 >= len(line) || line[i+2] < 0x90 || line[i+2] > 0x92 {
		return -1
	}
	return i
}

// lineBoxes lists the boxes of a block that Markdown reads as something else.
func (b *builder) lineBoxes(n ast.Node, reason string) {
	for i := range n.Lines().Len() {
		segment := n.Lines().At(i)
		b.lineBox(b.src[segment.Start:segment.Stop], segment.Start, reason)
	}
}

func (b *builder) lineBox(line []byte, start int, reason string) {
	if at := listBox(line); at >= 0 {
		b.ignore(start+at, reason)
	} else if at := signBox(line); at >= 0 {
		b.ignore(start+at, reason)
	}
}

// codeBoxes lists the boxes inside a fence.
func (b *builder) codeBoxes(f fence) {
	for i := range f.node.Lines().Len() {
		segment := f.node.Lines().At(i)
		b.lineBox(b.src[segment.Start:segment.Stop], segment.Start, "in a code fence")
	}
}

// html lists the boxes of an HTML block; comments and tags hide them alike.
func (b *builder) html(n *ast.HTMLBlock) {
	reason := "in HTML"
	if n.HTMLBlockType == ast.HTMLBlockType2 {
		reason = "in an HTML comment"
	}
	b.lineBoxes(n, reason)
	if n.HasClosure() {
		b.lineBox(n.ClosureLine.Value(b.src), n.ClosureLine.Start, reason)
	}
}

// boxInHeading lists a box that stands in a heading.
func (b *builder) boxInHeading(h *ast.Heading) {
	if h.Lines().Len() == 0 {
		return
	}
	first := h.Lines().At(0)
	line := b.src[first.Start:first.Stop]
	switch {
	case isBox(line):
		b.ignore(first.Start, "in a heading")
	case signBox(line) >= 0:
		b.ignore(first.Start+signBox(line), "in a heading")
	}
}

// paragraph looks for what a person may have meant as a box, a block or a field.
func (b *builder) paragraph(n ast.Node, at *place) {
	b.pushedIntoText(n, at.own)
	for i := range n.Lines().Len() {
		segment := n.Lines().At(i)
		line := b.src[segment.Start:segment.Stop]
		if at := tableBox(line); at >= 0 {
			b.ignore(segment.Start+at, "in a table")
		} else if at := signBox(line); at >= 0 {
			b.ignore(segment.Start+at, "a sign, not the brackets of a Markdown box")
		} else {
			b.nearBoxLine(line, segment.Start)
		}
	}
	for _, blank := range b.blanksOf(n, 0) {
		blank.Path = b.headingPath()
		b.list.Blanks = append(b.list.Blanks, blank)
	}
}

// tableBox finds a box in a cell of a table row, or gives -1.
func tableBox(line []byte) int {
	if bytes.IndexByte(line, '|') < 0 {
		return -1
	}
	if at := signBox(line); at >= 0 {
		return at
	}
	for at := 0; at < len(line); at++ {
		next := bytes.IndexByte(line[at:], '[')
		if next < 0 {
			return -1
		}
		if at += next; isBox(line[at:]) {
			return at
		}
	}
	return -1
}

// nearBoxLine warns about a line of text that looks like an item and is none.
func (b *builder) nearBoxLine(line []byte, start int) {
	text := bytes.TrimLeft(line, " \t")
	start += len(line) - len(text)
	if isBox(text) && len(bytes.TrimSpace(text)) > 3 {
		b.nearBox(start, 3, "a box needs a list marker before it: - [ ]")
		return
	}
	if len(text) > 1 && (text[0] == '-' || text[0] == '*' || text[0] == '+') && isBox(text[1:]) {
		b.nearBox(start, 4, "a list marker needs a space behind it: - [ ]")
	}
}

// nearBoxEntry warns about a list entry whose brackets are not quite a box.
func (b *builder) nearBoxEntry(n ast.Node) {
	if (n.Kind() != ast.KindParagraph && n.Kind() != ast.KindTextBlock) || n.Lines().Len() == 0 {
		return
	}
	first := n.Lines().At(0)
	line := b.src[first.Start:first.Stop]
	end := bytes.IndexByte(line, ']')
	if line[0] != '[' || end < 1 || end > 6 {
		return
	}
	inner, after := string(line[1:end]), rune(' ')
	if end+1 < len(line) {
		after, _ = utf8.DecodeRune(line[end+1:])
	}
	if after == '(' || after == '[' || after == ':' {
		return // a link or a definition
	}
	if reason := nearBoxReason(inner, after); reason != "" {
		b.nearBox(first.Start, end+1, reason)
	}
}

func nearBoxReason(inner string, after rune) string {
	blank := strings.TrimSpace(inner) == ""
	switch {
	case blank && inner != " ":
		return "a box has exactly one space between its brackets: [ ]"
	case blank, inner == "x", inner == "X":
		return "a box needs a space behind it: [ ] text"
	case utf8.RuneCountInString(strings.TrimSpace(inner)) > 2 || !unicode.IsSpace(after):
		return ""
	}
	for _, r := range strings.TrimSpace(inner) {
		if r != 'v' && r != 'V' && r != 'x' && r != 'X' && (unicode.IsLetter(r) || unicode.IsNumber(r)) {
			return ""
		}
	}
	return "the box of an item holds a space or an x: [ ] or [x]"
}

func (b *builder) nearBox(offset, width int, reason string) {
	p := b.warning(offset, width, "not an item: %s", reason)
	p.Hint = "Markdown shows it as text, and nobody would be asked about it"
	b.ignore(offset, "not written as a box")
}
