package postgres_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/postgres"
	"allclear.dev/allclear/internal/postgres/postgrestest"
)

// ladder are the levels of proof, from the cheapest.
func ladder() []string {
	return []string{"checksum", "list", "decode", "load", "schema", "counts", "restore", "amcheck"}
}

// dump makes an archive of a database with pg_dump itself.
func dump(t *testing.T, url string, flags ...string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "pg_dump", slices.Concat([]string{"--dbname=" + url, "--exclude-schema=allclear"}, flags)...).Output()
	if err != nil {
		t.Fatalf("pg_dump: %v", err)
	}
	return out
}

// flip changes bytes from a place on.
func flip(data []byte, at, n int) []byte {
	out := slices.Clone(data)
	for i := range n {
		out[at+i] ^= 0x15
	}
	return out
}

// TestMatrix: each damage is caught at the level that claims it, and from there on.
// The archives are as if they had been bad at birth, except for the first row of
// each, whose checksum was right once.
func TestMatrix(t *testing.T) {
	url, made := shopDatabase(t), t.TempDir()
	sets := run(t, postgres.Backup, named, in(url, made, nil), "pass: ...").Sets
	name := filepath.Base(sets["backup.path"])
	good, loose := dump(t, url, "-Fc"), dump(t, url, "-Fc", "-Z0")
	at := bytes.Index(loose, []byte("\ta\n"))
	if at < 40 {
		t.Fatal("the rows are not in the uncompressed archive")
	}
	for _, c := range []struct {
		damage string
		data   []byte
		caught string // the first level that catches it; "" for none
	}{
		{"whole", good, ""},
		{"empty", nil, "list"},
		{"cut in half", good[:len(good)/2], "decode"},
		{"4 bytes flipped", flip(good, len(good)/2, 4), "decode"},
		{"last byte missing", good[:len(good)-1], "decode"},
		{"schema only", dump(t, url, "-Fc", "--schema-only"), "counts"},
		{"a table left out", dump(t, url, "-Fc", "--exclude-table=empty"), "schema"},
		{"rows of a table left out", dump(t, url, "-Fc", `--exclude-table-data="Order Line"`), "counts"},
		{"2 bytes flipped, uncompressed", flip(loose, at-20, 2), "restore"},
	} {
		t.Run(c.damage, func(t *testing.T) {
			var row []string
			for _, level := range ladder() {
				o := verified(t, url, made, sets, name, c.data, "mode: verify\nverify: "+level)
				row = append(row, judged(t, c.damage, level, c.caught, o))
			}
			t.Logf("%-32s %s", c.damage, strings.Join(row, " "))
		})
	}
	folder := t.TempDir()
	copyFolder(t, made, folder)
	write(t, filepath.Join(folder, name), flip(good, 30, 1))
	run(t, postgres.Backup, named+"mode: verify\nverify: checksum", in(url, folder, sets), "fail: ...")
	noScratch(t, url)
}

// verified puts data in the archive's place, with a record that says it was made
// so, and verifies it.
func verified(t *testing.T, url, made string, sets map[string]string, name string, data []byte, params string) check.Outcome {
	t.Helper()
	folder := t.TempDir()
	copyFolder(t, made, folder)
	write(t, filepath.Join(folder, name), data)
	sum := sha256.Sum256(data)
	record(t, folder, func(r map[string]any) { r["sha256"], r["bytes"] = hex.EncodeToString(sum[:]), max(len(data), 1) })
	return outcome(t, named+params, in(url, folder, sets))
}

func outcome(t *testing.T, params string, world func(*check.Env)) check.Outcome {
	t.Helper()
	env := checktest.NewEnv(t)
	world(env)
	inst, problems := checktest.Decode(postgres.Backup, params, nil)
	if problems != nil {
		t.Fatal(problems)
	}
	o, err := inst.Runner.Run(t.Context(), env)
	if err != nil {
		t.Fatalf("%s: %v", params, err)
	}
	return o
}

// judged holds an outcome against what a level claims.
func judged(t *testing.T, damage, level, caught string, o check.Outcome) string {
	t.Helper()
	due := caught != "" && slices.Index(ladder(), level) >= slices.Index(ladder(), caught)
	// An empty file has no size that a record could give it: it fails at once.
	due = due || damage == "empty"
	if found := o.Verdict == check.Fail; found != due {
		t.Errorf("%s at level %s: %s %s", damage, level, o.Verdict, o.Reason)
	}
	if due {
		return level + ":caught"
	}
	return level + ":-"
}

// TestPlainMatrix: a dump that is SQL is what psql loads half of without a word.
func TestPlainMatrix(t *testing.T) {
	url := shopDatabase(t)
	good := dump(t, url)
	constraints := bytes.Index(good, []byte("ADD CONSTRAINT"))
	for _, c := range []struct {
		damage string
		data   []byte
		caught string
		reason string
	}{
		{"whole", good, "", ""},
		{"cut in half", good[:len(good)/2], "decode", "it was cut"},
		{"cut before the constraints", good[:constraints-60], "decode", "it was cut"},
		{"a row that cannot be", bytes.Replace(good, []byte("\ta\n"), []byte("\tz\n"), 1), "load", "check constraint"},
		{"another thing", []byte("hello"), "list", "does not begin like a dump"},
		{"of another database", append([]byte("-- PostgreSQL database dump\n\\connect shop\n"), good...), "decode", `line 2:\connect shop`},
		{"with a program", append([]byte("-- PostgreSQL database dump\n\\! touch /tmp/x\n"), good...), "decode", "reaches beyond its own database"},
		{"the whole cluster's", append([]byte("-- PostgreSQL database dump\nDROP DATABASE shop;\n"), good...), "decode", "reaches beyond its own database"},
	} {
		t.Run(c.damage, func(t *testing.T) {
			folder := t.TempDir()
			write(t, filepath.Join(folder, "team.sql"), c.data)
			for _, level := range ladder()[:4] {
				o := outcome(t, named+"mode: verify\nfrom: team.sql\nmade_by: other\nverify: "+level, in(url, folder, nil))
				judged(t, c.damage, level, c.caught, o)
				if o.Verdict == check.Fail && !strings.Contains(o.Reason, c.reason) {
					t.Errorf("%s at level %s: %s, want %q", c.damage, level, o.Reason, c.reason)
				}
			}
		})
	}
	noScratch(t, url)
}

// TestMadeByOther: an archive without a record of ours is proven as far as that
// goes, and never further.
func TestMadeByOther(t *testing.T) {
	url, folder := shopDatabase(t), t.TempDir()
	custom := dump(t, url, "-Fc")
	write(t, filepath.Join(folder, "team.dump"), custom)
	if out, err := exec.CommandContext(t.Context(), "pg_dump", "--dbname="+url, "-Fd", "-f", filepath.Join(folder, "team.dir")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	sum := sha256.Sum256(custom)
	other := named + "mode: verify\nmade_by: other\n"
	checktest.Run(t, postgres.Backup, []checktest.Case{
		{Name: "custom", Params: other + "from: team.dump\nverify: load\nsha256: " + hex.EncodeToString(sum[:]), Env: in(url, folder, nil), Timeout: 30 * time.Second,
			Want: "pass: backups/team.dump: ... bytes, ... old, proven to level load; its rows and content were not recorded and cannot be compared"},
		{Name: "directory", Params: other + "from: team.dir\nverify: load", Env: in(url, folder, nil), Timeout: 30 * time.Second, Want: "pass: backups/team.dir: ..."},
		{Name: "another checksum", Params: other + "from: team.dump\nsha256: " + strings.Repeat("0", 64), Env: in(url, folder, nil), Want: "fail: backups/team.dump has SHA-256 ..., its maker says 000000000000"},
		{Name: "gone", Params: other + "from: missing.dump", Env: in(url, folder, nil), Want: "fail: there is no backup at backups/missing.dump"},
		{Name: "too old", Params: other + "from: team.dump\nmax_age: 1ns", Env: in(url, folder, nil), Want: "fail: ... old, want at most 1ns"},
		{Name: "more than can be known", Params: other + "from: team.dump\nverify: counts", Want: "problem: ...verify: load is the most"},
		{Name: "which", Params: other, Want: "problem: ...made_by: other goes with mode: verify and the archive's path in from"},
		{Name: "a checksum of ours", Params: named + "sha256: abc", Want: "problem: ...sha256: goes with made_by: other"},
	})
}

// TestAmcheck: what cannot be looked at is not sound.
func TestAmcheck(t *testing.T) {
	url, folder := shopDatabase(t), t.TempDir()
	sets := run(t, postgres.Backup, named+"verify: amcheck", in(url, folder, nil), "pass: ...readable (amcheck)").Sets
	role := fmt.Sprintf("limited_%d", time.Now().UnixNano())
	postgrestest.Exec(t, url, "CREATE ROLE "+role+" LOGIN CREATEDB PASSWORD 'geheimgeheim'")
	limited := strings.Replace(url, strings.SplitN(strings.TrimPrefix(url, "postgres://"), "@", 2)[0], role+":geheimgeheim", 1)
	checktest.Run(t, postgres.Backup, []checktest.Case{{Name: "not permitted", Params: named + "mode: verify\nfrom: " + filepath.Base(sets["backup.path"]) + "\nverify: amcheck", Env: in(limited, folder, nil), Timeout: 30 * time.Second,
		Want: "error: install amcheck ...permission denied..."}})
}

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", from+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
