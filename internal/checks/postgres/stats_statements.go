package postgres

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	pg "allclear.dev/allclear/internal/postgres"
)

const (
	// maxStatements bounds a look; the server itself keeps 5000 unless told otherwise.
	maxStatements = 50_000
	// topStatements is how many statements the evidence names.
	topStatements = 20
)

// look is the counters at one time.
type look struct {
	// Reset is when the counters began, Dealloc how often statements were dropped
	// because there were too many.
	Reset   string `json:"reset"`
	Dealloc int64  `json:"dealloc"`
	// At is the server's time.
	At         string             `json:"at"`
	Statements map[string]counter `json:"statements"`
}

// counter is what one statement has taken, over all roles; by its queryid.
type counter struct {
	Calls int64   `json:"calls"`
	Total float64 `json:"total_ms"`
	// Query is the statement without its values; only the newer look needs it.
	Query string `json:"-"`
}

// statements compares how long each statement takes with how long it took before.
// https://www.postgresql.org/docs/current/pgstatstatements.html
func (p *stats) statements(ctx context.Context, env *check.Env, c *pg.Conn, database string) (*sight, error) {
	schema, err := extension(ctx, c)
	if err != nil {
		return nil, err
	}
	now, err := counters(ctx, c, schema)
	if err != nil {
		return nil, err
	}
	n := notebook{env: env, fact: "postgres.statements." + database}
	var before look
	switch p.Look {
	case "before":
		s := newSight()
		if s.sets, err = n.write(now); err != nil {
			return nil, err
		}
		s.saw = fmt.Sprintf("the counters of %d statements are taken down; they began at %s", len(now.Statements), now.Reset)
		for _, name := range p.names() {
			s.number(name, 0)
		}
		s.number("statements", float64(len(now.Statements)))
		return s, nil
	case "after":
		before, err = n.read()
	default:
		before = now
		if err := env.Sleep(ctx, p.Apart); err != nil {
			return nil, err
		}
		now, err = counters(ctx, c, schema)
	}
	if err != nil {
		return nil, err
	}
	since, err := difference(before, now)
	if err != nil {
		return nil, err
	}
	return p.slower(env, before, since)
}

// extension finds the schema of pg_stat_statements, of a version that tells when
// its counters began.
func extension(ctx context.Context, c *pg.Conn) (string, error) {
	t, err := c.Query(ctx, 1, `SELECT n.nspname, e.extversion FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'`)
	if err != nil {
		return "", fmt.Errorf("look for pg_stat_statements: %w", err)
	}
	if len(t.Rows) == 0 {
		return "", errors.New("the database has no pg_stat_statements: put it into shared_preload_libraries and CREATE EXTENSION pg_stat_statements")
	}
	major, minor, _ := strings.Cut(t.Rows[0][1].Text, ".")
	ma, e1 := strconv.Atoi(major)
	mi, e2 := strconv.Atoi(minor)
	if e1 != nil || e2 != nil || ma < 1 || ma == 1 && mi < 9 {
		return "", fmt.Errorf("pg_stat_statements is %s and does not tell when its counters began; 1.9 (PostgreSQL 14) does: ALTER EXTENSION pg_stat_statements UPDATE", t.Rows[0][1].Text)
	}
	return pg.Quote(t.Rows[0][0].Text), nil
}

// counters takes one look at the statements of this database, without those that
// ask for the counters.
func counters(ctx context.Context, c *pg.Conn, schema string) (look, error) {
	out := look{Statements: map[string]counter{}}
	info, err := c.Query(ctx, 1, `SELECT coalesce(stats_reset::text, ''), dealloc, clock_timestamp()::text FROM `+schema+`.pg_stat_statements_info`)
	if err == nil && len(info.Rows) != 1 {
		err = errors.New("it gives no row")
	}
	if err != nil {
		return out, fmt.Errorf("ask when the counters began: %w", err)
	}
	out.Reset, out.At = info.Rows[0][0].Text, info.Rows[0][2].Text
	if out.Dealloc, err = strconv.ParseInt(info.Rows[0][1].Text, 10, 64); err != nil {
		return out, fmt.Errorf("dealloc is %q, want a number", info.Rows[0][1].Text)
	}
	t, err := c.Query(ctx, maxStatements, `SELECT queryid, sum(calls)::bigint, sum(total_exec_time), left(regexp_replace(max(query), '\s+', ' ', 'g'), 300)
		FROM `+schema+`.pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND queryid IS NOT NULL AND query NOT LIKE '%pg_stat_statements%' GROUP BY queryid`)
	if err != nil {
		return out, fmt.Errorf("ask for the counters: %w", err)
	}
	if t.More {
		return out, fmt.Errorf("more than %d statements", maxStatements)
	}
	for _, r := range t.Rows {
		calls, e1 := strconv.ParseInt(r[1].Text, 10, 64)
		total, e2 := strconv.ParseFloat(r[2].Text, 64)
		if err := errors.Join(e1, e2); err != nil {
			return out, fmt.Errorf("read the counters: %w", err)
		}
		out.Statements[r[0].Text] = counter{Calls: calls, Total: total, Query: r[3].Text}
	}
	return out, nil
}

// difference gives what came between two looks. Counters that began anew, that were
// dropped or that run backwards tell nothing.
func difference(before, now look) (map[string]counter, error) {
	switch {
	case before.Reset != now.Reset:
		return nil, fmt.Errorf("the counters began anew at %s, after they were taken down at %s", now.Reset, before.At)
	case before.Dealloc != now.Dealloc:
		return nil, fmt.Errorf("statements were dropped %d times between the looks, because there are more than pg_stat_statements.max: raise it", now.Dealloc-before.Dealloc)
	}
	out := map[string]counter{}
	for id, n := range now.Statements {
		b := before.Statements[id]
		d := counter{Calls: n.Calls - b.Calls, Total: n.Total - b.Total, Query: n.Query}
		if d.Calls < 0 || d.Total < -0.001 {
			return nil, fmt.Errorf("the counters of statement %s run backwards: it was reset or dropped between the looks", id)
		}
		if d.Calls > 0 {
			out[id] = d
		}
	}
	for id := range before.Statements {
		if _, ok := now.Statements[id]; !ok {
			return nil, fmt.Errorf("statement %s is gone: it was reset between the looks", id)
		}
	}
	return out, nil
}

// statement is one of them in the evidence; times are in milliseconds.
type statement struct {
	ID     string  `json:"queryid"`
	Query  string  `json:"query"`
	Calls  int64   `json:"calls"`
	Total  float64 `json:"total_ms"`
	Mean   float64 `json:"mean_ms"`
	Before float64 `json:"mean_before_ms,omitempty"`
	New    bool    `json:"new,omitempty"`
	Miss   string  `json:"miss,omitempty"`
}

// slower judges what came since against what was before.
func (p *stats) slower(env *check.Env, before look, since map[string]counter) (*sight, error) {
	s := newSight()
	var all []statement
	calls, total := int64(0), 0.0
	slower, fresh := 0, 0
	for id, d := range since {
		one := statement{ID: id, Query: d.Query, Calls: d.Calls, Total: d.Total, Mean: d.Total / float64(d.Calls)}
		b, known := before.Statements[id]
		if known && b.Calls > 0 {
			one.Before = b.Total / float64(b.Calls)
		}
		one.New = !known
		if one.Miss = p.tooSlow(one, b.Calls); one.Miss != "" {
			slower++
			if one.New {
				fresh++
			}
		}
		calls, total = calls+d.Calls, total+d.Total
		all = append(all, one)
	}
	if calls < int64(p.MinCalls) {
		return nil, fmt.Errorf("only %d calls between the looks, at least %d are needed to judge", calls, p.MinCalls)
	}
	slices.SortFunc(all, func(a, b statement) int { return cmp.Or(cmp.Compare(b.Total, a.Total), strings.Compare(a.ID, b.ID)) })
	var top []statement
	for i, one := range all {
		if one.Miss != "" {
			s.miss("%s: %s", one.Miss, short(one.Query, 120))
		}
		if i < topStatements || one.Miss != "" && len(top) < 1000 {
			top = append(top, one)
		}
		if i < topStatements {
			s.facts[fmt.Sprintf("top.%02d", i+1)] = fmt.Sprintf("%.0f ms in %d calls (%.3f ms each, %.3f before): %s", one.Total, one.Calls, one.Mean, one.Before, short(one.Query, 200))
		}
	}
	text, err := json.MarshalIndent(top, "", "  ")
	if err != nil {
		return nil, err
	}
	kept, err := env.Store("statements.json", bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("keep statements.json: %w", err)
	}
	s.artefacts = []check.Artefact{kept}
	s.number("calls", float64(calls))
	s.number("statements", float64(len(all)))
	s.number("seconds", total/1000)
	s.number("slower", float64(slower-fresh))
	s.number("new_slow", float64(fresh))
	s.facts["since"] = before.At
	s.saw = fmt.Sprintf("%d calls of %d statements took %.1f s since %s, none of them too long", calls, len(all), total/1000, before.At)
	return s, nil
}

// tooSlow says in what way a statement takes too long, if it does.
func (p *stats) tooSlow(one statement, callsBefore int64) string {
	least := float64(p.MinCalls)
	switch mean := time.Duration(one.Mean * float64(time.Millisecond)); {
	case one.New && mean > p.NewSlow:
		return fmt.Sprintf("a statement that was not there before takes %.1f ms on average (%d calls), at most %s is accepted", one.Mean, one.Calls, p.NewSlow)
	case one.New || float64(one.Calls) < least || float64(callsBefore) < least || mean < p.MinMean:
		return ""
	case one.Mean > p.MeanRatio*one.Before:
		return fmt.Sprintf("a statement takes %.1f ms on average (%d calls) and took %.1f ms before, more than %v times as long", one.Mean, one.Calls, one.Before, p.MeanRatio)
	}
	return ""
}

// short cuts a statement's text.
func short(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "…"
}
