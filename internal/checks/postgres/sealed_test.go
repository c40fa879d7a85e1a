package postgres_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/postgres"
	"allclear.dev/allclear/internal/postgres/postgrestest"
)

// keyed is a world with the database and a private key.
func keyed(url, folder, key string, facts map[string]string) func(*check.Env) {
	return func(env *check.Env) {
		in(url, folder, facts)(env)
		checktest.SetSecrets(env, checktest.Secrets{"env:DB": url, "env:KEY": key})
	}
}

// nothingReadable holds that no plain archive is left in a folder, in any file.
func nothingReadable(t *testing.T, folder string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	hidden, err2 := filepath.Glob(filepath.Join(folder, ".*"))
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	for _, file := range append(files, hidden...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("PGDMP")) {
			t.Errorf("%s can be read", file)
		}
	}
}

func TestEncryptedBackup(t *testing.T) {
	url, folder := shopDatabase(t), t.TempDir()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	seals := named + "encrypt_to: [" + key.Recipient().String() + "]\n"
	o := run(t, postgres.Backup, seals+"identity: env:KEY", keyed(url, folder, key.String(), nil), "pass: ...dump.age: ...")
	run(t, postgres.Backup, seals, in(url, folder, nil), "pass: ...dump.age: ...") // without the private key it is proven before it is sealed
	nothingReadable(t, folder)
	if facts := o.Facts; facts["path"] == "" || !strings.HasSuffix(o.Sets["backup.path"], ".dump.age") {
		t.Errorf("facts %v", facts)
	}
	from := "from: " + o.Sets["backup.path"] + "\n"
	for _, c := range []struct{ params, key, want string }{
		{"mode: verify\nverify: restore\nidentity: env:KEY\n", key.String(), "pass: ...is there and unchanged..."},
		{"mode: verify\nverify: checksum\n", "", "pass: ...is there and unchanged..."},
		{"mode: exists\n", "", "pass: ..."},
		{"mode: verify\nverify: list\n", "", "error: the private key of the encrypted backup (identity) was not supplied"},
		{"mode: verify\nverify: list\nidentity: env:KEY\n", other.String(), "error: open the encrypted backup: the identity is none of the keys that it was encrypted to..."},
		{"mode: verify\nverify: list\nidentity: env:KEY\n", "hunter2hunter2", "error: open the encrypted backup: the identity is no private key..."},
	} {
		run(t, postgres.Backup, named+from+c.params, keyed(url, folder, c.key, o.Sets), c.want)
	}
	run(t, postgres.Restore, "db: env:DB\nidentity: env:KEY\n"+from, keyed(url, folder, key.String(), o.Sets), "pass: ...was restored in ...")
	run(t, postgres.Restore, "db: env:DB\n"+from, in(url, folder, o.Sets), "error: the private key of the encrypted backup (identity) was not supplied")
	nothingReadable(t, folder)

	// A changed file has another digest; even with a record that was changed with it,
	// it does not open.
	file := filepath.Join(folder, filepath.Base(o.Sets["backup.path"]))
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)-100] ^= 1
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	verify := named + from + "mode: verify\nverify: list\nidentity: env:KEY\n"
	run(t, postgres.Backup, verify, keyed(url, folder, key.String(), o.Sets), "fail: ...has been changed since it was made...")
	sum := sha256.Sum256(text)
	editRecord(t, file, func(r map[string]any) { r["sha256"] = hex.EncodeToString(sum[:]) })
	run(t, postgres.Backup, verify, keyed(url, folder, key.String(), o.Sets), "fail: ...it was changed or cut since it was encrypted...")
	nothingReadable(t, folder)
	checktest.Run(t, postgres.Backup, []checktest.Case{
		{Name: "a private key", Params: named + "encrypt_to: [" + key.String() + "]", Want: "problem: ...encrypt_to: key 1 is no public key..."},
		{Name: "a folder", Params: named + "format: directory\nencrypt_to: [" + key.Recipient().String() + "]", Want: "problem: ...encrypt_to: goes with format: custom..."},
		{Name: "elsewhere", Params: named + "on: web-1\nencrypt_to: [" + key.Recipient().String() + "]", Want: "problem: ...leave on out..."},
	})
}

// editRecord changes what lies beside an archive.
func editRecord(t *testing.T, file string, change func(map[string]any)) {
	t.Helper()
	text, err := os.ReadFile(file + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var r map[string]any
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	change(r)
	if text, err = json.Marshal(r); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".json", text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRetention: what is removed is old, beyond keep, and nobody's way back.
func TestRetention(t *testing.T) {
	url, folder := shopDatabase(t), t.TempDir()
	start := time.Now()
	var made []map[string]string
	backup := func(day int, params string, facts map[string]string, past ...string) {
		t.Helper()
		o := run(t, postgres.Backup, named+"digests: false\n"+params, func(env *check.Env) {
			in(url, folder, facts)(env)
			env.Now = func() time.Time { return start.Add(time.Duration(day) * 24 * time.Hour) }
			ledger := &checktest.Ledger{Facts: facts, Past: map[string][]check.Recorded{}}
			for _, file := range past {
				ledger.Past["backup.path"] = append(ledger.Past["backup.path"], check.Recorded{Value: file})
			}
			env.Ledger = ledger
		}, "pass: ...")
		made = append(made, o.Sets)
		// The instant of a backup is the server's; here it is to be the test's.
		editRecord(t, filepath.Join(folder, filepath.Base(o.Sets["backup.path"])), func(r map[string]any) {
			r["at"] = start.Add(time.Duration(day) * 24 * time.Hour).Format(time.RFC3339)
		})
	}
	left := func(want int) {
		t.Helper()
		if files, err := filepath.Glob(filepath.Join(folder, "*.dump")); err != nil || len(files) != want {
			t.Errorf("%d backups are left, want %d: %v %v", len(files), want, files, err)
		}
	}
	backup(0, "globals: true", nil)
	backup(10, "", nil)
	backup(20, "keep_for: 264h", nil, made[0]["backup.path"]) // the first is the last deployment's
	left(3)
	backup(30, "keep: 4\nkeep_for: 24h", nil)
	left(4)
	backup(40, "keep: 2\nkeep_for: 2400h", nil)
	left(5)
	backup(50, "keep: 2", map[string]string{"backup.path": made[1]["backup.path"]}) // the second is this run's
	left(3)
	backup(60, "keep_for: 1h", nil)
	left(1)
	if files, err := filepath.Glob(filepath.Join(folder, "*.globals.sql")); err != nil || len(files) != 0 {
		t.Errorf("left: %v %v", files, err)
	}
}

// TestGlobals: the server's roles are kept without their passwords, and going back
// live is refused while one that is needed is missing.
func TestGlobals(t *testing.T) {
	url, folder := shopDatabase(t), t.TempDir()
	role := "clerk_" + strings.ToLower(postgrestest.Server(t, url).Database())
	postgrestest.Exec(t, url, "CREATE ROLE "+role+" LOGIN PASSWORD 'hunter2hunter2'; GRANT SELECT ON customer TO "+role)
	defer postgrestest.Exec(t, url, "DROP OWNED BY "+role+"; DROP ROLE IF EXISTS "+role)
	sets := run(t, postgres.Backup, named+"globals: true", in(url, folder, nil), "pass: ...").Sets
	files, err := filepath.Glob(filepath.Join(folder, "*.globals.sql"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil || !strings.Contains(string(text), "CREATE ROLE "+role) || strings.Contains(string(text), "PASSWORD") || strings.Contains(string(text), "SCRAM") {
		t.Errorf("%s %v", text, err)
	}
	if err := os.WriteFile(files[0], text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, postgres.Backup, named+"mode: exists", in(url, folder, sets), "fail: ...globals.sql has been changed since it was made...")
	if err := os.WriteFile(files[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	account := run(t, postgres.Restore, "db: env:DB\ninto: account", in(url, folder, sets), "pass: ...").Sets
	record(t, folder, func(r map[string]any) { r["roles"] = append(r["roles"].([]any), "gone_"+role) })
	run(t, postgres.Restore, goLive, approved(url, folder, "pass", sets, account), "fail: ...the server has no role gone_"+role+", which owns or may use...create it first (they are in ...globals.sql); database ... is untouched...")
}
