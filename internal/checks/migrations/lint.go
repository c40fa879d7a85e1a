package migrations

import (
	"context"
	_ "embed" // for the type's page
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/lint"
	"allclear.dev/allclear/internal/secret"
)

//go:embed lint.md
var lintDoc string

// Lint is the type migrations.lint.
var Lint = check.Define[linting](check.Desc{
	Name:    "migrations.lint",
	Summary: "the SQL of the migrations blocks nobody, and nothing in it is hidden",
	Doc:     lintDoc,
})

type linting struct {
	Tool             string                `param:"tool" doc:"who runs the migrations, and so how they are read" default:"sql" enum:"sql,golang-migrate,goose,flyway,alembic,django,rails"`
	Dir              string                `param:"dir" doc:"folder of the migrations (alembic, django: where their program runs); left out, the tool's usual one" default:""`
	Files            []string              `param:"files" doc:"read only these files (patterns); for rails the logs of a run" default:""`
	Command          []check.Arg           `param:"command" doc:"how alembic or manage.py is called; for the other tools a program that prints the SQL" default:""`
	Env              map[string]string     `param:"env" doc:"environment variables for the program" default:""`
	SecretEnv        map[string]secret.Ref `param:"secret_env" doc:"environment variables whose values are secrets" default:""`
	Values           map[string]string     `param:"values" doc:"values for the placeholders of flyway and goose" default:""`
	DB               secret.Ref            `param:"db" doc:"the database's address: what exists, how large it is, what is applied" default:""`
	Table            string                `param:"table" doc:"the version table; left out, the tool's usual one" default:""`
	Schema           []string              `param:"schema" doc:"instead of db: SQL files of what exists before" default:""`
	PG               int                   `param:"pg" doc:"PostgreSQL's major version where no db tells it" default:"15"`
	FailOn           string                `param:"fail_on" doc:"a finding fails from this level on" default:"hazard" enum:"hazard,risk,style"`
	Rules            []string              `param:"rules" doc:"look for these rules only; each of their findings fails" default:""`
	Ack              []acknowledgement     `param:"ack" doc:"findings that may be" default:""`
	StatementTimeout time.Duration         `param:"statement_timeout" doc:"longest time for one query" default:"10s"`
}

// acknowledgement lets the findings of a rule in a file be, for a reason.
type acknowledgement struct {
	Rule   string `param:"rule" doc:"the rule"`
	File   string `param:"file" doc:"the file, with or without its folder; for django app.name"`
	Reason string `param:"reason" doc:"why it may be"`
}

// Validate refuses rules that do not exist and settings that exclude each other.
func (p *linting) Validate() error {
	for _, rule := range p.named() {
		if !slices.Contains(lint.Rules(), rule) {
			return fmt.Errorf("there is no rule %q", rule)
		}
	}
	for _, a := range p.Ack {
		if strings.TrimSpace(a.Reason) == "" || a.File == "" {
			return errors.New("ack: file and reason must say something")
		}
	}
	switch {
	case !p.DB.IsZero() && len(p.Schema) > 0:
		return errors.New("db and schema exclude each other")
	case p.PG < lint.MinVersion || p.PG > lint.MaxVersion:
		return fmt.Errorf("pg: want %d to %d, got %d", lint.MinVersion, lint.MaxVersion, p.PG)
	case p.prints() && len(p.Files) > 0:
		return fmt.Errorf("files: %s prints its SQL", p.Tool)
	case len(p.Command) > 0 && len(p.Files) > 0:
		return errors.New("command and files exclude each other")
	case p.Tool == "rails" && len(p.Command) > 0:
		return errors.New("command: for rails give the log of a run in files")
	}
	return nil
}

func (p *linting) named() []string {
	all := slices.Clone(p.Rules)
	for _, a := range p.Ack {
		all = append(all, a.Rule)
	}
	return all
}

// prints tells that the tool's migrations are programs that print SQL.
func (p *linting) prints() bool { return p.Tool == "alembic" || p.Tool == "django" }

// dir is the folder of the migrations.
func (p *linting) dir() string {
	switch {
	case p.Dir != "":
		return strings.TrimSuffix(p.Dir, "/")
	case p.prints():
		return ""
	case p.Tool == "rails":
		return "db/migrate"
	}
	return "migrations"
}

// Traits tells what is read.
func (p *linting) Traits() check.Traits {
	t := check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec, Target: p.dir()}
	if !p.DB.IsZero() {
		t.Pool = check.Database
	}
	if t.Target == "" {
		t.Target = p.Tool
	}
	t.Does = fmt.Sprintf("reads the migrations of %s (%s) for locks, scans, rewrites and losses", t.Target, p.Tool)
	return t
}

// world is what is known about the database.
type world struct {
	opts lint.Options
	// done are the migrations that are applied; nil means that nobody was asked.
	done   *applied
	server *postgres.Server
}

// Run reads what is pending and looks at it.
func (p *linting) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	w, err := p.look(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	r, err := p.gather(ctx, env, w.done)
	if err != nil {
		return check.Outcome{}, p.told(env, err)
	}
	if len(r.sources) == 0 {
		return p.nothing(w, r)
	}
	statements, err := lint.Run(r.sources, w.opts)
	if err != nil {
		return check.Outcome{}, p.told(env, err)
	}
	if err := ctx.Err(); err != nil {
		return check.Outcome{}, fmt.Errorf("read the migrations: %w", context.Cause(ctx))
	}
	o, err := p.judge(env, r, statements)
	if w.server != nil {
		o.Target = w.server.Name()
	}
	o.Facts["postgresql"] = fmt.Sprint(w.opts.Version)
	return o, err
}

// nothing is the outcome when no SQL is left to look at: only a version table can
// show that there is none.
func (p *linting) nothing(w world, r reading) (check.Outcome, error) {
	if r.all == 0 {
		return check.Outcome{}, fmt.Errorf("no migrations in %s", p.where())
	}
	if w.done == nil {
		return check.Outcome{}, fmt.Errorf("no migrations are pending by %s; without db no version table shows it", p.where())
	}
	o := check.Passf("nothing pending: %s", w.done.proof(p.Tool, r.all))
	o.Target = w.server.Name()
	o.Facts = map[string]string{"pending": "0", "applied": w.done.proof(p.Tool, r.all)}
	o.Sets = setsOf(lint.Totals{}, 0)
	return o, nil
}

// where says where the migrations are.
func (p *linting) where() string {
	switch {
	case len(p.Files) > 0:
		return strings.Join(p.Files, " ")
	case p.dir() == "":
		return "what " + p.Tool + " prints"
	}
	return p.dir()
}

// look reads what exists: from the database, or from files.
func (p *linting) look(ctx context.Context, env *check.Env) (world, error) {
	w := world{opts: lint.Options{Version: p.PG}}
	if p.DB.IsZero() {
		host, err := env.Host("")
		if err != nil {
			return w, err
		}
		for _, name := range p.Schema {
			text, err := host.ReadFile(ctx, name, maxFile)
			if err != nil {
				return w, fmt.Errorf("read the schema: %w", err)
			}
			w.opts.Schema = append(w.opts.Schema, lint.Source{Name: name, Text: string(text)})
		}
		return w, nil
	}
	var err error
	if w.server, err = (&source{DB: p.DB}).server(ctx, env); err != nil {
		return w, err
	}
	c, err := w.server.Open(ctx, postgres.Options{ReadOnly: true, StatementTimeout: p.StatementTimeout, LockTimeout: p.StatementTimeout})
	if err != nil {
		return w, err
	}
	defer c.Close()
	if w.done, err = p.readApplied(ctx, c); err != nil { // before the search path changes
		return w, err
	}
	if w.opts.Version, err = c.Major(ctx); err != nil {
		return w, err
	}
	definition, err := c.Definition(ctx)
	if err != nil {
		return w, err
	}
	w.opts.Schema = []lint.Source{{Name: w.server.Name(), Text: definition.SQL}}
	w.opts.Sizes, w.opts.TimeZone = definition.Sizes, definition.TimeZone
	return w, nil
}
