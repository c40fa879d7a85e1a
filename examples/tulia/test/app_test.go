package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	password      = "correct horse battery staple"
	webhookSecret = "webhook-secret-of-the-test-0123456789"
)

// seeded is what `tulia seed` prints.
type seeded struct {
	Superuser string
	Tenants   []struct {
		ID, Name, Service string
		Users             map[string]string
		Customers         []string
	}
}

// world is one installation: a database, a Redis, the releases and what was seeded.
type world struct {
	t        *testing.T
	dbURL    string
	redisURL string
	db       *pgx.Conn
	releases map[string]string // directory by version
	seed     seeded
}

// newWorld prepares a seeded installation at v1's schema.
func newWorld(t *testing.T) *world {
	w := &world{t: t, dbURL: startPostgres(t), redisURL: startRedis(t), releases: map[string]string{}}
	w.db = connect(t, w.dbURL)
	for _, v := range []string{"v1", "v2", "v3"} {
		w.releases[v] = filepath.Join(built(t), v)
	}
	migrate(t, w.db, w.releases["v1"], 0, 3)
	seed := w.command("v1", "seed", "-orders", "30")
	out, err := seed.Output()
	if err != nil {
		t.Fatalf("seed: %v\n%s", err, out)
	}
	if err := json.Unmarshal(out, &w.seed); err != nil {
		t.Fatal(err)
	}
	return w
}

// builds holds what all tests share: every version's release directory and the load generator, built once.
type builds struct {
	dir string
	err error
}

// shared builds at its first call.
var shared = sync.OnceValue(func() builds {
	dir, err := os.MkdirTemp("", "tulia-builds-")
	if err != nil {
		return builds{err: err}
	}
	_, err = build(filepath.Join(dir, "tulia-load"), "../cmd/tulia-load")
	for _, version := range []string{"v1", "v2", "v3"} {
		err = errors.Join(err, buildRelease(dir, version))
	}
	return builds{dir, err}
})

// TestMain removes the builds at the end.
func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(shared().dir)
	os.Exit(code)
}

// built returns the directory of the builds.
func built(t *testing.T) string {
	t.Helper()
	b := shared()
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.dir
}

// build compiles one command; with TULIA_COVERDIR, so that scripts/reports can see what it ran.
func build(to, pkg string, args ...string) (string, error) {
	args = append([]string{"build", "-o", to}, args...)
	if os.Getenv("TULIA_COVERDIR") != "" {
		args = append(args, "-cover", "-coverpkg=../...")
	}
	if out, err := exec.Command("go", append(args, pkg)...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return to, nil
}

// buildRelease compiles a version, as the demo does, and exports its release directory into dir.
func buildRelease(dir, version string) error {
	bin, err := build(filepath.Join(dir, "tulia-"+version), "../cmd/tulia", "-tags", version, "-ldflags",
		"-X main.version="+strings.TrimPrefix(version, "v")+".0.0 -X main.revision=rev-"+version)
	if err != nil {
		return err
	}
	export := exec.Command(bin, "export-release", filepath.Join(dir, version))
	export.Env = append(os.Environ(), "GOCOVERDIR="+os.Getenv("TULIA_COVERDIR"))
	if out, err := export.CombinedOutput(); err != nil {
		return fmt.Errorf("export %s: %w\n%s", version, err, out)
	}
	return nil
}

// command returns a command of a version with complete settings; extra settings come last and win.
func (w *world) command(version string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(w.releases[version], "bin", "tulia"), args...)
	cmd.Env = append(os.Environ(),
		"TULIA_ENV=production", "DATABASE_URL="+w.dbURL, "REDIS_URL="+w.redisURL,
		"SECRET_KEY=secret-key-of-the-test-0123456789abcdef", "WEBHOOK_SECRET="+webhookSecret,
		"ENCRYPTION_KEY=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "ALLOWED_HOSTS=127.0.0.1,.tulia.example",
		"CORS_ORIGINS=https://app.tulia.example", "LOGIN_RATE_LIMIT=1000", "TULIA_SEED_PASSWORD="+password,
		"GOCOVERDIR="+os.Getenv("TULIA_COVERDIR"), "TULIA_FAULT_AFTER=20", "EMAIL_FROM=tulia@tulia.example")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// process is a running command of the application.
type process struct {
	cmd *exec.Cmd
	url string
}

// web starts a web process and waits until it listens.
func (w *world) web(version string, settings ...string) *process {
	w.t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(w.t))
	cmd := w.command(version, "web")
	cmd.Env = append(append(cmd.Env, "TULIA_ADDR="+addr), settings...)
	start(w.t, cmd)
	p := &process{cmd: cmd, url: "http://" + addr}
	eventually(w.t, "web "+version, func() error {
		resp, err := http.Get(p.url + "/v1/health/live")
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
	return p
}

// worker starts a worker or a scheduler.
func (w *world) worker(version, kind string) *process {
	w.t.Helper()
	cmd := w.command(version, kind)
	start(w.t, cmd)
	return &process{cmd: cmd}
}

// stop ends a process with SIGTERM and fails unless it exits with 0 within 5 s.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(5*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("stop: %v", err)
	}
}

// answer is what a request brought.
type answer struct {
	status int
	header http.Header
	text   string
	json   map[string]any
}

// code returns the error code of a refusal.
func (a answer) code() string {
	e, _ := a.json["error"].(map[string]any)
	code, _ := e["code"].(string)
	return code
}

func (a answer) field(name string) string {
	text, _ := a.json[name].(string)
	return text
}

// client asks as somebody in a tenant.
type client struct {
	t             *testing.T
	base          string
	token, tenant string
}

// as logs in.
func (w *world) as(base, email, tenant string) client {
	w.t.Helper()
	c := client{t: w.t, base: base, tenant: tenant}
	got := c.post("/v1/auth/login", map[string]string{"email": email, "password": password})
	if c.token = got.field("access_token"); got.status != 200 || c.token == "" {
		w.t.Fatalf("login %s: %d %s", email, got.status, got.text)
	}
	return c
}

func (c client) get(path string, header ...string) answer {
	c.t.Helper()
	return c.do("GET", path, nil, header...)
}

func (c client) post(path string, body any, header ...string) answer {
	c.t.Helper()
	raw, ok := body.([]byte)
	if !ok {
		raw, _ = json.Marshal(body)
	}
	return c.do("POST", path, raw, header...)
}

// do sends one request; header holds names and values in turn, an empty value removes.
func (c client) do(method, path string, body []byte, header ...string) answer {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.tenant != "" {
		req.Header.Set("X-Tenant-ID", c.tenant)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	noRedirect := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := noRedirect.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, text: string(text)}
	_ = json.Unmarshal(text, &a.json) // pages and metrics are not JSON
	return a
}

// want fails unless the answer has the status and, if code is not empty, that error code.
func want(t *testing.T, what string, a answer, status int, code string) {
	t.Helper()
	if a.status != status || code != "" && a.code() != code {
		t.Errorf("%s: got %d %s, want %d %s", what, a.status, a.text, status, code)
	}
}
