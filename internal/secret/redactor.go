package secret

import (
	"fmt"
	"io"
	"strings"
	"sync"
)

// Redactor replaces every registered value, in every form that forms lists, and
// whatever looks like a well-known kind of token, by Redacted. It may be used by
// several goroutines. Texts that overlap are masked together.
//
// What it cannot do: find a value that was reversed, encrypted, compressed or
// cut into pieces. Reviewing what a step prints remains the control for that.
type Redactor struct {
	suspect func(rule string)
	net     []rule

	mu      sync.Mutex
	texts   []string
	known   map[string]bool
	machine *automaton
}

// NewRedactor makes a Redactor without values. suspect, if not nil, is called
// with the rule's name whenever something is masked only for its looks: it may be
// a secret that nobody declared. It must be safe for concurrent use.
func NewRedactor(suspect func(rule string)) *Redactor {
	if suspect == nil {
		suspect = func(string) {}
	}
	return &Redactor{suspect: suspect, net: rules(), known: map[string]bool{}}
}

// Register adds a value. It fails if the value, without surrounding white space,
// is shorter than MinLength, or a part of the mark itself. Streams that are open
// take the value into account from their next Write on.
func (r *Redactor) Register(value Value) error {
	text := value.Reveal()
	if n := len(strings.TrimSpace(text)); n < MinLength {
		return fmt.Errorf("the secret has %d bytes: with fewer than %d it cannot be kept out of texts", n, MinLength)
	}
	if strings.Contains(Redacted, strings.TrimSpace(text)) {
		return fmt.Errorf("the secret is a part of %q, which stands for secrets", Redacted)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known[text] {
		return nil
	}
	r.known[text] = true
	r.texts = append(r.texts, forms(text)...)
	r.machine = nil
	return nil
}

// current gives the automaton for all values registered so far.
func (r *Redactor) current() *automaton {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.machine == nil {
		r.machine = newAutomaton(r.texts)
	}
	return r.machine
}

// String redacts a whole text.
func (r *Redactor) String(text string) string {
	var b strings.Builder
	w := r.Writer(&b)
	// A strings.Builder does not fail.
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.String()
}

// Writer redacts a stream on its way to w. It holds back what may be the
// beginning of a value, and the last line until it ends or grows beyond 16 KiB;
// Close writes the rest and does not close w.
func (r *Redactor) Writer(w io.Writer) *Writer {
	return &Writer{redactor: r, machine: r.current(), next: &netWriter{rules: r.net, suspect: r.suspect, next: w}}
}

// Writer is a redacted stream. It is not for concurrent use.
type Writer struct {
	redactor *Redactor
	machine  *automaton
	state    int32
	// pending holds the bytes that may still become part of a value; masked says
	// which of them already are.
	pending []byte
	masked  []bool
	// inMask says that the last byte passed on was masked.
	inMask bool
	next   *netWriter
	err    error
}

// Write redacts the next bytes. It reports all of p written unless w failed.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if machine := w.redactor.current(); machine != w.machine {
		w.change(machine)
	}
	const chunk = 32 << 10
	for rest := p; len(rest) > 0 && w.err == nil; {
		n := min(len(rest), chunk)
		for _, char := range rest[:n] {
			w.pending = append(w.pending, char)
			w.masked = append(w.masked, false)
			w.advance(char, len(w.pending))
		}
		rest = rest[n:]
		w.pass(len(w.pending) - int(w.machine.nodes[w.state].depth))
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// advance takes one byte, which ends at end in pending, and masks what ends with it.
func (w *Writer) advance(char byte, end int) {
	w.state = w.machine.step(w.state, char)
	for i := end - int(w.machine.nodes[w.state].longest); i < end; i++ {
		w.masked[i] = true
	}
}

// change goes over to a newer automaton.
func (w *Writer) change(machine *automaton) {
	w.machine, w.state = machine, 0
	for i, char := range w.pending {
		w.advance(char, i+1)
	}
}

// pass hands the first n pending bytes on, each masked run as one mark.
func (w *Writer) pass(n int) {
	var out []byte
	for i := range n {
		switch {
		case !w.masked[i]:
			out = append(out, w.pending[i])
		case !w.inMask:
			out = append(out, Redacted...)
		}
		w.inMask = w.masked[i]
	}
	w.pending = w.pending[:copy(w.pending, w.pending[n:])]
	w.masked = w.masked[:copy(w.masked, w.masked[n:])]
	w.err = w.next.write(out)
}

// Close passes on what was held back.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	w.pass(len(w.pending))
	w.state = 0
	if w.err == nil {
		w.err = w.next.flush()
	}
	return w.err
}
