package checklist

import (
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

const (
	// maxNesting bounds lists, list entries and quotations inside each other.
	// Markdown's cost grows with it, and real checklists nest twice.
	maxNesting = 24
	// maxInline bounds the paragraphs whose inline Markdown is read: some inline
	// rules are quadratic in the length of a paragraph.
	maxInline = 2 << 10
	// maxReferences bounds the paragraphs that are searched for link definitions,
	// which takes quadratic time too.
	maxReferences = 16 << 10
)

// markdown is a parser for one file. Tables stay paragraphs, because a table may
// blow up to rows × columns; only headings and box paragraphs are read inline.
type markdown struct {
	parser parser.Parser
	// tooDeep is the offset of the first container beyond maxNesting, or -1.
	tooDeep int
	// asked is the last block whose inline Markdown was wanted or not, which is
	// asked again for each of its special characters.
	asked  ast.Node
	wanted bool
}

func newMarkdown() *markdown {
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
			util.Prioritized(boxParser{}, 0),
			util.Prioritized(boundedInline{parser.NewCodeSpanParser(), m}, 100),
			util.Prioritized(boundedInline{parser.NewLinkParser(), m}, 200),
			util.Prioritized(boundedInline{parser.NewAutoLinkParser(), m}, 300),
			util.Prioritized(boundedInline{parser.NewRawHTMLParser(), m}, 400),
			util.Prioritized(boundedInline{parser.NewEmphasisParser(), m}, 500),
			util.Prioritized(boundedInline{extension.NewStrikethroughParser(), m}, 500),
		),
		parser.WithParagraphTransformers(
			util.Prioritized(boundedReferences{parser.LinkReferenceParagraphTransformer}, 100),
		),
	)
	return m
}

func (m *markdown) parse(src []byte) ast.Node { return m.parser.Parse(text.NewReader(src)) }

// refuse remembers the first container that nests too deeply.
func (m *markdown) refuse(offset int) (ast.Node, parser.State) {
	if m.tooDeep < 0 {
		m.tooDeep = offset
	}
	return nil, parser.NoChildren
}

func nestedTooDeep(n ast.Node) bool {
	for depth := 0; n != nil; n = n.Parent() {
		if depth++; depth > maxNesting {
			return true
		}
	}
	return false
}

type boundedList struct {
	parser.BlockParser
	md *markdown
}

// Open starts a list, unless it would nest too deeply.
func (p boundedList) Open(parent ast.Node, r text.Reader, pc parser.Context) (ast.Node, parser.State) {
	node, state := p.BlockParser.Open(parent, r, pc)
	if node != nil && nestedTooDeep(parent) {
		_, segment := r.PeekLine()
		return p.md.refuse(segment.Start)
	}
	return node, state
}

type boundedQuote struct {
	parser.BlockParser
	md *markdown
}

// Open starts a quotation, unless it would nest too deeply. The test comes first
// because the parser below moves the reader.
func (p boundedQuote) Open(parent ast.Node, r text.Reader, pc parser.Context) (ast.Node, parser.State) {
	if nestedTooDeep(parent) {
		_, segment := r.PeekLine()
		return p.md.refuse(segment.Start)
	}
	return p.BlockParser.Open(parent, r, pc)
}

// boundedInline reads inline Markdown only where its text is needed.
type boundedInline struct {
	parser.InlineParser
	md *markdown
}

// Parse reads one inline element.
func (p boundedInline) Parse(parent ast.Node, block text.Reader, pc parser.Context) ast.Node {
	if p.md.asked != parent {
		p.md.asked, p.md.wanted = parent, readInline(parent, block.Source())
	}
	if !p.md.wanted {
		return nil
	}
	return p.InlineParser.Parse(parent, block, pc)
}

// CloseBlock ends a paragraph for the parsers that keep state.
func (p boundedInline) CloseBlock(parent ast.Node, block text.Reader, pc parser.Context) {
	if closer, ok := p.InlineParser.(parser.CloseBlocker); ok {
		closer.CloseBlock(parent, block, pc)
	}
}

// boundedReferences takes link definitions out of paragraphs of ordinary length.
type boundedReferences struct{ parser.ParagraphTransformer }

// Transform reads the link definitions of one paragraph.
func (p boundedReferences) Transform(n *ast.Paragraph, r text.Reader, pc parser.Context) {
	if extent(n) <= maxReferences {
		p.ParagraphTransformer.Transform(n, r, pc)
	}
}

// extent is how many bytes of the file the lines of a block span.
func extent(n ast.Node) int {
	count := n.Lines().Len()
	if count == 0 {
		return 0
	}
	return n.Lines().At(count-1).Stop - n.Lines().At(0).Start
}

func readInline(n ast.Node, src []byte) bool {
	if n.Lines().Len() == 0 || extent(n) > maxInline {
		return false
	}
	return n.Kind() == ast.KindHeading || isBoxParagraph(n, src)
}

// isBoxParagraph reports whether a block is the first one of a list entry and
// begins with a box.
func isBoxParagraph(n ast.Node, src []byte) bool {
	if n.Kind() != ast.KindTextBlock && n.Kind() != ast.KindParagraph {
		return false
	}
	parent := n.Parent()
	if parent == nil || parent.Kind() != ast.KindListItem || parent.FirstChild() != n || n.Lines().Len() == 0 {
		return false
	}
	first := n.Lines().At(0)
	return isBox(src[first.Start:first.Stop])
}

// isBox reports whether a line begins with [ ], [x] or [X] and a blank; anything
// else after the bracket makes it a link, a reference or plain text.
func isBox(line []byte) bool {
	if len(line) < 3 || line[0] != '[' || line[2] != ']' {
		return false
	}
	switch line[1] {
	case ' ', 'x', 'X':
	default:
		return false
	}
	return len(line) == 3 || line[3] == ' ' || line[3] == '\t' || line[3] == '\r' || line[3] == '\n'
}

// boxParser takes the box of a list entry before a link could begin there.
type boxParser struct{}

// Trigger names the byte a box begins with.
func (boxParser) Trigger() []byte { return []byte{'['} }

// Parse reads a box at the very beginning of a list entry.
func (boxParser) Parse(parent ast.Node, block text.Reader, _ parser.Context) ast.Node {
	if parent.HasChildren() || !isBoxParagraph(parent, block.Source()) {
		return nil
	}
	line, _ := block.PeekLine()
	block.Advance(min(4, len(line)))
	return extast.NewTaskCheckBox(line[1] != ' ')
}
