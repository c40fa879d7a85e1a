package celery_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/celery"
)

// world is the servers and workers that all tests share.
type world struct {
	broker  string
	workers map[string]*exec.Cmd
	dir     string
	running []*exec.Cmd
}

// shared is started by TestMain.
var shared world

func TestMain(m *testing.M) { os.Exit(shared.run(m)) }

func (w *world) run(m *testing.M) int {
	defer w.end()
	if err := w.start(); err != nil {
		fmt.Fprintln(os.Stderr, "start Redis and Celery (apt-get install redis-server python3-celery python3-redis):", err)
		return 1
	}
	return m.Run()
}

func (w *world) start() error {
	var err error
	if w.dir, err = os.MkdirTemp("", "celery-*"); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	if _, err := w.launch("Ready to accept connections", "", "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", w.dir); err != nil {
		return err
	}
	w.broker, w.workers = "redis://127.0.0.1:"+port, map[string]*exec.Cmd{}
	for name, args := range map[string][]string{
		"main@h": {"-Q", "default,messaging", "-c", "2", "--time-limit", "600"},
		"bulk@h": {"-Q", "analytics", "-c", "1"},
	} {
		if w.workers[name], err = w.worker(0, name, "json", args...); err != nil {
			return err
		}
	}
	_, err = w.launch("Starting", w.broker+"/0", "/usr/bin/python3", "-m", "celery", "-A", "shop", "beat", "-l", "info", "-s", filepath.Join(w.dir, "beat"), "--pidfile", "")
	return err
}

// worker starts a Celery worker on one database and waits until it is ready.
func (w *world) worker(db int, name, serializer string, args ...string) (*exec.Cmd, error) {
	argv := append([]string{"/usr/bin/env", "SERIALIZER=" + serializer, "/usr/bin/python3", "-m", "celery", "-A", "shop", "worker", "-n", name, "-l", "info", "--without-gossip", "--without-mingle"}, args...)
	before, err := w.listening()
	if err != nil {
		return nil, err
	}
	cmd, err := w.launch(name+" ready.", fmt.Sprint(w.broker, "/", db), argv...)
	for end := time.Now().Add(10 * time.Second); err == nil; {
		// It says so before it listens to remote control.
		now := 0
		if now, err = w.listening(); now > before {
			return cmd, err
		}
		if time.Now().After(end) {
			err = fmt.Errorf("%s does not listen to remote control", name)
		}
	}
	return nil, err
}

// listening is how many workers the broker would hand a question to: clients that
// have subscribed to a pattern.
func (w *world) listening() (int, error) {
	c, err := net.Dial("tcp", strings.TrimPrefix(w.broker, "redis://"))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "CLIENT LIST\r\n"); err != nil {
		return 0, err
	}
	in, size := bufio.NewReader(c), 0
	if _, err := fmt.Fscanf(in, "$%d\r\n", &size); err != nil {
		return 0, err
	}
	text := make([]byte, size)
	_, err = io.ReadFull(in, text)
	return strings.Count(string(text), " psub=1 "), err
}

// launch starts a program and waits for a text in what it writes.
func (w *world) launch(ready, broker string, argv ...string) (*exec.Cmd, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	testdata, err := filepath.Abs("testdata")
	if err != nil {
		return nil, err
	}
	cmd.Env = append(os.Environ(), "BROKER="+broker, "PYTHONPATH="+testdata, "C_FORCE_ROOT=1", "PYTHONDONTWRITEBYTECODE=1")
	r, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Start()
	_ = out.Close()
	if err != nil {
		return nil, err
	}
	w.running = append(w.running, cmd)
	seen := make(chan string, 1)
	go func() {
		var text strings.Builder
		lines := bufio.NewScanner(r)
		for told := false; lines.Scan(); { // to the end, so that the program can write
			if !told && strings.Contains(lines.Text(), ready) {
				told = true
				seen <- ""
			}
			if !told {
				text.WriteString(lines.Text() + "\n")
			}
		}
		select {
		case seen <- argv[0] + " ended:\n" + text.String():
		default:
		}
		_, _ = io.Copy(io.Discard, r)
	}()
	if text := <-seen; text != "" {
		return nil, fmt.Errorf("%s", text)
	}
	return cmd, nil
}

// end ends every program, the last one first, by its pid.
func (w *world) end() {
	for i := len(w.running) - 1; i >= 0; i-- {
		_ = w.running[i].Process.Kill()
		_ = w.running[i].Wait()
	}
	_ = os.RemoveAll(w.dir)
}

// send sends tasks to a database's queue.
func (w *world) send(t *testing.T, db int, args ...string) {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", append([]string{"testdata/send.py"}, args...)...)
	cmd.Env = append(os.Environ(), fmt.Sprint("BROKER=", w.broker, "/", db), "PYTHONDONTWRITEBYTECODE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("send %v: %v: %s", args, err, out)
	}
}

// resp answers every command of a Redis client with the same text, after those in
// known by the command's name.
func resp(t *testing.T, known map[string]string, other string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for {
					words, err := command(in)
					if err != nil {
						return
					}
					answer, ok := known[strings.ToLower(words[0])]
					if !ok {
						answer = other
					}
					if _, err := io.WriteString(c, answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "redis://" + l.Addr().String()
}

// command reads one command of the Redis protocol.
func command(in *bufio.Reader) ([]string, error) {
	var n int
	if _, err := fmt.Fscanf(in, "*%d\r\n", &n); err != nil || n < 1 {
		return nil, fmt.Errorf("no command: %v", err)
	}
	words := make([]string, n)
	for i := range words {
		var size int
		if _, err := fmt.Fscanf(in, "$%d\r\n", &size); err != nil {
			return nil, err
		}
		word := make([]byte, size+2)
		if _, err := io.ReadFull(in, word); err != nil {
			return nil, err
		}
		words[i] = string(word[:size])
	}
	return words, nil
}

func bulk(text string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }

func TestPages(t *testing.T) {
	checktest.Page(t, celery.Workers)
	checktest.Page(t, celery.Queue)
}
