package sqlite_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/journal/sqlite"
)

// twoRuns makes a journal with the runs a and b, ten events each, in turn, and
// closes it.
func twoRuns(t *testing.T) string {
	t.Helper()
	dir := memoryDir(t)
	log, err := sqlite.Open(t.Context(), dir, noBallast)
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(10) {
		for _, run := range []string{"a", "b"} {
			if _, err := log.Append(t.Context(), run, n, 1, body(n+1, 20)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// tamper opens the database as a forger would and runs statements, with the
// triggers out of the way.
func tamper(t *testing.T, dir string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, table := range []string{"journal", "log", "runs"} {
		statements = append([]string{"DROP TRIGGER " + table + "_update", "DROP TRIGGER " + table + "_delete"}, statements...)
	}
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// findings verifies a damaged journal and writes what was found as "kind
// run/first-last".
func findings(t *testing.T, dir string) []string {
	t.Helper()
	view, err := sqlite.OpenDamaged(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	found, err := view.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, f := range found {
		text := fmt.Sprintf("%s %s/%d", f.Kind, f.Run, f.Seq)
		if f.Through > f.Seq {
			text += fmt.Sprintf("-%d", f.Through)
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return out
}

// damages are F42: what a hand can do to the tables, and what names it.
func damages() map[string]struct {
	statements, want []string
} {
	type damage = struct{ statements, want []string }
	const bEvents = "run = 'b'"
	return map[string]damage{
		"nothing":                   {nil, []string{}},
		"one byte":                  {[]string{"UPDATE journal SET body = CAST(replace(body, '\"n\":5', '\"n\":6') AS BLOB) WHERE run = 'a' AND seq = 5"}, []string{"changed a/5"}},
		"a body emptied":            {[]string{"UPDATE journal SET body = x'' WHERE run = 'a' AND seq = 5"}, []string{"changed a/5"}},
		"a hash":                    {[]string{"UPDATE journal SET hash = zeroblob(32) WHERE run = 'b' AND seq = 10"}, []string{"changed b/10"}},
		"a leaf":                    {[]string{"UPDATE log SET leaf = zeroblob(32) WHERE idx = 4"}, []string{"changed a/3"}},
		"one row removed":           {[]string{"DELETE FROM journal WHERE run = 'a' AND seq = 5"}, []string{"removed a/5"}},
		"removed from the log, too": {[]string{"DELETE FROM journal WHERE run = 'a' AND seq = 5", "DELETE FROM log WHERE run = 'a' AND seq = 5"}, []string{"removed a/5"}},
		"rows swapped": {[]string{
			"UPDATE journal SET seq = 99 WHERE run = 'a' AND seq = 5", "UPDATE journal SET seq = 5 WHERE run = 'a' AND seq = 6",
			"UPDATE journal SET seq = 6 WHERE run = 'a' AND seq = 99",
		}, []string{"reordered a/5", "reordered a/6"}},
		"a run's tail cut": {[]string{"DELETE FROM journal WHERE run = 'b' AND seq > 7"}, []string{"cut off b/8-10"}},
		"the log's tail cut": {[]string{"DELETE FROM journal WHERE seq > 7", "DELETE FROM log WHERE seq > 7"},
			[]string{"cut off /0"}},
		"two runs merged": {[]string{"UPDATE journal SET run = 'a', seq = seq + 10 WHERE " + bEvents}, append([]string{
			"inserted a/11", "inserted a/12", "inserted a/13", "inserted a/14", "inserted a/15", "inserted a/16",
			"inserted a/17", "inserted a/18", "inserted a/19", "inserted a/20"}, "removed b/1-10")},
		"merged in the log, too": {[]string{
			"UPDATE journal SET run = 'a', seq = seq + 10 WHERE " + bEvents, "UPDATE log SET run = 'a', seq = seq + 10 WHERE " + bEvents,
		}, []string{"inserted a/11", "inserted a/12", "inserted a/13", "inserted a/14", "inserted a/15", "inserted a/16",
			"inserted a/17", "inserted a/18", "inserted a/19", "inserted a/20"}},
	}
}

func TestDamageIsNamed(t *testing.T) {
	for name, damage := range damages() {
		t.Run(name, func(t *testing.T) {
			dir := twoRuns(t)
			tamper(t, dir, damage.statements...)
			if got := findings(t, dir); !slices.Equal(got, damage.want) {
				t.Errorf("found %q, want %q", got, damage.want)
			}
		})
	}
}

// TestDamagedRunIsNotRead: whoever drives a run reads it first, and does not get
// past the damage. Other runs go on.
func TestDamagedRunIsNotRead(t *testing.T) {
	dir := twoRuns(t)
	tamper(t, dir, "UPDATE journal SET body = CAST('{\"n\":55}' AS BLOB) WHERE run = 'a' AND seq = 5")
	log := open(t, dir)
	events := 0
	var corrupt *journal.CorruptError
	for _, err := range log.Read(t.Context(), "a", 0) {
		if err == nil {
			events++
		} else if !errors.As(err, &corrupt) {
			t.Fatal(err)
		}
	}
	if events != 4 || corrupt == nil || corrupt.Run != "a" || corrupt.Seq != 5 {
		t.Errorf("read %d events of the damaged run, then %v", events, corrupt)
	}
	for _, err := range log.Read(t.Context(), "b", 0) {
		if err != nil {
			t.Errorf("the other run: %v", err)
		}
	}
}

func TestTablesOnlyGrow(t *testing.T) {
	dir := twoRuns(t)
	db, err := sql.Open("sqlite", filepath.Join(dir, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{
		"UPDATE journal SET epoch = 2", "DELETE FROM journal", "UPDATE log SET seq = 1", "DELETE FROM log WHERE idx = 3",
		"UPDATE runs SET run = 'x'", "DELETE FROM runs", "INSERT INTO journal VALUES('a', 11, 20, 1, x'00', x'00', x'00')",
		"INSERT INTO journal VALUES('a', 'eleven', 20, 1, zeroblob(32), zeroblob(32), x'00')",
	} {
		if _, err := db.Exec(statement); err == nil {
			t.Errorf("%s: no error", statement)
		}
	}
	if got := findings(t, dir); len(got) != 0 {
		t.Errorf("found %q", got)
	}
}

func TestDamagedFile(t *testing.T) {
	dir := twoRuns(t)
	name := filepath.Join(dir, "journal.db")
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	copy(content, "not a database at all")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(t.Context(), dir, noBallast); !errors.Is(err, journal.ErrCorrupt) {
		t.Errorf("open: %v", err)
	}
	if _, err := sqlite.OpenReadOnly(t.Context(), dir); !errors.Is(err, journal.ErrCorrupt) {
		t.Errorf("open to read: %v", err)
	}
}

func TestSecondWriterIsTurnedAway(t *testing.T) {
	dir := t.TempDir()
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	log, err := sqlite.Open(t.Context(), dir, sqlite.Options{Ballast: -1, Now: func() time.Time { return start }})
	if err != nil {
		t.Fatal(err)
	}
	_, err = sqlite.Open(t.Context(), dir, noBallast)
	var locked *journal.LockedError
	if !errors.Is(err, journal.ErrLocked) || !errors.As(err, &locked) || locked.PID != os.Getpid() || locked.Since != "2026-11-23T12:00:00Z" || locked.BootID == "" {
		t.Errorf("second writer: %v", err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), "r1", 0, 1, []byte(`{}`)); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	open(t, dir)
}

func TestDirectoryOfOthersIsRefused(t *testing.T) {
	for _, mode := range []fs.FileMode{0o770, 0o707, 0o777} {
		dir := t.TempDir()
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := sqlite.Open(t.Context(), dir, noBallast); err == nil || !strings.Contains(err.Error(), "others can write") {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	if _, err := sqlite.OpenReadOnly(t.Context(), t.TempDir()); err == nil {
		t.Error("an empty directory opens to read")
	}
}

// TestFilesArePrivate: whatever the mask of the process, nobody else can read.
func TestFilesArePrivate(t *testing.T) {
	dir := t.TempDir()
	log := open(t, dir)
	fillRun(t, log, 0, 1)
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 6 {
		t.Fatalf("files: %v, %v", files, err)
	}
	for _, file := range files {
		if info, err := file.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", file.Name(), info.Mode(), err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if files, err = os.ReadDir(dir); err != nil || len(files) != 4 {
		t.Errorf("after closing there are %v, %v: the WAL was not moved", files, err)
	}
}

func TestBallast(t *testing.T) {
	dir := t.TempDir()
	log, err := sqlite.Open(t.Context(), dir, sqlite.Options{Ballast: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if info, err := os.Stat(filepath.Join(dir, "ballast")); err != nil || info.Size() != 1<<20 {
		t.Errorf("ballast: %v, %v", info, err)
	}
}

// TestAppendsAndReopens opens, appends and closes at random; after each opening the
// journal is what a model of it is.
func TestAppendsAndReopens(t *testing.T) {
	parent := memoryDir(t)
	rapid.Check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp(parent, "")
		if err != nil {
			r.Fatal(err)
		}
		model := map[string][]string{}
		for range rapid.IntRange(1, 3).Draw(r, "openings") {
			log, err := sqlite.Open(t.Context(), dir, noBallast)
			if err != nil {
				r.Fatal(err)
			}
			for range rapid.IntRange(0, 6).Draw(r, "appends") {
				run := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "run")
				expected := uint64(len(model[run]) + rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(r, "off"))
				var bodies [][]byte
				for n := range rapid.IntRange(1, 5).Draw(r, "bodies") {
					bodies = append(bodies, fmt.Appendf(nil, `[%d,%d]`, len(model[run]), n))
				}
				_, err := log.Append(t.Context(), run, expected, 1, bodies...)
				if expected != uint64(len(model[run])) {
					if !errors.Is(err, journal.ErrConflict) {
						r.Fatalf("append after %d of %d: %v", expected, len(model[run]), err)
					}
					continue
				}
				if err != nil {
					r.Fatal(err)
				}
				for _, b := range bodies {
					model[run] = append(model[run], string(b))
				}
			}
			checkModel(r, t, log, model)
			if err := log.Close(); err != nil {
				r.Fatal(err)
			}
		}
	})
}

// checkModel compares a journal with what it should hold.
func checkModel(r *rapid.T, t *testing.T, log *sqlite.Log, model map[string][]string) {
	for _, run := range []string{"a", "b", "c"} {
		var got []string
		for event, err := range log.Read(t.Context(), run, 0) {
			if err != nil {
				r.Fatal(err)
			}
			got = append(got, string(event.Body))
		}
		if !slices.Equal(got, model[run]) {
			r.Fatalf("run %s holds %q, want %q", run, got, model[run])
		}
	}
	if found, err := log.Verify(t.Context()); err != nil || len(found) > 0 {
		r.Fatalf("verify: %v, %v", found, err)
	}
}
