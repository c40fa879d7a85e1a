package checklist

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"allclear.dev/allclear/internal/diag"
)

const (
	// maxBlock is the largest block, in bytes of YAML.
	maxBlock = 1 << 20
	// maxYAMLNesting is how deep mappings and lists of a block may nest.
	maxYAMLNesting = 20
	// maxFlow bounds the brackets that are open at once before YAML is read at all,
	// with room for those that stand inside texts.
	maxFlow = 500
)

// blockReader reads one block; its positions are those of the Markdown file.
type blockReader struct {
	b *builder
	f fence
	// failed tells that there was a problem, unreadable that the values cannot
	// be used.
	failed, unreadable bool
}

// readBlock reads a block's YAML and settings. It gives nil when there is nothing
// to keep; every problem is reported.
func (b *builder) readBlock(f fence, o owner) *Block {
	r := &blockReader{b: b, f: f}
	text := f.text()
	if !r.readable(text) {
		return nil
	}
	node := r.load(text)
	if node == nil {
		return nil
	}
	r.shift(node)
	if r.strict(node, 1); r.unreadable {
		return nil
	}
	block := &Block{Node: node, Pos: b.list.PosAt(f.open), Start: f.open, End: f.end, Source: text}
	d := &settingsDecoder{b: b, owner: o, block: block}
	d.decode()
	return block
}

// add reports a problem of the block at a place of the Markdown file.
func (r *blockReader) add(line, col, width int, format string, args ...any) *diag.Problem {
	r.failed = true
	return r.b.report(diag.Problem{
		Pos: diag.Pos{File: r.b.list.File, Line: line, Col: col}, Width: width, Message: fmt.Sprintf(format, args...),
	})
}

// fail reports a problem of the block as a whole, at its opening fence.
func (r *blockReader) fail(format string, args ...any) *diag.Problem {
	r.failed = true
	return r.b.problem(r.f.open, len(r.b.firstLine(r.f.open)), format, args...)
}

// readable refuses what YAML would read without saying where it is wrong, or
// would count as a line end where Markdown sees none.
func (r *blockReader) readable(text string) bool {
	switch {
	case len(text) > maxBlock:
		r.fail("block has %d bytes; it may have %d", len(text), maxBlock)
	case strings.TrimSpace(text) == "":
		r.fail("empty block").Hint = "remove it, or name a type: without a block a person attests"
	}
	open := 0
	for i, line := range r.f.lines {
		for at, char := range line.text {
			switch {
			case char == '[' || char == '{':
				open++
			case char == ']' || char == '}':
				open--
			case char == utf8.RuneError, char < ' ' && char != '\t', char >= 0x7f && char < 0xa0,
				char == 0x2028, char == 0x2029, char == 0xfeff:
				place := r.place(i+1, at)
				r.add(place.Line, place.Col, 1, "block contains the character U+%04X", char)
			}
			if r.failed {
				return false
			}
			if open > maxFlow {
				place := r.place(i+1, at)
				r.add(place.Line, place.Col, 1, "nested deeper than %d", maxYAMLNesting)
				return false
			}
		}
	}
	return !r.failed
}

// place gives the position in the Markdown file of a byte of a YAML line.
func (r *blockReader) place(line, byteIndex int) diag.Pos {
	if len(r.f.lines) == 0 {
		return r.b.list.PosAt(r.f.open)
	}
	at := r.f.lines[min(max(line, 1), len(r.f.lines))-1]
	if line > len(r.f.lines) {
		byteIndex = len(at.text)
	}
	return r.b.list.PosAt(at.start + max(byteIndex-at.padding, 0))
}

// mark gives the position of a YAML line and column; YAML counts characters.
func (r *blockReader) mark(line, col int) diag.Pos {
	if line < 1 || line > len(r.f.lines) {
		return r.place(line, 0)
	}
	text, index := r.f.lines[line-1].text, 0
	for range col - 1 {
		_, size := utf8.DecodeRuneInString(text[index:])
		index += size
	}
	return r.place(line, index)
}

// load reads the YAML into the mapping that it must be.
func (r *blockReader) load(text string) *yaml.Node {
	var doc yaml.Node
	err := yaml.Load([]byte(text), &doc)
	if err != nil {
		r.syntax(err)
		return nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		r.fail("empty block")
		return nil
	}
	node := doc.Content[0]
	if node.Kind != yaml.MappingNode {
		place := r.mark(node.Line, node.Column)
		r.add(place.Line, place.Col, max(len(node.Value), 1), "a block is a mapping of keys, got %s", nodeWord(node)).
			Hint = "write key: value"
		return nil
	}
	return node
}

// syntax reports what YAML could not read, where it could not.
func (r *blockReader) syntax(err error) {
	var at *yaml.LoadError
	if !errors.As(err, &at) {
		r.fail("not valid YAML: %v", err)
		return
	}
	if strings.Contains(at.Message, "no documents") {
		r.fail("empty block").Hint = "remove it, or name a type: without a block a person attests"
		return
	}
	if strings.Contains(at.Message, "found multiple") {
		for i, line := range r.f.lines {
			if i > 0 && strings.HasPrefix(line.text, "---") {
				place := r.place(i+1, 0)
				r.add(place.Line, place.Col, 3, "a block is one YAML document, got several")
				return
			}
		}
	}
	if at.Mark.Line == 0 {
		r.fail("not valid YAML: %s", at.Message)
		return
	}
	place := r.mark(at.Mark.Line, at.Mark.Column)
	p := r.add(place.Line, place.Col, 1, "not valid YAML: %s", at.Message)
	p.Hint = r.syntaxHint(at, p.Line, place.Col)
}

// syntaxHint says in plain words what the commonest mistakes are.
func (r *blockReader) syntaxHint(at *yaml.LoadError, line string, col int) string {
	found := byte(0)
	if col >= 1 && col <= len(line) {
		found = line[col-1]
	}
	switch {
	case found == '\t':
		return "indent with spaces; YAML allows no tab there"
	case strings.Contains(at.Message, "mapping values are not allowed"):
		return "quote a text that contains a colon and a space"
	case found == '@' || found == '`' || found == '%':
		return fmt.Sprintf("quote a text that begins with %c", found)
	case at.ContextMark.Line > 0 && at.ContextMark.Line <= len(r.f.lines) && strings.Contains(at.ContextMsg, "quoted"):
		return fmt.Sprintf("the quotation began on line %d", r.mark(at.ContextMark.Line, 1).Line)
	case at.ContextMark.Line > 0 && strings.Contains(at.ContextMsg, "flow"):
		return fmt.Sprintf("the bracket was opened on line %d", r.mark(at.ContextMark.Line, 1).Line)
	}
	return ""
}

// shift moves every node to its place in the Markdown file. The tree is as deep
// as maxFlow and the block's indentation allow.
func (r *blockReader) shift(n *yaml.Node) {
	place := r.mark(n.Line, n.Column)
	n.Line, n.Column = place.Line, place.Col
	for _, c := range n.Content {
		r.shift(c)
	}
}

// strict reports what YAML allows and a block does not: each hides what a reader
// sees. Tags change types, aliases copy from elsewhere, the last of two equal
// keys would win.
func (r *blockReader) strict(n *yaml.Node, depth int) {
	if depth > maxYAMLNesting {
		r.add(n.Line, n.Column, 1, "nested deeper than %d", maxYAMLNesting)
		r.unreadable = true
		return
	}
	switch {
	case n.Kind == yaml.AliasNode:
		r.unreadable = true
		r.add(n.Line, n.Column, len(n.Value)+1, "YAML alias *%s is not allowed", n.Value).Hint = "write the value out"
		return
	case n.Anchor != "":
		r.add(n.Line, n.Column, len(n.Anchor)+1, "YAML anchor &%s is not allowed", n.Anchor).Hint = "write the value out"
	}
	if tag := r.tag(n); tag != "" {
		r.add(n.Line, n.Column, len(tag), "YAML tag %s is not allowed", tag).Hint = "quote the value if it is a text"
	}
	if n.Kind != yaml.MappingNode {
		for _, c := range n.Content {
			r.strict(c, depth+1)
		}
		return
	}
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if r.key(key) {
			if first, twice := seen[key.Value]; twice {
				r.add(key.Line, key.Column, width(key), "key %q is given twice; the first is on line %d", key.Value, first.Line)
			}
			seen[key.Value] = key
		}
		r.strict(n.Content[i+1], depth+1)
	}
}

// key reports whether a mapping key is a plain text.
func (r *blockReader) key(n *yaml.Node) bool {
	switch {
	case n.Kind != yaml.ScalarNode:
		r.add(n.Line, n.Column, 1, "a key is a text, got %s", nodeWord(n))
		return false
	case n.Tag == "!!merge":
		r.add(n.Line, n.Column, 2, "YAML merge key << is not allowed").Hint = "write the values out"
		return false
	case n.Anchor != "" || r.tag(n) != "":
		r.strict(n, 1)
		return false
	case n.Value == "":
		r.add(n.Line, n.Column, 1, "a key has no name")
		return false
	}
	return true
}

// tag gives the tag that is written at a node, or "".
func (r *blockReader) tag(n *yaml.Node) string {
	if n.Style&yaml.TaggedStyle != 0 {
		return n.Tag
	}
	if line := r.b.lines.text(n.Line); n.Column <= len(line) && line[n.Column-1] == '!' {
		word, _, _ := strings.Cut(line[n.Column-1:], " ")
		return word
	}
	return ""
}

// width is how many bytes of its first line a scalar takes, near enough.
func width(n *yaml.Node) int {
	switch {
	case n.Kind != yaml.ScalarNode:
		return 1
	case n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		return len(n.Value) + 2
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return 1
	}
	return max(len(n.Value), 1)
}

func nodeWord(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	return fmt.Sprintf("%q", n.Value)
}
