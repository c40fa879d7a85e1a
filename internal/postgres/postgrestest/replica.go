package postgrestest

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Cluster starts a server for one test alone, as one that is copied needs, and
// gives the address of its database. Settings ("name=value") can be those that only
// a start can change.
func Cluster(t testing.TB, settings ...string) string {
	t.Helper()
	server, err := start(settings...)
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	t.Cleanup(server.stop)
	return server.url
}

// Replica starts a hot standby of the test's server that streams from it under
// the application name "replica", and gives its address. It ends with the test.
func Replica(t testing.TB, address string) string {
	t.Helper()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	who, err := account()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "allclear-replica-")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{dir: dir}
	t.Cleanup(s.stop)
	if who != nil {
		if err := os.Chown(dir, int(who.Uid), int(who.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("application_name", "replica")
	u.RawQuery = query.Encode()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "pg_basebackup"), "-D", s.data(), "-R", "-c", "fast", "--no-sync", "-d", u.String())
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: who}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v: %s", err, out)
	}
	if err := s.run(ctx, bin, who, ""); err != nil {
		t.Fatal(err)
	}
	primary := Open(t, address)
	for caughtUp := "f"; caughtUp != "t"; {
		if caughtUp, err = primary.Value(ctx, "SELECT coalesce(bool_or(state = 'streaming' AND replay_lsn IS NOT NULL), false) FROM pg_stat_replication WHERE application_name = 'replica'"); err != nil {
			t.Fatal(err)
		}
	}
	replica, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	replica.User, replica.Path = u.User, u.Path
	return replica.String()
}
