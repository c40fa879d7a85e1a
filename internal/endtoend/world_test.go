package endtoend

import (
	crypto "crypto/rand"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"allclear.dev/allclear/internal/postgres/postgrestest"
)

// python is Debian's, which finds Debian's Django, Celery and gunicorn.
const python = "/usr/bin/python3"

// patience bounds every wait for something that the test has set going.
const patience = 60 * time.Second

// world is a host with a Django product on it: a checkout with a tag for each
// release, and what the checklist calls srv: releases, settings, secrets, pid files.
type world struct {
	*testing.T
	dir, srv, checkout   string
	bind, redis          string // where the site and Redis listen
	database, token, key string
}

// people are those of allclear.yaml.
func people() []string { return []string{"ana", "ben", "dan", "eli"} }

// newWorld makes the files; nothing runs yet.
func newWorld(t *testing.T) *world {
	w := &world{T: t, dir: t.TempDir(), database: "postgres://nobody@127.0.0.1:1/none", token: word(), key: word()}
	w.srv, w.checkout = filepath.Join(w.dir, "srv"), filepath.Join(w.dir, "checkout")
	w.bind, w.redis = freeAddress(t), freeAddress(t)
	for _, dir := range []string{"srv/releases", "srv/shared", "srv/run", "srv/secrets", "srv/backups", "srv/archive", "checkout", "keys"} {
		w.check(os.MkdirAll(filepath.Join(w.dir, dir), 0o700))
	}
	for _, name := range people() {
		w.run(w.dir, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", filepath.Join(w.dir, "keys", name))
	}
	w.commit()
	return w
}

// commit makes the repository, a commit and a tag for each release.
func (w *world) commit() {
	w.git("init", "-q", "-b", "main")
	w.git("config", "user.name", "Team")
	w.git("config", "user.email", "team@example.com")
	w.git("config", "commit.gpgsign", "false")
	for _, release := range []string{"1.0", "1.1", "1.2"} {
		w.check(filepath.WalkDir(filepath.Join("testdata", release), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			below, err := filepath.Rel(filepath.Join("testdata", release), path)
			if err == nil {
				w.write(filepath.Join("checkout", below), string(text), 0o644)
			}
			return err
		}))
		if release == "1.0" {
			w.checklist()
		}
		w.git("add", "-A")
		w.git("commit", "-q", "-m", "Release "+release)
		w.git("tag", "-a", "-m", "Release "+release, "v"+release)
	}
	w.run(w.dir, "git", "clone", "-q", "--mirror", w.checkout, filepath.Join(w.srv, "mirror.git"))
}

// checklist puts the checklist and its configuration into the checkout.
func (w *world) checklist() {
	pairs := []string{"@srv@", w.srv, "@bind@", w.bind, "@redis@", "redis://" + w.redis}
	for _, name := range people() {
		pairs = append(pairs, "@key."+name+"@", strings.TrimSpace(w.read(filepath.Join("keys", name+".pub"))))
	}
	config, err := os.ReadFile("testdata/allclear.yaml")
	w.check(err)
	list, err := os.ReadFile("testdata/DEPLOYMENT_CHECKLIST.md")
	w.check(err)
	w.write("checkout/allclear.yaml", strings.NewReplacer(pairs...).Replace(string(config)), 0o644)
	w.write("checkout/DEPLOYMENT_CHECKLIST.md", string(list), 0o644)
}

// settings writes what the application and allclear need to know.
func (w *world) settings() {
	host, _, err := net.SplitHostPort(w.bind)
	w.check(err)
	w.write("srv/shared/.env", strings.Join([]string{
		"SECRET_KEY=" + w.key, "DATABASE_URL=" + w.database, "REDIS_URL=redis://" + w.redis + "/0",
		"ALLOWED_HOSTS=" + host, "API_TOKEN=" + w.token, "",
	}, "\n"), 0o600)
	w.write("srv/secrets/database-url", w.database, 0o600)
	w.write("srv/secrets/api-token", w.token, 0o600)
	w.check(os.Symlink(filepath.Join(w.srv, "shared/.env"), filepath.Join(w.checkout, ".env")))
}

// serve starts PostgreSQL and Redis.
func (w *world) serve() {
	w.database = postgrestest.Start(w.T)
	host, port, err := net.SplitHostPort(w.redis)
	w.check(err)
	w.start("redis", w.dir, "redis-server", "--bind", host, "--port", port, "--save", "", "--dir", w.dir, "--maxmemory", "64mb", "--maxmemory-policy", "noeviction")
	w.until("Redis", func() error {
		conn, err := net.Dial("tcp", w.redis)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
}

// start runs a program with the log NAME.log in a session of its own, as an init system does,
// until the test ends, and gives its pid.
func (w *world) start(name, dir string, argv ...string) int {
	w.Helper()
	log, err := os.Create(filepath.Join(w.dir, name+".log"))
	w.check(err)
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = dir, log, log, &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		w.Fatalf("start %s: %v (its Debian package is in scripts/packages)", name, err)
	}
	go func() { _ = cmd.Wait() }()
	return cmd.Process.Pid
}

// running are the processes that work in the world's folder: everything that was
// started for this test, whoever started it.
func (w *world) running() []int {
	var pids []int
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, link := range links {
		dir, err := os.Readlink(link) // no link: it has ended, or is not ours
		if err != nil || dir != w.dir && !strings.HasPrefix(dir, w.dir+"/") {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// end ends everything that runs in the world's folder.
func (w *world) end() {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		for _, pid := range w.running() {
			_ = syscall.Kill(pid, signal) // it may have ended meanwhile
		}
		for deadline := time.Now().Add(10 * time.Second); len(w.running()) > 0 && time.Now().Before(deadline); {
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// until asks again and again.
func (w *world) until(what string, ready func() error) {
	w.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := ready()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.Fatalf("%s: %v", what, err)
		}
	}
}

// run runs a program to its end and gives what it prints.
func (w *world) run(dir string, argv ...string) string {
	w.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (w *world) git(args ...string) string {
	w.Helper()
	return w.run(w.checkout, append([]string{"git"}, args...)...)
}

func (w *world) read(name string) string {
	w.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, name))
	w.check(err)
	return string(text)
}

func (w *world) write(name, text string, mode os.FileMode) {
	w.Helper()
	path := filepath.Join(w.dir, name)
	w.check(os.MkdirAll(filepath.Dir(path), 0o755))
	w.check(os.WriteFile(path, []byte(text), mode))
}

func (w *world) check(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// word is a secret of 52 letters and digits.
func word() string { return crypto.Text() + crypto.Text() }

// freeAddress stays below the ports that the kernel gives to clients: one of those
// could take the port while the site restarts.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}
