package env

import (
	"path"
	"regexp"
	"strings"

	"allclear.dev/allclear/internal/dotenv"
)

// reference is $NAME or ${NAME…}, as a shell and Compose write it
// (https://docs.docker.com/reference/compose-file/interpolation/).
var reference = regexp.MustCompile(`\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{(!?)([A-Za-z_][A-Za-z0-9_]*)([^}]*))`)

// findShell reads a script. What the script itself sets is its own.
func findShell(file, text string) uses {
	code, quoted := lexis{line: []string{"#"}, quotes: `"'`, live: `"`, raw: `'`, word: true}.lex(text)
	for i, q := range quoted {
		if q && code[i] == '$' {
			code[i] = ' '
		}
	}
	src := string(code)
	own := map[string]bool{}
	for _, m := range re(`(?m)(?:^|[\s;&|(])(?:(?:export|local|readonly|declare|typeset)(?:\s+-\w+)*\s+)?([A-Za-z_][A-Za-z0-9_]*)\+?=|\bfor\s+([A-Za-z_]\w*)\s+in\b|\bread\s+(?:-\w+\s+)*([A-Za-z_]\w*)`).FindAllStringSubmatch(src, -1) {
		own[m[1]], own[m[2]], own[m[3]] = true, true, true
	}
	var out uses
	for _, u := range references(file, src, true) {
		switch {
		case u.Name[0] == '!':
			out.dynamic = append(out.dynamic, u)
		// X=${X:-1} reads what X was; a name in small letters is a script's own.
		case (!own[u.Name] || u.Default && re(`\b`+regexp.QuoteMeta(u.Name)+`=["']?\$\{`+regexp.QuoteMeta(u.Name)+`\b`).MatchString(src)) && u.Name == strings.ToUpper(u.Name):
			out.reads = append(out.reads, u)
		}
	}
	return out
}

// references gives what is put in for $ in a text.
func references(file, src string, bare bool) (out []use) {
	for _, m := range reference.FindAllStringSubmatchIndex(src, -1) {
		if m[0] > 0 && (src[m[0]-1] == '$' && !strings.HasSuffix(src[:m[0]], "$$$") || src[m[0]-1] == '\\') {
			continue // $$ is one $
		}
		u := use{File: file, Line: lineAt(src, m[0])}
		switch {
		case m[2] >= 0 && bare:
			u.Name = src[m[2]:m[3]]
		case m[6] >= 0:
			u.Name = src[m[4]:m[5]] + src[m[6]:m[7]]
			then := strings.TrimPrefix(src[m[8]:m[9]], ":")
			u.Default = strings.HasPrefix(then, "-") || strings.HasPrefix(then, "=") || strings.HasPrefix(then, "+")
			if strings.HasPrefix(then, "-$") || strings.HasPrefix(then, "?$") { // another one inside
				out = append(out, references(file, then[1:]+"}", bare)...)
			}
		default:
			continue
		}
		out = append(out, u)
	}
	return out
}

// findCompose reads a Compose or other YAML file. Only Compose puts in $NAME
// without braces, and passes on variables that are named without a value.
func findCompose(file, text string) uses {
	code, _ := lexis{line: []string{"#"}, word: true}.lex(text)
	src, compose := string(code), strings.Contains(path.Base(strings.ToLower(file)), "compose")
	out := uses{reads: references(file, src, compose)}
	if !compose {
		return out
	}
	indent, line := -1, 0
	for text := range strings.Lines(src) {
		line++
		trimmed := strings.TrimSpace(text)
		depth := len(text) - len(strings.TrimLeft(text, " "))
		switch {
		case trimmed == "":
		case trimmed == "environment:":
			indent = depth
		case indent >= 0 && (depth < indent || depth == indent && !strings.HasPrefix(trimmed, "-")):
			indent = -1
		case indent >= 0:
			name := strings.Trim(strings.TrimSuffix(strings.TrimSpace(strings.TrimPrefix(trimmed, "-")), ":"), `"'`)
			if dotenv.ValidName(name) {
				out.reads = append(out.reads, use{Name: name, File: file, Line: line})
			}
		}
	}
	return out
}
