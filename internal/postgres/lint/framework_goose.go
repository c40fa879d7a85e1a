package lint

import (
	"fmt"
	"regexp"
	"strings"

	"allclear.dev/allclear/internal/diag"
)

// goose's states between its annotations.
type gooseState int

const (
	gooseStart gooseState = iota
	gooseUp
	gooseStatement // between StatementBegin and StatementEnd
	gooseDown
	gooseDownStatement
)

// gooseFile follows a file of goose line by line, as goose v3 does
// (internal/sqlparser): a message ends with a line whose last word before a comment
// ends with a semicolon, or at StatementEnd.
type gooseFile struct {
	src     Source
	text    strings.Builder // with values put in
	values  map[string]string
	state   gooseState
	begun   int // where an unfinished message starts, or -1
	expands bool
	form    *regexp.Regexp // of variables
}

func readGoose(name, text string, values map[string]string) (Source, error) {
	g := &gooseFile{src: Source{Name: name, Text: text, OneTransaction: true, Messages: []int{}}, values: values, begun: -1,
		form: regexp.MustCompile(`\$(?:\{([A-Za-z_][A-Za-z0-9_]*)(?::?-([^}$]*))?\}|([A-Za-z_][A-Za-z0-9_]*))|\$`)}
	at := 0
	for line := range strings.Lines(text) {
		if p := g.line(at, line); p != nil {
			return Source{}, p
		}
		at += len(line)
	}
	switch {
	case g.state == gooseStart:
		return Source{}, problemAt(g.src, 0, "goose wants -- +goose Up before anything else")
	case g.state == gooseStatement || g.state == gooseDownStatement:
		return Source{}, problemAt(g.src, len(text), "goose wants -- +goose StatementEnd")
	case g.begun >= 0:
		return Source{}, g.unfinished()
	}
	g.src.Text = g.text.String()
	return g.src, nil
}

func (g *gooseFile) unfinished() *diag.Problem {
	p := problemAt(g.src, g.begun, "goose wants a semicolon at the end of a line that ends this statement")
	p.Hint = "a function's body, or anything with semicolons inside, belongs between -- +goose StatementBegin and StatementEnd"
	return p
}

func (g *gooseFile) line(at int, line string) *diag.Problem {
	word := strings.TrimSpace(line)
	if strings.HasPrefix(word, "--") && strings.Contains(word, "+goose") {
		p := g.annotation(at, line)
		g.text.WriteString(line)
		return p
	}
	if g.begun < 0 && (word == "" || strings.HasPrefix(word, "--")) {
		g.text.WriteString(line)
		return nil
	}
	if g.state == gooseStart {
		return problemAt(g.src, at, "goose wants -- +goose Up before anything else")
	}
	if g.state >= gooseDown {
		g.text.WriteString(line)
		return nil
	}
	expanded, p := g.expand(at, line)
	if p != nil {
		return p
	}
	g.text.WriteString(expanded)
	if g.begun < 0 {
		g.begun = at
	}
	if g.state == gooseUp && endsStatement(expanded) {
		g.finish()
	}
	return nil
}

func (g *gooseFile) finish() {
	g.begun = -1
	g.src.Messages = append(g.src.Messages, g.text.Len())
}

// annotation follows a line like -- +goose Up.
func (g *gooseFile) annotation(at int, line string) *diag.Problem {
	name := strings.ToUpper(strings.TrimSpace(strings.Replace(strings.ReplaceAll(line, "--", ""), "+goose", "", 1)))
	from := g.state
	switch {
	case line[0] == ' ' || line[0] == '\t':
		return problemAt(g.src, at, "goose does not take an annotation behind white space")
	case name == "UP" && from == gooseStart:
		g.state = gooseUp
	case name == "DOWN" && from == gooseUp:
		if g.begun >= 0 {
			return g.unfinished()
		}
		g.state = gooseDown
	case name == "STATEMENTBEGIN" && (from == gooseUp || from == gooseDown):
		g.state = from + 1
	case name == "STATEMENTEND" && from == gooseStatement:
		g.finish()
		g.state = gooseUp
	case name == "STATEMENTEND" && from == gooseDownStatement:
		g.state = gooseDown
	case name == "NO TRANSACTION":
		g.src.OneTransaction = false
	case name == "ENVSUB ON" || name == "ENVSUB OFF":
		g.expands = name == "ENVSUB ON"
	default:
		return problemAt(g.src, at, "goose does not take %q here", strings.TrimSpace(line))
	}
	return nil
}

// expand puts values in for variables, where goose is told to (ENVSUB ON).
func (g *gooseFile) expand(at int, line string) (string, *diag.Problem) {
	if !g.expands || !strings.Contains(line, "$") {
		return line, nil
	}
	var problem *diag.Problem
	out := replaceAll(g.form, line, func(found []int) string {
		group := func(n int) string {
			if found[2*n] < 0 {
				return ""
			}
			return line[found[2*n]:found[2*n+1]]
		}
		name := group(1) + group(3)
		value, known := g.values[name]
		switch {
		case known:
			return value
		case found[4] >= 0:
			return group(2)
		case problem == nil:
			problem = noValue(g.src, at+found[0], line[found[0]:found[1]], name)
		}
		return ""
	})
	return out, problem
}

// noValue is the problem of a placeholder that nothing is known about.
func noValue(src Source, at int, written, name string) *diag.Problem {
	p := problemAt(src, at, "there is no value for %s", written)
	p.Width = len(written)
	if name != "" {
		p.Hint = fmt.Sprintf("give one: %s=VALUE", name)
	}
	return p
}

// replaceAll replaces what a pattern finds by what a function makes of the places
// found.
func replaceAll(form *regexp.Regexp, text string, with func(found []int) string) string {
	var b strings.Builder
	last := 0
	for _, found := range form.FindAllStringSubmatchIndex(text, -1) {
		b.WriteString(text[last:found[0]] + with(found))
		last = found[1]
	}
	return b.String() + text[last:]
}

// endsStatement reports whether the last word of a line before a comment ends with
// a semicolon.
func endsStatement(line string) bool {
	last := ""
	for word := range strings.FieldsSeq(line) {
		if strings.HasPrefix(word, "--") {
			break
		}
		last = word
	}
	return strings.HasSuffix(last, ";")
}
