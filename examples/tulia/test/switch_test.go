package test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const bypass = "bypass-token-of-the-test"

// balancer is a running HAProxy.
type balancer struct {
	t           *testing.T
	url, socket string
}

// startBalancer runs deploy/haproxy.cfg before two web processes.
func startBalancer(t *testing.T, blue, green *process) balancer {
	t.Helper()
	dir := serverDir(t)
	state, err := os.ReadFile("../deploy/maintenance.map")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/maintenance.map", state, 0o644); err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	b := balancer{t: t, url: "http://" + addr, socket: dir + "/admin.sock"}
	cmd := exec.Command("haproxy", "-db", "-f", "../deploy/haproxy.cfg")
	cmd.Env = append(os.Environ(), "TULIA_PUBLIC="+addr, "TULIA_BLUE="+strings.TrimPrefix(blue.url, "http://"),
		"TULIA_GREEN="+strings.TrimPrefix(green.url, "http://"), "TULIA_HOST=127.0.0.1", "TULIA_BYPASS="+bypass,
		"TULIA_SOCKET="+b.socket, "TULIA_MAINTENANCE_MAP="+dir+"/maintenance.map")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	start(t, cmd)
	eventually(t, "haproxy", func() error {
		c, err := net.Dial("unix", b.socket)
		if err == nil {
			c.Close()
		}
		return err
	})
	return b
}

// ask sends one command to the admin socket and returns the answer.
func (b balancer) ask(command string) string {
	b.t.Helper()
	c, err := net.Dial("unix", b.socket)
	if err != nil {
		b.t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintln(c, command)
	text, err := io.ReadAll(c)
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// set sends a command that must be accepted: HAProxy then says nothing.
func (b balancer) set(command string) {
	b.t.Helper()
	if text := b.ask(command); text != "" {
		b.t.Fatalf("%s: %s", command, text)
	}
}

// server returns a server's status and its current sessions.
func (b balancer) server(name string) (status, sessions string) {
	b.t.Helper()
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(b.ask("show stat web 4 -1"), "# "))).ReadAll()
	if err != nil || len(rows) == 0 {
		b.t.Fatalf("show stat: %v", err)
	}
	for _, row := range rows[1:] {
		if row[1] == name {
			for i, column := range rows[0] {
				switch column {
				case "status":
					status = row[i]
				case "scur":
					sessions = row[i]
				}
			}
		}
	}
	return status, sessions
}

// switchTo moves the traffic as deploy/README.md says.
func (b balancer) switchTo(next, old string) {
	b.t.Helper()
	b.set("set server web/" + next + " state ready")
	eventually(b.t, next+" up", func() error {
		if status, _ := b.server(next); status != "UP" {
			return fmt.Errorf("it is %s", status)
		}
		return nil
	})
	b.set("set server web/" + old + " state drain")
	eventually(b.t, old+" drained", func() error {
		if _, sessions := b.server(old); sessions != "0" {
			return fmt.Errorf("%s sessions", sessions)
		}
		return nil
	})
	b.set("set server web/" + old + " state maint")
}

// loadSummary is what the test reads of tulia-load's file.
type loadSummary struct {
	Finished                                         bool
	Sent, OK, Refused, Dropped, Maintenance, Retried int
	ServerErrors                                     int            `json:"server_errors"`
	NotSent                                          int            `json:"not_sent"`
	InFlight                                         int            `json:"in_flight"`
	ByVersion                                        map[string]int `json:"by_version"`
	DowntimeSeconds                                  float64        `json:"downtime_seconds"`
	Gaps                                             []struct{ Kind string }
}

// readSummary returns the summary once it is there.
func readSummary(t *testing.T, path string) loadSummary {
	t.Helper()
	var s loadSummary
	eventually(t, "summary", func() error {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return json.Unmarshal(text, &s)
	})
	return s
}

// startLoad sends rate requests a second to b, as the agent of acme, until it is told to stop.
func startLoad(t *testing.T, w *world, b balancer, rate int) (cmd *exec.Cmd, out string) {
	t.Helper()
	bin := filepath.Join(built(t), "tulia-load")
	out = filepath.Join(t.TempDir(), "load.json")
	acme := w.seed.Tenants[0]
	cmd = exec.Command(bin, "-url", b.url, "-rate", fmt.Sprint(rate), "-for", "1m", "-every", "50ms", "-out", out,
		"-email", acme.Users["agent"], "-tenant", acme.ID, "-customer", acme.Customers[0], "-service", acme.Service)
	cmd.Env = append(os.Environ(), "TULIA_SEED_PASSWORD="+password, "GOCOVERDIR="+os.Getenv("TULIA_COVERDIR"))
	start(t, cmd)
	return cmd, out
}

// TestSwitch moves traffic from v1 to v2 and back under load, and goes into maintenance, without losing a request.
func TestSwitch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	migrate(t, w.db, w.releases["v2"], 3, 6)
	blue, green := w.web("v1"), w.web("v2")
	b := startBalancer(t, blue, green)
	load, out := startLoad(t, w, b, 150)
	// progress waits until more requests have been answered in some way than before.
	progress := func(what string, count func(loadSummary) int) {
		t.Helper()
		before := count(readSummary(t, out))
		eventually(t, what, func() error {
			if now := count(readSummary(t, out)); now < before+100 {
				return fmt.Errorf("%d, was %d", now, before)
			}
			return nil
		})
	}
	progress("v1 answers", func(s loadSummary) int { return s.ByVersion["1.0.0"] })
	b.switchTo("green", "blue")
	blue.stop(t)
	progress("v2 answers", func(s loadSummary) int { return s.ByVersion["2.0.0"] })

	b.set("set map " + filepath.Dir(b.socket) + "/maintenance.map site closed")
	outside := client{t: t, base: b.url}
	a := outside.get("/v1/health/live")
	if a.status != 503 || a.header.Get("Retry-After") != "30" || a.code() != "MAINTENANCE" {
		t.Errorf("during maintenance: %d %v %s", a.status, a.header, a.text)
	}
	want(t, "with the token", outside.get("/v1/health/live", "X-Maintenance-Bypass", bypass), 200, "")
	want(t, "with a wrong token", outside.get("/v1/health/live", "X-Maintenance-Bypass", "wrong-token-0123456789"), 503, "")
	want(t, "with an empty token", outside.get("/v1/health/live", "X-Maintenance-Bypass", ""), 503, "")
	progress("maintenance answers", func(s loadSummary) int { return s.Maintenance })
	b.set("set map " + filepath.Dir(b.socket) + "/maintenance.map site open")
	progress("open again", func(s loadSummary) int { return s.OK })

	if err := load.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := load.Wait(); err != nil {
		t.Fatalf("load: %v", err)
	}
	s := readSummary(t, out)
	if s.Dropped != 0 || s.Retried != 0 || s.Refused != 0 || s.ServerErrors != 0 || s.NotSent != 0 || s.InFlight != 0 || !s.Finished {
		t.Errorf("the switch was felt: %+v", s)
	}
	if s.Sent != s.OK+s.Maintenance {
		t.Errorf("requests are unaccounted for: %+v", s)
	}
	if s.DowntimeSeconds != float64(s.Maintenance)/150 || len(s.Gaps) != 1 || s.Gaps[0].Kind != "maintenance" {
		t.Errorf("downtime: %+v", s)
	}
	t.Logf("%+v", s)
}

// TestLostRequests shows that the generator notices an outage: the only web process is killed.
func TestLostRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	blue := w.web("v1")
	b := startBalancer(t, blue, blue)
	load, out := startLoad(t, w, b, 100)
	eventually(t, "service", func() error {
		if s := readSummary(t, out); s.OK < 50 {
			return fmt.Errorf("%d answered", s.OK)
		}
		return nil
	})
	if err := blue.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "outage", func() error {
		if s := readSummary(t, out); s.Dropped < 50 {
			return fmt.Errorf("%d dropped", s.Dropped)
		}
		return nil
	})
	begin := time.Now()
	if err := load.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := load.Wait(); err != nil {
		t.Fatalf("load: %v", err)
	}
	s := readSummary(t, out)
	if s.DowntimeSeconds < 0.5 || s.DowntimeSeconds != float64(s.Dropped)/100 || len(s.Gaps) == 0 || s.Gaps[0].Kind != "dropped" {
		t.Errorf("the outage is not in %+v", s)
	}
	if took := time.Since(begin); took > 12*time.Second {
		t.Errorf("stopping took %v", took)
	}
}
