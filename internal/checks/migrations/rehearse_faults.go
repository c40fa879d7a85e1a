package migrations

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/rehearse"
	"allclear.dev/allclear/internal/postgres/trace"
	"allclear.dev/allclear/internal/postgres/wire"
)

// maxFaults bounds the points at which one rehearsal cuts the connection.
const maxFaults = 12

// errCut is the proxy's own fault.
var errCut = errors.New("cut on purpose")

// fault is what came of one interruption.
type fault struct {
	Migration string `json:"migration"`
	// After is the statement after whose commit the connection was cut; During one in
	// the middle of which it was cancelled.
	After  string `json:"after,omitempty"`
	During string `json:"during,omitempty"`
	// Again is what running it again came to: done, or what it said.
	Again   string   `json:"again"`
	Invalid []string `json:"invalid,omitempty"`
	// Differs is how the structure then differs from an undisturbed run's.
	Differs []string `json:"differs,omitempty"`
}

// boundary is a place within a step where part of it is in and part is not.
type boundary struct {
	step   int
	sql    string
	during bool
	// nth counts the step's transactions that change something, or its statements
	// that stand alone, from 0. A statement is not known by its text: many tools write
	// the time into it.
	nth int
}

// boundaries lists the places between a step's transactions, and within the
// statements that stand alone, as far as they change something.
func boundaries(traced []stepTrace) []boundary {
	var out []boundary
	for i, t := range traced {
		var changing []string
		alone := 0
		for _, tx := range t.done {
			for _, e := range tx.Events {
				if e.Alone {
					out = append(out, boundary{i, e.SQL, true, alone})
					alone++
				}
			}
			if sql := changes(tx); sql != "" {
				changing = append(changing, sql)
			}
		}
		for n, sql := range changing {
			if n < len(changing)-1 {
				out = append(out, boundary{i, sql, false, n})
			}
		}
	}
	return out
}

// changes gives a transaction's last statement that changes something and is not
// only about the session.
func changes(tx trace.Transaction) string {
	if !tx.Committed {
		return ""
	}
	for i := len(tx.Events) - 1; i >= 0; i-- {
		if isChange(tx.Events[i].Tag) {
			return tx.Events[i].SQL
		}
	}
	return ""
}

// isChange tells by the server's word for it whether a statement changed something.
func isChange(tag string) bool {
	word, _, _ := strings.Cut(tag, " ")
	return !slices.Contains([]string{"SELECT", "SET", "SHOW", "RESET", "BEGIN", "COMMIT", "ROLLBACK", ""}, word)
}

// faults interrupts the migrations at every boundary and runs them again.
func (s *stage) faults(ctx context.Context) (string, error) {
	places := boundaries(s.report.traced)
	if s.Faults == off || len(places) == 0 {
		return "", nil
	}
	want, err := rehearse.Look(ctx, s.report.up)
	if err != nil {
		return "", err
	}
	if len(places) > maxFaults {
		s.report.Untried = len(places) - maxFaults
		places = places[:maxFaults]
	}
	for _, b := range places {
		f, err := s.fault(ctx, b, want)
		if err != nil {
			return "", fmt.Errorf("interrupt %s: %w", s.steps[b.step], err)
		}
		s.report.Faults = append(s.report.Faults, f)
		s.judgeFault(f)
	}
	return "", nil
}

// judgeFault fails what went wrong silently, and, if that is required, what does
// not go on by itself.
func (s *stage) judgeFault(f fault) {
	at := "after " + shorten(f.After)
	if f.During != "" {
		at = "in the middle of " + shorten(f.During)
	}
	switch {
	case f.Again == "done" && len(f.Invalid) > 0:
		s.report.find("%s, interrupted %s and run again, says it is done and leaves invalid indexes: %s", f.Migration, at, strings.Join(f.Invalid, ", "))
	case f.Again == "done" && len(f.Differs) > 0:
		s.report.find("%s, interrupted %s and run again, says it is done and the structure differs: %s", f.Migration, at, postgres.Shorten(f.Differs, 3))
	case f.Again != "done" && s.Faults == require:
		s.report.find("%s, interrupted %s, does not go on when it is run again: %s", f.Migration, at, f.Again)
	}
}

// fault interrupts once, on a copy of its own.
func (s *stage) fault(ctx context.Context, b boundary, want rehearse.State) (fault, error) {
	out := fault{Migration: s.steps[b.step], Again: "done"}
	if out.After = b.sql; b.during {
		out.After, out.During = "", b.sql
	}
	c, err := s.clone(ctx)
	if err != nil {
		return out, err
	}
	for i, step := range s.steps {
		if i == b.step {
			if err := s.interrupted(ctx, c.Server, step, b); err != nil {
				return out, err
			}
		}
		failure, err := s.plain(ctx, c.Server, s.tool.up, step)
		if err != nil {
			return out, err
		}
		if failure != "" {
			out.Again = failure
			break
		}
	}
	if out.Invalid, err = rehearse.Invalid(ctx, c.Server); err != nil {
		return out, err
	}
	got, err := rehearse.Look(ctx, c.Server)
	if err != nil {
		return out, err
	}
	if like, lines := rehearse.Compare(want, got); like == rehearse.Differs {
		out.Differs = lines
	}
	return out, s.dropLast(ctx)
}

// plain runs one step on a copy with nobody looking on.
func (s *stage) plain(ctx context.Context, on *postgres.Server, run func(context.Context, string, string) (string, error), step string) (string, error) {
	proxy, err := wire.Listen(ctx, on, blind{}, pieces, nil)
	if err != nil {
		return "", err
	}
	failure, err := run(ctx, proxy.Address(), step)
	return failure, closed(proxy, err)
}

// interrupted runs a step that does not come to its end, which is how it should
// be: only a cut that did not happen is an error.
func (s *stage) interrupted(ctx context.Context, on *postgres.Server, step string, b boundary) error {
	w := &interrupter{boundary: b, server: on, changing: map[int]bool{}}
	proxy, err := wire.Listen(ctx, on, w, pieces, nil)
	if err != nil {
		return err
	}
	_, _ = s.tool.up(ctx, proxy.Address(), step)
	w.wait.Wait() // before the proxy ends what it does
	if err := proxy.Close(); err != nil && !errors.Is(err, errCut) {
		return err
	}
	if w.err != nil {
		return w.err
	}
	if !w.happened {
		return fmt.Errorf("the statement did not come: %s", shorten(b.sql))
	}
	return ctx.Err()
}

// interrupter cuts a session after a transaction's commit, or cancels a statement
// while it is carried out.
type interrupter struct {
	blind
	boundary
	server *postgres.Server
	wait   sync.WaitGroup

	mu       sync.Mutex // a program may have several sessions
	count    int        // what nth counts, so far
	changing map[int]bool
	happened bool
	err      error
}

// Starts cancels a statement that stands alone once it has left its mark. An older
// snapshot keeps a build from finishing before.
func (w *interrupter) Starts(ctx context.Context, st *wire.Statement) error {
	if !w.during || !st.Alone || !w.here() {
		return nil
	}
	older, err := w.server.Open(ctx, postgres.Options{})
	if err != nil {
		return err
	}
	if err := older.Script(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1"); err != nil {
		older.Close()
		return err
	}
	pid, sql := st.PID, st.SQL
	w.wait.Go(func() {
		defer older.Close()
		w.err = cancelMidway(ctx, w.server, pid, sql)
	})
	return nil
}

// Held sees which transactions change something.
func (w *interrupter) Held(_ context.Context, st *wire.Statement, _ wire.Ask) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changing[st.Session] = w.changing[st.Session] || st.Code == "" && isChange(st.Tag)
	return nil
}

// Ended cuts.
func (w *interrupter) Ended(_ context.Context, session, _ int, committed bool) error {
	w.mu.Lock()
	changed := w.changing[session]
	delete(w.changing, session)
	w.mu.Unlock()
	if !w.during && changed && committed && w.here() {
		return errCut
	}
	return nil
}

// here counts, and tells at the wanted one.
func (w *interrupter) here() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.count == w.nth
	w.happened = w.happened || at
	w.count++
	return at
}

// cancelMidway cancels a statement as soon as there is an index that is not valid
// yet. One that comes to its end without leaving such a mark was not interrupted.
func cancelMidway(ctx context.Context, server *postgres.Server, pid uint32, sql string) error {
	c, err := server.Open(ctx, postgres.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Script(ctx, fmt.Sprintf(`DO $$ BEGIN
		LOOP
			EXIT WHEN EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)
				OR NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %[1]d AND NOT (state LIKE 'idle%%' AND query = %[2]s));
			PERFORM pg_stat_clear_snapshot(), pg_sleep(0.0005);
		END LOOP;
		PERFORM pg_cancel_backend(%[1]d);
	END $$`, pid, postgres.Literal(sql)))
}
