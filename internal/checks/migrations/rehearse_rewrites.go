package migrations

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/lint"
	"allclear.dev/allclear/internal/postgres/rehearse"
	"allclear.dev/allclear/internal/postgres/trace"
	"allclear.dev/allclear/internal/postgres/wire"
	"allclear.dev/allclear/internal/secret"
)

// maxReplayed bounds how many statements are carried out again for a rewrite.
const maxReplayed = 2000

// rewrites are the ways around the hazards that were seen, carried out on a copy.
type rewrites struct {
	// Proven tells that all of them together leave the same structure and the same
	// number of rows, and that nobody would have waited for work; Why says what
	// stands against it.
	Proven bool      `json:"proven"`
	Why    string    `json:"why,omitempty"`
	List   []rewrite `json:"list"`
}

// rewrite is one statement and the steps that do the same.
type rewrite struct {
	Migration string   `json:"migration"`
	Statement string   `json:"statement"`
	Steps     []string `json:"steps"`
}

// replayed is a transaction of the traced pass, to be carried out again.
type replayed struct {
	step  string
	alone bool
	parts []replayedPart
}

// replayedPart is a statement, and the steps to take instead.
type replayedPart struct {
	sql   string
	steps []lint.Step
}

// rewrite looks for other ways to do what kept users waiting, and carries them out
// on a copy of its own before anybody is told of them.
func (s *stage) rewrite(ctx context.Context) (string, error) {
	hazards := 0
	for _, t := range s.report.traced {
		for _, tx := range t.done {
			for _, e := range tx.Events {
				if e.Hazard() {
					hazards++
				}
			}
		}
	}
	if hazards == 0 {
		return "", nil
	}
	c, err := s.clone(ctx)
	if err != nil {
		return "", err
	}
	plan, err := s.replay(ctx, c.Server)
	if err != nil {
		return "", err
	}
	r := &s.report.Rewrites
	switch {
	case r.Why != "":
	case len(r.List) == 0:
		r.Why = "no way to do it in place is known"
	default:
		if err := s.prove(ctx, c.Server, plan); err != nil {
			return "", err
		}
	}
	s.say("%s", r)
	return "", s.dropLast(ctx)
}

// String says how it went.
func (r *rewrites) String() string {
	if r.Proven {
		return fmt.Sprintf("%d statements can be written so that nobody waits: tried on a copy", len(r.List))
	}
	return "no other way to write what keeps users waiting: " + r.Why
}

// replay lists what the traced pass carried out, with steps in the place of hazards.
func (s *stage) replay(ctx context.Context, on *postgres.Server) ([]replayed, error) {
	var plan []replayed
	var sources []lint.Source
	total := 0
	for _, t := range s.report.traced {
		for _, tx := range t.done {
			one := replayed{step: t.step}
			var texts []string
			for _, e := range tx.Events {
				if e.Error != "" || e.Code != "" || strings.Contains(e.SQL, s.Table) || asksOnly(e) {
					continue
				}
				one.alone = one.alone || e.Alone
				one.parts = append(one.parts, replayedPart{sql: e.SQL})
				texts = append(texts, e.SQL+"\n;")
			}
			if len(texts) == 0 || !tx.Committed {
				continue
			}
			total += len(texts)
			plan = append(plan, one)
			sources = append(sources, lint.Source{Name: fmt.Sprintf("%s, transaction %d", t.step, len(plan)), Text: strings.Join(texts, "\n"), OneTransaction: !one.alone})
		}
	}
	if total > maxReplayed || s.report.Dropped > 0 {
		s.report.Rewrites.Why = fmt.Sprintf("the migrations have more than %d statements", maxReplayed)
		return nil, nil
	}
	return plan, s.findSteps(ctx, on, plan, sources)
}

// asksOnly reports a question with parameters, whose values are not known: a tool
// looks something up or sets up its session.
func asksOnly(e trace.Event) bool {
	return strings.Contains(e.SQL, "$1") && strings.HasPrefix(e.Tag, "SELECT")
}

// findSteps asks the linter for the steps of each statement that was a hazard.
func (s *stage) findSteps(ctx context.Context, on *postgres.Server, plan []replayed, sources []lint.Source) error {
	c, err := on.Open(ctx, postgres.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer c.Close()
	definition, err := c.Definition(ctx)
	if err != nil {
		return err
	}
	major, err := c.Major(ctx)
	if err != nil {
		return err
	}
	statements, err := lint.Run(sources, lint.Options{Version: major, Schema: []lint.Source{{Name: "copy", Text: definition.SQL}}, TimeZone: definition.TimeZone})
	if err != nil {
		s.report.Rewrites.Why = err.Error()
		return nil
	}
	i := 0
	for _, tx := range plan {
		for k := range tx.parts {
			if i >= len(statements) || statements[i].Text != strings.TrimRight(strings.TrimSpace(tx.parts[k].sql), "; \t\r\n") {
				s.report.Rewrites.Why = "the statements could not be told apart"
				return nil
			}
			if s.wasHazard(tx.step, tx.parts[k].sql) && len(statements[i].Steps) > 0 {
				tx.parts[k].steps = statements[i].Steps
				var texts []string
				for _, step := range statements[i].Steps {
					texts = append(texts, lint.Script([]lint.Step{step}))
				}
				s.report.Rewrites.List = append(s.report.Rewrites.List, rewrite{Migration: tx.step, Statement: statements[i].Text, Steps: texts})
			}
			i++
		}
	}
	return nil
}

func (s *stage) wasHazard(step, sql string) bool {
	for _, t := range s.report.traced {
		for _, tx := range t.done {
			if t.step == step && slices.ContainsFunc(tx.Events, func(e trace.Event) bool { return e.SQL == sql && e.Hazard() }) {
				return true
			}
		}
	}
	return false
}

// prove carries the plan out, and compares what it leaves with what the migrations
// themselves have left.
func (s *stage) prove(ctx context.Context, on *postgres.Server, plan []replayed) error {
	r := &s.report.Rewrites
	recorder, err := trace.Record(ctx, on, false)
	if err != nil {
		return err
	}
	defer recorder.Close()
	proxy, err := wire.Listen(ctx, on, recorder, pieces, recorder.Settings())
	if err != nil {
		return err
	}
	failure, err := s.carryOut(ctx, proxy.Address(), plan)
	if err := closed(proxy, err); err != nil {
		return fmt.Errorf("try the rewrites: %w", err)
	}
	if r.Why = failure; r.Why != "" {
		return nil
	}
	seen, _ := recorder.Transactions()
	if r.Why = s.stillWaits(seen); r.Why != "" {
		return nil
	}
	want, err := rehearse.Look(ctx, s.report.up)
	if err != nil {
		return err
	}
	got, err := rehearse.Look(ctx, on)
	if err != nil {
		return err
	}
	if likeness, lines := rehearse.Compare(want, got); likeness == rehearse.Differs {
		r.Why = "it leaves another structure: " + postgres.Shorten(lines, 5)
		return nil
	}
	rows := map[string]int64{}
	for _, t := range want.Tables {
		rows[t.Table] = t.Rows
	}
	for _, t := range got.Tables {
		if rows[t.Table] != t.Rows && !strings.HasSuffix(t.Table, "."+s.Table) {
			r.Why = fmt.Sprintf("it leaves %d rows in %s instead of %d", t.Rows, t.Table, rows[t.Table])
			return nil
		}
	}
	r.Proven = true
	return nil
}

// stillWaits names a step that keeps users waiting after all.
func (s *stage) stillWaits(seen []trace.Transaction) string {
	for _, tx := range seen {
		for _, e := range tx.Events {
			if !e.Hazard() {
				continue
			}
			for _, r := range s.report.Rewrites.List {
				if slices.ContainsFunc(r.Steps, func(text string) bool { return strings.Contains(text, e.SQL) }) {
					return fmt.Sprintf("users would wait for %q as well", shorten(e.SQL))
				}
			}
		}
	}
	return ""
}

// carryOut runs a plan. Steps are committed one by one, so that a transaction with
// a rewritten statement becomes several.
func (s *stage) carryOut(ctx context.Context, address string, plan []replayed) (failure string, err error) {
	server, err := postgres.Parse(secret.New(address), s.env.Dial)
	if err != nil {
		return "", err
	}
	c, err := server.Open(ctx, postgres.Options{})
	if err != nil {
		return "", err
	}
	defer c.Close()
	run := func(sql string) {
		if failure != "" || err != nil {
			return
		}
		if err = c.Script(ctx, sql); postgres.Code(err) != "" {
			failure, err = fmt.Sprintf("%q is refused: %s", shorten(sql), postgres.Message(err, sql)), nil
		}
	}
	for _, tx := range plan {
		open := false
		begin := func(want bool) {
			if want != open {
				run(map[bool]string{true: "BEGIN", false: "COMMIT"}[want])
				open = want
			}
		}
		for _, part := range tx.parts {
			begin(!tx.alone && len(part.steps) == 0)
			for _, step := range part.steps {
				run(step.SQL)
			}
			if len(part.steps) == 0 {
				run(part.sql)
			}
		}
		begin(false)
	}
	return failure, err
}

// rewritesFile keeps the rewrites that are proven as a file of SQL.
func (s *stage) rewritesFile() (list []check.Artefact, err error) {
	if !s.report.Rewrites.Proven {
		return nil, nil
	}
	var b bytes.Buffer
	b.WriteString("-- Each statement of the pending migrations that kept users waiting, written so that\n" +
		"-- nobody waits. Carried out on a copy, it left the same structure and number of rows.\n" +
		"-- Each step is committed before the next; give each CONCURRENTLY a file of its own.\n")
	for _, r := range s.report.Rewrites.List {
		fmt.Fprintf(&b, "\n-- %s, instead of\n-- %s\n%s\n", r.Migration, strings.ReplaceAll(r.Statement, "\n", "\n-- "), strings.Join(r.Steps, "\n"))
	}
	artefact, err := s.env.Store("rewrites.sql", &b)
	if err != nil {
		return nil, fmt.Errorf("keep the rewrites: %w", err)
	}
	return []check.Artefact{artefact}, nil
}
