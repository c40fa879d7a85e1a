package lint_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/postgres/lint"
)

// TestRecognise tells the frameworks by their files.
func TestRecognise(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       lint.Framework
	}{
		{"0007_x.up.sql", "SELECT 1", lint.GolangMigrate},
		{"db/V1_2__x.sql", "SELECT 1", lint.Flyway},
		{"R__views.sql", "SELECT 1", lint.Flyway},
		{"1_x.sql", "-- +goose Up\nSELECT 1;", lint.Goose},
		{"x.sql", "BEGIN; SELECT 1; COMMIT;", lint.PlainSQL},
		{"x.sql", "BEGIN;\n\n-- Running upgrade  -> a1\n\nCOMMIT;", lint.Alembic},
		{"x.sql", "--\n-- THIS OPERATION CANNOT BE WRITTEN AS SQL\n--", lint.Django},
		{"x.log", "D, [2026-01-01T00:00:00.0 #1] DEBUG -- :    (0.3ms)  SELECT 1\n", lint.Rails},
		{"x.log", "[a-b] [req]   TRANSACTION (0.3ms)  BEGIN\n", lint.Rails},
		{"1_x.rb", "class X < ActiveRecord::Migration[7.1]\nend", lint.Rails},
		{"0001_x.py", "class Migration(migrations.Migration):", lint.Django},
		{"a1.py", "revision = 'a1'\ndown_revision = None", lint.Alembic},
		{"1_x.go", "func init() { goose.AddMigrationContext(up, down) }", lint.Goose},
		{"env.py", "import os", lint.PlainSQL},
	} {
		if got := lint.Recognise(c.name, c.text); got != c.want {
			t.Errorf("%s %q: %s, want %s", c.name, c.text, got, c.want)
		}
	}
	for name, down := range map[string]bool{"1_x.down.sql": true, "1_x.up.sql": false, "U1__x.sql": true, "V1__x.sql": false} {
		if lint.IsDown(name) != down {
			t.Errorf("%s: down %v", name, !down)
		}
	}
}

// TestInOrder sorts as the tools do.
func TestInOrder(t *testing.T) {
	for _, want := range []string{
		"m/009_a.sql m/9_b.sql m/10_a.sql",
		"B1__base.sql V1__b.sql V1_1__a.sql V1.9__x.sql V1.10__x.sql V2__x.sql R__a.sql R__b.sql",
	} {
		names := strings.Fields(want)
		slices.Reverse(names)
		lint.InOrder(names)
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestPrograms holds that what is no SQL is never taken for having no statements.
func TestPrograms(t *testing.T) {
	for name, text := range map[string]string{
		"1_x.rb":    "# a table\nclass X < ActiveRecord::Migration[7.1]\n  def change; end\nend\n",
		"0001_x.py": "\nclass Migration(migrations.Migration):\n    pass\n",
		"a1.py":     "revision = 'a1'\ndown_revision = None\n",
		"1_x.go":    "package m\nfunc init() { goose.AddMigration(up, down) }\n",
	} {
		src, err := lint.Recognise(name, text).Read(name, text, lint.Surroundings{})
		if err != nil {
			t.Fatal(err)
		}
		statements, err := lint.Run([]lint.Source{src}, lint.Options{})
		if err != nil || len(statements) != 1 {
			t.Fatalf("%s: %v %v", name, statements, err)
		}
		s := statements[0]
		if !s.Opaque || !s.Unread || len(s.Findings) != 1 || s.Findings[0].Rule != "cannot-see-inside" || s.Line != 2 {
			t.Errorf("%s: %+v", name, s)
		}
		if n := lint.Count(statements); n.Statements != 0 || n.Unseen != 1 || n.Risks != 1 {
			t.Errorf("%s: %+v", name, n)
		}
	}
	text := "# allclear: allow cannot-see-inside because it only fills an empty table\nclass X < ActiveRecord::Migration[7.1]\nend"
	src, err := lint.Rails.Read("x.rb", text, lint.Surroundings{})
	if err != nil {
		t.Fatal(err)
	}
	if got := rules(t, src, lint.Options{}); fmt.Sprint(got) != "[[]]" {
		t.Errorf("allowed: %v", got)
	}
}

// TestFlyway follows Flyway's documentation: transactions, its own configuration of a
// file, placeholders.
func TestFlyway(t *testing.T) {
	const concurrently = "CREATE INDEX CONCURRENTLY i ON a (v); -- one\n\ncreate unique\n index concurrently j ON b (v);"
	for name, c := range map[string]struct {
		text, conf string
		values     map[string]string
		one        bool
		want       string
	}{
		"one transaction":        {text: "ALTER TABLE a DROP v;", one: true, want: "ALTER TABLE a DROP v;"},
		"never in a transaction": {text: concurrently, want: concurrently},
		"mixed":                  {text: "SELECT 1; VACUUM a;", one: true, want: "SELECT 1; VACUUM a;"},
		"told not to":            {text: "SELECT 1;", conf: "# x\n\nexecuteInTransaction = false\n", want: "SELECT 1;"},
		"told to":                {text: "VACUUM a;", conf: "executeInTransaction=true", one: true, want: "VACUUM a;"},
		"placeholders":           {text: "SELECT '${a}' -- ${flyway:user}", values: map[string]string{"a": "x", "flyway:user": "me"}, one: true, want: "SELECT 'x' -- me"},
		"none replaced":          {text: "SELECT '${a}'", conf: "placeholderReplacement=false\nencoding=utf-8", one: true, want: "SELECT '${a}'"},
	} {
		t.Run(name, func(t *testing.T) {
			src, err := lint.Flyway.Read("V1__x.sql", c.text, lint.Surroundings{Values: c.values, Beside: beside("V1__x.sql.conf", c.conf)})
			if err != nil {
				t.Fatal(err)
			}
			if src.OneTransaction != c.one || src.Text != c.want || src.Messages != nil {
				t.Errorf("%+v", src)
			}
		})
	}
}

func beside(name, text string) func(string) (string, bool, error) {
	return func(asked string) (string, bool, error) { return text, asked == name && text != "", nil }
}

// TestRefused names the place where a framework would refuse a file, or where it
// cannot be told what it would do.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		framework        lint.Framework
		text, conf, want string
	}{
		{lint.Flyway, "SELECT 1;\nSELECT '${b}';", "", "m.sql:2:9: there is no value for ${b}"},
		{lint.Flyway, "SELECT 1;", "executeInTransaction=maybe", "m.sql.conf:1:1: want true or false"},
		{lint.Flyway, "SELECT 1;", "# x\nmixed=true", "m.sql.conf:2:1: there is no such setting for one file"},
		{lint.Flyway, "SELECT 1;", "x", "m.sql.conf:1:1: want NAME=VALUE"},
		{lint.Flyway, "SELECT 1;", "encoding=latin1", "m.sql:1:1: its encoding is latin1"},
		{lint.Flyway, "SELEC 1;", "", `m.sql:1:1: syntax error at or near "SELEC"`},
		{lint.Goose, "SELECT 1;", "", "m.sql:1:1: goose wants -- +goose Up before anything else"},
		{lint.Goose, "-- only a comment", "", "m.sql:1:1: goose wants -- +goose Up before anything else"},
		{lint.Goose, "-- +goose Up\nSELECT 1", "", "m.sql:2:1: goose wants a semicolon at the end"},
		{lint.Goose, "-- +goose Up\nSELECT 1\n-- +goose Down", "", "m.sql:2:1: goose wants a semicolon at the end"},
		{lint.Goose, "-- +goose Up\n-- +goose StatementBegin\nSELECT 1;", "", "m.sql:3:10: goose wants -- +goose StatementEnd"},
		{lint.Goose, "-- +goose Up\n-- +goose Up", "", `m.sql:2:1: goose does not take "-- +goose Up" here`},
		{lint.Goose, "-- +goose Down\n-- +goose Up", "", `m.sql:1:1: goose does not take "-- +goose Down" here`},
		{lint.Goose, "-- +goose Up\n-- +goose NO TRANSACTIONS", "", `m.sql:2:1: goose does not take "-- +goose NO TRANSACTIONS" here`},
		{lint.Goose, "-- +goose Up\n  -- +goose StatementBegin", "", "m.sql:2:1: goose does not take an annotation behind white space"},
		{lint.Goose, "-- +goose Up\n-- +goose ENVSUB ON\nSELECT '${X:-y}', '$Z';", "", "m.sql:3:20: there is no value for $Z"},
		{lint.Goose, "-- +goose Up\nCREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN\n  RETURN 1;\nEND $$;", "", "m.sql:2:53: unterminated dollar-quoted string"},
		{lint.Rails, "   (0.3ms)  SELECT 1\n  Order Load! (0.3ms)  SELECT 2", "", "m.sql:2:9: syntax error"},
		{lint.Rails, "!  (0.3ms)  SELECT 1", "", "m.sql:1:1: this is not an entry of ActiveRecord's log"},
	} {
		src, err := c.framework.Read("m.sql", c.text, lint.Surroundings{Beside: beside("m.sql.conf", c.conf)})
		if err == nil {
			_, err = lint.Run([]lint.Source{src}, lint.Options{})
		}
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s %q: %v, want %s", c.framework, c.text, err, c.want)
		}
	}
	broken := errors.New("disk on fire")
	_, err := lint.Flyway.Read("m.sql", "SELECT 1", lint.Surroundings{Beside: func(string) (string, bool, error) { return "", false, broken }})
	if !errors.Is(err, broken) {
		t.Errorf("a configuration that cannot be read: %v", err)
	}
}

// TestValues puts values in where goose is told to, and nowhere else.
func TestValues(t *testing.T) {
	text := "-- +goose Up\nSELECT '$a';\n-- +goose ENVSUB ON\nSELECT '$a ${a} ${b:-two}';\n-- +goose ENVSUB OFF\nSELECT '${a}';\n"
	src, err := lint.Goose.Read("m.sql", text, lint.Surroundings{Values: map[string]string{"a": "longer than before"}})
	if err != nil {
		t.Fatal(err)
	}
	statements, err := lint.Run([]lint.Source{src}, lint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range statements {
		got = append(got, fmt.Sprint(s.Line, " ", s.Text))
	}
	if want := []string{"2 SELECT '$a'", "4 SELECT 'longer than before longer than before two'", "6 SELECT '${a}'"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestMessages holds PostgreSQL's rules for several statements in one message.
func TestMessages(t *testing.T) {
	migrate := func(text string) lint.Source { return lint.Source{Text: text, Messages: []int{len(text)}} }
	for text, want := range map[string]string{
		"CREATE INDEX CONCURRENTLY i ON a (v)":                                   "[[]]",
		"SET lock_timeout = 0; CREATE INDEX CONCURRENTLY i ON a (v)":             "[[] [idx-conc-in-tx]]",
		"SET lock_timeout = '1s'; BEGIN; ALTER TABLE a ADD w text; COMMIT":       "[[] [] [] []]",
		"BEGIN; SELECT 1; BEGIN; COMMIT":                                         "[[] [] [tx-nesting] []]",
		"BEGIN; SELECT 1; COMMIT; CREATE INDEX CONCURRENTLY i ON a (v)":          "[[] [] [] [idx-conc-in-tx]]",
		"SET lock_timeout='1s'; ALTER TABLE a ADD w text; CREATE INDEX ON b (v)": "[[] [] [idx-create lock-held]]",
	} {
		if got := fmt.Sprint(rules(t, migrate(text), lint.Options{Schema: []lint.Source{{Name: "s", Text: schema}}})); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// FuzzFrameworks holds that any text is read or refused: places stay inside the text,
// and nothing of what is sent is lost.
func FuzzFrameworks(f *testing.F) {
	for _, name := range []string{"goose.txt", "golang-migrate.txt", "rails.txt"} {
		f.Add(file(f, name))
	}
	f.Add("-- +goose Up\n-- +goose ENVSUB ON\nSELECT '${a:-b} $c $$';\n-- +goose StatementBegin\nx\n-- +goose StatementEnd\n-- +goose Down\n")
	f.Add("D, [x #1] DEBUG -- :   \x1b[1mA Load (0.1ms)\x1b[0m  SELECT 1  [[\"a\", 1]]\nmore\n")
	f.Add("--\n-- MIGRATION NOW PERFORMS OPERATION THAT CANNOT BE WRITTEN AS SQL:\n-- Raw Python operation\n")
	f.Fuzz(func(t *testing.T, text string) {
		lint.Recognise("m.sql", text)
		lint.RailsVersions(text)
		for _, framework := range []lint.Framework{lint.Goose, lint.GolangMigrate, lint.Rails, lint.Django, lint.Alembic} {
			src, err := framework.Read("m.sql", text, lint.Surroundings{Values: map[string]string{"a": "v"}})
			if err != nil {
				continue
			}
			last := 0
			for _, end := range src.Messages {
				if end < last || end > len(src.Text) {
					t.Fatalf("%s: messages %v of %d bytes", framework, src.Messages, len(src.Text))
				}
				last = end
			}
			for _, u := range src.Unseen {
				if u.At < 0 || u.At > len(src.Text) || u.What == "" {
					t.Fatalf("%s: %+v", framework, u)
				}
			}
		}
	})
}
