package lint

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// Framework is the tool that migrations are written for.
type Framework string

// The frameworks. Alembic and Django are read in the SQL that they print (upgrade
// --sql, sqlmigrate), Rails in its log of a run; their own files are programs.
const (
	PlainSQL      Framework = "sql"
	GolangMigrate Framework = "golang-migrate"
	Goose         Framework = "goose"
	Flyway        Framework = "flyway"
	Alembic       Framework = "alembic"
	Django        Framework = "django"
	Rails         Framework = "rails"
)

// Surroundings are what a framework looks at beside a file.
type Surroundings struct {
	// Values are put in for placeholders, by name.
	Values map[string]string
	// Beside gives the text of a file and whether it is there; nil means that there is
	// none.
	Beside func(name string) (string, bool, error)
}

// Recognise tells by its name and text which framework a file is for; PlainSQL when
// there is no sign of any.
func Recognise(name, text string) Framework {
	base := path.Base(name)
	is := func(pattern, in string) bool { return regexp.MustCompile(pattern).MatchString(in) }
	switch path.Ext(base) {
	case ".rb", ".py", ".go":
		if _, framework := program(text); framework != "" {
			return framework
		}
		return PlainSQL
	}
	switch {
	case is(`(?m)^--[ \t]*\+goose[ \t]+Up\b`, text):
		return Goose
	case is(`^\d+_.*\.(up|down)\.sql$`, base):
		return GolangMigrate
	case flywayName().MatchString(base):
		return Flyway
	case is(`(?m)^-- Running upgrade `, text):
		return Alembic
	case cannotBeSQL().MatchString(text):
		return Django
	case isLog(text):
		return Rails
	}
	return PlainSQL
}

// Read reads a file as the framework does: what of it is sent, in which messages
// and in which transaction. The error is a *diag.Problem where the framework would
// refuse the file.
func (f Framework) Read(name, text string, around Surroundings) (Source, error) {
	if unseen, of := program(text); of != "" && slices.Contains([]string{".rb", ".py", ".go"}, path.Ext(name)) {
		return Source{Name: name, Text: text, Messages: []int{}, Unseen: []Unseen{unseen}}, nil
	}
	switch f {
	case Goose:
		return readGoose(name, text, around.Values)
	case GolangMigrate:
		// The whole file is one message (database/pgx/v5: runStatement).
		return Source{Name: name, Text: text, Messages: []int{len(text)}}, nil
	case Flyway:
		return readFlyway(name, text, around)
	case Django:
		return readDjango(name, text), nil
	case Rails:
		return readRails(name, text)
	}
	return Source{Name: name, Text: text}, nil
}

// program recognises a migration that is a program, and says how to show its SQL.
func program(text string) (Unseen, Framework) {
	for _, p := range []struct {
		framework              Framework
		pattern, what, instead string
	}{
		{Rails, `(?m)^class \S+ < ActiveRecord::Migration\b`, "a migration in Ruby", "give the SQL log of a run: bin/rails db:migrate on a scratch database, then log/development.log"},
		{Django, `(?m)^class Migration\(migrations\.Migration\)`, "a migration in Python", "give what it prints: python manage.py sqlmigrate APP NAME"},
		{Alembic, `(?m)^down_revision\b`, "a migration in Python", "give what it prints: alembic upgrade FROM:TO --sql"},
		{Goose, `\bgoose\.AddMigration\w*\(`, "a migration in Go", "write it in SQL, or rehearse it on a copy of the database"},
	} {
		if at := regexp.MustCompile(p.pattern).FindStringIndex(text); at != nil {
			return Unseen{At: at[0], What: p.what, Instead: p.instead}, p.framework
		}
	}
	return Unseen{}, ""
}

// blank replaces all but line ends by spaces, so that places stay.
func blank(text string) string {
	out := []byte(text)
	for i, b := range out {
		if b != '\n' && b != '\r' {
			out[i] = ' '
		}
	}
	return string(out)
}

// IsDown reports a file that takes a migration back.
func IsDown(name string) bool {
	base := path.Base(name)
	return strings.HasSuffix(base, ".down.sql") || strings.HasSuffix(base, "_down.sql") || strings.HasPrefix(base, "U") && strings.Contains(base, "__")
}
