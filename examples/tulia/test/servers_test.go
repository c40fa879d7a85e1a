// Package test runs the real binaries against a real PostgreSQL and Redis.
package test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

// freePort returns a port that nobody listened on a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// eventually waits until ready returns nil, asking often; it fails the test with the last error after 10 s.
func eventually(t *testing.T, what string, ready func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}

// unprivileged returns how to run a server that refuses to run as root, and gives it dir.
func unprivileged(t *testing.T, dir string) *syscall.SysProcAttr {
	t.Helper()
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		return attr
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr
}

// serverDir returns a new directory that other users can reach.
func serverDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "tulia-test-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// start runs a process until the test ends; its output goes to the test's log if the test fails.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	file, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
		}
		file.Close()
		if text, _ := os.ReadFile(log); t.Failed() {
			t.Logf("%s %v:\n%s", filepath.Base(cmd.Path), cmd.Args[1:], text[max(0, len(text)-1500):])
		}
	})
}

// startPostgres returns the URL of a new, empty database.
func startPostgres(t *testing.T) string {
	t.Helper()
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(bins) == 0 {
		t.Fatal("PostgreSQL is not installed (Debian: apt install postgresql)")
	}
	sort.Strings(bins)
	bin, dir, port := bins[len(bins)-1], serverDir(t), freePort(t)
	attr := unprivileged(t, dir)
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", dir+"/data", "-U", "tulia", "-A", "trust", "--no-sync", "--locale=C", "-E", "UTF8")
	initdb.SysProcAttr, initdb.Dir = attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	server := exec.Command(filepath.Join(bin, "postgres"), "-D", dir+"/data", "-k", dir, "-h", "127.0.0.1",
		"-p", strconv.Itoa(port), "-c", "fsync=off", "-c", "synchronous_commit=off")
	server.SysProcAttr, server.Dir = attr, dir
	start(t, server)
	// SIGTERM would wait for clients; the test is over.
	t.Cleanup(func() { _ = server.Process.Signal(syscall.SIGINT); _ = server.Wait() })
	url := fmt.Sprintf("postgres://tulia@127.0.0.1:%d/postgres?sslmode=disable", port)
	eventually(t, "postgres", func() error {
		c, err := pgx.Connect(t.Context(), url)
		if err == nil {
			c.Close(t.Context())
		}
		return err
	})
	return url
}

// startRedis returns the URL of a new, empty Redis.
func startRedis(t *testing.T) string {
	t.Helper()
	dir, port := serverDir(t), freePort(t)
	server := exec.Command("redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "")
	server.SysProcAttr = unprivileged(t, dir)
	start(t, server)
	url := fmt.Sprintf("redis://127.0.0.1:%d/0", port)
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	defer client.Close()
	eventually(t, "redis", func() error { return client.Ping(t.Context()).Err() })
	return url
}

// connect returns a connection for the test's own questions.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// migrate applies the release's migrations between from and to as golang-migrate does: each file as one simple
// query, the version written after it. Downwards from > to.
func migrate(t *testing.T, db *pgx.Conn, release string, from, to int) {
	t.Helper()
	exec := func(sql string) {
		t.Helper()
		if _, err := db.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	exec(`CREATE TABLE IF NOT EXISTS schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)`)
	apply := func(number, version int, direction string) {
		files, _ := filepath.Glob(filepath.Join(release, "migrations", fmt.Sprintf("%04d_*.%s.sql", number, direction)))
		if len(files) != 1 {
			t.Fatalf("migration %d %s: %d files in %s", number, direction, len(files), release)
		}
		sql, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		exec(string(sql))
		exec(fmt.Sprintf(`TRUNCATE schema_migrations; INSERT INTO schema_migrations VALUES (%d, false)`, version))
	}
	for n := from + 1; n <= to; n++ {
		apply(n, n, "up")
	}
	for n := from; n > to; n-- {
		apply(n, n-1, "down")
	}
}
