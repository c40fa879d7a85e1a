package env

import "strings"

// lexis is how a language writes comments and texts, as far as it matters for
// finding where variables are read.
type lexis struct {
	line  []string
	block [2]string
	// quotes hold text; of those, live ones hold code too (a shell's "", a
	// JavaScript ``), and raw ones take no backslash.
	quotes, live, raw string
	// triple texts, of Python, are left out like comments: they are documentation.
	triple bool
	// word tells that a line comment must stand at the beginning of a word.
	word bool
}

// lex blanks comments, and tells which bytes are text in which no code stands.
func (l lexis) lex(text string) (code []byte, quoted []bool) {
	code, quoted = []byte(text), make([]bool, len(text))
	blank := func(from, to int) {
		for i := from; i < to; i++ {
			if code[i] != '\n' {
				code[i] = ' '
			}
		}
	}
	for i := 0; i < len(text); {
		rest := text[i:]
		if n := l.comment(text, i); n > 0 {
			blank(i, i+n)
			i += n
			continue
		}
		if l.triple && (strings.HasPrefix(rest, `"""`) || strings.HasPrefix(rest, `'''`)) {
			n := len(rest)
			if end := strings.Index(rest[3:], rest[:3]); end >= 0 {
				n = end + 6
			}
			if !formatted(text, i) {
				blank(i, i+n)
			}
			i += n
			continue
		}
		if strings.IndexByte(l.quotes, rest[0]) < 0 {
			i++
			continue
		}
		n := l.quote(rest)
		if strings.IndexByte(l.live, rest[0]) < 0 && !(l.triple && formatted(text, i)) {
			for j := i; j < i+n; j++ {
				quoted[j] = true
			}
		}
		i += n
	}
	return code, quoted
}

// comment gives the length of a comment that begins at a place, 0 for none.
func (l lexis) comment(text string, at int) int {
	rest := text[at:]
	if l.block[0] != "" && strings.HasPrefix(rest, l.block[0]) {
		if end := strings.Index(rest[len(l.block[0]):], l.block[1]); end >= 0 {
			return len(l.block[0]) + end + len(l.block[1])
		}
		return len(rest)
	}
	for _, mark := range l.line {
		if strings.HasPrefix(rest, mark) && (!l.word || at == 0 || strings.ContainsAny(text[at-1:at], " \t\n;&|(")) {
			if end := strings.IndexByte(rest, '\n'); end >= 0 {
				return end
			}
			return len(rest)
		}
	}
	return 0
}

// quote gives the length of a text in quotes; one that is not closed ends with its
// line, unless it may have several.
func (l lexis) quote(rest string) int {
	several := rest[0] == '`' || strings.IndexByte(l.raw, rest[0]) >= 0 || strings.IndexByte(l.live, rest[0]) >= 0
	for i := 1; i < len(rest); i++ {
		switch {
		case rest[i] == '\\' && strings.IndexByte(l.raw, rest[0]) < 0:
			i++
		case rest[i] == rest[0]:
			return i + 1
		case rest[i] == '\n' && !several:
			return i
		}
	}
	if several && rest[0] != '`' { // an apostrophe, more likely than an open text
		return 1
	}
	return len(rest)
}

// formatted tells whether a Python text is an f-string, in which code stands.
func formatted(text string, at int) bool {
	prefix := strings.ToLower(text[max(at-2, 0):at])
	return strings.HasSuffix(prefix, "f") || strings.HasSuffix(prefix, "fr")
}
