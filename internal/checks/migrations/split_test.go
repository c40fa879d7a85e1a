package migrations

import (
	"slices"
	"testing"
)

func TestSplit(t *testing.T) {
	tests := []struct {
		text string
		want []string
		mode mode
	}{
		{"CREATE TABLE a (x int); INSERT INTO a VALUES (1)", []string{"CREATE TABLE a (x int)", "INSERT INTO a VALUES (1)"}, atomic},
		{"-- a; CONCURRENTLY\nSELECT 1;;", []string{"-- a; CONCURRENTLY\nSELECT 1"}, atomic},
		{"/* ; /* ; */ ; */ SELECT ';', E'\\';', \";\", 'it''s;'", []string{"/* ; /* ; */ ; */ SELECT ';', E'\\';', \";\", 'it''s;'"}, atomic},
		{"DO $x$ BEGIN; END $x$; SELECT $$;$$", []string{"DO $x$ BEGIN; END $x$", "SELECT $$;$$"}, atomic},
		{"PREPARE p AS SELECT $1; SELECT 2", []string{"PREPARE p AS SELECT $1", "SELECT 2"}, atomic},
		{"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; SELECT 3",
			[]string{"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END", "SELECT 3"}, atomic},
		{"create index concurrently i on a (x)", []string{"create index concurrently i on a (x)"}, single},
		{"REFRESH MATERIALIZED VIEW CONCURRENTLY v", []string{"REFRESH MATERIALIZED VIEW CONCURRENTLY v"}, atomic},
		{"-- allclear: no-transaction\nVACUUM a", []string{"-- allclear: no-transaction\nVACUUM a"}, single},
		{"begin; SELECT 1; commit", []string{"begin", "SELECT 1", "commit"}, own},
		{"SELECT 'never closed;", []string{"SELECT 'never closed;"}, atomic},
		{" \n-- nothing\n", nil, atomic},
	}
	for _, tt := range tests {
		statements := split(tt.text)
		var got []string
		for _, s := range statements {
			got = append(got, s.text)
		}
		if !slices.Equal(got, tt.want) || modeOf(statements, tt.text) != tt.mode {
			t.Errorf("split(%q) = %q, mode %d", tt.text, got, modeOf(statements, tt.text))
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add("SELECT $a$ ; $a$; /* E'\\'")
	f.Fuzz(func(t *testing.T, text string) {
		total := 0
		for _, s := range split(text) {
			total += len(s.text)
		}
		if total > len(text) {
			t.Errorf("statements are longer than the script")
		}
	})
}

// TestLockIDs compares with what golang-migrate v4.20.1's GenerateAdvisoryLockId
// gives for database "db", schema "public", table "schema_migrations".
func TestLockIDs(t *testing.T) {
	got := newTable(toolMigrate, "schema_migrations").lockIDs("db", "public")
	if want := []string{"3256993429", "2161351301"}; !slices.Equal(got, want) {
		t.Errorf("lock ids %v, want %v", got, want)
	}
}
