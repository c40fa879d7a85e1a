package lint

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/wasilibs/go-pgquery/parser"

	"allclear.dev/allclear/internal/diag"
)

// maxSource bounds a file of SQL, in bytes.
const maxSource = 16 << 20

// Source is a file of SQL.
type Source struct {
	Name, Text string
	// OneTransaction tells that a tool runs it as one transaction.
	OneTransaction bool
	// Messages are the ends, in bytes, of what a tool sends to the server as one message
	// each; several statements of a message are one transaction, and what comes after
	// the last end is not sent. Nil means that each statement is a message.
	Messages []int
	// Unseen are the places where something happens that the text does not show.
	Unseen []Unseen
}

// Unseen is a place of a source where a tool does something that cannot be read.
type Unseen struct {
	// At is the place, in bytes; What says what is there, Instead how to show it.
	At            int
	What, Instead string
}

// parsed is a statement of a source: where it is and what the grammar made of it.
type parsed struct {
	// start and end are byte offsets; comments before it belong to it from lead on.
	lead, start, end int
	// origin is where the text that the parser was given begins: the nodes' places
	// count from there.
	origin int
	node   node
	// message numbers the message that it is sent in from 1, together tells that there
	// are others in it; 0 means a message of its own.
	message  int
	together bool
	// unseen is what happens here, if it is no statement.
	unseen *Unseen
}

// parse reads a source with PostgreSQL's own grammar. The error is a
// *diag.Problem with the place where the grammar gave up.
func parse(src Source) ([]parsed, error) {
	if err := readable(src); err != nil {
		return nil, err
	}
	if src.Messages == nil {
		all, err := parsePart(src, 0, len(src.Text))
		return withUnseen(src, all), err
	}
	var all []parsed
	start := 0
	for i, end := range src.Messages {
		some, err := parsePart(src, start, end)
		if err != nil {
			return nil, err
		}
		for j := range some {
			some[j].message, some[j].together = i+1, len(some) > 1
		}
		all, start = append(all, some...), end
	}
	return withUnseen(src, all), nil
}

// readable is a problem when a source is no text.
func readable(src Source) error {
	if len(src.Text) > maxSource {
		return problemAt(src, 0, "the file has %d bytes; at most %d are read", len(src.Text), maxSource)
	}
	if at := strings.IndexByte(src.Text, 0); at >= 0 {
		return problemAt(src, at, "the file contains a null byte")
	}
	for at, r := range src.Text {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(src.Text[at:]); size == 1 {
				return problemAt(src, at, "the file is not UTF-8")
			}
		}
	}
	return nil
}

// parsePart reads a part of a source; the places are the source's.
func parsePart(src Source, from, to int) ([]parsed, error) {
	text := src.Text[from:to]
	if at := tangled(text); at >= 0 {
		return nil, problemAt(src, from+at, "comments are nested too deep")
	}
	out, err := guarded(text)
	if err != nil {
		return nil, syntaxProblem(src, from, to, err)
	}
	var tree struct {
		Statements []struct {
			Node     node `json:"stmt"`
			Location int  `json:"stmt_location"`
			Length   int  `json:"stmt_len"`
		} `json:"stmts"`
	}
	if err := json.Unmarshal([]byte(out), &tree); err != nil {
		return nil, fmt.Errorf("%s: read the parse tree: %w", src.Name, err)
	}
	var all []parsed
	for _, s := range tree.Statements {
		end := s.Location + s.Length
		if s.Length == 0 {
			end = len(text)
		}
		start := s.Location + skipBlank(text[s.Location:end])
		end = start + len(strings.TrimRight(text[start:end], " \t\r\n;"))
		all = append(all, parsed{lead: from + s.Location, start: from + start, end: from + end, origin: from, node: s.Node})
	}
	return all, nil
}

// withUnseen puts what is not seen where it happens.
func withUnseen(src Source, all []parsed) []parsed {
	for _, u := range src.Unseen {
		all = append(all, parsed{lead: u.At, start: u.At, end: lineEnd(src.Text, u.At), unseen: &u})
	}
	slices.SortStableFunc(all, func(a, b parsed) int { return a.start - b.start })
	for i := range all {
		if all[i].unseen == nil {
			continue
		}
		if all[i].lead = 0; i > 0 {
			all[i].lead = all[i-1].end
		}
	}
	return all
}

// tangled gives the place of a run of operators that opens so many comments that
// PostgreSQL's scanner would not be done in time: at each it looks to the end of the
// run again. It is -1 for what people write.
func tangled(text string) int {
	const operators, most = "~!@#^&|`?+-*/%<>=", 1 << 22 // characters looked at
	for at := 0; at < len(text); {
		skip := strings.IndexAny(text[at:], operators)
		if skip < 0 {
			break
		}
		at += skip
		run := len(text[at:]) - len(strings.TrimLeft(text[at:], operators))
		if strings.Count(text[at:at+run], "/*")*run > most {
			return at
		}
		at += run
	}
	return -1
}

// guarded calls the grammar, which runs in a small machine of its own: when that
// runs out of stack, the text was not to be read.
func guarded(text string) (out string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the grammar gave up on it: nested too deep")
		}
	}()
	return parser.ParseToJSON(text)
}

// skipBlank gives the length of the white space and comments that a text begins
// with.
func skipBlank(text string) int {
	at := 0
	for at < len(text) {
		rest := text[at:]
		switch {
		case strings.ContainsRune(" \t\r\n\f;", rune(rest[0])):
			at++
		case strings.HasPrefix(rest, "--"):
			if end := strings.IndexByte(rest, '\n'); end >= 0 {
				at += end + 1
			} else {
				at = len(text)
			}
		case strings.HasPrefix(rest, "/*"):
			at += blockComment(rest)
		default:
			return at
		}
	}
	return at
}

// blockComment gives the length of the comment that a text begins with; such
// comments nest.
func blockComment(text string) int {
	depth := 0
	for at := 0; at < len(text); {
		switch {
		case strings.HasPrefix(text[at:], "/*"):
			depth++
			at += 2
		case strings.HasPrefix(text[at:], "*/"):
			at += 2
			if depth--; depth == 0 {
				return at
			}
		default:
			at++
		}
	}
	return len(text)
}

// problemAt makes a problem of a place of a source.
func problemAt(src Source, at int, format string, args ...any) *diag.Problem {
	line, col := place(src.Text, at)
	return &diag.Problem{
		Pos: diag.Pos{File: src.Name, Line: line, Col: col}, Width: 1,
		Message: fmt.Sprintf(format, args...), Line: lineAt(src.Text, at),
	}
}

// place gives the line and the column, in bytes, of an offset.
func place(text string, at int) (line, col int) {
	at = min(max(at, 0), len(text))
	return strings.Count(text[:at], "\n") + 1, at - strings.LastIndexByte(text[:at], '\n')
}

// places gives places of one text; what comes later is found from what came before.
type places struct {
	text            string
	at, line, start int // start is where the line begins
}

func (p *places) of(at int) (line, col int) {
	at = min(max(at, 0), len(p.text))
	if at < p.at {
		p.at, p.line, p.start = 0, 1, 0
	}
	between := p.text[p.at:at]
	p.line += strings.Count(between, "\n")
	if end := strings.LastIndexByte(between, '\n'); end >= 0 {
		p.start = p.at + end + 1
	}
	p.at = at
	return p.line, at - p.start + 1
}

// lineAt gives the line of an offset, without its end.
func lineAt(text string, at int) string {
	at = min(max(at, 0), len(text))
	start := strings.LastIndexByte(text[:at], '\n') + 1
	line, _, _ := strings.Cut(text[start:], "\n")
	return strings.TrimRight(line, "\r")
}

// syntaxProblem gives the grammar's error its place. The parser keeps the type of
// its errors to itself, so that the place is read by its field's name.
func syntaxProblem(src Source, from, to int, err error) *diag.Problem {
	at := from
	if v := reflect.Indirect(reflect.ValueOf(err)); v.Kind() == reflect.Struct {
		if f := v.FieldByName("Cursorpos"); f.IsValid() && f.CanInt() && f.Int() > 0 {
			at = from + byteOf(src.Text[from:to], int(f.Int())-1)
		}
	}
	p := problemAt(src, at, "%s", err.Error())
	p.Hint = "this is PostgreSQL's own grammar, of version 17; psql's backslash commands and templates are not SQL"
	return p
}

// byteOf gives the offset of a character.
func byteOf(text string, char int) int {
	n := 0
	for at := range text {
		if n == char {
			return at
		}
		n++
	}
	return len(text)
}

// withoutMeta blanks the lines that are psql's own: pg_dump writes \restrict.
func withoutMeta(text string) string {
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, `\`) {
			lines[i] = strings.Repeat(" ", len(line)-1) + line[len(line)-1:]
		}
	}
	return strings.Join(lines, "")
}
