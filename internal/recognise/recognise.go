// Package recognise knows what items of a checklist usually mean. init uses it,
// and nothing else does: at run time nothing is guessed. It is pure: a checklist
// and what a repository shows go in, proposals come out.
package recognise

import (
	_ "embed"
	"fmt"
	"strings"

	"allclear.dev/allclear/internal/checklist"
)

//go:embed standard.md
var standardText string

// Standard is the standard checklist: 183 items, each bound to the type that
// resolves it, or left to a person.
func Standard() []byte { return []byte(standardText) }

// Proposal is a block that init would write, and why.
type Proposal struct {
	// Owner is what the block stands under: an item or a heading.
	Owner checklist.Owner
	// Item is the owner, or nil when that is a heading.
	Item *checklist.Item
	// Text is the item's or the heading's.
	Text string
	// Line is where it stands, from 1.
	Line int
	// Type resolves the item; "" under a heading.
	Type string
	// YAML is the block's content, without a line break at its end.
	YAML string
	// Because says which words or which part of the repository led to it.
	Because string
	// means is the id of the standard item whose block this is, or "".
	means string
}

// Edits gives the proposals as edits of the checklist they were made for.
func Edits(src []byte, proposals []Proposal) ([]checklist.Edit, error) {
	var edits []checklist.Edit
	for _, p := range proposals {
		edit, err := checklist.InsertBlockEdit(src, p.Owner, p.YAML)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", p.Line, err)
		}
		edits = append(edits, edit)
	}
	return edits, nil
}

// entry is a key of a block with everything below it, as written.
type entry struct{ key, text string }

// block is what a standard item is bound by, in order.
type block []entry

// standardBlocks gives the blocks of the standard checklist by the ids of its
// items, and the types that they name.
func standardBlocks() (blocks map[string]block, types map[string]string, err error) {
	list, problems := checklist.Parse("standard.md", Standard())
	if problems.HasErrors() {
		return nil, nil, problems
	}
	blocks, types = map[string]block{}, map[string]string{}
	for item := range list.Items() {
		blocks[item.ID] = entries(item.Block.Source)
		types[item.ID] = "attest"
		if item.Block.Type != nil {
			types[item.ID] = item.Block.Type.Name
		}
	}
	return blocks, types, nil
}

// entries splits YAML at the keys that are not indented.
func entries(source string) block {
	var out block
	for _, line := range strings.Split(strings.TrimRight(source, "\n"), "\n") {
		if strings.HasPrefix(line, " ") && len(out) > 0 {
			out[len(out)-1].text += "\n" + line
			continue
		}
		key, _, _ := strings.Cut(line, ":")
		out = append(out, entry{key, line})
	}
	return out
}

// with replaces an entry, or adds it at the end; an empty text removes it.
func (b block) with(key, text string) block {
	var out block
	replaced := text == ""
	for _, e := range b {
		if e.key != key {
			out = append(out, e)
			continue
		}
		if text != "" && !replaced {
			out, replaced = append(out, entry{key, text}), true
		}
	}
	if !replaced {
		out = append(out, entry{key, text})
	}
	return out
}

// value is what stands behind a key on its line, or "".
func (b block) value(key string) string {
	for _, e := range b {
		if e.key == key {
			return strings.TrimSpace(strings.TrimPrefix(e.text, key+":"))
		}
	}
	return ""
}

// text is a key's entry as written, or "".
func (b block) text(key string) string {
	for _, e := range b {
		if e.key == key {
			return e.text
		}
	}
	return ""
}

func (b block) String() string {
	var lines []string
	for _, e := range b {
		lines = append(lines, e.text)
	}
	return strings.Join(lines, "\n")
}
