package checklist

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// Outline is what stands in a Markdown document of any kind: a changelog, a
// runbook. Offsets are bytes of the text that was read.
type Outline struct {
	// Headings are all headings in the order of the text, those in quotations and
	// lists too.
	Headings []DocumentHeading
	// Links are links and images with their destinations, definitions resolved.
	Links []DocumentLink
	// Definitions are link reference definitions: [label]: destination.
	Definitions []DocumentDefinition
	// Entries are the entries of lists.
	Entries []DocumentEntry
	// Anchors are the id and name attributes of HTML elements.
	Anchors []string
	// Visible is the text with the same length in which HTML comments are blanks.
	Visible []byte
	// Unread are the lines of paragraphs too long for their links to be read.
	Unread []int
}

// DocumentHeading is one heading. Start and End enclose its lines, the line end
// included; Top tells that it stands in no quotation or list.
type DocumentHeading struct {
	Level, Line, Start, End int
	// Text has no inline Markdown; Raw is as written.
	Text, Raw string
	Top       bool
}

// DocumentLink is a link or an image.
type DocumentLink struct {
	Destination string
	Line        int
	Image       bool
}

// DocumentDefinition is a link reference definition. Start and End enclose its
// lines, the line end included.
type DocumentDefinition struct {
	Label, Destination string
	Line, Start, End   int
}

// DocumentEntry is an entry of a list: the text of its first paragraph.
type DocumentEntry struct {
	Text        string
	Line, Start int
}

// maxParagraph bounds the paragraphs whose links are read: some inline rules are
// quadratic in the length of a paragraph.
const maxParagraph = 16 << 10

// ReadOutline reads a document. Code blocks, HTML comments and what stands in them
// are no headings and no links. A text that nests too deeply or is too long is an
// error.
func ReadOutline(src []byte) (*Outline, error) {
	if len(src) > maxBytes {
		return nil, fmt.Errorf("the document has %d bytes; %d are read", len(src), maxBytes)
	}
	m := &markdown{tooDeep: -1}
	m.parser = parser.NewParser(
		parser.WithBlockParsers(
			util.Prioritized(parser.NewSetextHeadingParser(), 100),
			util.Prioritized(parser.NewThematicBreakParser(), 200),
			util.Prioritized(boundedList{parser.NewListParser(), m}, 300),
			util.Prioritized(parser.NewListItemParser(), 400),
			util.Prioritized(parser.NewCodeBlockParser(), 500),
			util.Prioritized(parser.NewATXHeadingParser(), 600),
			util.Prioritized(parser.NewFencedCodeBlockParser(), 700),
			util.Prioritized(boundedQuote{parser.NewBlockquoteParser(), m}, 800),
			util.Prioritized(parser.NewHTMLBlockParser(), 900),
			util.Prioritized(parser.NewParagraphParser(), 1000),
		),
		parser.WithInlineParsers(
			util.Prioritized(shortInline{parser.NewCodeSpanParser()}, 100),
			util.Prioritized(shortInline{parser.NewLinkParser()}, 200),
			util.Prioritized(shortInline{parser.NewAutoLinkParser()}, 300),
			util.Prioritized(shortInline{parser.NewRawHTMLParser()}, 400),
			util.Prioritized(shortInline{parser.NewEmphasisParser()}, 500),
			util.Prioritized(shortInline{extension.NewLinkifyParser()}, 999),
		),
		parser.WithParagraphTransformers(util.Prioritized(boundedReferences{parser.LinkReferenceParagraphTransformer}, 100)),
	)
	root := m.parser.Parse(text.NewReader(src))
	o := outliner{Outline: &Outline{Visible: bytes.Clone(src)}, lines: newLineIndex(src), src: src}
	if m.tooDeep >= 0 {
		return nil, fmt.Errorf("line %d: lists and quotations nest more than %d deep", o.lines.number(m.tooDeep), maxNesting)
	}
	return o.Outline, ast.Walk(root, o.visit)
}

// shortInline reads inline Markdown of blocks of ordinary length.
type shortInline struct{ parser.InlineParser }

// Parse reads one inline element.
func (p shortInline) Parse(parent ast.Node, block text.Reader, pc parser.Context) ast.Node {
	if extent(parent) > maxParagraph {
		return nil
	}
	return p.InlineParser.Parse(parent, block, pc)
}

// CloseBlock ends a paragraph for the parsers that keep state.
func (p shortInline) CloseBlock(parent ast.Node, block text.Reader, pc parser.Context) {
	if closer, ok := p.InlineParser.(parser.CloseBlocker); ok {
		closer.CloseBlock(parent, block, pc)
	}
}

// outliner gathers an outline while the document is walked.
type outliner struct {
	*Outline
	lines lineIndex
	src   []byte
	// line is that of the block that the walk is in.
	line int
}

func (o *outliner) visit(n ast.Node, entering bool) (ast.WalkStatus, error) {
	if !entering {
		return ast.WalkContinue, nil
	}
	if n.Type() == ast.TypeBlock && n.Lines().Len() > 0 {
		o.line = o.lines.number(n.Lines().At(0).Start)
		if !n.IsRaw() && extent(n) > maxParagraph {
			o.Unread = append(o.Unread, o.line)
		}
	}
	switch n := n.(type) {
	case *ast.Heading:
		o.heading(n)
	case *ast.ListItem:
		o.entry(n)
	case *ast.LinkReferenceDefinition:
		o.definition(n)
	case *ast.Link:
		o.Links = append(o.Links, DocumentLink{Destination: string(n.Destination), Line: o.line})
	case *ast.Image:
		o.Links = append(o.Links, DocumentLink{Destination: string(n.Destination), Line: o.line, Image: true})
	case *ast.AutoLink:
		if n.AutoLinkType == ast.AutoLinkURL {
			o.Links = append(o.Links, DocumentLink{Destination: string(n.URL(o.src)), Line: o.line})
		}
	case *ast.RawHTML:
		for i := range n.Segments.Len() {
			o.html(n.Segments.At(i).Start, n.Segments.At(i).Stop, bytes.HasPrefix(n.Segments.Value(o.src), []byte("<!--")))
		}
	case *ast.HTMLBlock:
		o.htmlBlock(n)
	}
	return ast.WalkContinue, nil
}

// span gives the whole lines from one offset to another.
func (o *outliner) span(from, to int) (start, end int) {
	first, last := o.lines.number(from), o.lines.number(max(to-1, from))
	end = len(o.src)
	if last < len(o.lines.starts) {
		end = int(o.lines.starts[last])
	}
	return o.lines.start(first), end
}

func (o *outliner) heading(n *ast.Heading) {
	h := DocumentHeading{Level: n.Level, Text: plain(n, o.src), Top: n.Parent().Kind() == ast.KindDocument}
	from := n.Pos()
	to := from + 1
	if n.Lines().Len() > 0 {
		from, to = n.Lines().At(0).Start, n.Lines().At(n.Lines().Len()-1).Stop
		h.Raw = string(o.src[from:to])
	}
	if from < 0 {
		return
	}
	h.Start, h.End = o.span(from, to)
	h.Line = o.lines.number(from)
	if rest := o.src[h.Start:h.End]; h.Top && !bytes.HasPrefix(bytes.TrimLeft(rest, " "), []byte("#")) && h.End < len(o.src) {
		_, h.End = o.span(h.End, h.End+1) // the line of = or - below it
	}
	o.Headings = append(o.Headings, h)
}

func (o *outliner) entry(n *ast.ListItem) {
	first := n.FirstChild()
	if first == nil || first.Lines().Len() == 0 {
		return
	}
	at := first.Lines().At(0).Start
	o.Entries = append(o.Entries, DocumentEntry{Text: plainOrSource(first, o.src), Line: o.lines.number(at), Start: at})
}

// plainOrSource gives a block's text as written, on one line.
func plainOrSource(n ast.Node, src []byte) string {
	var b strings.Builder
	for i := range n.Lines().Len() {
		b.Write(src[n.Lines().At(i).Start:n.Lines().At(i).Stop])
	}
	return oneLine(b.String())
}

func (o *outliner) definition(n *ast.LinkReferenceDefinition) {
	if n.Lines().Len() == 0 {
		return
	}
	d := DocumentDefinition{Label: string(n.Label), Destination: string(n.Destination)}
	d.Start, d.End = o.span(n.Lines().At(0).Start, n.Lines().At(n.Lines().Len()-1).Stop)
	d.Line = o.lines.number(d.Start)
	o.Definitions = append(o.Definitions, d)
}

func (o *outliner) htmlBlock(n *ast.HTMLBlock) {
	from, to := n.Pos(), n.Pos()
	if n.Lines().Len() > 0 {
		from, to = n.Lines().At(0).Start, n.Lines().At(n.Lines().Len()-1).Stop
	}
	if n.HasClosure() {
		to = n.ClosureLine.Stop
		if from < 0 {
			from = n.ClosureLine.Start
		}
	}
	if from >= 0 {
		o.html(from, to, n.HTMLBlockType == ast.HTMLBlockType2)
	}
}

// attribute finds the next NAME="value" of a piece of HTML, in either quotes, and
// what follows it. at is where the value begins.
func attribute(piece []byte, from int) (name, value string, at int) {
	for i := from; i < len(piece); i++ {
		if piece[i] != '=' {
			continue
		}
		before := bytes.TrimRight(piece[from:i], " \t\r\n")
		start := bytes.LastIndexAny(before, " \t\r\n<\"'/") + 1
		at = i + 1
		for at < len(piece) && (piece[at] == ' ' || piece[at] == '\t') {
			at++
		}
		if at == len(piece) || piece[at] != '"' && piece[at] != '\'' {
			continue
		}
		end := bytes.IndexByte(piece[at+1:], piece[at])
		if end < 0 {
			break
		}
		return strings.ToLower(string(before[start:])), string(piece[at+1 : at+1+end]), at + 1
	}
	return "", "", -1
}

// html takes what readers need from a piece of HTML, and blanks its comments.
func (o *outliner) html(from, to int, comment bool) {
	piece := o.Visible[from:to]
	for !comment { // comments within other HTML
		start := bytes.Index(piece, []byte("<!--"))
		if start < 0 {
			break
		}
		end := bytes.Index(piece[start:], []byte("-->"))
		if end < 0 {
			end = len(piece) - start - len("-->")
		}
		blankOut(piece[start : start+end+len("-->")])
	}
	if comment {
		end := bytes.LastIndex(piece, []byte("-->"))
		if end < 0 {
			end = len(piece) - len("-->")
		}
		blankOut(piece[:max(end+len("-->"), 0)])
		return
	}
	for name, value, at := attribute(piece, 0); at >= 0; name, value, at = attribute(piece, at+len(value)+1) {
		switch name {
		case "id", "name":
			o.Anchors = append(o.Anchors, value)
		case "href", "src":
			o.Links = append(o.Links, DocumentLink{Destination: value, Line: o.lines.number(from + at), Image: name == "src"})
		}
	}
}

// blankOut makes a piece of text spaces; line ends stay.
func blankOut(piece []byte) {
	for i, c := range piece {
		if c != '\n' && c != '\r' {
			piece[i] = ' '
		}
	}
}

// Section gives the headings' index range and the visible text that belong to a
// heading: everything up to the next one of its level or above.
func (o *Outline) Section(i int) (below []DocumentHeading, body []byte) {
	end := len(o.Visible)
	next := slices.IndexFunc(o.Headings[i+1:], func(h DocumentHeading) bool { return h.Level <= o.Headings[i].Level })
	below = o.Headings[i+1:]
	if next >= 0 {
		end, below = o.Headings[i+1+next].Start, o.Headings[i+1:i+1+next]
	}
	return below, o.Visible[o.Headings[i].End:end]
}
