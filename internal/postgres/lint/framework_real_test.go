package lint_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/postgres/lint"
	"allclear.dev/allclear/internal/postgres/postgrestest"
)

// unfold writes the files of a text like "-- NAME --" into a new folder.
func unfold(t *testing.T, archive string) string {
	t.Helper()
	dir := t.TempDir()
	parts := regexp.MustCompile(`(?m)^=== (\S+)\n`).FindAllStringSubmatchIndex(archive, -1)
	for i, p := range parts {
		end := len(archive)
		if i+1 < len(parts) {
			end = parts[i+1][0]
		}
		path := filepath.Join(dir, archive[p[2]:p[3]])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(archive[p[1]:end]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// program runs a program in a folder and gives what it prints. A program that is not
// there fails the test with what installs it.
func program(t *testing.T, dir, url string, argv ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "DATABASE_URL="+url, "PYTHONDONTWRITEBYTECODE=1")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v (the tools are installed by scripts/packages test)\n%s%s", strings.Join(argv, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// seen is what happened on a server: statements in order, and in which transaction
// each change of the structure ran.
type seen struct {
	statements   []string
	transactions []int
}

// observe runs a tool between a wiretap and a trail that PostgreSQL keeps itself, and
// leaves out the tool's own bookkeeping.
func observe(t *testing.T, own *regexp.Regexp, run func(url string)) seen {
	t.Helper()
	url := postgrestest.Start(t)
	postgrestest.Exec(t, url, `CREATE SCHEMA trail; CREATE TABLE trail.steps (n serial, query text, tx xid8);
		CREATE FUNCTION trail.note() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO trail.steps (query, tx) VALUES (current_query(), pg_current_xact_id()); END $$;
		CREATE EVENT TRIGGER note ON ddl_command_start EXECUTE FUNCTION trail.note()`)
	tap := listen(t, url)
	run(tap.url)
	var out seen
	for _, message := range tap.messages() {
		out.statements = append(out.statements, split(t, message, own)...)
	}
	rows, err := postgrestest.Open(t, url).Query(t.Context(), 1000, "SELECT query, tx FROM trail.steps ORDER BY n")
	if err != nil {
		t.Fatal(err)
	}
	var numbers []string
	for _, row := range rows.Rows {
		if !own.MatchString(row[0].Text) {
			numbers = append(numbers, row[1].Text)
		}
	}
	out.transactions = renumber(numbers)
	return out
}

// split cuts a message into statements, without those of transactions and without
// the tool's own.
func split(t *testing.T, message string, own *regexp.Regexp) []string {
	t.Helper()
	statements, err := lint.Run([]lint.Source{{Name: "message", Text: message}}, lint.Options{})
	if err != nil {
		t.Fatalf("%v in %q", err, message)
	}
	var out []string
	for _, s := range statements {
		if !control().MatchString(s.Text) && !own.MatchString(s.Text) {
			out = append(out, strings.Join(strings.Fields(s.Text), " "))
		}
	}
	return out
}

func control() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^(BEGIN|COMMIT|ROLLBACK|SET|SHOW|DISCARD)\b|^-- ping$`)
}

// renumber numbers things by their first occurrence.
func renumber(names []string) []int {
	var out []int
	known := map[string]int{}
	for _, name := range names {
		if _, there := known[name]; !there {
			known[name] = len(known) + 1
		}
		out = append(out, known[name])
	}
	return out
}

// read is what the linter makes of the sources.
func read(t *testing.T, own *regexp.Regexp, sources ...lint.Source) (seen, []lint.Statement) {
	t.Helper()
	statements, err := lint.Run(sources, lint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out seen
	var names []string
	for i, s := range statements {
		if s.Opaque && strings.HasPrefix(s.Text, "--") || control().MatchString(s.Text) || own.MatchString(s.Text) {
			continue
		}
		out.statements = append(out.statements, strings.Join(strings.Fields(s.Text), " "))
		if regexp.MustCompile(`(?i)^(CREATE|ALTER|DROP)\b`).MatchString(s.Text) {
			name := fmt.Sprint("tx ", s.Transaction)
			if s.Transaction == 0 {
				name = fmt.Sprint("statement ", i)
			}
			names = append(names, name)
		}
	}
	out.transactions = renumber(names)
	return out, statements
}

// same fails when what the linter read is not what the server got.
func same(t *testing.T, got, want seen) {
	t.Helper()
	if !slices.Equal(got.statements, want.statements) {
		t.Errorf("the linter read\n%s\nthe server got\n%s", strings.Join(got.statements, "\n--\n"), strings.Join(want.statements, "\n--\n"))
	}
	if len(want.transactions) < 3 || !slices.Equal(got.transactions, want.transactions) {
		t.Errorf("transactions: the linter read %v, the server had %v", got.transactions, want.transactions)
	}
}

// folder reads the files of a folder as a framework does.
func folder(t *testing.T, framework lint.Framework, dir string) []lint.Source {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.sql"))
	if err != nil {
		t.Fatal(err)
	}
	lint.InOrder(paths)
	var out []lint.Source
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if lint.IsDown(path) {
			continue
		}
		if got := lint.Recognise(path, string(text)); got != framework {
			t.Errorf("%s is taken for %s's", path, got)
		}
		src, err := framework.Read(filepath.Base(path), string(text), lint.Surroundings{})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, src)
	}
	return out
}

// tools builds the program with the real goose and golang-migrate.
func tools(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "tools")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".")
	cmd.Dir, cmd.Env = filepath.Join("testdata", "tools"), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build goose and golang-migrate (a module of its own, whose dependencies are downloaded once): %v\n%s", err, out)
	}
	return binary
}

// TestGoTools compares what the linter reads with what goose and golang-migrate send.
func TestGoTools(t *testing.T) {
	binary := tools(t)
	for framework, own := range map[lint.Framework]string{
		lint.Goose:         `goose_db_version|^;?$`,
		lint.GolangMigrate: `schema_migrations|information_schema|pg_advisory|CURRENT_DATABASE\(\)|CURRENT_SCHEMA\(\)|^;?$`,
	} {
		t.Run(string(framework), func(t *testing.T) {
			t.Parallel()
			dir, bookkeeping := unfold(t, file(t, string(framework)+".txt")), regexp.MustCompile(own)
			want := observe(t, bookkeeping, func(url string) { program(t, dir, url, binary, string(framework), dir, url) })
			got, _ := read(t, bookkeeping, folder(t, framework, dir)...)
			same(t, got, want)
		})
	}
}

// python is Debian's, whose packages Django and Alembic are.
const python = "/usr/bin/python3"

// TestAlembic compares what is read of upgrade --sql with what an upgrade sends.
func TestAlembic(t *testing.T) {
	t.Parallel()
	dir, own := unfold(t, file(t, "alembic.txt")), regexp.MustCompile(`alembic_version|pg_catalog|hstore|current_schema|^select (pg_catalog\.)?version|transaction_isolation|^$`)
	want := observe(t, own, func(url string) { program(t, dir, url, python, "-m", "alembic", "upgrade", "head") })
	printed := program(t, dir, "postgres://localhost/none", python, "-m", "alembic", "upgrade", "head", "--sql")
	framework := lint.Recognise("upgrade.sql", printed)
	src, err := framework.Read("upgrade.sql", printed, lint.Surroundings{})
	if framework != lint.Alembic || err != nil {
		t.Fatal(framework, err)
	}
	got, _ := read(t, own, src)
	same(t, got, want)
}

// TestDjango compares what is read of sqlmigrate with what migrate sends; what it
// does in Python is not read, and said so.
func TestDjango(t *testing.T) {
	t.Parallel()
	dir, own := unfold(t, file(t, "django.txt")), regexp.MustCompile(`django_migrations|pg_catalog|django_content_type|auth_permission|"note" = 'x'|^$`)
	want := observe(t, own, func(url string) { program(t, dir, url, python, "manage.py", "migrate") })
	url := postgrestest.Start(t)
	var sources []lint.Source
	for _, line := range strings.Split(program(t, dir, url, python, "manage.py", "showmigrations", "--plan"), "\n") {
		app, name, is := strings.Cut(strings.TrimPrefix(line, "[ ]  "), ".")
		if !is {
			continue
		}
		src, err := lint.Django.Read(app+"."+name, program(t, dir, url, python, "manage.py", "sqlmigrate", app, name), lint.Surroundings{})
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, src)
	}
	got, statements := read(t, own, sources...)
	same(t, got, want)
	var unseen []string
	for _, s := range statements {
		if s.Opaque {
			unseen = append(unseen, fmt.Sprintf("%s:%d %s", s.File, s.Line, s.Findings[0].Message))
		}
	}
	if want := []string{`shop.0002_more:8 what the operation "Raw Python operation" does cannot be read here`}; !slices.Equal(unseen, want) {
		t.Errorf("unseen: %q, want %q", unseen, want)
	}
}

// TestRails compares what is read of ActiveRecord's log, plain and in colour, with
// what it sends.
func TestRails(t *testing.T) {
	for _, style := range []string{"plain", "colour"} {
		t.Run(style, func(t *testing.T) {
			t.Parallel()
			dir, own := unfold(t, file(t, "rails.txt")), regexp.MustCompile(`schema_migrations|ar_internal_metadata|pg_advisory|pg_try_advisory|pg_type|pg_attribute|pg_class|pg_namespace|^SELECT 1$|max_identifier_length|current_schema|current_database|^$`)
			want := observe(t, own, func(url string) { program(t, dir, url, "/usr/bin/ruby", "run.rb", "db.log", style) })
			text, err := os.ReadFile(filepath.Join(dir, "db.log"))
			if err != nil {
				t.Fatal(err)
			}
			log := string(text)
			framework := lint.Recognise("db.log", log)
			src, err := framework.Read("db.log", log, lint.Surroundings{})
			if framework != lint.Rails || err != nil {
				t.Fatal(framework, err)
			}
			got, _ := read(t, own, src)
			same(t, got, want)
			if done := lint.RailsVersions(log); !slices.Equal(done, []string{"20240101000000", "20240102000000", "20240103000000"}) {
				t.Errorf("versions %v", done)
			}
			if len(src.Text) != len(log) || strings.Count(src.Text, "\n") != strings.Count(log, "\n") {
				t.Error("places have moved")
			}
		})
	}
}
