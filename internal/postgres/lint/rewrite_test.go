package lint_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/lint"
	"allclear.dev/allclear/internal/postgres/rehearse"
	"allclear.dev/allclear/internal/postgres/trace"
)

// TestRewritesDoTheSame runs each statement of the corpus for which steps are
// offered, and the steps, each on a copy of the database: both leave the same
// structure and the same number of rows, and no step is a hazard.
func TestRewritesDoTheSame(t *testing.T) {
	base := shop(t)
	schema := []lint.Source{{Name: "schema.sql", Text: file(t, "schema.sql")}}
	seen := traced(t)
	hazards, rewritten := 0, 0
	for _, c := range corpus(t) {
		statements, err := lint.Run([]lint.Source{{Name: c.id, Text: c.sql}}, lint.Options{Schema: schema, TimeZone: "UTC"})
		if err != nil {
			t.Fatalf("%s: %v", c.id, err)
		}
		if seen[c.id].Error != "" {
			continue
		}
		steps := statements[0].Steps
		if slices.ContainsFunc(statements[0].Findings, func(f lint.Finding) bool { return f.Level == lint.Hazard }) {
			hazards++
		}
		if len(steps) == 0 {
			continue
		}
		if rewritten++; rewritten%everyOf(6) == 0 {
			sameEnd(t, base, c, steps)
		}
	}
	t.Logf("%d statements are rewritten; of %d hazards the others have no way in place", rewritten, hazards)
	const least = 50
	if rewritten < least {
		t.Errorf("%d statements are rewritten, want at least %d", rewritten, least)
	}
}

// sameEnd compares what a statement and its rewrite leave.
func sameEnd(t *testing.T, base *postgres.Server, c corpusCase, steps []lint.Step) {
	t.Helper()
	want := original(t, base, c)
	clone, err := base.In("postgres").NewClone(t.Context(), base.Database())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := clone.Drop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	for _, s := range steps {
		cheap(t, clone.Server, c.id, s)
	}
	got, err := rehearse.Look(t.Context(), clone.Server)
	if err != nil {
		t.Fatal(err)
	}
	if likeness, lines := rehearse.Compare(want, got); likeness != rehearse.Identical {
		t.Errorf("%s: %s\n  its rewrite leaves something else (%s):\n  %s", c.id, c.sql, likeness, strings.Join(lines, "\n  "))
	}
	for i := range want.Tables {
		if want.Tables[i].Rows != got.Tables[i].Rows {
			t.Errorf("%s: %s has %d rows, after the rewrite %d", c.id, want.Tables[i].Table, want.Tables[i].Rows, got.Tables[i].Rows)
		}
	}
}

// original gives what the statement itself leaves, and takes it back.
func original(t *testing.T, base *postgres.Server, c corpusCase) rehearse.State {
	t.Helper()
	conn, err := base.Open(t.Context(), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Script(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Script(t.Context(), c.sql); err != nil {
		t.Errorf("%s: %s: %v", c.id, c.sql, err)
	}
	state, err := rehearse.LookBy(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func script(t *testing.T, server *postgres.Server, id, sql string) {
	t.Helper()
	conn, err := server.Open(t.Context(), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Script(t.Context(), sql); err != nil {
		t.Errorf("%s: %s: %v", id, sql, err)
	}
}

// cheap runs a step and holds that nobody waits for real work meanwhile.
func cheap(t *testing.T, server *postgres.Server, id string, s lint.Step) {
	t.Helper()
	tracer, err := trace.Open(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	defer tracer.Close()
	var tr trace.Trace
	if s.Alone {
		tr, err = tracer.Alone(t.Context(), s.SQL)
	} else {
		tr, err = tracer.InTransaction(t.Context(), strings.TrimSuffix(strings.TrimPrefix(s.SQL, "BEGIN; "), "; COMMIT"))
		script(t, server, id, s.SQL)
	}
	if err != nil || tr.Error != "" {
		t.Errorf("%s: %s: %v %s", id, s.SQL, err, tr.Error)
	}
	if isHazard(s.SQL, tr) {
		t.Errorf("%s: the step is a hazard: %s: %+v", id, s.SQL, tr)
	}
}
