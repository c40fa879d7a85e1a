package transport

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"allclear.dev/allclear/internal/check"
)

// reader is what the far shell is started with. It reads the script from its
// input, line by line and no byte further, so that neither arguments nor
// environment stand in any list of processes, and the rest of the input is the
// program's. It holds no single quote and no line end: whatever shell the login
// has passes it on as it is.
const reader = `ac_nl=$(printf "\n."); ac_nl=${ac_nl%.}; ac_s=; IFS= read -r ac_n || exit 255; ` +
	`while [ "$ac_n" -gt 0 ]; do IFS= read -r ac_l || exit 255; ac_s=$ac_s$ac_l$ac_nl; ac_n=$((ac_n-1)); done; eval "$ac_s"`

// session is one program on a far host.
type session struct {
	script string
	stdin  []byte
	kept   [2]*capped
	in     io.WriteCloser
	out    *outStream
	err    *errStream
}

// newSession checks a command and writes its script. dir is the host's own.
func newSession(c check.Command, dir string) (*session, error) {
	if err := validArgv(c.Argv); err != nil {
		return nil, err
	}
	if strings.HasPrefix(c.Argv[0], "-") {
		return nil, fmt.Errorf("program %q: the name begins with a dash", c.Argv[0])
	}
	if strings.ContainsRune(c.Dir, 0) {
		return nil, errors.New("the directory holds a NUL byte")
	}
	for _, pair := range c.Env {
		if err := validPair(pair); err != nil {
			return nil, err
		}
	}
	var random [16]byte
	_, _ = rand.Read(random[:]) // crypto/rand never fails
	mark := "allclear-" + hex.EncodeToString(random[:])
	limit := c.Limit
	if limit == 0 {
		limit = defaultLimit
	}
	s := &session{stdin: c.Stdin}
	s.kept = [2]*capped{{limit: limit, also: c.Stdout}, {limit: limit, also: c.Stderr}}
	s.out = &outStream{mark: mark + "\n", next: s.kept[0]}
	s.err = newErrStream(mark, s.kept[1])
	if !path.IsAbs(c.Dir) {
		c.Dir = path.Join(dir, c.Dir)
	}
	body := script(c, mark)
	s.script = fmt.Sprintf("%d\n%s", strings.Count(body, "\n"), body)
	return s, nil
}

// script is what the far shell does: set the environment, enter the directory,
// find the program, say who it is, wait for the word, run, and say how it ended.
// Its own messages ("Killed") go nowhere; the program's go where they belong.
func script(c check.Command, mark string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("exec 3>&2; set -f; unset CDPATH")
	for _, pair := range c.Env {
		name, value, _ := strings.Cut(pair, "=")
		line("export %s=%s", name, quote(value))
	}
	if c.Dir != "" {
		dir := c.Dir
		if !path.IsAbs(dir) {
			dir = "./" + dir
		}
		line("cd %s 2>/dev/null || { echo %s dir >&3; exit 1; }", quote(dir), mark)
	}
	line("ac_find() {")
	line("case $1 in */*) [ -f \"$1\" ] && [ -x \"$1\" ]; return;; esac")
	line("IFS=:; for ac_d in $PATH; do [ -f \"${ac_d:-.}/$1\" ] && [ -x \"${ac_d:-.}/$1\" ] && return 0; done; return 1; }")
	line("ac_find %s || { echo %s program >&3; exit 1; }", quote(c.Argv[0]), mark)
	line("unset IFS; exec 2>/dev/null; ac_stat='0 (sh) S 0 0 1'")
	line("read -r ac_stat </proc/$$/stat; set -- ${ac_stat##*) }")
	line("echo %s; echo %s start $$ \"$3\" \"$4\" \"${20}\" >&3", mark, mark)
	line("IFS= read -r ac_go; [ \"$ac_go\" = go ] || exit 255")
	words := make([]string, len(c.Argv))
	for i, word := range c.Argv {
		words[i] = quote(word)
	}
	line("set -- %s", strings.Join(words, " "))
	from := ""
	if len(c.Stdin) == 0 {
		from = " </dev/null"
	}
	line("( exec \"$@\" )%s 2>&3 3>&-; echo %s end $? >&3", from, mark)
	return b.String()
}

// quote makes one word of a POSIX shell that stands for exactly this text: within
// single quotes everything is itself but the quote (POSIX.1-2024, XCU 2.2.2). Bytes
// that are no plain ASCII are written as octal numbers, because some shells' read
// and eval do not keep all of them (bash drops 0x01 behind half a character).
func quote(text string) string {
	var b strings.Builder
	plain := func(c byte) bool { return c >= ' ' && c <= '~' || c == '\n' || c == '\t' }
	for first := true; first || text != ""; first = false {
		n := 0
		for n < len(text) && plain(text[n]) {
			n++
		}
		b.WriteString("'" + strings.ReplaceAll(text[:n], "'", `'\''`) + "'")
		text = text[n:]
		for n = 0; n < len(text) && !plain(text[n]); n++ {
			if n == 0 {
				b.WriteString(`"$(printf '`)
			}
			fmt.Fprintf(&b, `\%03o`, text[n])
		}
		if n > 0 {
			b.WriteString(`')"`)
		}
		text = text[n:]
	}
	return b.String()
}

// feed sends the script, and once the far shell has said that it is ready, the
// word that starts the program and its input. Without the word nothing starts.
func (s *session) feed(ctx context.Context) {
	defer s.in.Close()
	if _, err := io.WriteString(s.in, s.script); err != nil {
		return // the session ended, which says more than this error
	}
	select {
	case <-ctx.Done():
	case <-s.err.ready:
		if _, err := io.WriteString(s.in, "go\n"); err == nil {
			_, _ = s.in.Write(s.stdin) // a program may end without having read its input
		}
	}
}

// judge turns how a session ended into an error, unless the program's end is
// known.
func (s *session) judge(host, program string, err error) error {
	s.err.mu.Lock()
	defer s.err.mu.Unlock()
	said := strings.Join(strings.Fields(strings.ToValidUTF8(s.err.before.String(), "\uFFFD")), " ")
	if said != "" {
		said = ": " + said[:min(len(said), maxSaid)]
	}
	switch s.err.state {
	case finished:
		return nil
	case noDir:
		return fmt.Errorf("run %s on %s: enter its directory: %w", program, host, fs.ErrNotExist)
	case noProgram:
		return fmt.Errorf("run %s on %s: %w", program, host, exec.ErrNotFound)
	case started:
		return fmt.Errorf("run %s on %s: the connection was lost; whether the program still runs is not known%s", program, host, ended255(err))
	}
	return fmt.Errorf("reach %s: no shell answered%s%s", host, ended255(err), said)
}

// maxSaid bounds what an error quotes of what was printed before a shell answered.
const maxSaid = 500

// ended255 says how this machine's end of the session ended.
func ended255(err error) string {
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return ""
	}
	return fmt.Sprintf(" (%v)", err)
}

// result gives what is known of the program.
func (s *session) result(took time.Duration, lingers bool) check.Result {
	s.err.mu.Lock()
	defer s.err.mu.Unlock()
	r := check.Result{
		Code: s.err.code, Stdout: s.kept[0].buf.Bytes(), Stderr: s.kept[1].buf.Bytes(),
		Truncated: s.kept[0].cut || s.kept[1].cut || lingers, Took: took,
	}
	const shellSignal, signals = 128, 64
	if n := r.Code - shellSignal; n > 0 && n <= signals {
		r.Signal = syscall.Signal(n).String()
	}
	return r
}

// process is a far program's shell as it introduced itself.
type process struct{ pid, group, session, ticks string }

func parseProcess(fields []string) (process, bool) {
	for _, f := range fields {
		if _, err := strconv.ParseUint(f, 10, 63); err != nil {
			return process{}, false
		}
	}
	switch len(fields) {
	case 4:
		return process{fields[0], fields[1], fields[2], fields[3]}, true
	case 3: // no /proc: the group is not known
		return process{pid: fields[0]}, true
	}
	return process{}, false
}
