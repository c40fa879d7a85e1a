package checklist

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/yuin/goldmark/ast"

	"allclear.dev/allclear/internal/diag"
)

// Blank is a place to fill in: a run of at least three underscores, such as in
// "Tech Lead: ____ Date: ___", or an empty list entry of a notes form.
type Blank struct {
	// Label is what stands before it: "Tech Lead", "Date", "Notes".
	Label string
	// Pos is where it stands.
	Pos diag.Pos
	// Start and End are its byte offsets. They are equal for an empty list entry.
	Start, End int
	// List tells that the blank is an empty list entry.
	List bool
	// Code tells that it stands in a fence, where text needs no escapes.
	Code bool
	// Path holds the titles of the headings above; nil for an item's own blanks.
	Path []string
}

// minBlank is the shortest run of underscores that is a field: two are emphasis.
const minBlank = 3

// blanksOf finds the blanks of a paragraph from an offset on.
func (b *builder) blanksOf(n ast.Node, from int) []Blank {
	var out []Blank
	label := ""
	for i := range n.Lines().Len() {
		line := n.Lines().At(i)
		start := max(line.Start, from)
		if start < line.Stop && bytes.Contains(b.src[start:line.Stop], []byte("___")) {
			out = b.blanksIn(out, start, line.Stop, label)
		}
		label = trailingLabel(b.src[min(start, line.Stop):line.Stop])
	}
	return out
}

// blanksIn adds the blanks between two offsets of one line. A blank without a
// label of its own takes the one at the end of the line before.
func (b *builder) blanksIn(out []Blank, from, to int, before string) []Blank {
	labelStart := from
	for i := from; i < to; {
		if b.src[i] != '_' {
			i++
			continue
		}
		end := i
		for end < to && b.src[end] == '_' {
			end++
		}
		if end-i >= minBlank && !wordBefore(b.src[from:i]) && !wordAfter(b.src[end:to]) {
			label := cleanLabel(b.src[labelStart:i])
			if label == "" && labelStart == from {
				label = before
			}
			out = append(out, Blank{Label: label, Pos: b.list.PosAt(i), Start: i, End: end})
			labelStart = end
		}
		i = end
	}
	return out
}

// wordBefore and wordAfter tell emphasis from a field: ___bold___ touches words.
func wordBefore(text []byte) bool {
	r, _ := utf8.DecodeLastRune(text)
	return r == '\\' || unicode.IsLetter(r) || unicode.IsNumber(r)
}

func wordAfter(text []byte) bool {
	r, _ := utf8.DecodeRune(text)
	return len(text) > 0 && (unicode.IsLetter(r) || unicode.IsNumber(r))
}

// cleanLabel takes Markdown and punctuation off the ends of a label.
func cleanLabel(text []byte) string {
	return strings.Trim(string(text), " \t*`|:：-–—,;()")
}

// trailingLabel gives the label that ends a line with a colon, or "".
func trailingLabel(line []byte) string {
	text := bytes.TrimRight(line, " \t\r\n*")
	if !bytes.HasSuffix(text, []byte(":")) && !bytes.HasSuffix(text, []byte("：")) {
		return ""
	}
	return cleanLabel(text)
}

// isForm reports whether a fence of this language is a form to fill in.
func isForm(language string) bool {
	switch strings.ToLower(language) {
	case "", "text", "txt", "markdown", "md", "plain", "plaintext":
		return true
	}
	return false
}

// formBlanks finds the blanks of a form in a fence: underscores, and the empty
// list entries below a label.
func (b *builder) formBlanks(f fence) {
	label := ""
	path := b.headingPath()
	for _, line := range f.lines {
		at := len(b.list.Blanks)
		end := line.start + len(line.text) - line.padding
		text := strings.TrimSpace(line.text)
		switch {
		case text == "-" || text == "*" || text == "+":
			b.list.Blanks = append(b.list.Blanks, Blank{
				Label: label, Pos: b.list.PosAt(end), Start: end, End: end, List: true,
			})
		case strings.Contains(text, "___"):
			b.list.Blanks = b.blanksIn(b.list.Blanks, line.start, end, label)
			label = ""
		case text != "" && !strings.HasPrefix(text, "- "):
			label = trailingLabel([]byte(text))
		}
		for i := at; i < len(b.list.Blanks); i++ {
			b.list.Blanks[i].Code, b.list.Blanks[i].Path = true, path
		}
	}
}
