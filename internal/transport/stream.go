package transport

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"sync"
)

// maxBefore bounds what is kept of what a host prints before its shell answers,
// and how long a mark's line may be, in bytes.
const maxBefore = 4 << 10

// outStream drops everything before the mark: what a login prints of its own.
type outStream struct {
	mark string
	next io.Writer
	open bool
	tail []byte
}

func (o *outStream) Write(p []byte) (int, error) {
	if o.open {
		return o.next.Write(p)
	}
	o.tail = append(o.tail, p...)
	if at := bytes.Index(o.tail, []byte(o.mark)); at >= 0 {
		o.open = true
		rest := o.tail[at+len(o.mark):]
		o.tail = nil
		if len(rest) > 0 {
			_, _ = o.next.Write(rest) // capped never fails
		}
		return len(p), nil
	}
	o.tail = o.tail[max(0, len(o.tail)-len(o.mark)):]
	return len(p), nil
}

// progress is how far a session has come.
type progress int

const (
	waiting progress = iota
	noDir
	noProgram
	started
	finished
)

// errStream finds the marks among what a program prints on standard error and
// passes the rest on. A mark is random, so that no program prints one by chance.
type errStream struct {
	mark string
	next io.Writer
	held []byte

	mu      sync.Mutex
	state   progress
	before  bytes.Buffer
	process process
	code    int
	// ready is closed when the far shell waits for the word; ended is called when
	// the program has ended.
	ready chan struct{}
	ended func()
}

func newErrStream(mark string, next io.Writer) *errStream {
	return &errStream{mark: mark + " ", next: next, ready: make(chan struct{})}
}

// running tells whether the program may run now.
func (e *errStream) running() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state == started
}

// who is the far shell, once it has introduced itself.
func (e *errStream) who() process {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.process
}

func (e *errStream) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held = append(e.held, p...)
	for e.state != finished {
		at := bytes.Index(e.held, []byte(e.mark))
		if at < 0 {
			e.pass(len(e.held) - e.partial())
			return len(p), nil
		}
		e.pass(at)
		end := bytes.IndexByte(e.held, '\n')
		if end < 0 && len(e.held) <= maxBefore {
			return len(p), nil
		}
		if end < 0 {
			end = len(e.held) - 1
		}
		e.say(strings.Fields(string(e.held[len(e.mark):end])))
		e.held = e.held[end+1:]
	}
	e.held = nil // what ssh itself says at the end
	return len(p), nil
}

// partial is how many bytes at the end may be the beginning of a mark.
func (e *errStream) partial() int {
	for n := min(len(e.mark)-1, len(e.held)); n > 0; n-- {
		if strings.HasPrefix(e.mark, string(e.held[len(e.held)-n:])) {
			return n
		}
	}
	return 0
}

// pass hands on the first n bytes that are held.
func (e *errStream) pass(n int) {
	text := e.held[:n]
	e.held = e.held[n:]
	switch e.state {
	case waiting:
		e.before.Write(text[:min(len(text), maxBefore-min(maxBefore, e.before.Len()))])
	case started:
		_, _ = e.next.Write(text) // capped never fails
	}
}

// say takes in what the far shell says of itself.
func (e *errStream) say(words []string) {
	switch {
	case len(words) == 1 && words[0] == "dir" && e.state == waiting:
		e.state = noDir
	case len(words) == 1 && words[0] == "program" && e.state == waiting:
		e.state = noProgram
	case len(words) > 1 && words[0] == "start" && e.state == waiting:
		who, ok := parseProcess(words[1:])
		if !ok {
			return
		}
		e.process, e.state = who, started
		close(e.ready)
	case len(words) == 2 && words[0] == "end" && e.state == started:
		code, err := strconv.ParseUint(words[1], 10, 8)
		if err != nil {
			return
		}
		e.code, e.state = int(code), finished
		e.ended()
	}
}
