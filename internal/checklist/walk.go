package checklist

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/yuin/goldmark/ast"
)

// place is what the walk knows about where a node stands.
type place struct {
	// item is the nearest box above, or nil.
	item *Item
	// own is item when the nearest list entry is that box, otherwise nil.
	own *Item
	// entry is the nearest list entry above, or nil; it may have no box.
	entry *ast.ListItem
	// path holds headings that are nested in list entries.
	path []string
	// nested tells that the node is not a child of the document.
	nested bool
}

// document walks the blocks of the document level.
func (b *builder) document(root ast.Node) {
	at := place{}
	for n := root.FirstChild(); n != nil; n = n.NextSibling() {
		if h, ok := n.(*ast.Heading); ok {
			b.startHeading(h)
			continue
		}
		b.block(n, &at)
	}
}

// block walks one block that is not a heading of the document level. Its depth is
// bounded by maxNesting.
func (b *builder) block(n ast.Node, at *place) {
	switch n := n.(type) {
	case *ast.Heading:
		b.nestedHeading(n, at)
	case *ast.List:
		for c := n.FirstChild(); c != nil; c = c.NextSibling() {
			b.entry(c.(*ast.ListItem), at)
		}
	case *ast.Blockquote:
		inner := *at
		inner.nested = true
		for c := n.FirstChild(); c != nil; c = c.NextSibling() {
			b.block(c, &inner)
		}
	case *ast.FencedCodeBlock:
		b.fence(n, at)
	case *ast.CodeBlock:
		b.misplaced(n, at, "in an indented code block")
	case *ast.HTMLBlock:
		b.html(n)
	case *ast.Paragraph, *ast.TextBlock:
		b.paragraph(n, at)
	}
}

// entry walks a list entry, which is an item when it begins with a box.
func (b *builder) entry(n *ast.ListItem, at *place) {
	inner := place{item: at.item, entry: n, path: slices.Clip(at.path), nested: true}
	child := n.FirstChild()
	if child != nil && isBoxParagraph(child, b.src) {
		if item := b.newItem(child, at); item != nil {
			inner.item, inner.own = item, item
		}
		b.pushedIntoText(child, inner.own)
		child = child.NextSibling()
	} else if child != nil {
		b.nearBoxEntry(child)
	}
	for ; child != nil; child = child.NextSibling() {
		b.block(child, &inner)
	}
}

// newItem adds an item for a paragraph that begins with a box. A box without
// text is none, which is said.
func (b *builder) newItem(n ast.Node, at *place) *Item {
	lines := n.Lines()
	start := lines.At(0).Start
	end := b.lines.end(b.lines.number(max(lines.At(lines.Len()-1).Stop-1, start)))
	text := ""
	if readInline(n, b.src) {
		text = plain(n, b.src)
	} else {
		text = oneLine(string(b.src[min(start+3, end):end]))
	}
	if text == "" {
		b.warning(start, 3, "box without text").Hint = "say what has to be done, or remove the box"
		b.ignore(start, "without text")
		return nil
	}
	item := &Item{
		Text: text, Pos: b.list.PosAt(start), Box: start + 1, Ticked: b.src[start+1] != ' ',
		Parent: at.item, textEnd: end, lead: leadOf(n),
	}
	item.Raw = b.raw(n, start+3, text)
	item.Blanks = b.blanksOf(n, start+3)
	if at.item != nil {
		item.Depth = at.item.Depth + 1
		at.item.Children = append(at.item.Children, item)
		at.item.Group = true
	}
	section := b.ensureSection(start)
	item.Path = append(b.headingPath(), at.path...)
	section.Items = append(section.Items, item)
	b.items = append(b.items, item)
	b.headingItems++
	return item
}

// leadOf gives what a line must begin with to continue the list entries and
// quotations around a block, as Markdown measures them.
func leadOf(n ast.Node) string {
	width, quoted := 0, ""
	for n = n.Parent(); n != nil; n = n.Parent() {
		switch n := n.(type) {
		case *ast.ListItem:
			width += n.Offset
		case *ast.Blockquote:
			quoted = "> " + spaces(width) + quoted
			width = 0
		}
	}
	return spaces(width) + quoted
}

// spaces gives a run of spaces; the short ones share their memory.
func spaces(width int) string {
	const some = "                                "
	if width <= len(some) {
		return some[:width]
	}
	return strings.Repeat(" ", width)
}

// raw joins the lines of a paragraph as written, from an offset on. Most are the
// plain text and share its memory.
func (b *builder) raw(n ast.Node, from int, text string) string {
	if n.Lines().Len() == 1 {
		line := bytes.TrimSpace(b.src[from:n.Lines().At(0).Stop])
		if string(line) == text {
			return text
		}
		return string(line)
	}
	var out []string
	for i := range n.Lines().Len() {
		line := n.Lines().At(i)
		start := min(max(line.Start, from), line.Stop)
		out = append(out, strings.TrimSpace(string(b.src[start:line.Stop])))
	}
	return strings.TrimSpace(strings.Join(out, "\n"))
}

// headingPath gives the heading titles above. What stands in one place shares it.
func (b *builder) headingPath() []string {
	if b.above == nil {
		b.above = []string{}
		if b.phase != nil && b.phase.Title != "" {
			b.above = append(b.above, b.phase.Title)
		}
		if b.section != nil && b.section.Title != "" {
			b.above = append(b.above, b.section.Title)
		}
		for _, s := range b.subs {
			b.above = append(b.above, s.title)
		}
		b.above = slices.Clip(b.above)
	}
	return b.above
}

// nestedHeading takes a heading inside a list entry or quotation: a part of the
// path of what follows in the same place, never a phase or section.
func (b *builder) nestedHeading(h *ast.Heading, at *place) {
	title := plain(h, b.src)
	b.boxInHeading(h)
	if at.entry == nil || title == "" {
		return
	}
	at.path = append(slices.Clip(at.path), title)
	if h.Level <= 3 {
		p := b.warning(b.nodeStart(h), 1, "heading inside a list entry starts no phase or section")
		p.Hint = "move it to the beginning of the line if it should"
	}
}

// startHeading takes a heading of the document level.
func (b *builder) startHeading(h *ast.Heading) {
	title, start := plain(h, b.src), b.nodeStart(h)
	after := b.headingEnd(h)
	b.boxInHeading(h)
	b.headingItems, b.above = 0, nil
	b.subs = slices.DeleteFunc(slices.Clone(b.subs), func(s subheading) bool { return s.level >= h.Level })
	switch {
	case h.Level == 1 && b.phaseLevel == 2 && !b.titled && b.phase == nil:
		b.titled = true
		b.list.Title, b.list.Pos, b.list.after = title, b.list.PosAt(start), after
		b.heading = titleHeading
	case h.Level <= 2 && (h.Level == 1 || b.phaseLevel == 2):
		b.startPhase(title, start, after)
		b.heading = phaseHeading
	case h.Level <= 3:
		b.ensurePhase(start)
		b.startSection(title, start, after)
		b.heading = sectionHeading
	default:
		b.subs = append(b.subs, subheading{h.Level, title})
		b.heading = subHeading
	}
}

func (b *builder) startPhase(title string, start, after int) {
	name := "checklist"
	if after > 0 {
		name = b.headingSlug(title)
	}
	b.phase = &Phase{Title: title, ID: b.phaseNames.give(name), Pos: b.list.PosAt(start), after: after}
	b.section, b.subs = nil, nil
	b.list.Phases = append(b.list.Phases, b.phase)
}

func (b *builder) startSection(title string, start, after int) {
	b.section = &Section{Title: title, Pos: b.list.PosAt(start), after: after, ID: b.phase.ID}
	if after > 0 {
		b.section.ID = b.sectionNames.give(b.phase.ID + "." + b.headingSlug(title))
	}
	b.subs = nil
	b.phase.Sections = append(b.phase.Sections, b.section)
}

// ensurePhase makes a phase without heading for what stands before the first.
func (b *builder) ensurePhase(start int) {
	if b.phase == nil {
		b.startPhase("", start, 0)
	}
}

func (b *builder) ensureSection(start int) *Section {
	b.ensurePhase(start)
	if b.section == nil {
		subs := b.subs
		b.startSection("", start, 0)
		b.subs = subs
	}
	return b.section
}

// nodeStart gives the offset of a heading's first byte.
func (b *builder) nodeStart(h *ast.Heading) int {
	if h.Lines().Len() == 0 || h.Pos() < h.Lines().At(0).Start {
		return min(max(h.Pos(), 0), len(b.src))
	}
	return h.Lines().At(0).Start
}

// headingEnd gives the offset where a block under the heading is inserted: the
// end of its line, or of the underline of a setext heading.
func (b *builder) headingEnd(h *ast.Heading) int {
	start := b.nodeStart(h)
	number := b.lines.number(start)
	if start < len(b.src) && b.src[start] != '#' && h.Lines().Len() > 0 {
		last := h.Lines().At(h.Lines().Len() - 1)
		number = min(b.lines.number(max(last.Stop-1, last.Start))+1, len(b.lines.starts))
	}
	return b.lines.end(number)
}

// where names an item in a message.
func where(item *Item) string {
	return fmt.Sprintf("the item on line %d", item.Pos.Line)
}
