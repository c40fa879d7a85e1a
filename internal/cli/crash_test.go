package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"allclear.dev/allclear/internal/engine"
	"allclear.dev/allclear/internal/journal/sqlite"
	"allclear.dev/allclear/internal/run"
)

// Environment variables of TestCrash: how many kills (10), and the seed of their
// moments (by the clock).
const (
	killsVariable = "ALLCLEAR_KILLS"
	seedVariable  = "ALLCLEAR_SEED"
)

// crashActions is how many actions one deployment of the crash test has.
const crashActions = 12

// killsPerRun leaves kills for several runs: what one leaves behind must not keep
// the next one from its work.
const killsPerRun = 12

// TestCrash kills the process that drives a run at random moments, sometimes
// together with the process of the action under way, and takes the run up again
// each time. The outside world is a file to which every action appends its key:
// however often something was killed, each key stands there once at most, and
// exactly once when the record says that the action is done.
func TestCrash(t *testing.T) {
	kills := fromEnvironment(t, killsVariable, 10)
	seed := fromEnvironment(t, seedVariable, int(time.Now().UnixNano()&0xffffffff))
	t.Logf("%s=%d %s=%d", killsVariable, kills, seedVariable, seed)
	c := newCrash(t, uint64(seed))
	for release := 1; c.killed < kills; release++ {
		c.deploy(fmt.Sprintf("1.%d", release), min(kills, c.killed+killsPerRun))
	}
	c.verify()
	t.Logf("%d kills over %d runs, %d of them with the action's own process: %d effects, %d in doubt (%d had happened), %d acknowledged statements, resumed in %s at most",
		c.killed, len(c.runs), c.killedShims, len(c.outside()), c.doubts, c.happened, len(c.acknowledged), c.slowest.Round(time.Millisecond))
}

func fromEnvironment(t *testing.T, name string, value int) int {
	t.Helper()
	if text := os.Getenv(name); text != "" {
		var err error
		if value, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return value
}

// crash is a deployment that is killed again and again.
type crash struct {
	t                   *testing.T
	dir, data           string
	random              *rand.Rand
	runs                []string
	killed, killedShims int
	doubts, happened    int
	slowest             time.Duration
	// acknowledged are the texts of statements that a command has confirmed.
	acknowledged []string
	// seen are the hashes of every event that a reader has seen, by run.
	seen map[string][][32]byte
}

func newCrash(t *testing.T, seed uint64) *crash {
	dir := t.TempDir()
	c := &crash{t: t, dir: dir, data: filepath.Join(dir, ".allclear", "test"), random: rand.New(rand.NewPCG(seed, 0)), seen: map[string][][32]byte{}}
	var list strings.Builder
	list.WriteString("## Deploy\n")
	for n := range crashActions {
		fmt.Fprintf(&list, "\n- [ ] Step %d is done\n  ```yaml allclear\n  id: deploy.step-%d\n  command: {run: [sh, %s], changes: true%s}\n  ```\n",
			n, n, "act", [3]string{"", ", class: probed, probe: [sh, probe]", ", class: idempotent"}[n%3])
		fmt.Fprintf(&list, "\n- [ ] Step %d is there\n  ```yaml allclear\n  id: deploy.seen-%d\n  command: [grep, -q, step-%d, ledger]\n  ```\n", n, n, n)
	}
	for n := range crashActions {
		fmt.Fprintf(&list, "\n- [ ] Somebody looked at step %d\n  ```yaml allclear\n  id: deploy.looked-%d\n  attest: {evidence: [text]}\n  ```\n", n, n)
	}
	list.WriteString("\n## After\n\n- [ ] It stays\n  ```yaml allclear\n  id: after.stays\n  command: [grep, -q, step-1, ledger]\n  watch: {for: 1s, every: 200ms}\n  ```\n")
	files := map[string]string{
		"list.md":       list.String(),
		"allclear.yaml": "project: crash\nchecklist: list.md\npeople:\n  ana: {roles: [Tech Lead]}\nenvironments:\n  test: {protected: false}\n",
		"ledger":        "",
		// The target of an idempotent action drops a repetition by its key; that of the
		// others does not, and would show it.
		"act":   "sleep 0.1\ncase $ALLCLEAR_KEY in *step-2/*|*step-5/*|*step-8/*|*step-11/*) grep -qxF \"$ALLCLEAR_KEY\" ledger && exit 0;; esac\necho \"$ALLCLEAR_KEY\" >> ledger\nsleep 0.1\n",
		"probe": "grep -qxF \"$ALLCLEAR_KEY\" ledger || exit 10\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// allclear runs a command and gives its output and exit code.
func (c *crash) allclear(args ...string) (string, int) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), "allclear", args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "HOME="+c.dir, "USER=ana", "COLUMNS=200")
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(out), exit.ExitCode()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return string(out), 0
}

// deploy starts a run, kills it until there were kills enough, and ends it.
func (c *crash) deploy(release string, kills int) {
	c.t.Helper()
	if out, code := c.allclear("run", "test", "--release", release, "--as", "ana", "--detach"); code != 0 {
		c.t.Fatalf("start: exit %d: %s", code, out)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		if time.Now().After(deadline) {
			out, _ := c.allclear("status", "test")
			c.t.Fatalf("run %s does not end:\n%s", release, out)
		}
		state := c.look()
		if state.Closed {
			c.finish(state)
			return
		}
		c.settle(state)
		if c.killed < kills {
			c.killOnce(state)
		} else if out, code := c.allclear("status", "test", "--wait", "1s"); code == 2 {
			c.t.Fatalf("status: %s", out)
		}
	}
}

// look reads the newest run's journal and wants everything that was read before to
// stand there still.
func (c *crash) look() *run.State {
	c.t.Helper()
	view, err := sqlite.OpenReadOnly(c.t.Context(), c.data)
	if err != nil {
		c.t.Fatal(err)
	}
	defer view.Close()
	entries, err := os.ReadDir(filepath.Join(c.data, "runs"))
	if err != nil {
		c.t.Fatal(err)
	}
	id := entries[len(entries)-1].Name()
	if len(c.runs) < len(entries) {
		c.runs = append(c.runs, id)
	}
	var hashes [][32]byte
	for event, err := range view.Read(c.t.Context(), id, 0) {
		if err != nil {
			c.t.Fatal(err)
		}
		hashes = append(hashes, event.Hash)
	}
	before := c.seen[id]
	if len(hashes) < len(before) {
		c.t.Fatalf("the run had %d events, and has %d", len(before), len(hashes))
	}
	for i := range before {
		if before[i] != hashes[i] {
			c.t.Fatalf("event %d is another one now", i+1)
		}
	}
	c.seen[id] = hashes
	state, _, err := engine.Replay(c.t.Context(), view, id)
	if err != nil {
		c.t.Fatal(err)
	}
	return &state
}

// settle does what people do: state what is asked for, and say what became of an
// action in doubt after a look at the outside world.
func (c *crash) settle(state *run.State) {
	c.t.Helper()
	for _, i := range state.InDoubt() {
		c.resolve(state, i)
	}
	for _, i := range state.Blocking() {
		// What did not happen is done again; a watch that missed samples because its
		// process was dead is inconclusive, and watches again.
		c.mayFail("retry", "test", state.Plan.Items[i].ID, "--as", "ana")
	}
	if asked := state.Asked(); len(asked) > 0 {
		it := &state.Plan.Items[asked[c.random.IntN(len(asked))]]
		text := fmt.Sprintf("%s at %d", it.ID, time.Now().UnixNano())
		if c.mayFail("attest", "test", it.ID, "--text", text, "--as", "ana") {
			c.acknowledged = append(c.acknowledged, text)
		}
	}
}

// resolve counts what is in doubt apart and tells the truth about it.
func (c *crash) resolve(state *run.State, i int) {
	c.t.Helper()
	it, st := &state.Plan.Items[i], state.Items[i]
	const repeats = 3 // how often the core starts such an action again by itself
	if it.Class != run.Unsafe && st.Repeats < repeats {
		c.t.Errorf("%s is %s and yet left to a person: %s", it.ID, it.Class, st.Reason)
	}
	happened := c.outside()[fmt.Sprintf("allclear/%s/%s/%d", state.Run, it.ID, st.Occurrence)] > 0
	word := "--did-not"
	if happened {
		word = "--happened"
	}
	if c.mayFail("resolve", "test", it.ID, word, "--reason", "looked at the ledger", "--as", "ana") {
		c.doubts++
		if happened {
			c.happened++
		}
	}
}

// mayFail runs a command that a late change of the run may make pointless.
func (c *crash) mayFail(args ...string) bool {
	c.t.Helper()
	out, code := c.allclear(args...)
	if code != 0 && code != 9 {
		c.t.Logf("allclear %v: exit %d: %s", args, code, out)
	}
	return code == 0
}

// killOnce waits a random moment, kills the run's process, sometimes with that of
// the action, and starts it again.
func (c *crash) killOnce(state *run.State) {
	c.t.Helper()
	time.Sleep(time.Duration(c.random.IntN(150)) * time.Millisecond)
	shims := c.random.IntN(2) == 0
	if !c.killDriver() {
		return
	}
	c.killed++
	if shims && c.killShims() {
		c.killedShims++
	}
	c.look()
	began := time.Now()
	out, code := c.allclear("run", "test", "--detach", "--as", "ana")
	if code != 0 && !c.look().Closed {
		c.t.Fatalf("resume run %s: exit %d: %s", state.Run, code, out)
	}
	c.slowest = max(c.slowest, time.Since(began))
}

// killDriver kills the process that holds the data directory, if there is one,
// and waits for its end.
func (c *crash) killDriver() bool {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.data, "lock"))
	if err != nil {
		c.t.Fatal(err)
	}
	var holder struct {
		PID int `json:"pid"`
	}
	if json.Unmarshal(text, &holder) != nil || !c.ours(holder.PID, "__drive") {
		return false // it has ended by itself
	}
	return c.kill(holder.PID)
}

// ours reports whether a process works on this test's data directory.
func (c *crash) ours(pid int, verb string) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.Contains(line, []byte(verb)) && bytes.Contains(line, []byte(c.data))
}

// kill ends a process and waits until it is gone or nobody but its parent knows it.
func (c *crash) kill(pid int) bool {
	c.t.Helper()
	if syscall.Kill(pid, syscall.SIGKILL) != nil {
		return false
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || len(line) == 0 {
			return true
		}
		if time.Now().After(end) {
			c.t.Fatalf("process %d is still there", pid)
		}
	}
}

// killShims kills the processes of actions and what they have started.
func (c *crash) killShims() bool {
	c.t.Helper()
	killed := false
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		c.t.Fatal(err)
	}
	for _, p := range processes {
		pid, _ := strconv.Atoi(filepath.Base(p))
		if !c.ours(pid, "__shim") {
			continue
		}
		session := inSession(pid)
		killed = c.kill(pid) || killed
		for _, member := range session {
			if member != pid {
				c.kill(member)
			}
		}
	}
	return killed
}

// inSession lists the processes of a session.
func inSession(leader int) []int {
	var out []int
	processes, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, p := range processes {
		text, err := os.ReadFile(p)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) > 3 && fields[3] == strconv.Itoa(leader) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(p)))
			out = append(out, pid)
		}
	}
	return out
}

// outside counts the effects in the world by key.
func (c *crash) outside() map[string]int {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, "ledger"))
	if err != nil {
		c.t.Fatal(err)
	}
	counts := map[string]int{}
	for line := range strings.Lines(string(text)) {
		counts[strings.TrimSpace(line)]++
	}
	return counts
}

// finish compares a closed run with the outside world.
func (c *crash) finish(state *run.State) {
	c.t.Helper()
	if state.Result != run.RunDone {
		c.t.Errorf("run %s ended %s", state.Run, state.Result)
	}
	counts := c.outside()
	for i := range state.Plan.Items {
		it, st := &state.Plan.Items[i], state.Items[i]
		if it.Kind != run.Action {
			continue
		}
		if key := fmt.Sprintf("allclear/%s/%s/%d", state.Run, it.ID, st.Occurrence); st.Status != run.Done || counts[key] != 1 {
			c.t.Errorf("%s is %s, and %s happened %d times", it.ID, st.Status, key, counts[key])
		}
	}
}

// verify looks at the whole record: it is green, every key happened once, and every
// statement that was acknowledged is in it.
func (c *crash) verify() {
	c.t.Helper()
	for key, n := range c.outside() {
		if n != 1 {
			c.t.Errorf("%s happened %d times", key, n)
		}
	}
	if out, code := c.allclear("verify", "test"); code != 0 {
		c.t.Errorf("verify: exit %d: %s", code, out)
	}
	view, err := sqlite.OpenReadOnly(c.t.Context(), c.data)
	if err != nil {
		c.t.Fatal(err)
	}
	defer view.Close()
	stated := map[string]int{}
	for _, id := range c.runs {
		for event, err := range view.Read(c.t.Context(), id, 0) {
			if err != nil {
				c.t.Fatal(err)
			}
			decoded, err := engine.DecodeEvent(event.Body)
			if err != nil {
				c.t.Fatal(err)
			}
			if decoded.Type == run.Attested {
				stated[decoded.Facts["evidence.text"]]++
			}
		}
	}
	for _, text := range c.acknowledged {
		if stated[text] != 1 {
			c.t.Errorf("%q was acknowledged and is in the record %d times", text, stated[text])
		}
	}
}
