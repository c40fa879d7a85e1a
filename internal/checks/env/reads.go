package env

import (
	"path"
	"regexp"
	"strings"

	"allclear.dev/allclear/internal/dotenv"
)

// use is a place where code reads a variable.
type use struct {
	Name string `json:"name"`
	File string `json:"file"`
	Line int    `json:"line"`
	// Default tells that the code goes on without the variable.
	Default bool `json:"default,omitempty"`
}

// uses is what a file of code reads. Dynamic are places where the name is computed.
type uses struct {
	reads   []use
	dynamic []use
}

// reader is one way of reading a variable. Its pattern ends where the name begins:
// a text in quotes, or, with bare, the pattern's own group.
type reader struct {
	pattern *regexp.Regexp
	bare    bool
	// second tells that a second argument is the default, keyword that default= is
	// one, always that there is always one.
	second, keyword, always bool
	// fixed is the name where none is given.
	fixed string
	// only is what the file must hold for the pattern to be this at all; loose, for a
	// computed name to count.
	only, loose *regexp.Regexp
	// tags tells that the pattern is looked for within texts.
	tags bool
}

// dialect is how a language reads variables.
type dialect struct {
	lexis
	readers []reader
	// unknown are ways to read variables whose names do not stand in the code.
	unknown *regexp.Regexp
}

func re(text string) *regexp.Regexp { return regexp.MustCompile(text) }

func pythonDialect() dialect {
	env := re(`(?m)^\s*(?:from|import)\b.*\benv(?:iron|irons)?\b`)
	config := re(`(?m)^\s*(?:from|import)\b.*\b(?:decouple|config)\b`)
	d := dialect{lexis: lexis{line: []string{"#"}, quotes: `"'`, triple: true}, readers: []reader{
		{pattern: re(`\benviron\s*\[\s*`)},
		{pattern: re(`\benviron\.(?:get|setdefault|pop)\s*\(\s*`), second: true},
		{pattern: re(`\bgetenv\s*\(\s*`), second: true},
		{pattern: re(`["']([A-Z][A-Z0-9_]*)["']\s+(?:not\s+)?in\s+os\.environ\b`), bare: true, always: true, tags: true},
		// django-environ and environs
		{pattern: re(`(?:^|[^\w.])env\s*\(\s*`), keyword: true, loose: env},
		{pattern: re(`(?:^|[^\w.])env\.(?:bool|bytes|bool_or_none|date|datetime|decimal|dict|enum|float|int|json|list|log_level|path|str|time|timedelta|tuple|unicode|url|uuid)\s*\(\s*`), second: true, keyword: true, loose: env},
		{pattern: re(`(?:^|[^\w.])env\.(?:db|db_url|dj_db_url)\s*\(\s*`), second: true, keyword: true, fixed: "DATABASE_URL", loose: env},
		{pattern: re(`(?:^|[^\w.])env\.(?:cache|cache_url|dj_cache_url)\s*\(\s*`), second: true, keyword: true, fixed: "CACHE_URL", loose: env},
		{pattern: re(`(?:^|[^\w.])env\.(?:email|email_url|dj_email_url)\s*\(\s*`), second: true, keyword: true, fixed: "EMAIL_URL", loose: env},
		{pattern: re(`(?:^|[^\w.])env\.(?:search_url)\s*\(\s*`), second: true, keyword: true, fixed: "SEARCH_URL", loose: env},
		// python-decouple
		{pattern: re(`(?:^|[^\w.])config\s*\(\s*`), second: true, keyword: true, only: config},
	}}
	d.unknown = re(`\bBaseSettings\b|\benv\.prefixed\s*\(|\bfor\b[^\n]*\bin\s+os\.environ\b|\bos\.environ\.(?:items|keys|values)\s*\(`)
	return d
}

func goDialect() dialect {
	return dialect{lexis: lexis{line: []string{"//"}, block: [2]string{"/*", "*/"}, quotes: "\"'`", raw: "`"}, readers: []reader{
		{pattern: re(`\b(?:os|syscall)\.Getenv\(\s*`)},
		{pattern: re(`\b(?:os|syscall)\.LookupEnv\(\s*`), always: true},
		{pattern: re(`\benv:"([A-Za-z_][A-Za-z0-9_]*)(?:"[^` + "`" + `\n]*\benvDefault:|[^"]*\bdefault=)`), bare: true, tags: true, always: true},
		{pattern: re(`\benv:"([A-Za-z_][A-Za-z0-9_]*)[",]`), bare: true, tags: true},
	}, unknown: re(`\bos\.ExpandEnv\(|\brange\s+os\.Environ\(|\bAutomaticEnv\(|\bBindEnv\(|\benvconfig\.(?:Process|MustProcess)\(`)}
}

func scriptDialect() dialect {
	return dialect{lexis: lexis{line: []string{"//"}, block: [2]string{"/*", "*/"}, quotes: "\"'`", live: "`"}, readers: []reader{
		{pattern: re(`\b(?:process\.env|import\.meta\.env|Bun\.env)(?:\?)?\.([A-Za-z_][A-Za-z0-9_]*)`), bare: true},
		{pattern: re(`\b(?:process\.env|import\.meta\.env|Bun\.env)(?:\?\.)?\[\s*`)},
		{pattern: re(`\bDeno\.env\.get\(\s*`)},
	}, unknown: re(`\bObject\.(?:keys|entries|values)\(\s*process\.env\b|\bin\s+process\.env\b|\bDeno\.env\.toObject\(`)}
}

func rubyDialect() dialect {
	return dialect{lexis: lexis{line: []string{"#"}, quotes: `"'`, live: `"`, word: true}, readers: []reader{
		{pattern: re(`\bENV\[\s*`)},
		{pattern: re(`\bENV\.fetch\(?\s*`), second: true},
		{pattern: re(`\bENV\.(?:key|has_key|include|member)\?\(?\s*`), always: true},
	}, unknown: re(`\bENV\.(?:each|to_h|select|filter|keys|slice|values_at)\b`)}
}

func phpDialect() dialect {
	return dialect{lexis: lexis{line: []string{"//", "#"}, block: [2]string{"/*", "*/"}, quotes: `"'`}, readers: []reader{
		{pattern: re(`\bgetenv\s*\(\s*`)},
		{pattern: re(`\$_ENV\s*\[\s*`)},
		{pattern: re(`(?:^|[^\w>:$])env\s*\(\s*`), second: true},
	}, unknown: re(`\bgetenv\s*\(\s*\)|\bforeach\s*\(\s*\$_ENV\b`)}
}

// dialectOf knows a file by its name.
func dialectOf(file string) (dialect, bool) {
	switch path.Ext(strings.ToLower(file)) {
	case ".py", ".pyi":
		return pythonDialect(), true
	case ".go":
		return goDialect(), true
	case ".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx":
		return scriptDialect(), true
	case ".rb", ".rake", ".ru":
		return rubyDialect(), true
	case ".php":
		return phpDialect(), true
	}
	return dialect{}, false
}

// findUses reads one file of code; false when its language is not known.
func findUses(file, text string) (uses, bool) {
	if d, known := dialectOf(file); known {
		return d.find(file, text), true
	}
	switch base := strings.ToLower(path.Base(file)); path.Ext(base) {
	case ".sh", ".bash", ".envsh":
		return findShell(file, text), true
	case ".yml", ".yaml":
		return findCompose(file, text), true
	}
	if strings.HasPrefix(text, "#!") && re(`^#!\S*(?:/| )(?:env\s+)?(?:ba|da|k|z)?sh\b`).MatchString(text) {
		return findShell(file, text), true
	}
	return uses{}, false
}

// find applies every reader of a dialect.
func (d dialect) find(file, text string) uses {
	code, quoted := d.lex(text)
	src := string(code)
	var out uses
	if d.unknown != nil {
		for _, m := range d.unknown.FindAllStringIndex(src, -1) {
			if !quoted[m[0]] {
				out.dynamic = append(out.dynamic, use{Name: strings.TrimSpace(src[m[0]:m[1]]), File: file, Line: lineAt(src, m[0])})
			}
		}
	}
	taken := map[int]bool{}
	for _, r := range d.readers {
		if r.only != nil && !r.only.MatchString(src) {
			continue
		}
		for _, m := range r.pattern.FindAllStringSubmatchIndex(src, -1) {
			if !r.tags && quoted[m[0]] {
				continue
			}
			r.read(src, file, m, taken, &out)
		}
	}
	if d.live == "`" {
		d.destructured(src, file, &out)
	}
	return out
}

// read takes one place that a pattern has found.
func (r reader) read(src, file string, m []int, taken map[int]bool, out *uses) {
	at := use{File: file, Line: lineAt(src, m[1]), Default: r.always}
	end := m[1]
	if r.bare {
		if taken[m[2]] {
			return
		}
		taken[m[2]] = true
		at.Name, end = src[m[2]:m[3]], m[3]
	} else {
		name, next, literal := argument(src, m[1])
		switch {
		case literal:
			at.Name, end = name, next
		case r.fixed != "" && next < len(src) && (src[next] == ')' || strings.HasPrefix(src[next:], "default")):
			at.Name, end = r.fixed, next
		case next < len(src) && src[next] == ')': // without a name, nothing is read
			return
		case r.loose != nil && !r.loose.MatchString(src):
			return
		default:
			at.Name = strings.TrimSpace(src[m[0]:min(len(src), m[1]+30)])
			if end := strings.IndexAny(at.Name, ")];\n"); end > 0 {
				at.Name = strings.TrimSpace(at.Name[:end+1])
			}
			out.dynamic = append(out.dynamic, at)
			return
		}
	}
	written := r.follow(src, end, &at)
	if !written && !(strings.Contains(src[m[0]:m[1]], "import.meta") && builtin(at.Name)) {
		out.reads = append(out.reads, at)
	}
}

// builtin are names that a bundler puts in, not the environment.
func builtin(name string) bool {
	switch name {
	case "MODE", "DEV", "PROD", "SSR", "BASE_URL":
		return true
	}
	return false
}

// follow looks at what comes after a name: another argument, or an operator that
// gives a default. It tells that the place writes the variable.
func (r reader) follow(src string, at int, u *use) (written bool) {
	rest := strings.TrimLeft(src[at:], " \t\n")
	if strings.HasPrefix(rest, ",") {
		list := rest[1:]
		if end := closing(rest); end > 0 {
			list, rest = rest[1:end], rest[end:]
		}
		value := strings.TrimSpace(list)
		if r.second && value != "" && !strings.Contains(firstWord(value), "=") && !re(`^(?:None|nil|null|undefined)\b`).MatchString(value) {
			u.Default = true
		}
		if r.keyword && re(`\bdefault\s*=`).MatchString(list) {
			u.Default = true
		}
	} else if r.keyword && re(`^default\s*=`).MatchString(rest) {
		u.Default = true
		return false
	}
	if !r.bare {
		rest = strings.TrimLeft(rest, ")] \t\"'")
	} else {
		rest = strings.TrimLeft(rest, " \t")
	}
	switch {
	case strings.HasPrefix(rest, "||="), strings.HasPrefix(rest, "??="):
		u.Default = true
	case strings.HasPrefix(rest, "||"), strings.HasPrefix(rest, "??"), strings.HasPrefix(rest, "?:"), re(`^or\b`).MatchString(rest):
		u.Default = true
	case strings.HasPrefix(rest, "{"), re(`^do\b`).MatchString(rest): // a block of Ruby's fetch
		u.Default = u.Default || r.second
	case strings.HasPrefix(rest, "=") && !strings.HasPrefix(rest, "==") && !strings.HasPrefix(rest, "=>") && !strings.HasPrefix(rest, "=~"):
		return true
	}
	return false
}

func firstWord(text string) string {
	word, _, _ := strings.Cut(text, ",")
	if i := strings.IndexAny(word, `("'[{`); i >= 0 {
		word = word[:i]
	}
	return word
}

// closing gives where the bracket that is open before a text closes, within a
// bounded distance.
func closing(text string) int {
	const most = 4000
	depth := 0
	for i := 0; i < min(len(text), most); i++ {
		switch text[i] {
		case '"', '\'', '`':
			i += (lexis{}).quote(text[i:]) - 1
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			if depth--; depth < 0 {
				return i
			}
		}
	}
	return 0
}

// argument reads a name in quotes that is the whole argument. It gives where the
// argument ends, or begins when it is something else.
func argument(src string, at int) (name string, next int, literal bool) {
	if at >= len(src) || (src[at] != '"' && src[at] != '\'' && src[at] != '`') {
		return "", at, false
	}
	end := strings.IndexByte(src[at+1:], src[at])
	if end < 0 || !dotenv.ValidName(src[at+1:at+1+end]) {
		return "", at, false
	}
	name, next = src[at+1:at+1+end], at+end+2
	rest := strings.TrimLeft(src[next:], " \t\r\n")
	if rest != "" && strings.ContainsAny(rest[:1], "+.%*\"'`") { // only a part of the name
		return "", at, false
	}
	return name, next, true
}

func lineAt(src string, at int) int { return 1 + strings.Count(src[:min(at, len(src))], "\n") }

// destructured reads const {A, B = 1, C: c} = process.env.
func (d dialect) destructured(src, file string, out *uses) {
	for _, m := range re(`\{([^{}]*)\}\s*=\s*(?:process\.env|import\.meta\.env|Bun\.env)\s*[;\n]`).FindAllStringSubmatchIndex(src, -1) {
		for part := range strings.SplitSeq(src[m[2]:m[3]], ",") {
			name, value, given := strings.Cut(strings.TrimSpace(part), "=")
			name, _, _ = strings.Cut(name, ":")
			name = strings.TrimSpace(name)
			switch {
			case name == "":
			case strings.HasPrefix(name, "..."):
				out.dynamic = append(out.dynamic, use{Name: name, File: file, Line: lineAt(src, m[0])})
			case dotenv.ValidName(name):
				out.reads = append(out.reads, use{Name: name, File: file, Line: lineAt(src, m[0]), Default: given && value != ""})
			}
		}
	}
}
