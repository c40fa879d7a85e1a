package migrations

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/rehearse"
	"allclear.dev/allclear/internal/postgres/trace"
	"allclear.dev/allclear/internal/postgres/wire"
)

// stepTrace is a step and what was recorded of it.
type stepTrace struct {
	step string
	done []trace.Transaction
}

// watched applies all steps to a copy and gives what was recorded of each.
func (s *stage) watched(ctx context.Context, on *postgres.Server, light bool) (out []stepTrace, failure string, err error) {
	recorder, err := trace.Record(ctx, on, light)
	if err != nil {
		return nil, "", err
	}
	defer recorder.Close()
	seen := 0
	for _, step := range s.steps {
		proxy, err := wire.Listen(ctx, on, recorder, pieces, recorder.Settings())
		if err != nil {
			return nil, "", err
		}
		failure, err := s.tool.up(ctx, proxy.Address(), step)
		if err := closed(proxy, err); err != nil {
			return nil, "", fmt.Errorf("rehearse %s: %w", step, err)
		}
		all, dropped := recorder.Transactions()
		if dropped > 0 {
			s.report.Dropped = dropped
		}
		out = append(out, stepTrace{step, all[seen:]})
		seen = len(all)
		if failure != "" {
			return out, fmt.Sprintf("%s failed on the copy: %s", step, failure), nil
		}
	}
	return out, "", nil
}

// trace applies the migrations once and records every lock, scan and rewrite.
func (s *stage) trace(ctx context.Context) (string, error) {
	c, err := s.clone(ctx)
	if err != nil {
		return "", err
	}
	traced, failure, err := s.watched(ctx, c.Server, false)
	if err != nil {
		return "", err
	}
	for _, t := range traced {
		for _, tx := range t.done {
			s.report.add(t.step, tx, s.Table)
		}
	}
	s.report.traced, s.report.up = traced, c.Server
	if failure != "" {
		return failure, nil
	}
	invalid, err := rehearse.Invalid(ctx, c.Server)
	if len(invalid) > 0 {
		failure = "the migrations leave invalid indexes: " + strings.Join(invalid, ", ")
	}
	return failure, err
}

// time applies them again, with nobody looking on, and keeps the longest.
func (s *stage) time(ctx context.Context) (string, error) {
	for i := range s.Repeat {
		c, err := s.clone(ctx)
		if err != nil {
			return "", err
		}
		start := s.env.Now()
		timed, failure, err := s.watched(ctx, c.Server, true)
		if err != nil || failure != "" {
			return failure, err
		}
		took := s.env.Now().Sub(start)
		s.say("applied %d migrations in %s", len(s.steps), took.Round(time.Millisecond))
		if i == 0 || took > s.report.Took {
			s.report.Took, s.report.timed = took, timed
		}
		if err := s.dropLast(ctx); err != nil {
			return "", err
		}
	}
	return "", nil
}

// dropLast drops the newest copy, which is not needed any more: a rehearsal of a
// large database should not hold more copies than it has to.
func (s *stage) dropLast(ctx context.Context) error {
	last := s.drop[len(s.drop)-1]
	s.drop = s.drop[:len(s.drop)-1]
	return last.Drop(ctx)
}

// predict estimates the time on production, and for how long it locks which table.
func (s *stage) predict(ctx context.Context) (string, error) {
	ratios, err := s.ratios(ctx)
	if err != nil {
		return "", err
	}
	var all []rehearse.Part
	for i, t := range s.report.traced {
		for k, tx := range t.done {
			parts := s.parts(t.step, tx, i, k)
			all = append(all, parts...)
			for _, w := range tx.Windows() {
				e := rehearse.Predict(parts[w.By:], ratios)
				s.report.Locks = append(s.report.Locks, lockWindow{
					Migration: t.step, Relation: w.Relation, Mode: w.Mode, By: shorten(tx.Events[w.By].SQL),
					Statements: w.During, Measured: total(parts[w.By:]), Estimate: e,
				})
				if e.High > s.MaxWait {
					s.report.find("%s: %s is locked (%s) for an expected %s, up to %s, because of %q; want at most %s",
						t.step, w.Relation, w.Mode, round(e.Expected), round(e.High), e.Driver.SQL, s.MaxWait)
				}
			}
		}
	}
	s.report.Parts = slices.DeleteFunc(slices.Clone(all), func(p rehearse.Part) bool { return p.Took < time.Millisecond })
	s.report.Estimate = rehearse.Predict(all, ratios)
	if s.Budget > 0 && s.report.Estimate.High > s.Budget {
		s.report.find("the migrations take an expected %s, up to %s; want at most %s", round(s.report.Estimate.Expected), round(s.report.Estimate.High), s.Budget)
	}
	return "", nil
}

func total(parts []rehearse.Part) time.Duration {
	var sum time.Duration
	for _, p := range parts {
		sum += p.Took
	}
	return sum
}

func round(d time.Duration) time.Duration {
	if d > 10*time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Millisecond)
}

// ratios are what earlier deployments in this environment took of what had been
// estimated for them.
func (s *stage) ratios(ctx context.Context) ([]float64, error) {
	const memory = 20
	expected, err := s.env.Ledger.History(ctx, "", "migration.estimate.unlearned", memory)
	if _, first := errors.AsType[*check.NotSupplied](err); first {
		return nil, nil // there has been no run here yet
	}
	if err != nil {
		return nil, fmt.Errorf("look up earlier estimates: %w", err)
	}
	actual, err := s.env.Ledger.History(ctx, "", "migration.seconds", memory)
	if err != nil {
		return nil, fmt.Errorf("look up earlier durations: %w", err)
	}
	took := map[string]float64{}
	for _, a := range actual {
		var f float64
		if _, err := fmt.Sscan(a.Value, &f); err == nil && f > 0 {
			took[a.Run] = f
		}
	}
	var out []float64
	for _, e := range expected {
		var f float64
		if _, err := fmt.Sscan(e.Value, &f); err == nil && f > 0 && took[e.Run] > 0 {
			out = append(out, took[e.Run]/f)
		}
	}
	return out, nil
}

// parts are a transaction's statements with the times of the pass that nobody
// looked on at, as far as the tool did the same again.
func (s *stage) parts(step string, tx trace.Transaction, i, k int) []rehearse.Part {
	var again []trace.Event
	if i < len(s.report.timed) && k < len(s.report.timed[i].done) {
		again = s.report.timed[i].done[k].Events
	}
	locked := false
	var out []rehearse.Part
	for n, e := range tx.Events {
		p := rehearse.Part{Migration: step, SQL: shorten(e.SQL), Took: e.Statement.Took}
		if len(again) == len(tx.Events) && again[n].SQL == e.SQL {
			p.Took = again[n].Statement.Took
		}
		p.Work, p.Table = workOf(e)
		p.Here, p.There = s.sizes[p.Table][0], s.sizes[p.Table][1]
		locked = locked || slices.ContainsFunc(e.Fresh, func(l trace.Lock) bool { return l.Blocks() })
		p.Locked = locked && !e.Alone
		out = append(out, p)
	}
	return out
}

// workOf says what a statement worked through.
func workOf(e trace.Event) (rehearse.Work, string) {
	switch {
	case len(e.Rewritten) > 0:
		return rehearse.Rewrite, e.Rewritten[0]
	case len(e.Built) > 0:
		return rehearse.Build, e.Built[0]
	case len(e.Scanned) > 0:
		return rehearse.Scan, e.Scanned[0]
	}
	if word, _, _ := strings.Cut(e.Tag, " "); slices.Contains([]string{"UPDATE", "DELETE", "INSERT", "MERGE"}, word) {
		for _, l := range e.Locks {
			if l.Mode == "RowExclusiveLock" {
				return rehearse.Rows, l.Relation
			}
		}
	}
	return rehearse.CatalogOnly, ""
}

// contend applies them once more beside readers, writers and an idle transaction.
func (s *stage) contend(ctx context.Context) (string, error) {
	tables := map[string]bool{}
	for _, l := range s.report.Locks {
		if _, isTable := s.sizes[l.Relation]; isTable {
			tables[l.Relation] = true
		}
	}
	if !s.Contention || len(tables) == 0 {
		return "", nil
	}
	c, err := s.clone(ctx)
	if err != nil {
		return "", err
	}
	users, err := rehearse.Employ(ctx, c.Server, slices.Sorted(maps.Keys(tables)), s.Idle, s.env.Sleep)
	if err != nil {
		return "", err
	}
	_, failure, err := s.watched(ctx, c.Server, true)
	waits, lost := users.Dismiss()
	if err != nil {
		return "", err
	}
	if lost != nil {
		return "", lost
	}
	s.report.Waits = waits
	for _, w := range waits {
		if w.Longest > s.MaxWait {
			s.report.find("%s of %s waited %s beside an idle transaction; want at most %s", w.Does, w.Table, round(w.Longest), s.MaxWait)
		}
	}
	if failure != "" {
		return "beside readers, writers and an idle transaction of " + s.Idle.String() + ": " + failure, nil
	}
	return "", s.dropLast(ctx)
}

// shorten makes a statement one line of at most 120 characters.
func shorten(sql string) string {
	line := []rune(strings.Join(strings.Fields(sql), " "))
	if len(line) > 120 {
		return string(line[:119]) + "…"
	}
	return string(line)
}
