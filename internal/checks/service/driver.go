package service

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// driver is what runs units: programs of our own, an init system, containers, a
// cluster. A new driver is one file with this interface, a name in newDriver and
// its place in the conformance suite.
//
// An act says in a few words what it did. It gives *refused when it certainly did
// not come about and nothing of it goes on, and *ended when the driver's program
// did not end with 0, which look then has to explain. Any other error means that
// it is not known.
type driver interface {
	// look tells how a unit stands. A unit that certainly is not there is missing,
	// not an error.
	look(ctx context.Context, u *unit) (status, error)
	// start starts a unit that does not run.
	start(ctx context.Context, u *unit) (string, error)
	// stop ends a unit that runs as st, and gives what still runs of it.
	stop(ctx context.Context, u *unit, st status) (string, []string, error)
	// restart replaces every instance of the unit, or starts it if there is none.
	restart(ctx context.Context, u *unit, st status) (string, error)
	// reload has a unit that runs as st read its configuration again.
	reload(ctx context.Context, u *unit, st status) error
	// instances names everything that runs as the unit, known to the driver or not.
	instances(ctx context.Context, u *unit, st status) ([]string, error)
	// tail gives the last lines of the unit's log, as they are; nothing if there are
	// none to be had.
	tail(ctx context.Context, u *unit, st status) []byte
}

func newDriver(w *work) driver {
	run := tool{host: w.host, user: w.User, env: pairs(w.service.Env)}
	switch w.Driver {
	case bySystemd:
		return &systemd{tool: run, service: w.service}
	case byKubernetes:
		return &kubernetes{tool: run, work: w}
	case byCompose:
		run.dir = w.service.Dir
		return &compose{tool: run, work: w}
	}
	return &processes{work: w}
}

// phase is how a unit stands.
type phase string

// The phases. Changing is between two others: it starts, ends, is replaced, or
// waits to be started again after a crash. Broken does not run as wanted, and
// nobody is about to change that.
const (
	up       phase = "running"
	changing phase = "not settled"
	down     phase = "not running"
	broken   phase = "failed"
	missing  phase = "unknown"
)

// status is how a unit stands, and as what.
type status struct {
	phase phase
	// why says more, in the driver's words.
	why string
	// health is what the driver's own check says: healthy, starting, unhealthy, or
	// nothing if it has none.
	health string
	// off says what is wrong although it runs: another image.
	off string
	// instances are what runs.
	instances []instance
	// mark is what the driver keeps about the last restart that was asked for.
	mark string
	// process is the unit's, with driver process; with systemd only its pid is known.
	process check.Process
	// logs names whose log tells most, where there are several.
	logs []string
}

// instance is one process, container or pod that runs. It was restarted when its
// start changed or its supervisor counted a restart.
type instance struct {
	ID string `json:"id"`
	// Life is what a restart that was asked for makes anew. A container that crashed
	// and was started again keeps it.
	Life     string `json:"life"`
	Start    string `json:"start"`
	Restarts int    `json:"restarts,omitempty"`
	// Ending says that it has been told to end.
	Ending bool `json:"-"`
}

// String describes the status for the evidence.
func (s status) String() string {
	text := string(s.phase)
	for _, more := range []string{s.why, s.health} {
		if more != "" {
			text += ", " + more
		}
	}
	return text
}

// stopped reports that certainly nothing of the unit runs, as far as the driver
// knows.
func (s status) stopped() bool {
	return (s.phase == down || s.phase == broken) && len(s.instances) == 0
}

// restartsSince counts restarts between two looks: what the supervisor counted,
// another start, and a new instance in place of one that is gone. An instance
// more is not a restart.
func restartsSince(before, now []instance) int {
	count, fresh, kept := 0, 0, 0
	for _, i := range now {
		at := slices.IndexFunc(before, func(b instance) bool { return b.ID == i.ID })
		if at < 0 {
			fresh++
			continue
		}
		kept++
		switch was := before[at]; {
		case i.Restarts > was.Restarts:
			count += i.Restarts - was.Restarts
		case i.Start != was.Start:
			count++
		}
	}
	return count + min(fresh, len(before)-kept)
}

// refused is an act that certainly did not come about.
type refused struct{ why string }

// Error gives the reason.
func (r *refused) Error() string { return r.why }

// ended is a program that did not end with 0.
type ended struct {
	program, stderr string
	code            int
}

// Error gives the end of what the program said.
func (e *ended) Error() string {
	text := fmt.Sprintf("%s ended with exit %d", e.program, e.code)
	if e.stderr != "" {
		text += ": " + e.stderr
	}
	return text
}

// tool runs a driver's program.
type tool struct {
	host check.Host
	user string
	env  []string
	dir  string
}

// maxAnswer bounds what a driver's program may answer, in bytes.
const maxAnswer = 16 << 20

// run gives what a program prints. Where it did not end with 0 the error is
// *ended.
func (t tool) run(ctx context.Context, argv ...string) ([]byte, error) {
	r, err := t.host.Exec(ctx, t.command(argv))
	switch {
	case err != nil:
		return nil, fmt.Errorf("run %s: %w", argv[0], err)
	case r.Signal != "":
		return nil, fmt.Errorf("%s was ended by signal: %s", argv[0], r.Signal)
	case r.Code != 0:
		return r.Stdout, &ended{program: argv[0], code: r.Code, stderr: lastLines(r.Stderr)}
	case r.Truncated:
		return nil, fmt.Errorf("%s answered more than %d bytes", argv[0], maxAnswer)
	}
	return r.Stdout, nil
}

func (t tool) command(argv []string) check.Command {
	return check.Command{Argv: argv, Dir: t.dir, Env: t.env, User: t.user, Limit: maxAnswer}
}

// lastLines puts the end of a program's messages on one line.
func lastLines(text []byte) string {
	const lines, width = 3, 300
	var kept []string
	for line := range strings.Lines(strings.ToValidUTF8(string(text), "\uFFFD")) {
		if line = strings.TrimSpace(line); line != "" {
			kept = append(kept, line)
		}
	}
	kept = kept[max(0, len(kept)-lines):]
	out := strings.Join(kept, " / ")
	if len(out) > width {
		out = strings.ToValidUTF8(out[:width], "") + "…"
	}
	return out
}
