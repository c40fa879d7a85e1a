package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"allclear.dev/allclear/internal/diag"
	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/lint"
	"allclear.dev/allclear/internal/results"
	"allclear.dev/allclear/internal/secret"
)

// lintFlags say what migrations are held against.
type lintFlags struct {
	schema      []string
	database    string
	version     int
	timezone    string
	transaction string
	values      []string
	format      string
	failOn      string
	json        bool
}

func lintCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{Use: "lint", Short: "look at migrations before they are applied", Args: cobra.NoArgs}
	cmd.AddCommand(lintMigrationsCommand(o))
	return cmd
}

func lintMigrationsCommand(o *options) *cobra.Command {
	var f lintFlags
	cmd := &cobra.Command{
		Use: "migrations FILE…", Short: "locks, scans, rewrites and losses of SQL migrations", Args: cobra.MinimumNArgs(1),
		Long: `lint migrations reads SQL with PostgreSQL's own grammar and tells, statement by
statement, which locks it takes, what is scanned, built or written again meanwhile,
what data is lost and what older code will miss, each with a safer way. It needs no
checklist and no configuration. With --schema or --database it knows what exists.

Files of golang-migrate, goose and Flyway are read as these run them. Of Alembic and
Django give what they print (upgrade --sql, sqlmigrate), of Rails the log of a run:
what a migration does in Python, Ruby or Go cannot be seen, and that is said.

  $ allclear lint migrations migrations/0132_add_region.up.sql --schema schema.sql
  $ allclear lint migrations migrations/ --database env:DATABASE_URL
  $ allclear lint migrations *.sql --format sarif > lint.sarif

A comment before a statement lets a finding be: -- allclear: allow RULE because REASON

EXIT STATUS
  0 nothing at or above --fail-on   1 something was found   2 not SQL, or usage
  4 no statement was read`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.lintMigrations(cmd.Context(), args, f) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.schema, "schema", nil, "`FILE` of SQL with what exists before (repeatable)")
	flags.StringVar(&f.database, "database", "", "read what exists from the database at `URL` (env:NAME and file:PATH too)")
	flags.IntVar(&f.version, "pg", lint.DefaultVersion, "PostgreSQL's major `VERSION`")
	flags.StringVar(&f.timezone, "timezone", "", "the server's `ZONE` (default: unknown, or the database's)")
	flags.StringVar(&f.transaction, "transaction", "auto", "`HOW` the tool runs a file: auto, file (as one transaction) or none")
	flags.StringArrayVar(&f.values, "set", nil, "`NAME=VALUE` for a placeholder of Flyway or goose (repeatable)")
	flags.StringVarP(&f.format, "format", "o", human, "write `FORMAT`: human, json, sarif, github")
	flags.StringVar(&f.failOn, "fail-on", "hazard", "end with 1 from this `LEVEL` on: hazard, risk, style")
	flags.BoolVar(&f.json, "json", false, "write JSON")
	return cmd
}

func (f *lintFlags) check() error {
	if f.json {
		f.format = "json"
	}
	for _, c := range []struct {
		name, value string
		allowed     []string
	}{
		{"--format", f.format, []string{human, "json", "sarif", "github"}},
		{"--transaction", f.transaction, []string{"auto", "file", "none"}},
		{"--fail-on", f.failOn, []string{string(lint.Hazard), string(lint.Risk), string(lint.Style)}},
	} {
		if !slices.Contains(c.allowed, c.value) {
			return fail(ExitUsage, "one of "+strings.Join(c.allowed, ", "), "%s: unknown value %q", c.name, c.value)
		}
	}
	return nil
}

func (o *options) lintMigrations(ctx context.Context, paths []string, f lintFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	files, err := o.migrationFiles(paths, f)
	if err != nil {
		return err
	}
	opts := lint.Options{Version: f.version, TimeZone: f.timezone}
	for _, path := range f.schema {
		text, err := os.ReadFile(o.path(path))
		if err != nil {
			return fail(ExitUsage, "", "read the schema: %v", err)
		}
		opts.Schema = append(opts.Schema, lint.Source{Name: path, Text: string(text)})
	}
	if f.database != "" {
		if err := o.askDatabase(ctx, f.database, &opts); err != nil {
			return err
		}
	}
	statements, err := lint.Run(files, opts)
	if err != nil {
		return unreadable(err)
	}
	if err := o.writeLint(statements, files, f.format); err != nil {
		return err
	}
	if lint.Count(statements).Statements == 0 {
		return fail(ExitInconclusive, "", "no statement was read: %s", strings.Join(paths, ", "))
	}
	if worst(statements) >= lint.Rank(lint.Level(f.failOn)) {
		return quiet(ExitFailed)
	}
	return nil
}

// unreadable is the end of a command that was given no SQL.
func unreadable(err error) error {
	if problem, ok := errors.AsType[*diag.Problem](err); ok {
		return diag.Problems{*problem}
	}
	return fail(ExitUsage, "", "read the migrations: %v", err)
}

// migrationFiles reads the files, and those of folders in their order, without
// those for going back.
func (o *options) migrationFiles(paths []string, f lintFlags) ([]lint.Source, error) {
	around := lint.Surroundings{Values: map[string]string{}, Beside: o.beside}
	for _, pair := range f.values {
		name, value, is := strings.Cut(pair, "=")
		if !is || name == "" {
			return nil, fail(ExitUsage, "NAME=VALUE", "--set: %q", pair)
		}
		around.Values[name] = value
	}
	names, err := o.migrationNames(paths)
	if err != nil {
		return nil, err
	}
	var files []lint.Source
	for _, name := range names {
		text, err := os.ReadFile(o.path(name.path))
		if err != nil {
			return nil, unreadable(err)
		}
		framework := lint.Recognise(name.path, string(text))
		if name.found && !strings.HasSuffix(name.path, ".sql") && framework == lint.PlainSQL {
			continue // a program that is no migration
		}
		src, err := framework.Read(name.path, string(text), around)
		if err != nil {
			return nil, unreadable(err)
		}
		if f.transaction != "auto" {
			src.OneTransaction, src.Messages = f.transaction == "file", nil
		}
		files = append(files, src)
	}
	return files, nil
}

// beside reads a file that a framework may want to see.
func (o *options) beside(name string) (string, bool, error) {
	text, err := os.ReadFile(o.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	return string(text), err == nil, err
}

// migrationName is a file to read; found in a folder, or named.
type migrationName struct {
	path  string
	found bool
}

func (o *options) migrationNames(paths []string) ([]migrationName, error) {
	var names []migrationName
	for _, path := range paths {
		info, err := os.Stat(o.path(path))
		switch {
		case err != nil:
			return nil, unreadable(err)
		case !info.IsDir():
			names = append(names, migrationName{path: path})
			continue
		}
		var inside []string
		root, err := filepath.EvalSymlinks(o.path(path)) // a folder may be given by a link
		if err != nil {
			return nil, unreadable(err)
		}
		err = filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() && slices.Contains([]string{".sql", ".py", ".rb", ".go"}, filepath.Ext(file)) && !lint.IsDown(file) {
				relative, relErr := filepath.Rel(root, file)
				inside, err = append(inside, filepath.Join(path, relative)), relErr
			}
			return err
		})
		if err != nil {
			return nil, unreadable(err)
		}
		lint.InOrder(inside)
		for _, file := range inside {
			names = append(names, migrationName{file, true})
		}
	}
	return names, nil
}

// askDatabase reads what exists. It changes nothing: the session is read-only.
func (o *options) askDatabase(ctx context.Context, address string, opts *lint.Options) error {
	value := secret.New(address)
	if !strings.Contains(address, "://") {
		ref, err := secret.ParseRef(address)
		if err != nil {
			return fail(ExitUsage, "a URL, or a reference like env:DATABASE_URL", "--database: %v", err)
		}
		resolver := &secret.Resolver{Redactor: secret.NewRedactor(nil), Dir: o.dir}
		if value, err = resolver.Resolve(ctx, ref); err != nil {
			return fail(ExitUsage, "", "--database: %v", err)
		}
	}
	server, err := postgres.Parse(value, (&net.Dialer{}).DialContext)
	if err != nil {
		return fail(ExitUsage, "", "--database: %v", err)
	}
	conn, err := server.Open(ctx, postgres.Options{ReadOnly: true})
	if err != nil {
		return fail(ExitInconclusive, "", "%v", err)
	}
	defer conn.Close()
	definition, err := conn.Definition(ctx)
	if err != nil {
		return fail(ExitInconclusive, "", "%s: %v", server.Name(), err)
	}
	if opts.Version, err = conn.Major(ctx); err != nil {
		return fail(ExitInconclusive, "", "%s: %v", server.Name(), err)
	}
	opts.Schema = append(opts.Schema, lint.Source{Name: server.Name(), Text: definition.SQL})
	opts.Sizes = definition.Sizes
	if opts.TimeZone == "" {
		opts.TimeZone = definition.TimeZone
	}
	return nil
}

// worst is the rank of the worst finding that nobody has allowed.
func worst(statements []lint.Statement) int {
	most := 0
	for _, s := range statements {
		for _, f := range s.Findings {
			if f.Allowed == "" {
				most = max(most, lint.Rank(f.Level))
			}
		}
	}
	return most
}

func (o *options) writeLint(statements []lint.Statement, files []lint.Source, format string) error {
	var text []byte
	var err error
	switch format {
	case "json":
		text, err = json.MarshalIndent(statements, "", "  ")
		text = append(text, '\n')
	case "sarif":
		var rules []results.Rule
		for _, rule := range lint.Rules() {
			rules = append(rules, results.Rule{ID: rule, Text: rule})
		}
		text, err = results.SARIF(rules, lintFindings(statements, files))
	case "github":
		text = results.GitHub(lintFindings(statements, files))
	default:
		return o.tellLint(statements, files)
	}
	if err != nil {
		return err
	}
	_, err = o.Out.Write(text)
	return err
}

// lintFindings are the findings that nobody has allowed, for other programs.
func lintFindings(statements []lint.Statement, files []lint.Source) []results.Finding {
	var out []results.Finding
	levels := map[diag.Severity]string{diag.Severity(lint.Hazard): "error", diag.Severity(lint.Risk): "warning", diag.Severity(lint.Style): "note"}
	for _, p := range lint.Problems(statements, files) {
		rule, message, _ := strings.Cut(p.Message, ": ")
		if p.Hint != "" {
			message += ". Safer: " + p.Hint
		}
		column := utf8.RuneCountInString(p.Line[:min(p.Pos.Col-1, len(p.Line))]) + 1
		out = append(out, results.Finding{Rule: rule, Level: levels[p.Severity], File: p.Pos.File, Line: p.Pos.Line, Column: column, Message: message})
	}
	return out
}

// tellLint tells people: each finding at its statement, and what was not found.
func (o *options) tellLint(statements []lint.Statement, files []lint.Source) error {
	if err := lint.Problems(statements, files).Write(o.Out); err != nil {
		return err
	}
	t := lint.Count(statements)
	_, err := fmt.Fprintf(o.Out, "%s: %s, %s, %s, %d allowed\n", plural(t.Statements, "statement"),
		plural(t.Hazards, "hazard"), plural(t.Risks, "risk"), plural(t.Remarks, "remark"), t.Allowed)
	return err
}
