package lint_test

import (
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"allclear.dev/allclear/internal/postgres/lint"
)

// long are inputs of a quarter of a megabyte that a reader with a loop in a loop would
// never be done with.
func long() map[string]string {
	const size = 1 << 18
	out := map[string]string{}
	for _, piece := range []string{
		";", "$$", "$a$", "/*", "/* */", "--", "--\n", "\n", "\r\n", " ", "'", "''", "\"", "\\", "(", "()", "${", "${a}", "${a:-b}", "$a", "$", "é;",
		"SELECT 1;\n", "SELECT 1; ", "-- x\nSELECT 1;\n", "/* x */ SELECT 1;\n", "BEGIN; COMMIT;\n", "-- allclear: allow x because y\n", "SELECT 1; -- allclear: allow drop-table because y\n",
		"-- +goose Up\n", "-- +goose Down\n", "-- +goose StatementBegin\n-- +goose StatementEnd\n", "-- +goose ENVSUB ON\n${a}\n", "-- Running upgrade a -> b\n",
		"D, [x #1] DEBUG -- :   A Load (0.1ms)  SELECT 1  [[\"a\", 1]]\n", "  A Load (0.1ms)  SELECT 1\n", "  \x1b[1mA (0.1ms)\x1b[0m  SELECT 1\n", "[a] ", "D, [",
		"--\n-- MIGRATION NOW PERFORMS OPERATION THAT CANNOT BE WRITTEN AS SQL:\n-- Raw Python operation\n", "--\n-- Raw Python operation\n--\n",
		"ALTER TABLE t ADD COLUMN a int;\n", "CREATE TABLE t (a int);\n", "UPDATE t SET a = 1;\n", "SAVEPOINT s; ROLLBACK TO s;\n", "ALTER TABLE a RENAME TO b; ALTER TABLE b RENAME TO a;\n",
	} {
		out[piece] = strings.Repeat(piece, size/len(piece))
		out["goose: "+piece] = "-- +goose Up\n" + out[piece]
	}
	return out
}

// worked is how much of the processors' time this process has used: what others do
// on the machine does not count.
func worked(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// TestLongInputs holds that the time for a text grows with its length and not with
// its square: a quarter of a megabyte of anything is read or refused at once.
func TestLongInputs(t *testing.T) {
	const limit = 3 * time.Second
	if _, err := lint.Pieces("SELECT 1"); err != nil { // the grammar is made ready
		t.Fatal(err)
	}
	texts := long()
	for i, name := range slices.Sorted(maps.Keys(texts)) {
		if i%everyOf(3) > 0 {
			continue
		}
		text, start := texts[name], worked(t)
		lint.Recognise("m.sql", text)
		lint.RailsVersions(text)
		for _, framework := range []lint.Framework{lint.Goose, lint.GolangMigrate, lint.Rails, lint.Django, lint.Alembic, lint.PlainSQL} {
			src, err := framework.Read("m.sql", text, lint.Surroundings{Values: map[string]string{"a": "v"}})
			own := lint.PlainSQL // who is not only to read it, but to lint it
			if strings.HasPrefix(name, "goose: ") {
				own = lint.Goose
			}
			if err != nil || framework != own {
				continue
			}
			statements, err := lint.Run([]lint.Source{src}, lint.Options{})
			if err == nil && len(statements) > len(text) {
				t.Errorf("%q: %d statements", name, len(statements))
			}
		}
		if took := worked(t) - start; took > limit {
			t.Errorf("%q: %s", name, took)
		}
	}
}
