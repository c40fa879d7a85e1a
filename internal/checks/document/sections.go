package document

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	"allclear.dev/allclear/internal/checklist"
)

// changelog is a file in the form of Keep a Changelog 1.1.0
// (https://keepachangelog.com/en/1.1.0/): a heading of the second level for every
// version with its day, below it headings of the third level for the kinds of
// changes.
type changelog struct {
	sections    []*section
	definitions []checklist.DocumentDefinition
}

// section is what stands under one heading of the second level.
type section struct {
	// name is the version, or Unreleased; heading is the whole line.
	name, heading     string
	line, start, end  int
	bracketed, yanked bool
	date              time.Time
	// malformed says what is wrong with the heading.
	malformed  string
	categories []category
	// says tells that there is more than headings and definitions; text is that.
	says    bool
	text    string
	entries int
}

// category is a heading of the third level within a section.
type category struct {
	name string
	line int
	says bool
}

func (s *section) unreleased() bool { return strings.EqualFold(s.name, unreleased) }

var (
	// title takes a heading of the second level apart: [1.2.3] - 2026-11-23 [YANKED].
	title = regexp.MustCompile(`^(\[)?([^\s\[\]()]+)(\](?:\[[^\]]*\]|\([^)\s]*\))?)?\s*(.*)$`)
	// after is what may follow the version.
	after = regexp.MustCompile(`^- (\S+?)(\s+\[YANKED\])?$`)
	// number is how a version begins.
	number = regexp.MustCompile(`^v?\d`)
)

// sections takes the outline of a changelog apart.
func sections(o *checklist.Outline) *changelog {
	log := &changelog{definitions: o.Definitions}
	for i, h := range o.Headings {
		if h.Level != 2 || !h.Top {
			continue
		}
		s := &section{heading: strings.TrimSpace(h.Raw), line: h.Line, start: h.Start, end: h.End}
		s.readHeading()
		below, body := o.Section(i)
		s.text = said(body, h.End, o.Definitions)
		s.says = substance(s.text)
		from, to := h.End, h.End+len(body)
		for j, c := range below {
			if c.Level != 3 || !c.Top {
				continue
			}
			_, own := o.Section(i + 1 + j)
			s.categories = append(s.categories, category{c.Text, c.Line, substance(said(own, c.End, o.Definitions))})
		}
		for _, e := range o.Entries {
			if e.Start >= from && e.Start < to {
				s.entries++
			}
		}
		log.sections = append(log.sections, s)
	}
	return log
}

// readHeading reads the version, day and mark of a section.
func (s *section) readHeading() {
	m := title.FindStringSubmatch(s.heading)
	if m == nil {
		s.name, s.malformed = s.heading, fmt.Sprintf("%q is no version", s.heading)
		return
	}
	s.name, s.bracketed = m[2], m[1] != ""
	if (m[1] != "") != (m[3] != "") {
		s.malformed = fmt.Sprintf("the brackets of %q do not match", s.heading)
		return
	}
	if s.unreleased() {
		if m[4] != "" {
			s.malformed = fmt.Sprintf("%q: nothing follows Unreleased", s.heading)
		}
		return
	}
	rest := after.FindStringSubmatch(m[4])
	if rest == nil {
		s.malformed = fmt.Sprintf("%q: want the version, a hyphen and the day, such as [1.2.3] - 2026-11-23", s.heading)
		return
	}
	date, err := time.Parse(time.DateOnly, rest[1])
	if err != nil {
		s.malformed = fmt.Sprintf("%q: %q is no day such as 2026-11-23", s.heading, rest[1])
	}
	s.date, s.yanked = date, rest[2] != ""
}

// said is the text of a section without headings and link definitions, which show
// nothing to a reader.
func said(body []byte, at int, definitions []checklist.DocumentDefinition) string {
	text := append([]byte{}, body...)
	for _, d := range definitions {
		for i := max(d.Start, at); i < min(d.End, at+len(body)); i++ {
			if c := &text[i-at]; *c != '\n' && *c != '\r' {
				*c = ' '
			}
		}
	}
	return strings.TrimSpace(string(text))
}

// substance tells whether a text has words beside its headings that are more than
// a mark of what is to come.
func substance(text string) bool {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		words := strings.Trim(line, "-*+_=.:;,!?()[]<>`~| \t…–—")
		switch strings.ToLower(words) {
		case "", "todo", "tbd", "tba", "to do", "fixme", "xxx":
			continue
		}
		if strings.ContainsFunc(words, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r > unicode.MaxLatin1 }) {
			return true
		}
	}
	return false
}

// find gives the sections of a version; a v before the number does not count.
func (l *changelog) find(version string) (found []*section) {
	for _, s := range l.sections {
		if strings.EqualFold(bare(s.name), bare(version)) {
			found = append(found, s)
		}
	}
	return found
}

func bare(version string) string {
	if number.MatchString(version) {
		return strings.TrimPrefix(version, "v")
	}
	return version
}

// newest is the first section of a version; nil when there is none.
func (l *changelog) newest() *section {
	for _, s := range l.sections {
		if number.MatchString(s.name) {
			return s
		}
	}
	return nil
}

// link gives the definition of a label, whose case does not count.
func (l *changelog) link(label string) *checklist.DocumentDefinition {
	for i, d := range l.definitions {
		if strings.EqualFold(strings.Join(strings.Fields(d.Label), " "), label) {
			return &l.definitions[i]
		}
	}
	return nil
}

// has names what a reader finds instead.
func (l *changelog) has() string {
	if s := l.newest(); s != nil {
		return fmt.Sprintf("; its newest is %s (line %d)", s.name, s.line)
	}
	if len(l.sections) > 0 {
		return fmt.Sprintf("; its first is %q (line %d)", cut(l.sections[0].heading), l.sections[0].line)
	}
	return ": it has no heading of the second level at all"
}
