package cli

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"allclear.dev/allclear/internal/run"
)

// key is something typed: a name for what is no character, or text. What is
// pasted comes in one piece, so that a line end in it is not the key Enter.
type key struct{ name, text string }

// sequences are what terminals send for keys without a character (ECMA-48 and
// xterm's control sequences).
func sequences() map[string]string {
	return map[string]string{
		"[A": "up", "[B": "down", "[C": "right", "[D": "left", "OA": "up", "OB": "down", "OC": "right", "OD": "left",
		"[H": "home", "[F": "end", "OH": "home", "OF": "end", "[1~": "home", "[4~": "end", "[7~": "home", "[8~": "end",
		"[5~": "pgup", "[6~": "pgdown", "[3~": "delete",
	}
}

const pasteBegins, pasteEnds = "\x1b[200~", "\x1b[201~"

// decodeKeys reads keys from what a terminal sent and gives what is not whole yet.
// An escape with nothing behind it is the key of that name.
func decodeKeys(in []byte) (keys []key, rest []byte) {
	known := sequences()
	for len(in) > 0 {
		text := string(in)
		switch {
		case strings.HasPrefix(text, pasteBegins):
			end := strings.Index(text, pasteEnds)
			if end < 0 {
				return keys, in
			}
			keys = append(keys, key{text: text[len(pasteBegins):end]})
			in = in[end+len(pasteEnds):]
		case in[0] == 0x1b && len(in) > 1 && (in[1] == '[' || in[1] == 'O'):
			end := slices.IndexFunc(in[2:], func(c byte) bool { return c >= '@' && c <= '~' })
			if end < 0 {
				return keys, in
			}
			if name := known[text[1:end+3]]; name != "" {
				keys = append(keys, key{name: name})
			}
			in = in[end+3:]
		case in[0] < 0x20 || in[0] == 0x7f:
			keys = append(keys, key{name: controlKey(in[0])})
			in = in[1:]
		default:
			r, size := utf8.DecodeRune(in)
			if r == utf8.RuneError && !utf8.FullRune(in) {
				return keys, in
			}
			keys = append(keys, key{text: string(r)})
			in = in[size:]
		}
	}
	return keys, nil
}

func controlKey(c byte) string {
	switch c {
	case '\r', '\n':
		return "enter"
	case '\t':
		return "tab"
	case 0x1b:
		return "esc"
	case 0x7f, 0x08:
		return "backspace"
	}
	return "ctrl+" + string(rune('a'+c-1))
}

// fullScreen is a terminal taken over: its other screen, every key as it is typed.
type fullScreen struct {
	in, out *os.File
	before  *term.State
	drawn   []string
	on      paper
	cursor  int
	pending []byte
}

// errNoTerminal means that there is nobody to look and type.
var errNoTerminal = errors.New("no terminal")

func takeScreen(in io.Reader, out io.Writer) (*fullScreen, error) {
	from, okIn := in.(*os.File)
	to, okOut := out.(*os.File)
	if !okIn || !okOut {
		return nil, errNoTerminal
	}
	f := &fullScreen{in: from, out: to}
	return f, f.take()
}

func (f *fullScreen) take() error {
	before, err := term.MakeRaw(int(f.in.Fd()))
	if err != nil {
		return fmt.Errorf("take the terminal over: %w", err)
	}
	f.before, f.drawn = before, nil
	_, err = io.WriteString(f.out, "\x1b[?1049h\x1b[?2004h\x1b[?25l\x1b[2J")
	return err
}

func (f *fullScreen) giveBack() error {
	_, err := io.WriteString(f.out, "\x1b[?2004l\x1b[?25h\x1b[?1049l")
	return errors.Join(err, term.Restore(int(f.in.Fd()), f.before))
}

// draw shows lines; cursor is the cell of the last line where the cursor belongs,
// or negative. What has not changed is not written again.
func (f *fullScreen) draw(lines []string, cursor int, on paper) error {
	if slices.Equal(lines, f.drawn) && cursor == f.cursor && on == f.on {
		return nil
	}
	var b strings.Builder
	b.WriteString("\x1b[?25l")
	if on != f.on || len(lines) != len(f.drawn) { // a terminal of another size has moved what was drawn
		b.WriteString("\x1b[2J")
		f.drawn, f.on = nil, on
	}
	for i, line := range lines {
		if i >= len(f.drawn) || f.drawn[i] != line {
			fmt.Fprintf(&b, "\x1b[%d;1H\x1b[K%s", i+1, line)
		}
	}
	if cursor >= 0 {
		fmt.Fprintf(&b, "\x1b[%d;%dH\x1b[?25h", len(lines), cursor+1)
	}
	f.drawn, f.cursor = lines, cursor
	_, err := io.WriteString(f.out, b.String())
	return err
}

// keys waits for keys at most this long.
func (f *fullScreen) keys(wait time.Duration) ([]key, error) {
	ready := []unix.PollFd{{Fd: int32(f.in.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(ready, int(wait.Milliseconds()))
	switch {
	case errors.Is(err, unix.EINTR) || err == nil && n == 0:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("wait for a key: %w", err)
	}
	buffer := make([]byte, 4096)
	if n, err = f.in.Read(buffer); err != nil {
		return nil, fmt.Errorf("read a key: %w", err)
	}
	var keys []key
	keys, f.pending = decodeKeys(append(f.pending, buffer[:n]...))
	if len(f.pending) > maxPrompt {
		f.pending = nil
	}
	return keys, nil
}

// run runs a command on the terminal as it was, and waits for Enter, so that what
// it said can be read.
func (f *fullScreen) run(cmd *exec.Cmd) error {
	if err := f.giveBack(); err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = f.in, f.out, os.Stderr
	failed := cmd.Run()
	_, _ = io.WriteString(f.out, "\n-- Enter shows the run again --")
	one := make([]byte, 1)
	for one[0] != '\n' {
		if _, err := f.in.Read(one); err != nil {
			return err
		}
	}
	if _, isExit := errors.AsType[*exec.ExitError](failed); isExit {
		failed = nil // it has said why itself
	}
	return errors.Join(f.take(), failed)
}

// copy puts a text into the terminal's clipboard (xterm's OSC 52).
func (f *fullScreen) copy(text string) error {
	_, err := fmt.Fprintf(f.out, "\x1b]52;c;%s\x07", base64.StdEncoding.EncodeToString([]byte(text)))
	return err
}

// browse shows a run on the full screen until the person leaves.
func (o *options) browse(ctx context.Context, s *site, f *follower) (err error) {
	times := gateTimes{}
	f.rewind()
	if err := f.advance(ctx, times.tell); err != nil {
		return err
	}
	normal, err := normalTimes(ctx, f.log, f.id)
	if err != nil {
		return err
	}
	b := &browser{
		state: f.state, times: times, normal: normal, folds: map[string]bool{},
		detail: func(p pane, state *run.State, it *run.Item) []string { return o.paneLines(s, p, state, it) },
	}
	screen, err := takeScreen(o.In, o.Out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, screen.giveBack()) }()
	for ctx.Err() == nil {
		if err := f.advance(ctx, times.tell); err != nil {
			return err
		}
		b.state, b.paper, b.now = f.state, o.paper(), time.Now().Truncate(time.Second)
		b.arrange()
		cursor := -1
		if b.prompt.open {
			cursor = b.cursorCell()
		}
		if err := screen.draw(b.lines(), cursor, b.paper); err != nil {
			return err
		}
		keys, err := screen.keys(pollEvery)
		if err != nil {
			return err
		}
		if left, err := o.obey(b, screen, keys); left || err != nil {
			return err
		}
	}
	return ctx.Err()
}

// obey does what keys ask for.
func (o *options) obey(b *browser, screen *fullScreen, keys []key) (left bool, err error) {
	for _, k := range keys {
		w := b.press(k)
		switch {
		case w.leave:
			return true, nil
		case w.copied != "":
			err = screen.copy(w.copied)
		case len(w.run) > 0:
			err = screen.run(o.itself(w.run))
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// itself gives a command of this program, in the same folder and as the same
// person.
func (o *options) itself(args []string) *exec.Cmd {
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	if args[0] == "allclear" {
		args = args[1:]
	}
	args = append(args, "--directory", o.dir)
	if o.config != "" {
		args = append(args, "--config", o.config)
	}
	if o.as != "" {
		args = append(args, "--as", o.as)
	}
	return exec.Command(program, args...)
}
