package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
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

// rewind begins the run anew, so that all of it is told.
func (f *follower) rewind() { f.seq, f.state = 0, run.State{} }

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
	out io.Writer
	// paper gives what can be drawn on now: a terminal changes its size.
	paper func() paper
	clock func() time.Time
	live  bool
	speak bool
	// drawn and on are what redraw has drawn last, and on what.
	drawn int
	on    paper
	said  []string
	last  time.Time
	// told is when each plain line was written last.
	told map[string]time.Time
	// spoken is how the run stood when sentences were spoken last.
	spoken run.RunStatus
	// server folds the lines by gates; folds counts them.
	server buildServer
	folds  int
}

// newView chooses by the terminal: drawing on one, lines elsewhere.
func (o *options) newView() *view {
	live := o.isTerminal() && !o.screenReader && os.Getenv("TERM") != "dumb" && os.Getenv("CI") == ""
	v := &view{out: o.Out, paper: o.paper, clock: time.Now, live: live, speak: o.screenReader, last: time.Now(), told: map[string]time.Time{}}
	if !v.live && !v.speak {
		v.server = findBuildServer(os.Getenv)
	}
	return v
}

// follow shows a run until it is over, needs nobody's attention any more, or ctx
// ends. Ending ctx leaves the run alone.
func (v *view) follow(ctx context.Context, f *follower, until func(*run.State) bool) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		err := f.advance(ctx, v.tell)
		if ctx.Err() != nil { // what was read may be a part only
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		v.draw(&f.state)
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

// tell writes the story of an event where nothing is drawn. The same line is not
// written twice within a minute, however often something is tried.
func (v *view) tell(before, after *run.State, e run.Event) {
	if v.live || v.speak {
		return
	}
	p := v.paper()
	if v.server != "" {
		defer v.foldGate(before, after)
	}
	for _, line := range story(before, after, e) {
		_, text, _ := strings.Cut(line, " ") // without its time
		if at, ok := v.told[text]; ok && e.At.Sub(at) < heartbeat {
			continue
		}
		v.told[text], v.last = e.At, v.clock()
		fmt.Fprintln(v.out, p.plain(line))
	}
}

// foldGate begins a new part of a build server's log with the run and with each
// gate that was passed: what follows belongs to the first gate that is closed.
func (v *view) foldGate(before, after *run.State) {
	if before.Plan != nil && slices.Equal(before.Passed, after.Passed) {
		return
	}
	for k, ph := range after.Plan.Phases {
		if !after.Passed[k] && (!ph.Rollback || after.Rollback) {
			v.server.fold(v.out, v.folds, orText(ph.Title, ph.ID), v.clock())
			v.folds++
			return
		}
	}
}

// conclude ends what a build server folds and gives it its annotations.
func (v *view) conclude(s *run.State, file string) error {
	if v.server == "" {
		return nil
	}
	if v.folds > 0 {
		v.server.unfold(v.out, v.folds-1, v.clock())
	}
	return v.server.conclude(v.out, s, file, os.Getenv)
}

func (v *view) draw(s *run.State) {
	now := v.clock()
	switch {
	case v.speak:
		v.talk(s, now)
	case v.live:
		p := v.paper()
		v.redraw(screen(s, p, now), p)
	default:
		if a := s.Advise(); now.Sub(v.last) >= heartbeat && !s.Closed {
			fmt.Fprintln(v.out, v.paper().plain(now.Format("15:04:05")+" still: "+a.String()))
			v.last = now
		}
	}
}

// talkEvery is how often sentences about mere progress are spoken.
const talkEvery = 10 * time.Second

// talk speaks the sentences that are new: at once when the run stands otherwise
// than before, and else not more often than a person can listen.
func (v *view) talk(s *run.State, now time.Time) {
	if s.Status() == v.spoken && now.Sub(v.last) < talkEvery {
		return
	}
	lines := speak(s)
	for _, line := range lines {
		if !slices.Contains(v.said, line) {
			fmt.Fprintln(v.out, v.paper().plain(line))
			v.last = now
		}
	}
	v.said, v.spoken = lines, s.Status()
}

// redraw replaces the lines drawn before. The last ones stay in the scrollback.
// A terminal of another size has moved what was drawn: all of it is drawn anew.
func (v *view) redraw(lines []string, p paper) {
	if slices.Equal(lines, v.said) && p == v.on {
		return
	}
	var b strings.Builder
	switch {
	case v.drawn > 0 && p != v.on:
		b.WriteString("\x1b[H\x1b[2J")
	case v.drawn > 0:
		fmt.Fprintf(&b, "\x1b[%dA", v.drawn)
	}
	for _, line := range lines {
		b.WriteString("\x1b[2K" + line + "\n")
	}
	if v.drawn > len(lines) {
		b.WriteString("\x1b[0J")
	}
	v.said, v.drawn, v.on = lines, len(lines), p
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
		if w, h, err := term.GetSize(int(file.Fd())); err == nil && w > 0 {
			p.width, p.height = w, h
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
