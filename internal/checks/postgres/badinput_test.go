package postgres_test

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/postgres"
	"allclear.dev/allclear/internal/postgres/postgrestest"
)

// large makes the shop's database large enough to be cut off in the middle: its
// dump has some megabytes.
func large(t *testing.T) string {
	t.Helper()
	url := shopDatabase(t)
	postgrestest.Exec(t, url, `CREATE TABLE picture (id int PRIMARY KEY, data text); INSERT INTO picture SELECT g, (SELECT string_agg(md5(g::text || k::text), '') FROM generate_series(1, 10) k) FROM generate_series(1, 20000) g`)
	return url
}

// nothingLeft holds that a backup that failed leaves neither archive, record, roles
// nor half of one.
func nothingLeft(t *testing.T, folder string) {
	t.Helper()
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		t.Errorf("%s is left", f.Name())
	}
}

// wrapped makes a folder with programs that run PostgreSQL's own of the same name
// behind a line of shell.
func wrapped(t *testing.T, line string) string {
	t.Helper()
	real, err := filepath.Glob("/usr/lib/postgresql/*/bin/pg_dump")
	if err != nil || len(real) == 0 {
		t.Fatalf("no PostgreSQL programs: %v", err)
	}
	dir := t.TempDir()
	for _, name := range []string{"pg_dump", "pg_restore", "pg_dumpall", "psql"} {
		text := fmt.Sprintf("#!/bin/sh\n%s\nexec %s \"$@\"\n", line, filepath.Join(filepath.Dir(real[len(real)-1]), name))
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// cutter is a proxy that cuts everything off once so many bytes have gone by in
// one direction, and lets everything through from then on.
type cutter struct {
	address string
	left    atomic.Int64
	fromDB  bool

	mu    sync.Mutex
	conns []net.Conn
}

// cutting gives the database's address through a proxy that cuts after so many
// bytes from the server, or to it.
func cutting(t *testing.T, address string, after int64, fromDB bool) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	c := &cutter{address: u.Host, fromDB: fromDB}
	c.left.Store(after)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go c.serve(conn)
		}
	}()
	u.Host = l.Addr().String()
	return u.String()
}

func (c *cutter) serve(client net.Conn) {
	server, err := net.Dial("tcp", c.address)
	if err != nil {
		_ = client.Close()
		return
	}
	c.mu.Lock()
	c.conns = append(c.conns, client, server)
	c.mu.Unlock()
	go c.copy(server, client, !c.fromDB)
	c.copy(client, server, c.fromDB)
}

func (c *cutter) copy(to, from net.Conn, counts bool) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		if counts && n > 0 {
			if before := c.left.Add(int64(-n)); before < 0 && before+int64(n) >= 0 {
				c.mu.Lock()
				for _, conn := range c.conns {
					_ = conn.Close()
				}
				c.mu.Unlock()
				return
			}
		}
		if _, writeErr := to.Write(buffer[:n]); err != nil || writeErr != nil {
			_, _ = io.Copy(io.Discard, from)
			return
		}
	}
}

// TestBackupInABadWorld: whatever goes wrong while a backup is made says what it
// was, is never done, and leaves nothing that looks like a backup.
func TestBackupInABadWorld(t *testing.T) {
	url := large(t)
	for _, c := range []struct {
		name, url, params, want string
		timeout                 time.Duration
	}{
		{name: "no room", params: "bin: " + wrapped(t, "trap '' XFSZ; ulimit -f 200"), want: "fail: pg_dump failed: ...File too large..."},
		{name: "no room for the roles", params: "globals: true\nbin: " + wrapped(t, `trap '' XFSZ; case "$*" in *globals-only*) ulimit -f 0;; esac`), want: "fail: the file of roles does not end with the line that pg_dumpall writes last..."},
		{name: "killed", params: "bin: " + wrapped(t, `case "$*" in *--file=*) kill -9 $$;; esac`), want: "error: ...killed..."},
		{name: "cut off before the dump", url: cutting(t, url, 2000, true), want: "error: ..."},
		{name: "cut off in the middle of the dump", url: cutting(t, url, 1_500_000, true), params: "digests: false", want: "fail: pg_dump failed: ..."},
		{name: "an older program", params: "bin: " + wrapped(t, `case "$*" in *--version*) echo "$0 (PostgreSQL) 12.9"; exit;; esac`), want: "error: no pg_dump for PostgreSQL 15 on host local (found: 12 in ...)"},
		{name: "a program of another kind", params: "bin: " + wrapped(t, `case "$*" in *--version*) echo hello; exit;; esac`), want: "error: ask ... for its version: ..."},
		{name: "stopped on the way", params: "bin: " + wrapped(t, `case "$*" in *--file=*) sleep 30;; esac`), timeout: 700 * time.Millisecond, want: "error: ..."},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder, address := t.TempDir(), c.url
			if address == "" {
				address = url
			}
			checktest.Run(t, postgres.Backup, []checktest.Case{{Name: "run", Params: named + c.params, Env: in(address, folder, nil), Want: c.want, Once: true, Timeout: max(c.timeout, 0) + map[bool]time.Duration{true: 30 * time.Second}[c.timeout == 0]}})
			nothingLeft(t, folder)
		})
	}
	noScratch(t, url)
}

// TestRestoreInABadWorld: a restore that is cut off, stopped or lacks something says
// so and leaves no database behind.
func TestRestoreInABadWorld(t *testing.T) {
	url, folder := large(t), t.TempDir()
	sets := run(t, postgres.Backup, named, in(url, folder, nil), "pass: ...").Sets
	through := func(address string) func(*check.Env) {
		return func(env *check.Env) {
			in(url, folder, sets)(env)
			checktest.SetSecrets(env, checktest.Secrets{"env:DB": url, "env:SCRATCH": address})
		}
	}
	for _, c := range []struct {
		name, params, want string
		world              func(*check.Env)
		timeout            time.Duration
	}{
		{name: "cut off in the middle", params: "scratch: env:SCRATCH", world: through(cutting(t, url, 2_000_000, false)), want: "fail: ..."},
		{name: "stopped on the way", params: "bin: " + wrapped(t, `case "$*" in *--jobs=*) sleep 30;; esac`), world: in(url, folder, sets), timeout: 1500 * time.Millisecond, want: "error: ..."},
		{name: "killed", params: "bin: " + wrapped(t, `case "$*" in *--jobs=*) kill -9 $$;; esac`), world: in(url, folder, sets), want: "error: ...killed..."},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeout := c.timeout
			if timeout == 0 {
				timeout = 30 * time.Second
			}
			checktest.Run(t, postgres.Restore, []checktest.Case{{Name: "run", Params: "db: env:DB\n" + c.params, Env: c.world, Want: c.want, Once: true, Timeout: timeout}})
		})
	}
	noScratch(t, url)
	run(t, postgres.Restore, "db: env:DB", in(url, folder, sets), "pass: ...") // and nothing was lost
}

// TestMissingExtension: a dump that needs an extension whose files the server lacks
// fails with the server's own words.
func TestMissingExtension(t *testing.T) {
	url, folder := shopDatabase(t), t.TempDir()
	dump := "--\n-- PostgreSQL database dump\n--\nCREATE EXTENSION no_such_extension;\n--\n-- PostgreSQL database dump complete\n--\n"
	if err := os.WriteFile(filepath.Join(folder, "other.sql"), []byte(dump), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, postgres.Backup, named+"mode: verify\nmade_by: other\nfrom: other.sql\nverify: load", in(url, folder, nil), `fail: ...extension "no_such_extension" is not available...`)
	noScratch(t, url)
}

// TestRowSecurity: a role that sees only some rows must not make a backup of them
// that looks whole.
func TestRowSecurity(t *testing.T) {
	address, folder := shopDatabase(t), t.TempDir()
	role := "dumper_" + strings.ToLower(postgrestest.Server(t, address).Database())
	postgrestest.Exec(t, address, "CREATE ROLE "+role+" LOGIN PASSWORD 'dumper-secret-1'; GRANT pg_read_all_data TO "+role+
		"; ALTER TABLE customer ENABLE ROW LEVEL SECURITY; CREATE POLICY visible ON customer TO "+role+" USING (id <= 10)")
	defer postgrestest.Exec(t, address, "DROP POLICY visible ON customer; DROP OWNED BY "+role+"; DROP ROLE "+role)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "dumper-secret-1")
	for _, digests := range []string{"true", "false"} {
		run(t, postgres.Backup, named+"digests: "+digests, in(u.String(), folder, nil), "error: ...row-level security...")
	}
	nothingLeft(t, folder)
}
