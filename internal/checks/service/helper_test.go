package service_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/service"
)

// TestMain lets the test binary play the units: real programs that serve, ignore
// SIGTERM or crash.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "unit" {
		play(os.Args[2], os.Args[3:])
	}
	os.Exit(m.Run())
}

func play(role string, args []string) {
	hups := make(chan os.Signal, 1)
	switch role {
	case "serve": // serve ADDRESS: 200, or what the file "status" says
		signal.Notify(hups, syscall.SIGHUP)
		fmt.Println("serving as", os.Getenv("COLOUR"), os.Getenv("PASSWORD"))
		err := http.ListenAndServe(args[0], http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			code := 200
			if text, err := os.ReadFile("status"); err == nil {
				_, _ = fmt.Sscan(string(text), &code)
			}
			w.WriteHeader(code)
		}))
		fmt.Println(err)
		os.Exit(1)
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
	case "crash":
		fmt.Println("cannot connect to the database")
		os.Exit(3)
	case "reload":
		signal.Notify(hups, syscall.SIGHUP)
		fmt.Println("ready")
		<-hups
		fmt.Println("reloaded")
	}
	for {
		time.Sleep(time.Hour)
	}
}

// site is a folder with units and an Env for it.
type site struct {
	t    *testing.T
	env  *check.Env
	port map[string]string
}

func newSite(t *testing.T) *site {
	s := &site{t: t, env: checktest.NewEnv(t), port: map[string]string{}}
	t.Cleanup(s.killAll)
	return s
}

// unique makes command lines that no other test on this machine has.
func unique() string { return fmt.Sprintf("%d.%d", os.Getpid(), counter.Add(1)) }

var counter atomic.Int64

// unit gives the YAML of a unit in a role.
func (s *site) unit(name, role, more string) string {
	args := fmt.Sprintf("%q, unit, %s", os.Args[0], role)
	healthy := ""
	if role == "serve" {
		if s.port[name] == "" {
			s.port[name] = freeAddress(s.t)
		}
		args += fmt.Sprintf(", %q", s.port[name])
		healthy = ", healthy: {url: 'http://" + s.port[name] + "/'}"
	}
	return fmt.Sprintf("{name: %s, run: [%s, %q], pid_file: %s.pid%s%s}", name, args, unique(), name, healthy, more)
}

// freeAddress stays below the ports that the kernel gives to clients: one of
// those could take the port while a unit restarts.
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

func (s *site) decode(params string) *check.Instance {
	s.t.Helper()
	inst, problems := checktest.Decode(service.Service, params, nil)
	if len(problems) > 0 {
		s.t.Fatal(problems)
	}
	return inst
}

// do runs a service with quick defaults and compares the result.
func (s *site) do(want, params string, units ...string) (check.Outcome, *check.Instance) {
	s.t.Helper()
	inst := s.decode(fmt.Sprintf("{%s, every: 10ms, stable: 80ms, units: [%s]}", params, strings.Join(units, ", ")))
	o, err := inst.Runner.Run(s.t.Context(), s.env)
	got := string(o.Verdict) + ": " + o.Reason
	if err != nil {
		got = "error: " + err.Error()
	}
	checktest.Match(s.t, want, got)
	return o, inst
}

func (s *site) probe(inst *check.Instance, want check.Progress) {
	s.t.Helper()
	got, o, err := inst.Prober().Probe(s.t.Context(), s.env)
	if err != nil || got != want {
		s.t.Errorf("probe: got %s (%s), %v, want %s", got, o.Reason, err, want)
	}
}

func (s *site) pid(name string) int {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.env.Dir, name+".pid"))
	if err != nil {
		s.t.Fatal(err)
	}
	var p check.Process
	if err := json.Unmarshal(text, &p); err != nil {
		s.t.Fatal(err)
	}
	return p.PID
}

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.env.Dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// logged waits until a unit's log holds a text.
func (s *site) logged(name, want string) {
	s.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if text, err := os.ReadFile(filepath.Join(s.env.Dir, name+".log")); err == nil && strings.Contains(string(text), want) {
			return
		}
	}
	s.t.Errorf("%s never logged %q", name, want)
}

// killAll ends whatever the pid files name.
func (s *site) killAll() {
	files, err := filepath.Glob(filepath.Join(s.env.Dir, "*.pid"))
	if err != nil {
		s.t.Error(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		var p check.Process
		if json.Unmarshal(text, &p) == nil && p.PID > 1 && p.Key != "" {
			_ = syscall.Kill(-p.PID, syscall.SIGKILL)
		}
	}
}
