package recognise

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"encoding/json"
)

// Repository is what the files of a repository show. It says nothing about
// machines or services.
type Repository struct {
	// Found names what was recognised, for people: "Django", "compose".
	Found []string
	// Values are variables of the configuration whose value is in the repository.
	Values map[string]string
	// Commands are the blocks' lines for standard items that this repository has
	// a command of its own for, by id; Why says where it was found.
	Commands, Why map[string]string
}

const maxFile = 1 << 20

// Scan looks at the usual files. What cannot be read counts as not there: it
// leaves a question open for people, and answers none.
func Scan(root fs.FS) Repository {
	s := &scanner{root: root, out: Repository{Values: map[string]string{}, Commands: map[string]string{}, Why: map[string]string{}}}
	s.languages()
	s.makefile()
	s.django()
	s.migrations()
	s.files()
	return s.out
}

type scanner struct {
	root fs.FS
	out  Repository
}

func (s *scanner) has(name string) bool {
	info, err := fs.Stat(s.root, name)
	return err == nil && !info.IsDir()
}

func (s *scanner) text(name string) string {
	info, err := fs.Stat(s.root, name)
	if err != nil || info.IsDir() || info.Size() > maxFile {
		return ""
	}
	data, err := fs.ReadFile(s.root, name)
	if err != nil {
		return ""
	}
	return string(data)
}

func (s *scanner) found(what string) {
	if !slices.Contains(s.out.Found, what) {
		s.out.Found = append(s.out.Found, what)
	}
}

// command proposes one for a standard item, unless a better place gave one.
func (s *scanner) command(id, why, run string) {
	if s.out.Commands[id] == "" {
		s.out.Commands[id], s.out.Why[id] = "command: {run: "+run+"}", why
	}
}

func (s *scanner) languages() {
	if text := s.text("package.json"); text != "" {
		s.found("npm")
		var pkg struct {
			Scripts map[string]string `json:"scripts"`
		}
		if json.Unmarshal([]byte(text), &pkg) == nil {
			for script, id := range map[string]string{"test": testsID, "lint": lintID} {
				if pkg.Scripts[script] != "" && !strings.Contains(pkg.Scripts[script], "no test specified") {
					s.command(id, "package.json", "[npm, run, "+script+"]")
				}
			}
		}
	}
	if s.has("go.mod") {
		s.found("Go")
		s.command(testsID, "go.mod", `[go, test, "./..."]`)
		s.command(lintID, "go.mod", `[go, vet, "./..."]`)
	}
	if s.has("Cargo.toml") {
		s.found("Rust")
		s.command(testsID, "Cargo.toml", "[cargo, test]")
		s.command(lintID, "Cargo.toml", "[cargo, clippy, --, -D, warnings]")
	}
	if text := s.text("pyproject.toml"); text != "" {
		s.found("Python")
		if strings.Contains(text, "[tool.ruff") {
			s.command(lintID, "pyproject.toml", "[ruff, check, .]")
		}
		if strings.Contains(text, "[tool.pytest") {
			s.command(testsID, "pyproject.toml", "[pytest]")
		}
	}
	if s.has("pytest.ini") {
		s.found("Python")
		s.command(testsID, "pytest.ini", "[pytest]")
	}
}

const (
	testsID = "pre.code.tests-pass"
	lintID  = "pre.code.lint"
)

var makeTarget = regexp.MustCompile(`(?m)^(test|lint):`)

func (s *scanner) makefile() {
	for _, m := range makeTarget.FindAllStringSubmatch(s.text("Makefile"), -1) {
		s.found("make")
		s.command(map[string]string{"test": testsID, "lint": lintID}[m[1]], "Makefile", "[make, "+m[1]+"]")
	}
}

func (s *scanner) django() {
	if !strings.Contains(s.text("manage.py"), "django") {
		return
	}
	s.found("Django")
	s.command(testsID, "manage.py", "[python, manage.py, test]")
	s.command("deploy.db.migrated", "manage.py", "[python, manage.py, migrate, --noinput], changes: true, class: idempotent")
	s.command("deploy.db.migration-verified", "manage.py", "[python, manage.py, migrate, --check]")
	s.command("deploy.code.static", "manage.py", "[python, manage.py, collectstatic, --noinput], changes: true, class: idempotent")
	s.command("pre.db.migration-sql-reviewed", "manage.py", "[python, manage.py, makemigrations, --check, --dry-run]")
	requirements := s.text("requirements.txt") + s.text("pyproject.toml")
	if strings.Contains(strings.ToLower(requirements), "celery") {
		s.found("Celery")
	}
}

func (s *scanner) migrations() {
	for _, dir := range []string{"migrations", "db/migrations", "database/migrations", "internal/db/migrations", "sql/migrations"} {
		names, err := fs.Glob(s.root, dir+"/*.up.sql")
		if err == nil && len(names) > 0 {
			s.found("SQL migrations")
			s.out.Values["migrations"] = dir
			return
		}
	}
}

// files fills variables that name a file.
func (s *scanner) files() {
	for _, try := range []struct{ variable, names string }{
		{"env_example", ".env.example .env.sample .env.dist .env.template env.example"},
		{"deployment_guide", "docs/deployment.md docs/DEPLOYMENT.md DEPLOYMENT.md DEPLOY.md docs/deploy.md"},
	} {
		for _, name := range strings.Fields(try.names) {
			if s.has(name) {
				s.out.Values[try.variable] = name
				break
			}
		}
	}
	for _, name := range []string{"src", "app", "internal", "lib"} {
		if info, err := fs.Stat(s.root, name); err == nil && info.IsDir() {
			s.out.Values["code"] = name
			break
		}
	}
	for _, name := range []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"} {
		if s.has(name) {
			s.found("compose")
			s.out.Values["driver"] = "compose"
		}
	}
}
