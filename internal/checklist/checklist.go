// Package checklist reads a Markdown checklist into phases, sections and items
// with exact positions, reads the blocks that bind them, and edits the file
// without touching any other byte. It is pure: bytes in, values out.
package checklist

import (
	"iter"

	"allclear.dev/allclear/internal/diag"
)

// Checklist is one file, understood.
type Checklist struct {
	// File is the name under which problems are reported.
	File string
	// Source is the file as given; positions and offsets refer to it. Nobody may
	// change it.
	Source []byte
	// Title is the text of the first level-1 heading, or "".
	Title string
	// Pos is where the title stands.
	Pos diag.Pos
	// Block stands under the title and holds for the whole document.
	Block *Block
	// Phases are in document order; a phase may have no items.
	Phases []*Phase
	// Blanks are the fields to fill in that stand outside items, such as those of
	// a notes form.
	Blanks []Blank
	// Ignored are boxes that are not items, with the reason.
	Ignored []Ignored

	lines lineIndex
	byID  map[string]*Item
	// after is the offset behind the title's line; a heading without one is 0.
	after int
}

// Phase is a level-2 heading and what stands below it. A file without level-2
// headings has one phase without a title, or one per level-1 heading when there
// are several of those.
type Phase struct {
	// Title is the heading's plain text; "" when the phase has no heading.
	Title string
	// ID is the slug of the title, unique among phases.
	ID string
	// Pos is the heading, or the first item of a phase without one.
	Pos diag.Pos
	// Block stands under the heading, or is nil.
	Block *Block
	// Sections are in document order. Items directly under the phase are in a
	// first section without a title.
	Sections []*Section

	after int
}

// Section is a level-3 heading and the items below it.
type Section struct {
	// Title is the heading's plain text; "" for items directly under the phase.
	Title string
	// ID is the phase's id, a dot and the slug of the title, unique in the file.
	// A section without a title has the id of its phase.
	ID string
	// Pos is the heading, or the first item of a section without one.
	Pos diag.Pos
	// Block stands under the heading, or is nil.
	Block *Block
	// Items are all items of the section in document order, nested ones after
	// their parent.
	Items []*Item
	// Code holds the fences that belong to no item.
	Code []CodeBlock

	after int
}

// Item is one box of a list.
type Item struct {
	// ID is the block's id: when there is one, otherwise it is made from the
	// heading path, the parents and the text, with an ordinal for repeats.
	ID string
	// ExplicitID tells that the id is written in the file and survives rewording.
	ExplicitID bool
	// Text is the item's first paragraph without Markdown, on one line.
	Text string
	// Raw is the same paragraph as written, its lines joined by a line feed.
	Raw string
	// Path holds the titles of the headings above, outermost first, without the
	// document's title.
	Path []string
	// Pos is the opening bracket of the box.
	Pos diag.Pos
	// Box is the byte offset of the character between the brackets.
	Box int
	// Ticked tells whether that character is an x.
	Ticked bool
	// Depth is the number of items this one is nested in.
	Depth int
	// Parent is the item this one is nested in, or nil.
	Parent *Item
	// Children are the items nested directly in this one.
	Children []*Item
	// Group tells that there are children.
	Group bool
	// Block binds the item, or is nil.
	Block *Block
	// Code holds the item's other fences.
	Code []CodeBlock
	// Blanks are the fields to fill in of the item's text.
	Blanks []Blank

	// textEnd is the offset behind the text's last line.
	textEnd int
	// lead is what a line must begin with to belong to the item.
	lead   string
	idPath string
}

// CodeBlock is an ordinary fence.
type CodeBlock struct {
	// Language is the first word of the fence's info string, or "".
	Language string
	// Text is what stands between the fences, without their indentation.
	Text string
	// Pos is the opening fence.
	Pos diag.Pos
}

// Ignored is a box that is no item.
type Ignored struct {
	// Pos is the box.
	Pos diag.Pos
	// Text is the source line from the box on.
	Text string
	// Reason says why it is no item, such as "in a code fence".
	Reason string
}

// Items yields every item in document order.
func (c *Checklist) Items() iter.Seq[*Item] {
	return func(yield func(*Item) bool) {
		for _, p := range c.Phases {
			for _, s := range p.Sections {
				for _, item := range s.Items {
					if !yield(item) {
						return
					}
				}
			}
		}
	}
}

// Item finds an item by its id, or gives nil.
func (c *Checklist) Item(id string) *Item { return c.byID[id] }

// PosAt gives the position of a byte offset of Source.
func (c *Checklist) PosAt(offset int) diag.Pos { return c.lines.pos(c.File, offset) }

// Line gives the text of a line (counted from 1) without its line end.
func (c *Checklist) Line(number int) string { return c.lines.text(number) }
