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
	Presets []string         `param:"preset" doc:"ready-made questions about the whole database; integrity: those that show whether it is whole" default:"" enum:"integrity,indexes,constraints,triggers,matviews,identity,collations,checksums,leftovers,keys,foreign_key_indexes,duplicate_indexes,analyze,replication,sequences,partitions,rows,orphans,unique,amcheck,counts"`
	AtLeast map[string]int   `param:"at_least" doc:"least number of rows by table" default:""`
	Compare string           `param:"compare" doc:"before: take down what is there; after: compare with that; other: compare with another database" default:"" enum:"before,after,other"`
	Of      []string         `param:"of" doc:"what compare is about" default:"counts" enum:"counts,digests,columns,schema,access"`
	Other   secret.Ref       `param:"other" doc:"address of the database that this one must equal (compare: other)" default:""`
	Counts  check.Expression `param:"counts" doc:"what must hold for each table's rows (compare)" default:"after >= before"`
	Delta   map[string]int   `param:"delta" doc:"by table (schema.name), exactly how many rows more (compare)" default:""`
	Schema  string           `param:"schema" doc:"the SHA-256 that the schema must have, or at least 12 digits of its beginning" default:""`
	Tables  []string         `param:"tables" doc:"the only tables that compare and the presets that read rows look at, with their partitions" default:""`
	Ignore  []string         `param:"ignore" doc:"tables (schema.name) and what presets find, as they name it, to leave out" default:""`
	Timeout time.Duration    `param:"statement_timeout" doc:"longest time for one query or lock" default:"30s"`
	limits
}

// limits are the presets' thresholds.
type limits struct {
	SequenceUsed check.Share   `param:"sequence_used" doc:"part of a sequence's values that may be gone (sequences)" default:"70%"`
	Dead         check.Share   `param:"dead_rows" doc:"part of a table's rows that may be dead (analyze)" default:"20%"`
	Idle         time.Duration `param:"idle" doc:"how long a session may be idle in a transaction (leftovers)" default:"1m"`
	Applications []string      `param:"applications" doc:"application names that must have no lock any more (leftovers)" default:""`
	Lag          time.Duration `param:"lag" doc:"how far a replica may be behind (replication)" default:"30s"`
	SlotWAL      check.Size    `param:"slot_wal" doc:"log that a slot may keep (replication)" default:"10GiB"`
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
	switch {
	case len(p.Queries) == 0 && len(p.Presets) == 0 && len(p.AtLeast) == 0 && p.Compare == "" && p.Schema == "":
		return errors.New("queries, preset, at_least, compare or schema: nothing is asked")
	case p.Timeout <= 0:
		return errors.New("statement_timeout: want more than 0s")
	case p.Compare == wayOther && p.Other.IsZero():
		return errors.New("other: compare: other needs the address of the other database")
	case p.Compare != wayOther && !p.Other.IsZero():
		return errors.New("other: only compare: other has another database")
	case p.Compare != "" && len(p.Of) == 0:
		return errors.New("of: nothing is compared")
	case len(p.Delta) > 0 && !slices.Contains(p.Of, ofCounts):
		return errors.New("delta: it is about counts, which of leaves out")
	case p.Schema != "" && (len(p.Schema) < minSchema || len(p.Schema) > 64 || strings.Trim(p.Schema, "0123456789abcdef") != ""):
		return fmt.Errorf("schema: want %d to 64 digits of a SHA-256 in lower case", minSchema)
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
	var does []string
	if n := len(p.Queries) + len(p.Presets) + len(p.AtLeast); n > 0 {
		does = append(does, fmt.Sprintf("asks the database %d questions", n))
	}
	switch of := strings.Join(p.Of, ", "); p.Compare {
	case wayBefore:
		does = append(does, "takes down its "+of)
	case wayAfter:
		does = append(does, "compares its "+of+" with before")
	case wayOther:
		does = append(does, "compares its "+of+" with another database")
	}
	if p.Schema != "" {
		does = append(does, "compares its schema with what is expected")
	}
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Database, Target: p.DB.String(),
		Does: strings.Join(does, ", ") + " in a read-only transaction",
	}
}

// answers collects what was found.
type answers struct {
	database string
	now      func() time.Time
	sleep    func(context.Context, time.Duration) error
	limits
	ignore []string
	// oids and otherOids are the tables that the checklist names, by their numbers in
	// this database's catalog and the other's.
	oids, otherOids string
	asked           int
	wrong           []string
	// left is what was found and ignored; skipped, what this server cannot answer.
	left, skipped []string
	facts         map[string]string
	tables        []table          // listed once
	rows          map[string]int64 // counted once
}

func (a *answers) note(ok bool, format string, args ...any) {
	a.asked++
	if !ok {
		a.wrong = append(a.wrong, fmt.Sprintf(format, args...))
	}
}

// Run asks everything in one read-only transaction that sees one instant.
func (p *questions) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	c, server, err := p.open(ctx, env, p.DB, "db")
	if err != nil {
		return check.Outcome{}, err
	}
	defer c.Close()
	a := &answers{database: server.Name(), now: env.Now, sleep: env.Sleep, limits: p.limits, ignore: p.Ignore, facts: map[string]string{}}
	sets, err := p.all(ctx, env, c, a)
	if err != nil {
		return check.Outcome{}, err
	}
	if a.asked == 0 {
		return check.Outcome{}, errors.New("nothing was asked: every table is ignored")
	}
	o := check.Passf("%d of %d questions are answered as expected", a.asked, a.asked)
	if len(a.skipped) > 0 {
		o.Reason += "; not asked: " + strings.Join(a.skipped, ", ")
	}
	if len(a.wrong) > 0 {
		o = check.Failf("%s", postgres.Shorten(a.wrong, 5))
	}
	for name, list := range map[string][]string{"ignored": a.left, "not asked": a.skipped} {
		if len(list) > 0 {
			a.facts[name] = strings.Join(list, ", ")
		}
	}
	o.Target, o.Facts, o.Sets = server.Name(), a.facts, sets
	return o, nil
}

// open starts a session whose one transaction only reads.
func (p *questions) open(ctx context.Context, env *check.Env, ref secret.Ref, what string) (*postgres.Conn, *postgres.Server, error) {
	if ref.IsZero() {
		return nil, nil, &check.NotSupplied{What: "the database's address (" + what + ")"}
	}
	address, err := env.Secret(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	server, err := postgres.Parse(address, env.Dial)
	if err != nil {
		return nil, nil, err
	}
	c, err := server.Open(ctx, postgres.Options{ReadOnly: true, StatementTimeout: p.Timeout, LockTimeout: p.Timeout})
	if err != nil {
		return nil, nil, err
	}
	if _, err = c.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err == nil {
		// Rows that a policy hides would count as rows that are not there.
		_, err = c.Exec(ctx, "SET LOCAL row_security = off")
	}
	if err != nil {
		c.Close()
		return nil, nil, fmt.Errorf("begin to read: %w", err)
	}
	return c, server, nil
}

// all asks what was asked for. What reads the schema comes last: it changes how
// names are written.
func (p *questions) all(ctx context.Context, env *check.Env, c *postgres.Conn, a *answers) (map[string]string, error) {
	for i, q := range p.Queries {
		if err := q.ask(ctx, c, a, i); err != nil {
			return nil, fmt.Errorf("%s: %w", q.title(), err)
		}
	}
	var err error
	if a.oids, err = oidsOf(ctx, c, p.Tables); err != nil {
		return nil, err
	}
	if err := p.ask(ctx, c, a); err != nil {
		return nil, err
	}
	if err := p.atLeast(ctx, c, a); err != nil {
		return nil, err
	}
	var sets map[string]string
	if p.Compare != "" {
		if sets, err = p.compare(ctx, env, c, a); err != nil {
			return nil, err
		}
	}
	return sets, p.wantSchema(ctx, c, a)
}

// compare takes down what is there, or compares it with what was taken down or
// with another database.
func (p *questions) compare(ctx context.Context, env *check.Env, c *postgres.Conn, a *answers) (map[string]string, error) {
	w := &comparison{questions: p, env: env, c: c, a: a, sets: map[string]string{}}
	if p.Compare == wayOther {
		other, server, err := p.open(ctx, env, p.Other, "other")
		if err != nil {
			return nil, fmt.Errorf("the other database: %w", err)
		}
		defer other.Close()
		a.facts["other"], w.other = server.Name(), other
		if a.otherOids, err = oidsOf(ctx, other, p.Tables); err != nil {
			return nil, fmt.Errorf("the other database: %w", err)
		}
	}
	return w.sets, w.run(ctx)
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
