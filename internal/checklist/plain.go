package checklist

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/util"
)

// plain gives the text of a block without inline Markdown, on one line.
func plain(n ast.Node, src []byte) string {
	var b strings.Builder
	b.Grow(extent(n))
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		writePlain(&b, c, src)
	}
	return oneLine(b.String())
}

// oneLine makes every run of white space a single space. Most texts have none
// and are returned as they are.
func oneLine(text string) string {
	text = strings.TrimSpace(text)
	for i := range len(text) {
		switch c := text[i]; {
		case c == ' ' && text[i+1] == ' ', c < ' ', c >= utf8.RuneSelf:
			return strings.Join(strings.Fields(text), " ")
		}
	}
	return text
}

// writePlain recurses as deep as inline Markdown nests, which maxInline bounds.
func writePlain(b *strings.Builder, n ast.Node, src []byte) {
	switch n := n.(type) {
	case *ast.Text:
		writeText(b, n.Segment.Value(src), n.IsRaw())
		if n.SoftLineBreak() || n.HardLineBreak() {
			b.WriteByte(' ')
		}
	case *ast.String:
		b.Write(n.Value)
	case *ast.AutoLink:
		b.Write(n.Label(src))
	case *ast.RawHTML:
		writeTag(b, n, src)
	case *ast.CodeSpan:
		for c := n.FirstChild(); c != nil; c = c.NextSibling() {
			if t, ok := c.(*ast.Text); ok {
				b.Write(t.Segment.Value(src))
			}
		}
	default:
		for c := n.FirstChild(); c != nil; c = c.NextSibling() {
			writePlain(b, c, src)
		}
	}
}

func writeText(b *strings.Builder, value []byte, raw bool) {
	if raw || !bytes.ContainsAny(value, `\&`) {
		b.Write(value)
		return
	}
	value = util.ResolveNumericReferences(util.ResolveEntityNames(util.UnescapePunctuations(value)))
	b.Write(value)
}

// writeTag drops comments and HTML tags. What is no HTML, such as <version>, is
// a placeholder that belongs to the text.
func writeTag(b *strings.Builder, n *ast.RawHTML, src []byte) {
	tag := string(n.Segments.Value(src))
	name := strings.ToLower(strings.TrimLeft(tag, "</"))
	if end := strings.IndexAny(name, " \t\r\n/>"); end >= 0 {
		name = name[:end]
	}
	switch {
	case name == "br":
		b.WriteByte(' ')
	case strings.HasPrefix(tag, "<!"), strings.HasPrefix(tag, "<?"), slices.Contains(inlineTags(), name):
	default:
		b.WriteString(tag)
	}
}

// inlineTags are the HTML elements that occur inside a line of Markdown.
func inlineTags() []string {
	return []string{"a", "abbr", "b", "bdi", "bdo", "big", "center", "cite", "code", "del", "details", "dfn", "div",
		"em", "font", "i", "img", "input", "ins", "kbd", "label", "mark", "p", "picture", "q", "s", "samp", "small",
		"source", "span", "strike", "strong", "sub", "summary", "sup", "time", "tt", "u", "var", "wbr"}
}
