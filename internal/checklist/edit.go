package checklist

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Edit replaces the bytes from Start to End by Text.
type Edit struct {
	Start, End int
	Text       string
}

// Apply makes edits of one source and returns the new source. Every byte outside
// the edits stays. Edits may be in any order; they may not overlap or reach
// beyond the source.
func Apply(src []byte, edits ...Edit) ([]byte, error) {
	sorted := slices.Clone(edits)
	slices.SortStableFunc(sorted, func(a, b Edit) int { return a.Start - b.Start })
	size, at := len(src), 0
	for _, e := range sorted {
		if e.Start < at || e.End < e.Start || e.End > len(src) {
			return nil, fmt.Errorf("edit bytes %d to %d: outside the source or overlapping", e.Start, e.End)
		}
		size, at = size+len(e.Text)-(e.End-e.Start), e.End
	}
	out := make([]byte, 0, size)
	at = 0
	for _, e := range sorted {
		out = append(out, src[at:e.Start]...)
		out = append(out, e.Text...)
		at = e.End
	}
	return append(out, src[at:]...), nil
}

// Tick gives the source with the item's box ticked or not: at most one byte
// differs. The item must come from this source; when there is no box at its
// place, the source is returned as it is.
func Tick(src []byte, item *Item, ticked bool) []byte {
	out := bytes.Clone(src)
	at := item.Box
	if at < 1 || at+1 >= len(src) || src[at-1] != '[' || src[at+1] != ']' {
		return out
	}
	switch {
	case !ticked:
		out[at] = ' '
	case src[at] != 'x' && src[at] != 'X':
		out[at] = 'x'
	}
	return out
}

// Owner is what a block can stand under: a *Checklist (its title), a *Phase, a
// *Section or an *Item.
type Owner interface {
	slot() slot
}

// slot is where a block goes.
type slot struct {
	// after is the offset behind the line that the block follows; 0 when there is
	// no heading.
	after int
	// like is the offset of what the block is indented like, or -1.
	like int
	// lead is that indentation in spaces, as Markdown measures it.
	lead string
	// block is the one that is there, or nil.
	block *Block
}

func (c *Checklist) slot() slot { return slot{c.after, -1, "", c.Block} }
func (p *Phase) slot() slot     { return slot{p.after, -1, "", p.Block} }
func (s *Section) slot() slot   { return slot{s.after, -1, "", s.Block} }
func (i *Item) slot() slot      { return slot{i.textEnd, i.Box - 1, i.lead, i.Block} }

// InsertBlock puts a block with the given YAML under an item, right below its
// text, or under a heading. The block is indented like the item's text and uses
// the line ends of the file. The owner must come from src.
func InsertBlock(src []byte, owner Owner, yamlText string) ([]byte, error) {
	edit, err := InsertBlockEdit(src, owner, yamlText)
	if err != nil {
		return nil, err
	}
	return Apply(src, edit)
}

// InsertBlockEdit is InsertBlock as an edit, for several at once.
func InsertBlockEdit(src []byte, owner Owner, yamlText string) (Edit, error) {
	at := owner.slot()
	switch {
	case at.block != nil:
		return Edit{}, fmt.Errorf("insert block: there is one on line %d", at.block.Pos.Line)
	case at.after <= 0:
		return Edit{}, errors.New("insert block: there is no heading to put it under")
	case at.after > len(src) || at.like >= at.after:
		return Edit{}, errors.New("insert block: not of this source")
	}
	prefix := at.lead
	if at.like >= 0 && !strings.Contains(prefix, ">") {
		if same := continuationOf(src, at.like); columns(same) == len(prefix) {
			prefix = same
		}
	}
	lines, err := blockLines(yamlText)
	if err != nil {
		return Edit{}, fmt.Errorf("insert block: %w", err)
	}
	end := lineEndAt(src, at.after)
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(end)
		b.WriteString(strings.TrimRight(prefix+line, " \t"))
	}
	return Edit{Start: at.after, End: at.after, Text: b.String()}, nil
}

// ReplaceBlock puts other YAML into a block that is there. The block must come
// from src.
func ReplaceBlock(src []byte, block *Block, yamlText string) ([]byte, error) {
	if block.Start < 0 || block.End > len(src) || block.Start >= block.End {
		return nil, errors.New("replace block: not of this source")
	}
	lines, err := blockLines(yamlText)
	if err != nil {
		return nil, fmt.Errorf("replace block: %w", err)
	}
	prefix, end := continuationOf(src, block.Start), lineEndAt(src, block.Start)
	var b strings.Builder
	for i, line := range lines {
		if i > 0 {
			b.WriteString(end)
			line = strings.TrimRight(prefix+line, " \t")
		}
		b.WriteString(line)
	}
	return Apply(src, Edit{Start: block.Start, End: block.End, Text: b.String()})
}

// blockLines gives the lines of a block: its fences and the YAML between. The
// fences are longer than any in the YAML.
func blockLines(yamlText string) ([]string, error) {
	if strings.TrimSpace(yamlText) == "" {
		return nil, errors.New("the block would be empty")
	}
	text := strings.ReplaceAll(strings.TrimRight(yamlText, "\r\n"), "\r\n", "\n")
	if strings.ContainsRune(text, '\r') {
		return nil, errors.New("the block has a lone carriage return")
	}
	lines := strings.Split(text, "\n")
	width := 3
	for _, line := range lines {
		line = strings.TrimLeft(line, " \t")
		width = max(width, len(line)-len(strings.TrimLeft(line, "`"))+1)
	}
	marks := strings.Repeat("`", width)
	return slices.Concat([]string{marks + infoWords}, lines, []string{marks}), nil
}

// continuationOf gives what a line must begin with to belong to what stands at an
// offset: quotation marks stay, list markers become spaces. Tabs stay at the
// beginning only; behind a marker they become the spaces they stand for, because
// Markdown measures them from the marker.
func continuationOf(src []byte, offset int) string {
	start := bytes.LastIndexByte(src[:offset], '\n') + 1
	if start == 0 && bytes.HasPrefix(src, []byte(byteOrderMark)) {
		start = len(byteOrderMark)
	}
	var b strings.Builder
	leading := true
	for i := start; i < offset; i++ {
		switch c := src[i]; {
		case c == '\t' && leading:
			b.WriteByte('\t')
			continue
		case c == '\t':
			width := columns(string(src[start : i+1]))
			for columns(b.String()) < width {
				b.WriteByte(' ')
			}
		case c == '>':
			b.WriteByte('>')
			// The space that may follow belongs to the quotation.
			if i+1 < offset && src[i+1] != ' ' && src[i+1] != '\t' {
				b.WriteByte(' ')
			}
		default:
			b.WriteByte(' ')
		}
		leading = false
	}
	return b.String()
}

// columns is the width of an indentation; a tab ends at the next multiple of 4.
func columns(indent string) int {
	n := 0
	for _, r := range indent {
		if r == '\t' {
			n += 4 - n%4
		} else {
			n++
		}
	}
	return n
}

// lineEndAt gives the line end used at an offset, or that of the first line when
// the line at the offset is the last.
func lineEndAt(src []byte, offset int) string {
	i := bytes.IndexByte(src[offset:], '\n')
	if i >= 0 {
		i += offset
	} else {
		i = bytes.IndexByte(src, '\n')
	}
	if i > 0 && src[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// Fill puts text into a blank. Outside of fences the text is escaped, so that it
// shows as given and changes no structure. Line ends are refused.
func Fill(src []byte, blank Blank, text string) ([]byte, error) {
	edit, err := FillEdit(src, blank, text)
	if err != nil {
		return nil, err
	}
	return Apply(src, edit)
}

// FillEdit is Fill as an edit, for several at once.
func FillEdit(src []byte, blank Blank, text string) (Edit, error) {
	if blank.Start < 0 || blank.Start > blank.End || blank.End > len(src) {
		return Edit{}, errors.New("fill blank: not of this source")
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 }) {
		return Edit{}, errors.New("fill blank: the text must be one line without control characters")
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return Edit{}, errors.New("fill blank: the text is empty")
	}
	first := strings.Trim(string(src[bytes.LastIndexByte(src[:blank.Start], '\n')+1:blank.Start]), " \t>-*+") == ""
	switch {
	case blank.Code && first && (strings.HasPrefix(text, "```") || strings.HasPrefix(text, "~~~")):
		return Edit{}, errors.New("fill blank: the text would end the form's fence")
	case !blank.Code:
		text = escape(text, first)
	}
	if blank.List && blank.Start > 0 && src[blank.Start-1] != ' ' && src[blank.Start-1] != '\t' {
		text = " " + text
	}
	return Edit{Start: blank.Start, End: blank.End, Text: text}, nil
}

// escape keeps Markdown from reading a text as anything but text. At the
// beginning of a line more characters begin something.
func escape(text string, first bool) string {
	var b strings.Builder
	digits := first
	for i, r := range text {
		switch {
		case strings.ContainsRune("\\`*_[]<>&~|", r),
			first && i == 0 && strings.ContainsRune("#+-=", r),
			digits && i > 0 && (r == '.' || r == ')'):
			b.WriteByte('\\')
		}
		digits = digits && r >= '0' && r <= '9'
		b.WriteRune(r)
	}
	return b.String()
}
