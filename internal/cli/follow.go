package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"allclear.dev/allclear/internal/engine"
	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/journal/sqlite"
	"allclear.dev/allclear/internal/run"
)

const (
	pollEvery = 100 * time.Millisecond
	// heartbeat is how often plain output says that something still goes on.
	heartbeat = time.Minute
)

// follower replays a run as it grows.
type follower struct {
	log   journal.Reader
	id    string
	seq   uint64
	state run.State
}

// newest gives the id of an environment's newest run.
func newest(ctx context.Context, log journal.Reader) (string, error) {
	runs, err := log.Runs(ctx, journal.Page{Limit: 1})
	if err != nil {
		return "", fmt.Errorf("list runs: %w", err)
	}
	if len(runs) == 0 {
		return "", errNoRun
	}
	return runs[0].Run, nil
}

// openRun opens the record of a run: id, or the newest when id is empty.
func openRun(ctx context.Context, dataDir, id string) (*follower, error) {
	if _, err := os.Stat(dataDir); errors.Is(err, os.ErrNotExist) {
		return nil, errNoRun
	}
	log, err := sqlite.OpenReadOnly(ctx, dataDir)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, errNoRun
		}
		return nil, openFailure(err)
	}
	f := &follower{log: log, id: id}
	if f.id == "" {
		if f.id, err = newest(ctx, log); err != nil {
			log.Close()
			return nil, err
		}
	}
	if err := f.advance(ctx, nil); err != nil {
		log.Close()
		return nil, err
	}
	if f.state.Plan == nil {
		log.Close()
		return nil, fmt.Errorf("%w %s", errNoRun, id)
	}
	return f, nil
}

// advance reads what has been added and tells each event.
func (f *follower) advance(ctx context.Context, tell func(before, after *run.State, e run.Event)) error {
	for stored, err := range f.log.Read(ctx, f.id, f.seq) {
		if err != nil {
			return fail(ExitStorage, "allclear verify names what is wrong", "%v", err)
		}
		event, err := engine.DecodeEvent(stored.Body)
		if err != nil {
			return err
		}
		before := f.state
		f.state, _ = run.Step(f.state, event)
		f.seq = stored.Seq
		if tell != nil {
			tell(&before, &f.state, event)
		}
	}
	return nil
}

func (f *follower) close() { _ = f.log.Close() }

// view is how a run is shown while it goes on.
type view struct {
	out   io.Writer
	paper paper
	live  bool
	speak bool
	drawn int
	said  string
	last  time.Time
}

// newView chooses by the terminal: drawing on one, lines elsewhere.
func (o *options) newView() *view {
	p := o.paper()
	return &view{out: o.Out, paper: p, live: o.isTerminal() && !o.screenReader && os.Getenv("TERM") != "dumb" && os.Getenv("CI") == "", speak: o.screenReader, last: time.Now()}
}

// follow shows a run until it is over, needs nobody's attention any more, or ctx
// ends. Ending ctx leaves the run alone.
func (v *view) follow(ctx context.Context, f *follower, until func(*run.State) bool) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		before := f.seq
		if err := f.advance(ctx, v.tell); err != nil && ctx.Err() == nil {
			return err
		}
		v.draw(&f.state, f.seq != before)
		if until(&f.state) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// tell writes the story of an event where nothing is drawn.
func (v *view) tell(before, after *run.State, e run.Event) {
	if v.live || v.speak {
		return
	}
	for _, line := range story(before, after, e) {
		fmt.Fprintln(v.out, line)
		v.last = time.Now()
	}
}

func (v *view) draw(s *run.State, changed bool) {
	switch {
	case v.speak:
		if text := strings.Join(speak(s), "\n"); text != v.said {
			fmt.Fprintln(v.out, text)
			v.said = text
		}
	case v.live:
		v.redraw(screen(s, v.paper, time.Now()))
	default:
		if a := s.Advise(); time.Since(v.last) >= heartbeat && !s.Closed {
			fmt.Fprintln(v.out, time.Now().Format("15:04:05")+" still: "+a.String())
			v.last = time.Now()
		}
	}
	_ = changed
}

// redraw replaces the lines drawn before. The last ones stay in the scrollback.
func (v *view) redraw(lines []string) {
	text := strings.Join(lines, "\n")
	if text == v.said {
		return
	}
	v.said = text
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.drawn)
	}
	for _, line := range lines {
		b.WriteString("\x1b[2K" + line + "\n")
	}
	if v.drawn > len(lines) {
		b.WriteString("\x1b[0J")
	}
	v.drawn = len(lines)
	_, _ = io.WriteString(v.out, b.String())
}

func (o *options) isTerminal() bool {
	file, ok := o.Out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// interactive reports whether somebody can be asked.
func (o *options) interactive() bool {
	in, ok := o.In.(*os.File)
	return ok && !o.noInput && os.Getenv("CI") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(in.Fd())) && o.isTerminal()
}

// paper tells what can be drawn on.
func (o *options) paper() paper {
	p := paper{width: 80, ascii: o.ascii || !utf8Locale()}
	if file, ok := o.Out.(*os.File); ok {
		if w, _, err := term.GetSize(int(file.Fd())); err == nil && w > 0 {
			p.width = w
		}
	}
	if columns := os.Getenv("COLUMNS"); columns != "" {
		if n := 0; scan(columns, &n) && n >= 20 {
			p.width = n
		}
	}
	switch {
	case o.color == "always":
		p.color = true
	case o.color == "never":
	case os.Getenv("NO_COLOR") != "":
	case os.Getenv("CLICOLOR_FORCE") != "" || os.Getenv("FORCE_COLOR") != "":
		p.color = true
	default:
		p.color = o.isTerminal()
	}
	return p
}

func scan(text string, n *int) bool {
	_, err := fmt.Sscanf(text, "%d", n)
	return err == nil
}

func utf8Locale() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := os.Getenv(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}
