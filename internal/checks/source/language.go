package source

import (
	"path"
	"strings"
)

// language is how a language writes comments and texts.
type language struct {
	// line begin a comment that ends with its line; block begin and end others.
	line  []string
	block [][2]string
	// quotes begin and end a text of one line, in which \ takes the next character;
	// long ones may have several lines, raw ones take no \.
	quotes, long, raw []string
	// word tells that a line comment must stand at the beginning of a word, as in a
	// shell, where $# is none.
	word bool
	// char tells that ' holds a single character, and is something else otherwise.
	char bool
}

func cLike() language {
	return language{line: []string{"//"}, block: [][2]string{{"/*", "*/"}}, quotes: []string{`"`}, char: true}
}

func hashed() language {
	return language{line: []string{"#"}, quotes: []string{`"`, `'`}, word: true}
}

// languages are known by the end of a file's name.
func languages() map[string]language {
	c, hash := cLike(), hashed()
	goLike := c
	goLike.raw = []string{"`"}
	script := language{line: []string{"//"}, block: [][2]string{{"/*", "*/"}}, quotes: []string{`"`, `'`}, long: []string{"`"}}
	php := script
	php.line, php.long = []string{"//", "#"}, nil
	python := language{line: []string{"#"}, quotes: []string{`"`, `'`}, long: []string{`"""`, `'''`}}
	sql := language{line: []string{"--"}, block: [][2]string{{"/*", "*/"}}, raw: []string{`'`}, quotes: []string{`"`}}
	markup := language{block: [][2]string{{"<!--", "-->"}, {"{#", "#}"}, {"{% comment %}", "{% endcomment %}"}, {"{{!--", "--}}"}, {"<%--", "--%>"}}}
	style := language{block: [][2]string{{"/*", "*/"}}, quotes: []string{`"`, `'`}}
	sass := style
	sass.line = []string{"//"}
	component := markup
	component.line, component.block = []string{"//"}, append([][2]string{{"/*", "*/"}}, markup.block...)
	return map[string]language{
		".go": goLike, ".py": python, ".pyi": python, ".rb": hash, ".rake": hash, ".ru": hash, ".sh": hash, ".bash": hash, ".zsh": hash, ".pl": hash,
		".js": script, ".mjs": script, ".cjs": script, ".jsx": script, ".ts": script, ".tsx": script, ".vue": component, ".svelte": component,
		".java": c, ".kt": c, ".kts": c, ".c": c, ".h": c, ".cc": c, ".cpp": c, ".hpp": c, ".cs": c, ".rs": c, ".swift": c, ".scala": c, ".proto": c, ".dart": script,
		".php": php, ".sql": sql, ".html": markup, ".htm": markup, ".xml": markup, ".j2": markup, ".jinja": markup, ".erb": markup,
		".yml": hash, ".yaml": hash, ".toml": hash, ".tf": hash, ".ini": hash, ".cfg": hash, ".conf": hash, ".css": style, ".scss": sass, ".less": sass,
		"dockerfile": hash, "makefile": hash, "gemfile": hash, "rakefile": hash,
	}
}

// languageOf knows a file by its name, or a script by its first line.
func languageOf(name, text string) (language, bool) {
	all := languages()
	base := strings.ToLower(path.Base(name))
	if l, ok := all[path.Ext(base)]; ok {
		return l, true
	}
	if l, ok := all[strings.TrimSuffix(base, path.Ext(base))]; ok && !strings.HasPrefix(base, ".") {
		return l, true
	}
	if strings.HasPrefix(text, "#!") {
		return hashed(), true
	}
	return language{}, false
}

// comment is a piece of a comment on one line, counted from 1.
type comment struct {
	line int
	text string
}

// comments gives the comments of a text, line by line.
func (l language) comments(text string) []comment {
	var out []comment
	line := 1
	for at := 0; at < len(text); {
		rest := text[at:]
		switch n, inside := l.piece(rest, text[:at]); {
		case n > 0 && inside:
			for i, part := range strings.Split(rest[:n], "\n") {
				out = append(out, comment{line + i, part})
			}
			line += strings.Count(rest[:n], "\n")
			at += n
		case n > 0:
			line += strings.Count(rest[:n], "\n")
			at += n
		default:
			if text[at] == '\n' {
				line++
			}
			at++
		}
	}
	return out
}

// piece gives the length of the comment or text that something begins with, 0 for
// neither.
func (l language) piece(rest, before string) (n int, isComment bool) {
	for _, b := range l.block {
		if strings.HasPrefix(rest, b[0]) {
			return until(rest, len(b[0]), b[1]), true
		}
	}
	for _, mark := range l.line {
		if strings.HasPrefix(rest, mark) && (!l.word || before == "" || strings.ContainsAny(before[len(before)-1:], " \t\n;&|(")) {
			if end := strings.IndexByte(rest, '\n'); end >= 0 {
				return end, true
			}
			return len(rest), true
		}
	}
	for _, quote := range l.raw {
		if strings.HasPrefix(rest, quote) {
			return until(rest, len(quote), quote), false
		}
	}
	for _, quote := range l.long {
		if strings.HasPrefix(rest, quote) {
			return quoted(rest, quote, true), false
		}
	}
	for _, quote := range l.quotes {
		if strings.HasPrefix(rest, quote) {
			return quoted(rest, quote, false), false
		}
	}
	if l.char && rest[0] == '\'' {
		if n := quoted(rest, "'", false); n <= len(`'\u{10ffff}'`) {
			return n, false
		}
	}
	return 0, false
}

// until gives the length up to and with an end, or all of it.
func until(text string, from int, end string) int {
	if i := strings.Index(text[from:], end); i >= 0 {
		return from + i + len(end)
	}
	return len(text)
}

// quoted gives the length of a text in quotes. One that may not have several lines
// ends with its line.
func quoted(text, quote string, lines bool) int {
	for i := len(quote); i < len(text); i++ {
		switch {
		case text[i] == '\\':
			i++
		case strings.HasPrefix(text[i:], quote):
			return i + len(quote)
		case text[i] == '\n' && !lines:
			return i
		}
	}
	return len(text)
}
