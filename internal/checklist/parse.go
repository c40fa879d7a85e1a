package checklist

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/yuin/goldmark/ast"

	"allclear.dev/allclear/internal/diag"
)

const (
	// maxBytes is the largest file that is read.
	maxBytes = 10 << 20
	// maxLines bounds the memory that Markdown needs per line and nesting level.
	maxLines = 500_000
	// maxProblems is how many problems are kept; more are only counted.
	maxProblems = 500
	// maxFrontMatter is how many lines of front matter are looked at.
	maxFrontMatter = 200
	// maxShown is the longest source line that a problem shows, in bytes.
	maxShown = 400
)

// Options say what the caller knows about bindings.
type Options struct {
	// Types are the names of all known types. When it is empty, any name of
	// lower-case words joined by dots is taken for a type.
	Types []string
}

// Parse reads a checklist without knowing any types. It returns everything it
// understood and every problem; the checklist is never nil.
func Parse(file string, src []byte) (*Checklist, diag.Problems) {
	return ParseWith(file, src, Options{})
}

// ParseWith reads a checklist. It returns everything it understood and every
// problem, ordered by position; the checklist is never nil. The checklist keeps
// src, which must not change afterwards.
func ParseWith(file string, src []byte, opts Options) (*Checklist, diag.Problems) {
	b := &builder{
		list: &Checklist{File: file, Source: src, byID: map[string]*Item{}}, opts: opts,
		phaseNames: newUniqueNames(0), sectionNames: newUniqueNames(0), slugs: map[string]string{},
	}
	if len(src) > maxBytes {
		b.whole("the file has %d bytes; a checklist may have %d", len(src), maxBytes)
		b.list.lines = newLineIndex(nil)
		return b.list, b.problems
	}
	b.src = withFinalLineEnd(src)
	b.list.lines = newLineIndex(src)
	b.lines = b.list.lines
	if n := len(b.lines.starts); n > maxLines {
		b.whole("the file has %d lines; a checklist may have %d", n, maxLines)
		return b.list, b.problems
	}
	b.encoding()
	md := newMarkdown()
	root := md.parse(markdownSource(b.src))
	if md.tooDeep >= 0 {
		b.problem(md.tooDeep, 1, "nested deeper than %d lists and quotations", maxNesting)
	}
	b.headingLevels(root)
	b.document(root)
	b.assignIDs()
	b.empty()
	return b.list, b.sorted()
}

// withFinalLineEnd adds the line end that the last line may lack: Markdown reads
// a few last lines differently without it, and an edit may add one.
func withFinalLineEnd(src []byte) []byte {
	if len(src) == 0 || src[len(src)-1] == '\n' {
		return src
	}
	return append(bytes.Clone(src), '\n')
}

// markdownSource hides what Markdown would misread behind blank lines of the same
// length, so that offsets stay: a byte order mark and YAML front matter.
func markdownSource(src []byte) []byte {
	hidden := frontMatter(src)
	if bytes.HasPrefix(src, []byte(byteOrderMark)) {
		hidden = max(hidden, len(byteOrderMark))
	}
	if hidden == 0 {
		return src
	}
	out := bytes.Clone(src)
	for i := range hidden {
		out[i] = '\n'
	}
	return out
}

// frontMatter gives the length of the YAML between two lines of --- that some
// tools keep at the beginning of a file, or 0. Each of its lines must look like
// YAML: a rule above a paragraph and an underlined heading look alike.
func frontMatter(src []byte) int {
	rest := bytes.TrimPrefix(src, []byte(byteOrderMark))
	for number := 0; number < maxFrontMatter; number++ {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			return 0
		}
		line := bytes.TrimRight(rest[:end], "\r")
		switch {
		case number == 0:
			if string(line) != "---" {
				return 0
			}
		case string(line) == "---" && number > 1:
			return len(src) - len(rest) + end
		case !bytes.Contains(line, []byte(":")) && !bytes.HasPrefix(line, []byte("- ")) && !bytes.HasPrefix(line, []byte(" ")):
			return 0
		}
		rest = rest[end+1:]
	}
	return 0
}

// builder collects a checklist while walking the Markdown tree.
type builder struct {
	// src is the source with a final line end.
	src      []byte
	lines    lineIndex
	opts     Options
	list     *Checklist
	problems diag.Problems
	dropped  int

	// phaseLevel is the heading level that starts a phase: 2, or 1 when there is
	// no level 2 and more than one level 1.
	phaseLevel int
	titled     bool
	phase      *Phase
	section    *Section
	subs       []subheading
	heading    headingKind
	// headingItems counts the items since the last heading.
	headingItems int
	items        []*Item
	// above is the heading path where the walk stands; items share it.
	above []string

	phaseNames, sectionNames uniqueNames
	// slugs keeps the slugs of headings, which many items share.
	slugs map[string]string
	// prefix is the id prefix of the path prefixOf.
	prefix   string
	prefixOf []string
}

// subheading is a heading below the section's, a part of the items' path.
type subheading struct {
	level int
	title string
}

// headingKind says what the last heading of the document level started.
type headingKind int

const (
	noHeading headingKind = iota
	titleHeading
	phaseHeading
	sectionHeading
	subHeading
)

func (b *builder) problem(offset, width int, format string, args ...any) *diag.Problem {
	return b.report(diag.Problem{Pos: b.list.PosAt(offset), Width: width, Message: fmt.Sprintf(format, args...)})
}

func (b *builder) warning(offset, width int, format string, args ...any) *diag.Problem {
	p := b.problem(offset, width, format, args...)
	p.Severity = diag.Warning
	return p
}

// whole reports a problem of the whole file.
func (b *builder) whole(format string, args ...any) *diag.Problem {
	return b.report(diag.Problem{Pos: diag.Pos{File: b.list.File}, Message: fmt.Sprintf(format, args...)})
}

// report keeps a problem; its pointer is good until the next one.
func (b *builder) report(p diag.Problem) *diag.Problem {
	if len(b.problems) >= maxProblems {
		b.dropped++
		return &p
	}
	if p.Severity == "" {
		p.Severity = diag.Error
	}
	if p.Pos.Line > 0 && p.Line == "" {
		if text := b.lines.text(p.Pos.Line); p.Pos.Col <= maxShown {
			p.Line = text[:min(len(text), maxShown)]
		}
	}
	b.problems = append(b.problems, p)
	return &b.problems[len(b.problems)-1]
}

func (b *builder) sorted() diag.Problems {
	out := b.problems.Sorted()
	if b.dropped > 0 {
		out = append(out, diag.Problem{
			Pos: diag.Pos{File: b.list.File}, Severity: diag.Error,
			Message: fmt.Sprintf("%d more problems are not shown", b.dropped),
		})
	}
	return out
}

// encoding reports bytes that are no UTF-8 (the first of each file is enough to
// find the cause) and line ends that Markdown does not know.
func (b *builder) encoding() {
	if !utf8.Valid(b.src) {
		at := invalidUTF8(b.src)
		b.problem(at, 1, "not UTF-8: byte 0x%02x", b.src[at]).Hint = "save the file as UTF-8"
	}
	if src := b.list.Source; bytes.IndexByte(src, '\n') < 0 && bytes.IndexByte(bytes.TrimRight(src, "\r"), '\r') >= 0 {
		b.whole("lines end with a lone carriage return").Hint = "save the file with LF or CRLF line ends"
	}
}

func invalidUTF8(src []byte) int {
	for i := 0; i < len(src); {
		r, size := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(src)
}

// empty reports a checklist without items: it would be green with nothing done.
func (b *builder) empty() {
	if len(b.items) > 0 {
		return
	}
	p := b.whole("no items")
	p.Hint = "an item is a list entry with a box: - [ ] text"
	if n := len(b.list.Ignored); n > 0 {
		first := b.list.Ignored[0]
		p.Hint = fmt.Sprintf("%d of its boxes are no items; the first, on line %d, is %s", n, first.Pos.Line, first.Reason)
	}
}

// headingLevels decides which level starts a phase.
func (b *builder) headingLevels(root ast.Node) {
	ones := 0
	b.phaseLevel = 2
	for n := root.FirstChild(); n != nil; n = n.NextSibling() {
		h, ok := n.(*ast.Heading)
		switch {
		case !ok:
		case h.Level == 2:
			return
		case h.Level == 1:
			ones++
		}
	}
	if ones > 1 {
		b.phaseLevel = 1
	}
}

// assignIDs checks the ids that are written and makes the others. Ids that
// stand in the file and first occurrences win over ordinals, so that an item
// keeps its id when others are added elsewhere.
func (b *builder) assignIDs() {
	names := newUniqueNames(len(b.items))
	b.list.byID = make(map[string]*Item, len(b.items))
	for _, item := range b.items {
		if item.ExplicitID {
			b.explicitID(item, names)
		}
	}
	for _, item := range b.items {
		b.generatedID(item)
		if !item.ExplicitID {
			names.reserve(item.idPath)
		}
	}
	for _, item := range b.items {
		if !item.ExplicitID {
			item.ID = names.give(item.idPath)
			b.list.byID[item.ID] = item
		}
	}
}

func (b *builder) explicitID(item *Item, names uniqueNames) {
	id := item.Block.Settings.ID
	if first, twice := b.list.byID[id.Value]; twice {
		b.report(diag.Problem{
			Pos: id.Pos, Width: id.Width,
			Message: fmt.Sprintf("id %q is already used on line %d", id.Value, first.Block.Settings.ID.Pos.Line),
			Hint:    "every id stands for one item; give this one another",
		})
		item.ExplicitID = false
		return
	}
	item.ID = id.Value
	names.give(id.Value)
	b.list.byID[id.Value] = item
}

// generatedID makes the id that the item gets unless it is taken. Below a parent
// it begins with the parent's id path.
func (b *builder) generatedID(item *Item) {
	switch {
	case item.ExplicitID:
		item.idPath = item.ID
	case item.Parent != nil:
		item.idPath = slugBelow(item.Parent.idPath+".", item.Text, "item")
	default:
		item.idPath = slugBelow(b.idPrefix(item.Path), item.Text, "item")
	}
}

// idPrefix joins the slugs of a heading path. Neighbours share their path, so the
// last one is kept.
func (b *builder) idPrefix(path []string) string {
	if slices.Equal(path, b.prefixOf) {
		return b.prefix
	}
	var prefix strings.Builder
	for _, title := range path {
		prefix.WriteString(b.headingSlug(title))
		prefix.WriteByte('.')
	}
	b.prefixOf, b.prefix = path, prefix.String()
	return b.prefix
}

func (b *builder) headingSlug(title string) string {
	s, known := b.slugs[title]
	if !known {
		s = slug(title, "section")
		b.slugs[title] = s
	}
	return s
}
