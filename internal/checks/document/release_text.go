package document

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// released gives the text in which what is under Unreleased is the section of the
// version, or why that cannot be. Everything else stays byte for byte.
func (l *changelog) released(text []byte, p *entry, date string) (out []byte, miss string) {
	found := l.find(unreleased)
	switch {
	case len(found) == 0:
		return nil, "there is no section Unreleased" + l.has()
	case len(found) > 1:
		return nil, fmt.Sprintf("Unreleased stands twice (lines %d and %d)", found[0].line, found[1].line)
	case found[0].malformed != "":
		return nil, found[0].malformed
	case p.NonEmpty && !found[0].says:
		return nil, fmt.Sprintf("nothing stands under Unreleased (line %d)", found[0].line)
	}
	s := found[0]
	eol := "\n"
	if i := bytes.IndexByte(text, '\n'); i > 0 && text[i-1] == '\r' {
		eol = "\r\n"
	}
	name := p.Version
	if s.bracketed {
		name = "[" + p.Version + "]"
	}
	heading := eol + "## " + name + " - " + date + eol
	if end := s.end; end > 0 && text[end-1] != '\n' {
		heading = eol + heading
	}
	edits := []edit{{s.end, s.end, heading}}
	if s.bracketed && p.Links {
		more, miss := l.links(text, s, p.Version, eol)
		if miss != "" {
			return nil, miss
		}
		edits = append(edits, more...)
	}
	slices.SortStableFunc(edits, func(a, b edit) int { return a.from - b.from })
	return apply(text, edits), ""
}

// edit replaces a piece of the text.
type edit struct {
	from, to int
	by       string
}

// apply makes edits that are in the order of the text.
func apply(text []byte, edits []edit) []byte {
	var out []byte
	at := 0
	for _, e := range edits {
		out = append(append(out, text[at:e.from]...), e.by...)
		at = e.to
	}
	return append(out, text[at:]...)
}

// links carries the comparisons on: Unreleased is compared with the new version,
// which is compared with what Unreleased was compared with.
func (l *changelog) links(text []byte, s *section, version, eol string) ([]edit, string) {
	d := l.link(s.name)
	if d == nil {
		if len(l.definitions) == 0 {
			return nil, ""
		}
		return nil, fmt.Sprintf("[%s] has no link definition to carry on (links: false leaves them alone)", s.name)
	}
	line := string(text[d.Start:d.End])
	from, ok := compared(d.Destination)
	at := strings.LastIndex(line, "/"+from+"...")
	if !ok || at < 0 {
		return nil, fmt.Sprintf("line %d: the link of [%s] is no comparison such as https://example.com/compare/v1.0.0...HEAD (links: false leaves it alone)", d.Line, s.name)
	}
	tag := bare(version)
	if number.MatchString(from) && strings.HasPrefix(from, "v") || !number.MatchString(from) && strings.HasPrefix(version, "v") {
		tag = "v" + tag
	}
	begin := d.Start + at + 1
	old, _, _ := strings.Cut(d.Destination, "/"+from+"...")
	definition := fmt.Sprintf("[%s]: %s/%s...%s", version, old, from, tag)
	edits := []edit{{begin, begin + len(from), tag}}
	if line[len(line)-1] == '\n' {
		return append(edits, edit{d.End, d.End, definition + eol}), ""
	}
	return append(edits, edit{d.End, d.End, eol + definition}), ""
}

// compared gives the older side of a comparison's address, as GitHub, GitLab and
// Gitea write it: …/compare/OLD...NEW.
func compared(address string) (string, bool) {
	_, sides, ok := strings.Cut(address, "/compare/")
	from, to, two := strings.Cut(sides, "...")
	return from, ok && two && from != "" && to != "" && !strings.Contains(from, "/")
}
