package architecture

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// room says what of ours a package may import, as patterns of path.Match below
// internal/; "*/*" is everything two levels deep.
type room struct {
	pkg   string
	allow []string
}

// rooms is the plan of the house, from the ground up. The first pattern that fits
// a package counts.
func rooms() []room {
	world := []string{"check", "dns", "dotenv", "mail", "receipt", "secret", "diag", "transport", "postgres", "postgres/*", "redis", "rest", "shim"}
	return []room{
		{"diag", nil},
		{"secret", nil},
		{"run", nil},
		{"shim", nil},
		{"dns", nil},
		{"dotenv", nil},
		{"checklist", []string{"diag"}},
		{"check", []string{"diag", "secret"}},
		{"check/checktest", []string{"check", "diag", "secret", "transport"}},
		{"config", []string{"check", "checklist", "diag", "secret"}},
		{"transport", []string{"check", "secret", "shim"}},
		{"transport/transporttest", []string{"check"}},
		{"postgres", []string{"check", "secret"}},
		{"postgres/lint", []string{"diag"}},
		{"postgres/trace", []string{"postgres", "postgres/wire"}},
		{"postgres/wire", []string{"postgres"}},
		{"postgres/rehearse", []string{"postgres"}},
		{"postgres/seal", []string{"secret"}},
		{"postgres/postgrestest", []string{"postgres", "secret"}},
		{"rest", []string{"check"}},
		{"redis", []string{"check", "secret"}},
		{"mail", nil},
		{"mail/mailtest", nil},
		{"receipt", []string{"check"}},
		{"rest/resttest", nil},
		{"checks/document", append([]string{"checklist"}, world...)}, // whose Markdown reader it uses
		{"checks/*", world},
		{"recognise", []string{"checklist"}},
		{"changes", nil},
		{"plan", []string{"check", "checklist", "config", "diag", "run"}},
		{"journal", []string{"run"}},
		{"journal/*", []string{"journal"}},
		{"signoff", []string{"run"}},
		{"metrics", []string{"run"}},
		{"report", []string{"run", "checklist", "metrics", "results"}},
		{"results", nil},
		{"record", []string{"run", "journal", "signoff"}},
		{"engine", []string{"run", "journal", "check", "secret", "signoff", "shim", "transport"}},
		{"catalog", []string{"check", "checks/*"}},
		{"catalog/generate", []string{"catalog", "check", "checklist", "config"}},
		{"server", []string{"*", "journal/sqlite"}},
		{"cli", []string{"*", "journal/sqlite", "postgres/lint", "checks/report"}},
		{"architecture", nil},
	}
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return err == nil && ok
	})
}

func TestImportsGoOneWay(t *testing.T) {
	for _, f := range whole(t).files {
		if f.test {
			continue
		}
		allow := []string{"cli"} // for a command
		if own, ok := strings.CutPrefix(f.folder, "internal/"); ok {
			i := slices.IndexFunc(rooms(), func(r room) bool { return matches([]string{r.pkg}, own) })
			if i < 0 {
				t.Errorf("%s: package %s has no place in the plan of imports", f.path, own)
				continue
			}
			allow = rooms()[i].allow
		}
		for _, name := range f.imports() {
			if other, ours := strings.CutPrefix(name, "internal/"); ours && !matches(allow, other) {
				t.Errorf("%s imports %s; of ours it may import %v", f.path, name, allow)
			}
		}
	}
}

func TestOnlyTheCommandLineBuildsTheCatalog(t *testing.T) {
	only(t, "internal/catalog", "internal/cli", "internal/catalog/generate")
}

// Packages that only serve tests are not part of the program.
func TestSupportOfTestsStaysInTests(t *testing.T) {
	for _, name := range []string{"testing", "testing/synctest", "internal/check/checktest", "internal/journal/journaltest", "internal/mail/mailtest", "internal/postgres/postgrestest", "internal/rest/resttest", "internal/transport/transporttest"} {
		only(t, name, "internal/check/checktest", "internal/journal/journaltest", "internal/mail/mailtest", "internal/postgres/postgrestest", "internal/rest/resttest", "internal/transport/transporttest")
	}
}

// A heavy dependency is known to one package, which hides it from the rest.
func TestHeavyDependenciesHaveOneHome(t *testing.T) {
	for name, homes := range map[string][]string{
		"modernc.org/sqlite":              {"internal/journal/sqlite"},
		"database/sql":                    {"internal/journal/sqlite"},
		"github.com/jackc/pgx":            {"internal/postgres", "internal/postgres/wire"},
		"github.com/wasilibs/go-pgquery":  {"internal/postgres/lint"},
		"filippo.io/age":                  {"internal/postgres/seal"},
		"github.com/redis/go-redis":       {"internal/redis"},
		"github.com/miekg/dns":            {"internal/dns"},
		"github.com/pelletier/go-toml":    {"internal/checks/configfile"},
		"gopkg.in/ini.v1":                 {"internal/checks/configfile"},
		"github.com/Masterminds/semver":   {"internal/checks/tool"},
		"github.com/emersion/go-smtp":     {"internal/mail", "internal/mail/mailtest"},
		"github.com/emersion/go-sasl":     {"internal/mail", "internal/mail/mailtest"},
		"github.com/HdrHistogram":         {"internal/checks/load"},
		"github.com/yuin/goldmark":        {"internal/checklist"},
		"github.com/expr-lang/expr":       {"internal/check"},
		"github.com/spf13/cobra":          {"internal/cli"},
		"github.com/hiddeco/sshsig":       {"internal/cli"},
		"golang.org/x/term":               {"internal/cli"},
		"github.com/santhosh-tekuri":      {},
		"pgregory.net/rapid":              {"internal/transport/transporttest"},
		"github.com/google/go-cmp":        {},
		"github.com/rogpeppe/go-internal": {},
	} {
		only(t, name, homes...)
	}
}

// only checks that no file of the program outside homes imports a package or
// anything below it.
func only(t *testing.T, name string, homes ...string) {
	t.Helper()
	for _, f := range whole(t).files {
		if f.test || slices.Contains(homes, f.folder) {
			continue
		}
		for _, imported := range f.imports() {
			if imported == name || strings.HasPrefix(imported, name+"/") && !strings.HasPrefix(name, "internal/") && name != "testing" {
				t.Errorf("%s imports %s, which only %v may", f.path, imported, homes)
			}
		}
	}
}

// pure packages decide; they do not look at the world. What time it is, they are
// told.
func pure() []string {
	return []string{"internal/run", "internal/diag", "internal/checklist", "internal/plan", "internal/journal", "internal/metrics", "internal/report", "internal/record", "internal/recognise", "internal/changes", "internal/dotenv", "internal/signoff"}
}

func TestPurePackagesReachNothing(t *testing.T) {
	world := []string{"net", "os", "os/exec", "os/signal", "database/sql", "math/rand", "math/rand/v2", "crypto/rand", "syscall", "net/http", "io/ioutil"}
	report := exceptions{
		"internal/record imports os": "a record is a folder; it is written and read through os.Root, and everything judged in it is bytes",
	}.except(t)
	clock := []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"}
	for _, f := range whole(t).files {
		if f.test || !slices.Contains(pure(), f.folder) {
			continue
		}
		for _, name := range f.imports() {
			if slices.Contains(world, name) {
				report(f.folder+" imports "+name, "%s: a pure package reaches nothing", f.path)
			}
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && slices.Contains(clock, sel.Sel.Name) {
				if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" {
					t.Errorf("%s:%d: time.%s: a pure package is told the time", f.path, whole(t).line(n), sel.Sel.Name)
				}
			}
			return true
		})
	}
}
