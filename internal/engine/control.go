package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"allclear.dev/allclear/internal/run"
)

const (
	socketName = "sock"
	// maxRequest bounds what a client may send.
	maxRequest = 1 << 20
	// requestTime bounds one request and its answer.
	requestTime = 30 * time.Second
)

// answer is what the run's process says to a request.
type answer struct {
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// Refused is the answer of a run that did not accept a request.
type Refused struct{ Reason string }

// Error gives the reason.
func (r *Refused) Error() string { return r.Reason }

// ErrNotRunning means that no process drives the environment.
var ErrNotRunning = errors.New("no process is driving the run")

// ServeControl takes requests on the data directory's socket until ctx ends. Only
// the owner of the directory can reach the socket. ready is called once requests
// are taken.
func (e *Engine) ServeControl(ctx context.Context, dataDir string, ready func()) error {
	path, done, err := shortPath(dataDir)
	if err != nil {
		return err
	}
	defer done()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the old socket: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("listen on the control socket: %w", err)
	}
	defer listener.Close()
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("restrict the control socket: %w", err)
	}
	ready()
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept on the control socket: %w", err)
		}
		go e.serveOne(ctx, conn)
	}
}

func (e *Engine) serveOne(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	_ = conn.SetDeadline(time.Now().Add(requestTime))
	reader := bufio.NewReaderSize(conn, 64<<10)
	var event run.Event
	decoder := json.NewDecoder(&limited{reader, maxRequest})
	decoder.DisallowUnknownFields()
	reply := answer{OK: true}
	if err := decoder.Decode(&event); err != nil {
		reply = answer{Error: "read request: " + err.Error()}
	} else if !fromPeople(event.Type) {
		reply = answer{Error: fmt.Sprintf("%q is not a request", event.Type)}
	} else {
		event.At = time.Time{} // the run's clock counts
		if err := e.Submit(ctx, event); err != nil {
			reply = answer{Error: err.Error()}
		}
	}
	_ = json.NewEncoder(conn).Encode(reply)
}

// fromPeople lists the events that may be handed in from outside.
func fromPeople(t run.EventType) bool {
	switch t {
	case run.Attested, run.Signed, run.SignRevoked, run.Waived, run.MarkedNA, run.Retried, run.Resolved,
		run.Paused, run.Unpaused, run.Aborted, run.RollbackStarted:
		return true
	}
	return false
}

// limited ends a stream after a number of bytes.
type limited struct {
	r    *bufio.Reader
	left int
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errors.New("the request is too long")
	}
	n, err := l.r.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

// Request hands an event to the process that drives the environment. The errors
// are ErrNotRunning, *Refused, and for anything else one that says nothing about
// whether it was accepted.
func Request(ctx context.Context, dataDir string, event run.Event) error {
	path, done, err := shortPath(dataDir)
	if err != nil {
		return err
	}
	defer done()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotRunning, err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(requestTime))
	if err := json.NewEncoder(conn).Encode(event); err != nil {
		return fmt.Errorf("send the request: %w", err)
	}
	var reply answer
	if err := json.NewDecoder(&limited{bufio.NewReader(conn), maxRequest}).Decode(&reply); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if !reply.OK {
		return &Refused{Reason: reply.Error}
	}
	return nil
}

// shortPath gives the socket's path through a descriptor of its directory: a
// socket's name may have 107 bytes, a directory's many more.
func shortPath(dataDir string) (path string, done func(), err error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return "", nil, fmt.Errorf("create the data directory: %w", err)
	}
	dir, err := os.Open(dataDir)
	if err != nil {
		return "", nil, fmt.Errorf("open the data directory: %w", err)
	}
	return filepath.Join("/proc/self/fd", fmt.Sprint(dir.Fd()), socketName), func() { dir.Close() }, nil
}

// Alive reports whether a process takes requests for this data directory. A
// connection alone does not show it: a process that has just been killed still
// takes them until the system has closed its files. So an empty request must be
// answered; only a process that is too slow for that counts as alive without it.
func Alive(dataDir string) bool {
	path, done, err := shortPath(dataDir)
	if err != nil {
		return false
	}
	defer done()
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	unix, ok := conn.(*net.UnixConn)
	if !ok || unix.CloseWrite() != nil || conn.SetReadDeadline(time.Now().Add(time.Second)) != nil {
		return false
	}
	_, err = conn.Read(make([]byte, 1))
	return err == nil || errors.Is(err, os.ErrDeadlineExceeded)
}
