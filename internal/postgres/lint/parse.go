package lint

import (
	"encoding/json"
	"fmt"
	"reflect"
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
}

// parsed is a statement of a source: where it is and what the grammar made of it.
type parsed struct {
	// start and end are byte offsets; comments before it belong to it from lead on.
	lead, start, end int
	node             node
}

// parse reads a source with PostgreSQL's own grammar. The error is a
// *diag.Problem with the place where the grammar gave up.
func parse(src Source) ([]parsed, error) {
	if len(src.Text) > maxSource {
		return nil, problemAt(src, 0, "the file has %d bytes; at most %d are read", len(src.Text), maxSource)
	}
	if at := strings.IndexByte(src.Text, 0); at >= 0 {
		return nil, problemAt(src, at, "the file contains a null byte")
	}
	for at, r := range src.Text {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(src.Text[at:]); size == 1 {
				return nil, problemAt(src, at, "the file is not UTF-8")
			}
		}
	}
	out, err := guarded(src.Text)
	if err != nil {
		return nil, syntaxProblem(src, err)
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
			end = len(src.Text)
		}
		start := s.Location + skipBlank(src.Text[s.Location:end])
		end = start + len(strings.TrimRight(src.Text[start:end], " \t\r\n;"))
		all = append(all, parsed{lead: s.Location, start: start, end: end, node: s.Node})
	}
	return all, nil
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

// lineAt gives the line of an offset, without its end.
func lineAt(text string, at int) string {
	at = min(max(at, 0), len(text))
	start := strings.LastIndexByte(text[:at], '\n') + 1
	line, _, _ := strings.Cut(text[start:], "\n")
	return strings.TrimRight(line, "\r")
}

// syntaxProblem gives the grammar's error its place. The parser keeps the type of
// its errors to itself, so that the place is read by its field's name.
func syntaxProblem(src Source, err error) *diag.Problem {
	at := 0
	if v := reflect.Indirect(reflect.ValueOf(err)); v.Kind() == reflect.Struct {
		if f := v.FieldByName("Cursorpos"); f.IsValid() && f.CanInt() && f.Int() > 0 {
			at = byteOf(src.Text, int(f.Int())-1)
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
