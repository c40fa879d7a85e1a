package config

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/diag"
)

const (
	// maxSize bounds the file, in bytes.
	maxSize = 1 << 20
	// maxDepth bounds how deep values may nest.
	maxDepth = 20
	// maxFlow bounds the brackets that are open at once before YAML is read at all,
	// with room for those that stand inside texts.
	maxFlow = 500
	// maxProblems bounds how many mistakes are shown.
	maxProblems = 100
)

// Parse reads the file. Without problems of the severity error the configuration
// can be used; with one it is nil.
func Parse(file string, src []byte) (*Config, diag.Problems) {
	text := source{file: file}
	node, problems := text.parse(src)
	if node == nil {
		return nil, text.finish(problems)
	}
	c, found := check.Read[Config]("allclear.yaml", node, check.Source{File: file, Lines: text.line})
	v := &validator{text: text, root: node, problems: append(problems, found...)}
	v.validate(&c)
	problems = text.finish(v.problems)
	if problems.HasErrors() {
		return nil, problems
	}
	c.complete(node, src)
	return &c, problems
}

// source is the file's text, for places and messages.
type source struct {
	file  string
	lines []string
}

func (s source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	return s.lines[n-1]
}

func (s source) whole(format string, args ...any) diag.Problem {
	return diag.Problem{Pos: diag.Pos{File: s.file}, Message: fmt.Sprintf(format, args...)}
}

// at makes a problem at a place that YAML counts: columns in characters.
func (s source) at(line, column, width int, message string) diag.Problem {
	return diag.Problem{Pos: diag.Pos{File: s.file, Line: line, Col: column}, Width: max(width, 1), Message: message, Line: s.line(line)}
}

// parse gives the file's one mapping; nil if there is none.
func (s *source) parse(src []byte) (*yaml.Node, diag.Problems) {
	if len(src) > maxSize {
		return nil, diag.Problems{s.whole("the file has %d bytes, more than %d", len(src), maxSize)}
	}
	plain := strings.ReplaceAll(strings.TrimPrefix(string(src), "\ufeff"), "\r\n", "\n")
	s.lines = strings.Split(plain, "\n")
	if problems := s.characters(); len(problems) > 0 {
		return nil, problems
	}
	if p, deep := s.brackets(); deep {
		return nil, diag.Problems{p}
	}
	decoder := yaml.NewDecoder(strings.NewReader(plain))
	var doc, second yaml.Node
	if err := decoder.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, diag.Problems{s.syntax(err)}
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		p := s.whole("the file must hold a mapping")
		p.Allowed, p.Hint = []string{"project", "checklist", "people", "roles", "policy", "environments", "notifications"}, "allclear init writes one"
		return nil, diag.Problems{p}
	}
	var problems diag.Problems
	switch err := decoder.Decode(&second); {
	case err == nil:
		problems = append(problems, s.at(second.Line, second.Column, 1, "a second document begins here: the file holds one"))
	case !errors.Is(err, io.EOF):
		return nil, diag.Problems{s.syntax(err)}
	}
	deep := false
	plainYAML(doc.Content[0], 1, func(n *yaml.Node, message string) {
		deep = deep || message == tooDeep()
		problems = append(problems, s.at(n.Line, n.Column, len(n.Value), message))
	})
	if deep {
		return nil, problems
	}
	return doc.Content[0], problems
}

// brackets refuses what would cost the YAML reader all memory.
func (s *source) brackets() (p diag.Problem, deep bool) {
	open := 0
	for i, line := range s.lines {
		for at, char := range line {
			switch char {
			case '[', '{':
				open++
			case ']', '}':
				open--
			}
			if open > maxFlow {
				p := s.at(i+1, utf8.RuneCountInString(line[:at])+1, 1, tooDeep())
				p.Line = "" // it may be as long as the file
				return p, true
			}
		}
	}
	return diag.Problem{}, false
}

// characters reports bytes that are no text, and line ends that YAML sees and
// people and editors do not.
func (s *source) characters() diag.Problems {
	var problems diag.Problems
	for i, line := range s.lines {
		for at, r := range line {
			_, size := utf8.DecodeRuneInString(line[at:])
			message := ""
			switch {
			case r == utf8.RuneError && size == 1:
				message = fmt.Sprintf("the byte 0x%02x is not UTF-8", line[at])
			case r < 0x20 && r != '\t' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r >= 0xfff0 && r <= 0xffff:
				message = fmt.Sprintf("the invisible character U+%04X is not used here", r)
			default:
				continue
			}
			problems = append(problems, s.at(i+1, utf8.RuneCountInString(line[:at])+1, 1, message))
			break
		}
	}
	return problems
}

// syntax places what the YAML reader says.
func (s *source) syntax(err error) diag.Problem {
	if at, ok := errors.AsType[*yaml.LoadError](err); ok && at.Mark.Line > 0 {
		if last := len(s.lines); at.Mark.Line > last { // the end of the file is behind its last line
			at.Mark.Line, at.Mark.Column = last, utf8.RuneCountInString(s.line(last))+1
		}
		return s.at(at.Mark.Line, at.Mark.Column, 1, "not YAML: "+at.Message)
	}
	return s.whole("not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
}

func tooDeep() string { return fmt.Sprintf("nested deeper than %d", maxDepth) }

// plainYAML reports what makes YAML more than a tree of plain values.
func plainYAML(n *yaml.Node, depth int, report func(*yaml.Node, string)) {
	switch {
	case depth > maxDepth:
		report(n, tooDeep())
		return
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		report(n, "anchors and aliases are not used here: write the value out")
		return
	case n.Tag == "!!merge":
		report(n, "merge keys are not used here: write the values out")
		return
	case strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") || n.Style&yaml.TaggedStyle != 0:
		report(n, "tags are not used here")
		return
	}
	first := map[string]int{}
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			if child.Kind != yaml.ScalarNode {
				report(child, "a key must be a plain word")
			} else if line := first[child.Value]; line > 0 {
				report(child, fmt.Sprintf("%q is given twice, first in line %d", child.Value, line))
			} else {
				first[child.Value] = child.Line
			}
		}
		plainYAML(child, depth+1, report)
	}
}

// userinfo is what stands before the host of an address, up to the last @: a
// password may hold one.
var userinfo = regexp.MustCompile(`(://)([^\s"']+)@`)

// finish turns columns from characters into bytes, keeps one problem for each
// place, and hides what may be a secret in the lines shown.
func (s source) finish(problems diag.Problems) diag.Problems {
	var out diag.Problems
	secret := map[int]bool{}
	dropped := len(problems) - maxProblems
	if dropped > 0 {
		problems = append(problems[:maxProblems:maxProblems], s.whole("and %d more mistakes", dropped))
	}
	for _, p := range problems {
		if p.Pos.Line > 0 && p.Line == "" {
			secret[p.Pos.Line] = true
		}
		if !slices.ContainsFunc(out, func(q diag.Problem) bool { return p.Pos.Line > 0 && q.Pos == p.Pos }) {
			out = append(out, p)
		}
	}
	for i := range out {
		p := &out[i]
		line := []rune(p.Line)
		if start := p.Pos.Col - 1; start > 0 && start <= len(line) {
			p.Pos.Col = len(string(line[:start])) + 1
		}
		if secret[p.Pos.Line] {
			p.Line = ""
		}
		p.Line = userinfo.ReplaceAllStringFunc(p.Line, func(found string) string {
			m := userinfo.FindStringSubmatch(found)
			return m[1] + strings.Repeat("*", utf8.RuneCountInString(m[2])) + "@"
		})
	}
	return out.Sorted()
}

// child gives the value of a key, or nil.
func child(node *yaml.Node, key string) *yaml.Node {
	if node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i+1]
		}
	}
	return nil
}
