// Package sql holds the type sql: questions to a PostgreSQL database that cannot
// change it.
package sql

import (
	"context"
	_ "embed" // for the type's page
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/secret"
)

//go:embed sql.md
var doc string

// maxRows bounds the rows of one query.
const maxRows = 10_000

// SQL is the type sql.
var SQL = check.Define[questions](check.Desc{
	Name:    "sql",
	Summary: "every question to the database has the expected answer",
	Doc:     doc,
})

type questions struct {
	DB      secret.Ref       `param:"db" doc:"the database's address" default:"${env.database}"`
	Queries []query          `param:"queries" doc:"questions in SQL with the expected answer" default:""`
	Presets []string         `param:"preset" doc:"ready-made questions about the whole database" default:"" enum:"orphans,indexes,constraints,sequences,counts"`
	AtLeast map[string]int   `param:"at_least" doc:"least number of rows by table" default:""`
	Compare string           `param:"compare" doc:"before: count every table's rows; after: count again and compare" default:"" enum:"before,after"`
	Counts  check.Expression `param:"counts" doc:"what must hold for each table's rows (compare: after)" default:"after >= before"`
	Ignore  []string         `param:"ignore" doc:"tables (schema.name) that compare leaves out" default:""`
	Timeout time.Duration    `param:"statement_timeout" doc:"longest time for one query or lock" default:"30s"`
}

type query struct {
	SQL    string           `param:"sql,short" doc:"one statement that reads"`
	Name   string           `param:"name" doc:"what is asked, for people" default:""`
	Expect check.Expression `param:"expect" doc:"what must hold for rows, value (of a single answer) or columns (of a single row)" default:"rows == 0"`
	Null   bool             `param:"null" doc:"NULL is a possible answer" default:"false"`
}

func (q query) title() string {
	if q.Name != "" {
		return q.Name
	}
	return strings.Join(strings.Fields(q.SQL), " ")
}

// Validate holds the rules between parameters.
func (p *questions) Validate() error {
	if len(p.Queries) == 0 && len(p.Presets) == 0 && len(p.AtLeast) == 0 && p.Compare == "" {
		return errors.New("queries, preset, at_least or compare: nothing is asked")
	}
	if p.Timeout <= 0 {
		return errors.New("statement_timeout: want more than 0s")
	}
	for _, q := range p.Queries {
		if strings.TrimSpace(q.SQL) == "" {
			return errors.New("queries: an empty sql")
		}
		if err := q.Expect.Only("rows", "value", "columns"); err != nil {
			return fmt.Errorf("expect: %w", err)
		}
	}
	if err := p.Counts.Only("table", "before", "after"); err != nil {
		return fmt.Errorf("counts: %w", err)
	}
	return nil
}

// Traits tells what is read.
func (p *questions) Traits() check.Traits {
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Database, Target: p.DB.String(),
		Does: fmt.Sprintf("asks the database %d questions in a read-only transaction", len(p.Queries)+len(p.Presets)+len(p.AtLeast)),
	}
}

// answers collects what was found.
type answers struct {
	database string
	asked    int
	wrong    []string
	facts    map[string]string
	counts   []postgres.TableDigest // read once
}

// countsFact keeps the rows of every table for the comparison afterwards, of each
// database by itself.
func (a *answers) countsFact() string { return "sql.counts." + a.database }

func (a *answers) note(ok bool, format string, args ...any) {
	a.asked++
	if !ok {
		a.wrong = append(a.wrong, fmt.Sprintf(format, args...))
	}
}

// Run asks everything in one read-only transaction that sees one instant.
func (p *questions) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	if p.DB.IsZero() {
		return check.Outcome{}, &check.NotSupplied{What: "the database's address (db)"}
	}
	address, err := env.Secret(ctx, p.DB)
	if err != nil {
		return check.Outcome{}, err
	}
	server, err := postgres.Parse(address, env.Dial)
	if err != nil {
		return check.Outcome{}, err
	}
	c, err := server.Open(ctx, postgres.Options{ReadOnly: true, StatementTimeout: p.Timeout, LockTimeout: p.Timeout})
	if err != nil {
		return check.Outcome{}, err
	}
	defer c.Close()
	if _, err := c.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		return check.Outcome{}, fmt.Errorf("begin: %w", err)
	}
	// Rows that a policy hides would count as rows that are not there.
	if _, err := c.Exec(ctx, "SET LOCAL row_security = off"); err != nil {
		return check.Outcome{}, fmt.Errorf("refuse row security: %w", err)
	}
	a := &answers{database: server.Name(), facts: map[string]string{}}
	sets, err := p.all(ctx, env, c, a)
	if err != nil {
		return check.Outcome{}, err
	}
	if a.asked == 0 {
		return check.Outcome{}, errors.New("nothing was asked: every table is ignored")
	}
	o := check.Passf("%d of %d questions are answered as expected", a.asked, a.asked)
	if len(a.wrong) > 0 {
		o = check.Failf("%s", postgres.Shorten(a.wrong, 5))
	}
	o.Target, o.Facts, o.Sets = server.Name(), a.facts, sets
	return o, nil
}

func (p *questions) all(ctx context.Context, env *check.Env, c *postgres.Conn, a *answers) (map[string]string, error) {
	for i, q := range p.Queries {
		if err := q.ask(ctx, c, a, i); err != nil {
			return nil, fmt.Errorf("%s: %w", q.title(), err)
		}
	}
	for _, preset := range p.Presets {
		if err := ask(ctx, c, a, preset); err != nil {
			return nil, fmt.Errorf("preset %s: %w", preset, err)
		}
	}
	if err := p.atLeast(ctx, c, a); err != nil {
		return nil, err
	}
	return p.compare(ctx, env, c, a)
}

// ask runs one query and decides.
func (q query) ask(ctx context.Context, c *postgres.Conn, a *answers, i int) error {
	t, err := c.Query(ctx, maxRows, q.SQL)
	if err != nil {
		return err
	}
	if !c.InTransaction() {
		return errors.New("it ended the read-only transaction: ask with SELECT only")
	}
	if t.More {
		return fmt.Errorf("more than %d rows: let the query count them", maxRows)
	}
	if len(t.Columns) == 0 {
		return errors.New("it gives no answer: ask with SELECT")
	}
	vars := map[string]any{"rows": len(t.Rows)}
	saw := fmt.Sprintf("rows = %d", len(t.Rows))
	names := q.Expect.Names()
	if slices.Contains(names, "value") {
		if len(t.Rows) != 1 || len(t.Columns) != 1 {
			return fmt.Errorf("want one value, got %d rows of %d columns", len(t.Rows), len(t.Columns))
		}
		v, err := q.read(t.Columns[0], t.Rows[0][0])
		if err != nil {
			return err
		}
		vars["value"], saw = v, "value = "+show(v)
	}
	if slices.Contains(names, "columns") {
		if vars["columns"], err = q.columns(t); err != nil {
			return err
		}
	}
	ok, err := q.Expect.Eval(vars)
	if err != nil {
		return err
	}
	a.note(ok, "%s: %s, want %s", q.title(), saw, q.Expect)
	a.facts[fmt.Sprintf("query %d", i+1)] = saw
	return nil
}

// columns gives the single row's values by name.
func (q query) columns(t postgres.Table) (map[string]any, error) {
	if len(t.Rows) != 1 {
		return nil, fmt.Errorf("want one row, got %d", len(t.Rows))
	}
	out := map[string]any{}
	for i, column := range t.Columns {
		if _, twice := out[column.Name]; twice {
			return nil, fmt.Errorf("two columns are called %s", column.Name)
		}
		v, err := q.read(column, t.Rows[0][i])
		if err != nil {
			return nil, err
		}
		out[column.Name] = v
	}
	return out, nil
}

// The numbers of types in pg_type that are not read as text.
const (
	typeBool    = 16
	typeInt8    = 20
	typeInt2    = 21
	typeInt4    = 23
	typeFloat4  = 700
	typeFloat8  = 701
	typeNumeric = 1700
)

// read turns a cell into a value for an expression.
func (q query) read(column postgres.Column, cell postgres.Cell) (any, error) {
	if cell.Null {
		if !q.Null {
			return nil, fmt.Errorf("column %s is NULL (null: true, if that is an answer)", column.Name)
		}
		return nil, nil
	}
	switch column.Type {
	case typeBool:
		return cell.Text == "t", nil
	case typeInt2, typeInt4, typeInt8, typeNumeric:
		if n, err := strconv.Atoi(cell.Text); err == nil {
			return n, nil
		}
		if strings.Trim(cell.Text, "-0123456789") == "" {
			return cell.Text, nil // too long for a number, which would equal its neighbours
		}
		fallthrough
	case typeFloat4, typeFloat8:
		f, err := strconv.ParseFloat(cell.Text, 64)
		if err != nil {
			return nil, fmt.Errorf("column %s: %q is not a number", column.Name, cell.Text)
		}
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("column %s is %s", column.Name, cell.Text)
		}
		return f, nil
	}
	return cell.Text, nil
}

// show writes a value for the record: numbers and truths, but of a text, which
// may be anybody's name, only the length.
func show(v any) string {
	if text, ok := v.(string); ok {
		return fmt.Sprintf("a text of %d bytes", len(text))
	}
	if v == nil {
		return "NULL"
	}
	return fmt.Sprint(v)
}
