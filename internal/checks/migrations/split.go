package migrations

import (
	"regexp"
	"strings"
)

// mode says how a file is run.
type mode int

const (
	// atomic: the file and its mark in the version table in one transaction.
	atomic mode = iota
	// single: statement by statement, each by itself, for what PostgreSQL refuses
	// in a transaction.
	single
	// own: as a whole, since it begins and ends transactions itself.
	own
)

// marker in a comment keeps a file out of a transaction.
const marker = "allclear: no-transaction"

// modeOf decides by the file's statements: comments and quoted texts do not
// count, apart from the marker.
func modeOf(statements []statement, text string) mode {
	if strings.Contains(text, marker) {
		return single
	}
	concurrently := regexp.MustCompile(`(?i)\bCONCURRENTLY\b`)
	control := regexp.MustCompile(`(?i)^\s*(BEGIN|START\s+TRANSACTION|COMMIT|END|ROLLBACK|ABORT)\b`)
	for _, s := range statements {
		switch {
		case control.MatchString(s.bare):
			return own
		case concurrently.MatchString(s.bare) && !regexp.MustCompile(`(?i)^\s*REFRESH\b`).MatchString(s.bare):
			return single
		}
	}
	return atomic
}

// statement is one statement of a script.
type statement struct {
	// text is the statement as written, without its semicolon.
	text string
	// bare is the text with comments and everything quoted replaced by spaces.
	bare string
}

// split cuts a script at its semicolons, by PostgreSQL's lexical rules (manual,
// chapter 4.1): line comments, nested block comments, strings with doubled
// quotes, E” strings with backslashes, quoted identifiers, dollar quotes, and
// the BEGIN ATOMIC bodies of functions.
func split(text string) []statement {
	var out []statement
	var bare strings.Builder
	start, depth := 0, 0
	flush := func(end int) {
		if s := (statement{text: strings.TrimSpace(text[start:end]), bare: bare.String()}); strings.TrimSpace(s.bare) != "" {
			out = append(out, s)
		}
		bare.Reset()
	}
	for i := 0; i < len(text); {
		if n := quoted(text, i); n > 0 {
			bare.WriteByte(' ')
			i += n
			continue
		}
		if n := word(text[i:]); n > 0 {
			depth = bodyDepth(depth, bare.String(), strings.ToUpper(text[i:i+n]))
			bare.WriteString(text[i : i+n])
			i += n
			continue
		}
		if text[i] == ';' && depth == 0 {
			flush(i)
			start = i + 1
			i++
			continue
		}
		bare.WriteByte(text[i])
		i++
	}
	flush(len(text))
	return out
}

// bodyDepth follows BEGIN ATOMIC … END, within which CASE … END nests.
func bodyDepth(depth int, before, next string) int {
	switch {
	case depth == 0 && next == "ATOMIC" && strings.HasSuffix(strings.ToUpper(strings.TrimSpace(before)), "BEGIN"):
		return 1
	case depth > 0 && next == "CASE":
		return depth + 1
	case depth > 0 && next == "END":
		return depth - 1
	}
	return depth
}

func word(text string) int {
	n := 0
	for n < len(text) && (isLetter(text[n]) || n > 0 && (text[n] >= '0' && text[n] <= '9' || text[n] == '$')) {
		n++
	}
	return n
}

func isLetter(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// quoted gives the length of the comment or quoted text that begins at i, 0 when
// none does. One that is never closed reaches to the end.
func quoted(text string, i int) int {
	rest := text[i:]
	switch {
	case strings.HasPrefix(rest, "--"):
		if n := strings.IndexByte(rest, '\n'); n >= 0 {
			return n
		}
		return len(rest)
	case strings.HasPrefix(rest, "/*"):
		return blockComment(rest)
	case rest[0] == '\'':
		return stringEnd(rest, '\'', false)
	case (rest[0] == 'E' || rest[0] == 'e') && strings.HasPrefix(rest[1:], "'") && (i == 0 || !isLetter(text[i-1])):
		return 1 + stringEnd(rest[1:], '\'', true)
	case rest[0] == '"':
		return stringEnd(rest, '"', false)
	case rest[0] == '$' && (i == 0 || !isLetter(text[i-1])):
		return dollarQuote(rest)
	}
	return 0
}

func blockComment(text string) int {
	depth := 0
	for i := 0; i+1 < len(text); i++ {
		switch text[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
			if depth == 0 {
				return i + 1
			}
		}
	}
	return len(text)
}

func stringEnd(text string, quote byte, backslash bool) int {
	for i := 1; i < len(text); i++ {
		switch {
		case backslash && text[i] == '\\':
			i++
		case text[i] == quote && i+1 < len(text) && text[i+1] == quote:
			i++
		case text[i] == quote:
			return i + 1
		}
	}
	return len(text)
}

func dollarQuote(text string) int {
	end := 1 + word(text[1:])
	if inner := strings.IndexByte(text[1:end], '$'); inner >= 0 {
		end = 1 + inner
	}
	if end >= len(text) || text[end] != '$' {
		return 0
	}
	tag := text[:end+1]
	if n := strings.Index(text[len(tag):], tag); n >= 0 {
		return len(tag) + n + len(tag)
	}
	return len(text)
}
