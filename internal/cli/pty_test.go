package cli_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rivo/uniseg"
	"golang.org/x/sys/unix"

	"allclear.dev/allclear/internal/engine"
)

// terminal is a pseudo-terminal with a program on it, and what its screen shows.
type terminal struct {
	t      *testing.T
	cmd    *exec.Cmd
	master *os.File
	mu     sync.Mutex
	screen []string // what a terminal would show, with its scrollback
	row    int
	raw    bytes.Buffer
	ended  chan error
}

// onTerminal starts allclear on a terminal of this size.
func onTerminal(t *testing.T, dir string, width, height uint16, args ...string) *terminal {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	term := &terminal{t: t, master: os.NewFile(uintptr(fd), "ptmx"), screen: []string{""}, ended: make(chan error, 1)}
	term.resize(width, height)
	term.cmd = exec.CommandContext(t.Context(), "allclear", args...)
	term.cmd.Dir = dir
	term.cmd.Env = append(withoutCI(), "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "TERM=xterm", "USER=ana", "HOME="+dir)
	term.cmd.Stdin, term.cmd.Stdout, term.cmd.Stderr = slave, slave, slave
	term.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := term.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go term.read()
	go func() { term.ended <- term.cmd.Wait() }()
	t.Cleanup(func() { _ = term.master.Close() })
	return term
}

// withoutCI is the environment without what says that nobody is at the terminal.
func withoutCI() []string {
	var env []string
	for _, pair := range os.Environ() {
		switch name, _, _ := strings.Cut(pair, "="); name {
		case "CI", "COLUMNS", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "ALLCLEAR_AS":
		default:
			env = append(env, pair)
		}
	}
	return env
}

func (x *terminal) resize(width, height uint16) {
	if err := unix.IoctlSetWinsize(int(x.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		x.t.Fatal(err)
	}
}

func (x *terminal) read() {
	buf := make([]byte, 4096)
	for {
		n, err := x.master.Read(buf)
		if err != nil {
			return
		}
		x.mu.Lock()
		x.raw.Write(buf[:n])
		x.draw()
		x.mu.Unlock()
	}
}

// draw does what a terminal does with all that has been read as far as it is
// whole: lines, colours, cursor up, and erasing.
func (x *terminal) draw() {
	x.screen, x.row = []string{""}, 0
	text := strings.ReplaceAll(x.raw.String(), "\a", "")
	for len(text) > 0 {
		if strings.HasPrefix(text, "\x1b[") {
			end := strings.IndexFunc(text[2:], func(r rune) bool { return r >= '@' && r <= '~' })
			if end < 0 {
				return
			}
			x.control(text[2:2+end], text[2+end])
			text = text[2+end+1:]
			continue
		}
		switch text[0] {
		case '\n':
			if x.row++; x.row == len(x.screen) {
				x.screen = append(x.screen, "")
			}
			text = text[1:]
		case '\r':
			text = text[1:] // every line that is drawn is erased first
		default:
			end := strings.IndexAny(text, "\n\r\x1b")
			if end < 0 {
				end = len(text)
			}
			x.screen[x.row] += text[:end]
			text = text[end:]
		}
	}
}

func (x *terminal) control(arg string, final byte) {
	switch final {
	case 'A':
		n := 0
		_, _ = fmt.Sscan(arg, &n)
		x.row = max(x.row-n, 0)
	case 'K':
		x.screen[x.row] = ""
	case 'H':
		row := 1
		_, _ = fmt.Sscan(arg, &row)
		x.row = row - 1
		for x.row >= len(x.screen) {
			x.screen = append(x.screen, "")
		}
	case 'h', 'l':
		if arg == "?1049" { // to the other screen and back
			x.screen, x.row = []string{""}, 0
		}
	case 'J':
		if arg == "2" {
			x.screen, x.row = []string{""}, 0
			return
		}
		x.screen = append(x.screen[:x.row], "")
	}
}

// shown is what the terminal shows.
func (x *terminal) shown() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return append([]string(nil), x.screen...)
}

// until waits until the terminal shows a text, and gives all that it shows.
func (x *terminal) until(text string) []string {
	x.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		lines := x.shown()
		if strings.Contains(strings.Join(lines, "\n"), text) {
			return lines
		}
		if time.Now().After(end) {
			x.t.Fatalf("the terminal never showed %q, but:\n%s", text, strings.Join(lines, "\n"))
		}
	}
}

// end waits for the program and gives its exit code, -1 after a signal.
func (x *terminal) end() int {
	x.t.Helper()
	select {
	case <-x.ended:
		return x.cmd.ProcessState.ExitCode()
	case <-time.After(20 * time.Second):
		x.t.Fatalf("the program does not end; the terminal shows:\n%s", strings.Join(x.shown(), "\n"))
	}
	return -1
}

func (x *terminal) write(text string) {
	if _, err := x.master.WriteString(text); err != nil {
		x.t.Fatal(err)
	}
}

// liveSite is a project whose run waits in an action until the file go is there.
func liveSite(t *testing.T, protected bool) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"allclear.yaml": fmt.Sprintf("project: demo\nchecklist: list.md\npeople:\n  ana: {roles: [Tech Lead]}\nenvironments:\n  test: {protected: %v}\n", protected),
		"act":           "while [ ! -e go ]; do sleep 0.05; done\n",
		"list.md": "## Before\n\n" + item("pre.fine", "Everything is prepared, 数据库 too", `command: {run: ["true"]}`) +
			"\n## Deploy\n\n" + item("deploy.slow", "Something slow is done", "command: {run: [sh, act], changes: true, class: idempotent}") +
			item("deploy.look", "Somebody has looked at it", "attest: {evidence: text}"),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func item(id, text, does string) string {
	return fmt.Sprintf("- [ ] %s\n  ```yaml allclear\n  id: %s\n  %s\n  ```\n", text, id, does)
}

func allclear(t *testing.T, dir string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "allclear", args...)
	cmd.Dir, cmd.Env = dir, append(withoutCI(), "LANG=C.UTF-8", "USER=ana", "HOME="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// oneDrawing holds that the terminal shows the run exactly once, within its width.
func oneDrawing(t *testing.T, lines []string, width int) {
	t.Helper()
	heads := 0
	for _, line := range lines {
		if strings.HasPrefix(line, "demo nothing -> 1.0") {
			heads++
		}
		if w := uniseg.StringWidth(line); w > width {
			t.Errorf("a line takes %d cells of %d: %q", w, width, line)
		}
	}
	if heads != 1 {
		t.Errorf("the run is drawn %d times:\n%s", heads, strings.Join(lines, "\n"))
	}
}

// TestLiveView draws a run on a terminal, changes the terminal's size, leaves by
// Ctrl-C and by closing the terminal, and comes back each time to the same run.
func TestLiveView(t *testing.T) {
	dir := liveSite(t, false)
	first := onTerminal(t, dir, 80, 24, "run", "test", "--release", "1.0")
	oneDrawing(t, first.until("Something slow is done"), 80)
	oneDrawing(t, first.until("running 1s"), 80) // drawn again in its place

	first.resize(50, 20)
	first.until("Going back") // is drawn in full only
	for end := time.Now().Add(10 * time.Second); strings.Contains(strings.Join(first.shown(), "\n"), "Going back"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the drawing does not follow the terminal's size:\n%s", strings.Join(first.shown(), "\n"))
		}
	}
	oneDrawing(t, first.until("Something slow"), 50)

	first.write("\x03")
	if code := first.end(); code != 130 {
		t.Errorf("Ctrl-C ends the view with %d, want 130", code)
	}
	first.until("the run goes on; allclear watch test")
	if !engine.Alive(filepath.Join(dir, ".allclear", "test")) {
		t.Fatal("Ctrl-C in the view has ended the run")
	}

	second := onTerminal(t, dir, 80, 24, "watch", "test")
	second.until("deploy.slow is running")
	_ = second.master.Close() // the terminal is closed
	second.end()
	if !engine.Alive(filepath.Join(dir, ".allclear", "test")) {
		t.Fatal("closing the terminal has ended the run")
	}

	third := onTerminal(t, dir, 120, 30, "watch", "test")
	lines := third.until("deploy.slow is running")
	oneDrawing(t, lines, 120)
	status, _ := allclear(t, dir, "status", "test", "--short")
	_, sentence, _ := strings.Cut(strings.TrimSpace(status), "running: ")
	for part := range strings.SplitSeq(sentence, "; ") {
		if !strings.Contains(strings.Join(lines, " "), part) {
			t.Errorf("watch does not say %q as status does:\n%s", part, strings.Join(lines, "\n"))
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	third.until("anyone listed to attest deploy.look")
	if out, code := allclear(t, dir, "attest", "test", "deploy.look", "--text", "looked at it"); code != 0 {
		t.Fatalf("attest: %d %s", code, out)
	}
	if code := third.end(); code != 0 {
		t.Errorf("the view of a run that went well ends with %d", code)
	}
	oneDrawing(t, third.until("the run is over: done"), 120)
}

// TestDestructiveVerbs holds that in a protected environment no verb that cannot be
// taken back is done by one line: the environment's name is typed, or the digest
// of the plan given.
func TestDestructiveVerbs(t *testing.T) {
	dir := liveSite(t, true)
	start := onTerminal(t, dir, 80, 24, "run", "test", "--release", "1.0", "--detach")
	start.until("to start:")
	start.write("yes\n")
	if code := start.end(); code != 2 {
		t.Errorf("yes is not the environment's name, and run ends with %d", code)
	}
	start = onTerminal(t, dir, 80, 24, "run", "test", "--release", "1.0", "--detach")
	start.until("to start:")
	start.write("test\n")
	if code := start.end(); code != 0 {
		t.Fatalf("run ends with %d:\n%s", code, strings.Join(start.shown(), "\n"))
	}
	for _, verb := range [][]string{
		{"abort", "test", "--reason", "enough"}, {"rollback", "test", "--reason", "enough"},
		{"waive", "test", "deploy.look", "--reason", "enough", "--for", "1h"}, {"na", "test", "deploy.look", "--reason", "enough"},
		{"resolve", "test", "deploy.slow", "--happened"},
	} {
		out, code := allclear(t, dir, verb...)
		if code != 2 || !strings.Contains(out, "test is protected") || !strings.Contains(out, "--accept ") {
			t.Errorf("%v ends with %d: %s", verb, code, out)
		}
		if out, code := allclear(t, dir, append(verb, "--accept", "0123456789ab")...); code != 8 {
			t.Errorf("%v with another plan's digest ends with %d: %s", verb, code, out)
		}
		asked := onTerminal(t, dir, 80, 24, verb...)
		asked.until("Type the environment's name to ")
		asked.write("\x03")
		if code := asked.end(); code != 2 {
			t.Errorf("%v and Ctrl-C ends with %d", verb, code)
		}
		asked.until("nothing was changed")
	}
	if out, _ := allclear(t, dir, "status", "test", "--short"); !strings.Contains(out, "deploy.slow is running") {
		t.Errorf("the run has changed: %s", out)
	}
	abort := onTerminal(t, dir, 80, 24, "abort", "test", "--reason", "enough")
	lines := abort.until("Type the environment's name to abort: ")
	if !strings.Contains(strings.Join(lines, " "), "leaves test as it is now") {
		t.Errorf("abort does not say what it does:\n%s", strings.Join(lines, "\n"))
	}
	abort.write("test\n")
	if code := abort.end(); code != 0 {
		t.Errorf("abort ends with %d:\n%s", code, strings.Join(abort.shown(), "\n"))
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, code := allclear(t, dir, "status", "test", "--wait", "20s"); code != 1 || !strings.Contains(out, "ABORTED") {
		t.Errorf("status ends with %d:\n%s", code, out)
	}
}

// TestFullScreen looks around in a run with the keys, does something to it from
// the prompt, and leaves it as it goes on.
func TestFullScreen(t *testing.T) {
	dir := liveSite(t, false)
	if out, code := allclear(t, dir, "run", "test", "--release", "1.0", "--detach"); code != 0 {
		t.Fatalf("run: %d %s", code, out)
	}
	x := onTerminal(t, dir, 100, 30, "watch", "test", "--full")
	x.until("Something slow is done")
	x.write("/slow\r")
	x.until(">    ◐ Something slow")
	x.until("deploy.slow  line ")
	x.write("e")
	x.until("command (action, idempotent)")
	x.resize(60, 20)
	x.until("GATE")
	x.write("\x1b[200~q\nabort test\n\x1b[201~") // what is pasted is no command
	x.write(":")
	x.until(": ")
	x.write("pause test --reason 'a look \"around\"'")
	x.until("around")
	x.write("\r")
	x.until("-- Enter shows the run again --")
	x.write("\n")
	x.until("PAUSED")
	x.write("p")
	x.until(": resume test")
	x.write("\x1b[D\x7f\x1b") // edited, and given up
	x.write("q")
	if code := x.end(); code != 130 {
		t.Errorf("leaving ends with %d, want 130", code)
	}
	x.until("the run goes on; allclear watch test")
	if out, _ := allclear(t, dir, "status", "test"); !strings.Contains(out, "PAUSED") {
		t.Errorf("the run is not paused:\n%s", out)
	}
	if out, code := allclear(t, dir, "watch", "test", "--full"); code != 2 || !strings.Contains(out, "--full needs a terminal") {
		t.Errorf("without a terminal: %d %s", code, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, code := allclear(t, dir, "abort", "test", "--reason", "looked enough"); code != 0 {
		t.Errorf("abort: %d %s", code, out)
	}
	allclear(t, dir, "status", "test", "--wait", "20s")
}
