package trace

import (
	"context"
	"fmt"
	"strings"
	"time"

	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/wire"
)

// Step is what one statement of a series did, and how it stood to transactions.
type Step struct {
	Trace
	// Fresh are the locks that it took and its transaction did not have before.
	Fresh []Lock `json:"fresh"`
	// Open tells that it ran in a transaction of the series' own, whose locks are all
	// in Locks; Alone that it ran outside of any.
	Open  bool `json:"open,omitempty"`
	Alone bool `json:"alone,omitempty"`
}

// Hazard reports whether somebody had to wait for real work, as Event.Hazard does.
func (s Step) Hazard() bool {
	return s.Error == "" && Event{Statement: wire.Statement{Alone: s.Alone}, Trace: s.Trace}.Hazard()
}

// Series traces the statements of a migration one after another, and what they do
// stays done. Locks are those on relations that were there before the first of
// them: nobody waits for what the migration itself makes. Work is also what is done
// to its own tables, because whoever waits for one of the others waits for it too.
// A table of a single page is read in no time, and that is no work.
type Series struct {
	t    *Tracer
	base map[string]relation
	held map[string]string
	open bool
}

// Series begins one with what is there now.
func (t *Tracer) Series(ctx context.Context) (*Series, error) {
	base, err := relations(ctx, t.observer)
	if err != nil {
		return nil, err
	}
	return &Series{t: t, base: base, held: map[string]string{}}, nil
}

// Control carries out a statement that begins, ends or divides a transaction.
func (s *Series) Control(ctx context.Context, sql string) (Step, error) {
	out := Step{Trace: Trace{Locks: []Lock{}}, Fresh: []Lock{}, Open: true}
	err := s.t.worker.Script(ctx, sql)
	if postgres.Code(err) != "" {
		out.Error = postgres.Message(err, "")
	} else if err != nil {
		return Step{}, fmt.Errorf("run %s: %w", sql, err)
	}
	s.open = s.t.worker.InTransaction()
	if !s.open {
		s.held = map[string]string{}
	}
	return out, nil
}

// Run carries out any other statement: in the transaction that is open, or in one
// of its own.
func (s *Series) Run(ctx context.Context, sql string) (Step, error) {
	open := s.open
	if !open {
		if _, err := s.Control(ctx, "BEGIN"); err != nil {
			return Step{}, err
		}
	}
	out, err := s.within(ctx, sql)
	out.Open = open
	if !open && err == nil {
		end := "COMMIT"
		if out.Error != "" {
			end = "ROLLBACK"
		}
		var ended Step
		if ended, err = s.Control(ctx, end); ended.Error != "" {
			out.Error = ended.Error
		}
	}
	return out, err
}

// Alone carries out a statement that refuses a transaction.
func (s *Series) Alone(ctx context.Context, sql string) (Step, error) {
	tr, err := s.t.Alone(ctx, sql)
	return Step{Trace: tr, Fresh: tr.Locks, Alone: true}, err
}

func (s *Series) within(ctx context.Context, sql string) (Step, error) {
	w := s.t.worker
	before, err := relations(ctx, w)
	if err != nil {
		return Step{}, err
	}
	scanned, err := s.t.scans(ctx)
	if err != nil {
		return Step{}, err
	}
	out := Step{Trace: Trace{Locks: []Lock{}}, Fresh: []Lock{}}
	start := time.Now()
	err = w.Script(ctx, sql)
	out.Took = time.Since(start)
	if postgres.Code(err) != "" {
		out.Error = postgres.Message(err, "")
		return out, nil
	}
	if err != nil {
		return Step{}, fmt.Errorf("run the statement: %w", err)
	}
	held, err := s.t.locks(ctx)
	if err != nil {
		return Step{}, err
	}
	out.note(held, s.base)
	for _, l := range out.Locks {
		if strength(l.Mode) > strength(s.held[l.Relation]) {
			s.held[l.Relation] = l.Mode
			out.Fresh = append(out.Fresh, l)
		}
	}
	return out, s.work(ctx, &out, before, scanned)
}

// work finds what was scanned, written again and built, and is larger than a page.
func (s *Series) work(ctx context.Context, out *Step, before map[string]relation, scanned map[string]int64) error {
	after, err := relations(ctx, s.t.worker)
	if err != nil {
		return err
	}
	now, err := s.t.scans(ctx)
	if err != nil {
		return err
	}
	small, err := s.small(ctx, after, scanned, now)
	if err != nil {
		return err
	}
	out.compare(before, after, scanned, now, small)
	return nil
}

// small lists the tables that have at most one page, of those that something was
// done to; asking for a size locks.
func (s *Series) small(ctx context.Context, after map[string]relation, scanned, now map[string]int64) ([]string, error) {
	held, err := s.t.locks(ctx)
	if err != nil {
		return nil, err
	}
	var touched []string
	for oid, r := range after {
		if r.holdsRows() && (held[oid] != "" || now[oid] > scanned[oid]) {
			touched = append(touched, oid)
		}
	}
	if len(touched) == 0 {
		return nil, nil
	}
	t, err := s.t.worker.Query(ctx, maxRelations, "SELECT oid FROM pg_class WHERE oid IN ("+strings.Join(touched, ", ")+") AND pg_relation_size(oid) <= current_setting('block_size')::int")
	if err != nil {
		return nil, fmt.Errorf("ask for sizes: %w", err)
	}
	var out []string
	for _, row := range texts(t) {
		out = append(out, after[row[0]].name)
	}
	return out, nil
}
