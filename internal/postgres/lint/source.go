package lint

import (
	"regexp"
	"slices"
	"strings"
)

// Framework is the tool that a file of migrations is written for.
type Framework string

// The frameworks that are told by their files. All others write SQL in which the
// transactions are written out: Alembic's offline mode, Django's sqlmigrate.
const (
	PlainSQL      Framework = "sql"
	GolangMigrate Framework = "golang-migrate"
	Goose         Framework = "goose"
	Flyway        Framework = "flyway"
)

// patterns of frameworks, in file names and in texts.
func patterns() (migrate, flyway, goose, down *regexp.Regexp) {
	return regexp.MustCompile(`^\d+_.*\.(up|down)\.sql$`), regexp.MustCompile(`^[VUR][0-9_.]*__.*\.sql$`),
		regexp.MustCompile(`(?m)^--[ \t]*\+goose[ \t]+Up\b`), regexp.MustCompile(`(?m)^--[ \t]*\+goose[ \t]+Down\b`)
}

// Recognise tells which framework a file is for, whether that runs it as one
// transaction, and blanks what is for going back.
func Recognise(name, text string) (Source, Framework) {
	src := Source{Name: name, Text: text}
	base := name[strings.LastIndexByte(name, '/')+1:]
	migrate, flyway, goose, down := patterns()
	switch {
	case goose.MatchString(text):
		if at := down.FindStringIndex(text); at != nil {
			src.Text = text[:at[0]] + blank(text[at[0]:])
		}
		src.OneTransaction = !regexp.MustCompile(`(?m)^--[ \t]*\+goose[ \t]+NO TRANSACTION\b`).MatchString(text)
		return src, Goose
	case migrate.MatchString(base):
		src.OneTransaction = true // several statements of one message are one transaction
		return src, GolangMigrate
	case flyway.MatchString(base):
		src.OneTransaction = !strings.Contains(strings.ToLower(text), "executeintransaction=false")
		return src, Flyway
	}
	return src, PlainSQL
}

// blank replaces all but line ends by spaces, so that places stay.
func blank(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' {
			return r
		}
		return ' '
	}, text)
}

// IsDown reports a file that takes a migration back.
func IsDown(name string) bool {
	base := name[strings.LastIndexByte(name, '/')+1:]
	return strings.HasSuffix(base, ".down.sql") || strings.HasSuffix(base, "_down.sql") || strings.HasPrefix(base, "U") && strings.Contains(base, "__")
}

// InOrder sorts the names of migrations as the tools do: numbers by their value.
func InOrder(names []string) {
	slices.SortStableFunc(names, func(a, b string) int { return natural(a, b) })
}

// natural compares texts in which runs of digits count as numbers.
func natural(a, b string) int {
	for a != "" && b != "" {
		da, db := digits(a), digits(b)
		if da > 0 && db > 0 {
			x, y := strings.TrimLeft(a[:da], "0"), strings.TrimLeft(b[:db], "0")
			if len(x) != len(y) {
				return len(x) - len(y)
			}
			if x != y {
				return strings.Compare(x, y)
			}
			a, b = a[da:], b[db:]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
