// Package postgrestest starts real PostgreSQL servers for tests: a temporary
// cluster with a random password on a free port of the loopback, gone when the
// tests are.
package postgrestest

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/secret"
)

// variable is where Main leaves the address of its server for Start.
const variable = "ALLCLEAR_TEST_POSTGRES"

// startTimeout bounds making and starting a cluster.
const startTimeout = 60 * time.Second

// Main runs a package's tests with one server for all of them. Use it as
//
//	func TestMain(m *testing.M) { os.Exit(postgrestest.Main(m)) }
func Main(m *testing.M) int {
	server, err := start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "start PostgreSQL:", err)
		return 1
	}
	defer server.stop()
	if err := os.Setenv(variable, server.url); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// Start gives the URL of an empty database of the test's own, whose user is a
// superuser. Without Main it starts a server for this test alone.
func Start(t testing.TB) string {
	t.Helper()
	address := os.Getenv(variable)
	if address == "" {
		server, err := start()
		if err != nil {
			t.Fatalf("start PostgreSQL: %v", err)
		}
		t.Cleanup(server.stop)
		address = server.url
	}
	name := "t_" + strings.ToLower(rand.Text()[:12])
	if err := Server(t, address).CreateDatabase(t.Context(), name, postgres.Locale{}); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// Server gives the database at an address.
func Server(t testing.TB, address string) *postgres.Server {
	t.Helper()
	server, err := postgres.Parse(secret.New(address), (&net.Dialer{}).DialContext)
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// Exec runs statements in the database at an address.
func Exec(t testing.TB, address, sql string) {
	t.Helper()
	if err := Open(t, address).Script(t.Context(), sql); err != nil {
		t.Fatalf("%v in %s", err, sql)
	}
}

// Open starts a session that ends with the test.
func Open(t testing.TB, address string) *postgres.Conn {
	t.Helper()
	c, err := Server(t, address).Open(t.Context(), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Value gives the one value of a query.
func Value(t testing.TB, address, sql string) string {
	t.Helper()
	v, err := Open(t, address).Value(t.Context(), sql)
	if err != nil {
		t.Fatalf("%v in %s", err, sql)
	}
	return v
}

// Password gives the password in an address, to search for where it must not be.
func Password(t testing.TB, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	return password
}

// Silent gives the address of something that takes connections and never
// answers.
func Silent(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return "postgres://u:hush-hush-hush@" + l.Addr().String() + "/db?sslmode=disable"
}

// server is a running cluster.
type server struct {
	url string
	dir string
	cmd *exec.Cmd
	// settings are given to the server in addition to those of every test.
	settings []string
}

func start(settings ...string) (*server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	who, err := account()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "allclear-postgres-")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir, settings: settings}
	password := rand.Text()
	if err := s.initialise(ctx, bin, who, password); err != nil {
		s.stop()
		return nil, err
	}
	for range 5 { // another process may take the port before the server does
		if err = s.run(ctx, bin, who, password); err == nil {
			return s, nil
		}
	}
	s.stop()
	return nil, err
}

// programs finds the newest installed server.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("no PostgreSQL server is installed")
	}
	return filepath.Dir(path), nil
}

// account is the user that a server runs as: not root, which it refuses.
func account() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("a server does not run as root: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

func (s *server) initialise(ctx context.Context, bin string, who *syscall.Credential, password string) error {
	file := filepath.Join(s.dir, "password")
	if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
		return err
	}
	if who != nil {
		for _, path := range []string{s.dir, file} {
			if err := os.Chown(path, int(who.Uid), int(who.Gid)); err != nil {
				return err
			}
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", s.data(), "-U", "admin", "-A", "scram-sha-256",
		"--pwfile", file, "-E", "UTF8", "--no-locale", "--no-sync", "--data-checksums")
	cmd.Dir, cmd.SysProcAttr = s.dir, &syscall.SysProcAttr{Credential: who}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

// run starts the server and returns when it says that it is ready.
func (s *server) run(ctx context.Context, bin string, who *syscall.Credential, password string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", s.data(), "-p", port, "-h", "127.0.0.1", "-k", "",
		"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "shared_buffers=32MB",
		"-c", "max_connections=60", "-c", "max_prepared_transactions=4", "-c", "autovacuum=off", "-c", "lc_messages=C")
	for _, one := range s.settings {
		cmd.Args = append(cmd.Args, "-c", one)
	}
	cmd.Dir, cmd.SysProcAttr = s.dir, dieWithParent(who)
	log, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ready := make(chan error, 1)
	go follow(log, ready)
	select {
	case err = <-ready:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return err
	}
	s.cmd, s.url = cmd, "postgres://admin:"+password+"@127.0.0.1:"+port+"/postgres?sslmode=disable"
	return nil
}

// follow reads the server's log until it is ready, and then throws it away.
func follow(log io.Reader, ready chan<- error) {
	var tail []string
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "ready to accept") {
			ready <- nil
			_, _ = io.Copy(io.Discard, log)
			return
		}
		tail = append(tail, lines.Text())
	}
	ready <- fmt.Errorf("the server ended: %s", strings.Join(tail, "; "))
}

// stop ends the server at once; its data is thrown away anyway.
func (s *server) stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGQUIT)
		_ = s.cmd.Wait()
	}
	_ = os.RemoveAll(s.dir)
}
