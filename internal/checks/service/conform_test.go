package service_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/service"
)

// place is a driver at work: real, or a stand-in as strict as the real one. The
// conformance suite runs on each.
type place struct {
	env *check.Env
	// params are the driver's own, as YAML.
	params string
	// one and two are units that run when they are started; bad is one whose program
	// ends at once. Each is YAML.
	one, two, bad string
	// nobody is a unit that the driver does not know; empty when the driver has no
	// such thing.
	nobody string
	// single has the driver's program looked at once where it does not matter, because
	// it is slow.
	single bool
	// crash makes the unit one crash and come back by itself before the next look.
	crash func(t *testing.T)
	// spoilt are the answers of the driver's program that are broken one by one.
	// Those that pass as an answer (nothing there, for one that lists) are left out.
	spoilt []string
}

// quick gives the place a clock that only its own waiting moves.
func (p *place) quick() *place {
	now := time.Unix(1e9, 0)
	p.env.Now = func() time.Time { return now }
	p.env.Sleep = func(ctx context.Context, d time.Duration) error {
		now = now.Add(d)
		return ctx.Err()
	}
	return p
}

func (p *place) instance(t *testing.T, params string, units ...string) *check.Instance {
	t.Helper()
	text := fmt.Sprintf("{%s, %s, units: [%s]}", p.params, params, strings.Join(units, ", "))
	usual := map[string]string{"stable": "60ms", "every": "10ms", "healthy_within": "2s"}
	if p.single {
		usual["stable"], usual["every"] = "0s", "100ms"
	}
	for name, value := range usual {
		if !strings.Contains(text, name+":") {
			text = strings.TrimSuffix(text, "}") + ", " + name + ": " + value + "}"
		}
	}
	inst, problems := checktest.Decode(service.Service, text, nil)
	if len(problems) > 0 {
		t.Fatalf("%s: %v", text, problems)
	}
	return inst
}

// do acts under a key, or looks, and compares the result.
func (p *place) do(t *testing.T, want, key, params string, units ...string) (check.Outcome, *check.Instance) {
	t.Helper()
	inst := p.instance(t, params, units...)
	env := *p.env
	env.Key = key
	o, err := inst.Runner.Run(t.Context(), &env)
	got := string(o.Verdict) + ": " + o.Reason
	if err != nil {
		got = "error: " + err.Error()
	}
	checktest.Match(t, want, got)
	return o, inst
}

func (p *place) probe(t *testing.T, inst *check.Instance, key string, want check.Progress) {
	t.Helper()
	env := *p.env
	env.Key = key
	got, o, err := inst.Prober().Probe(t.Context(), &env)
	if err != nil || got != want {
		t.Errorf("probe under %s: got %s (%s %v), %v, want %s", key, got, o.Reason, o.Facts, err, want)
	}
}

func (p *place) undo(t *testing.T, inst *check.Instance, key string, done check.Outcome) {
	t.Helper()
	env := *p.env
	env.Key = key + "/undo"
	if o, err := inst.Undoer().Undo(t.Context(), &env, done); err != nil || o.Verdict != check.Pass {
		t.Errorf("undo under %s: %+v, %v", env.Key, o, err)
	}
}

// stands gives what a check tells of the unit one.
func (p *place) stands(t *testing.T) string {
	t.Helper()
	o, _ := p.do(t, "pass: ...", "", "stable: 0s", p.one)
	return o.Facts["unit."+nameOf(p.one)]
}

func nameOf(unit string) string {
	name := strings.TrimPrefix(unit, "{name: ")
	return name[:strings.IndexAny(name+",", ",}")]
}

// conform holds a driver to what every driver does. make gives a place in which
// nothing runs. The laws that take long for it are left to scripts/slow.
func conform(t *testing.T, make func(t *testing.T) *place, long ...string) {
	for name, law := range map[string]func(*testing.T, *place){
		"start, stop and back": startStop, "restart": restarts, "rolling": rolling, "a unit that ends at once": endsAtOnce,
		"crash loop": crashLoop, "nobody knows it": unknown, "answers that are broken": spoilt, "hang": hangs, "examine": examines,
	} {
		if slices.Contains(long, name) && os.Getenv("ALLCLEAR_SLOW") == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			law(t, make(t))
		})
	}
}

func startStop(t *testing.T, p *place) {
	one, two := nameOf(p.one), nameOf(p.two)
	p.do(t, "fail: "+one+" does not run...", "", "state: running", p.one, p.two)
	p.do(t, "pass: stopped: "+one+", "+two, "", "state: stopped", p.one, p.two)
	start := p.instance(t, "do: start", p.one, p.two)
	p.probe(t, start, "k1", check.NotDone)
	p.do(t, "pass: started: "+two+"...", "k0", "do: start", p.two)
	p.probe(t, start, "k1", check.Partly)
	done, _ := p.do(t, "pass: started: "+one+", "+two+"...", "k1", "do: start", p.one, p.two)
	p.probe(t, start, "k1", check.Done)
	before := p.stands(t)
	p.do(t, "pass: ...", "k1", "do: start", p.one, p.two)
	p.do(t, "pass: ...", "k2", "do: start", p.one, p.two)
	if now := p.stands(t); now != before {
		t.Errorf("starting again restarted it: %s, was %s", now, before)
	}
	p.do(t, "pass: running for ... without a restart: "+one+", "+two+"...", "", "state: running", p.one, p.two)
	p.do(t, "fail: "+one+" ...; "+two+" ...", "", "state: stopped", p.one, p.two)
	p.undo(t, start, "k1", done) // two ran before
	p.do(t, "pass: stopped: "+one, "", "state: stopped", p.one)
	p.do(t, "pass: ...", "", "state: running", p.two)

	stopped, stop := p.do(t, "pass: stopped: "+one+", "+two, "k3", "do: stop", p.one, p.two)
	p.probe(t, stop, "k3", check.Done)
	p.do(t, "pass: ...", "k3", "do: stop", p.one, p.two)
	p.undo(t, stop, "k3", stopped) // one did not run before
	p.do(t, "pass: stopped: "+one, "", "state: stopped", p.one)
	p.do(t, "pass: ...", "", "state: running", p.two)
	p.probe(t, stop, "k3", check.Partly)
	p.undo(t, stop, "never begun", check.Outcome{})
}

func restarts(t *testing.T, p *place) {
	p.do(t, "pass: ...", "k1", "do: start", p.one, p.two)
	before := p.stands(t)
	restart := p.instance(t, "do: restart", p.one, p.two)
	p.probe(t, restart, "k2", check.NotDone)
	p.do(t, "pass: restarted: ...", "k2", "do: restart", p.one, p.two)
	p.probe(t, restart, "k2", check.Done)
	after := p.stands(t)
	if after == before {
		t.Errorf("not restarted: %s", after)
	}
	p.do(t, "pass: restarted: ...", "k2", "do: restart", p.one, p.two)
	if again := p.stands(t); again != after {
		t.Errorf("one attempt restarted twice: %s, then %s", after, again)
	}
	p.probe(t, restart, "k3", check.NotDone)
	p.do(t, "pass: restarted: ...", "k3", "do: restart", p.one)
	if again := p.stands(t); again == after {
		t.Error("another attempt did not restart it")
	}
	p.probe(t, restart, "k3", check.Partly)
	if _, err := restart.Undoer().Undo(t.Context(), p.env, check.Outcome{}); err == nil {
		t.Error("a restart is taken back")
	}
}

// rolling stops at the first unit that does not become healthy.
func rolling(t *testing.T, p *place) {
	one, two := nameOf(p.one), nameOf(p.two)
	p.do(t, "pass: ...", "k1", "do: start", p.one, p.two)
	before := p.stands(t)
	sick := strings.TrimSuffix(p.two, "}") + ", healthy: {run: ['false']}}"
	o, _ := p.do(t, "fail: "+two+" is not healthy after 200ms: false ended with exit 1...; not touched: "+one, "k2", "do: restart, rolling: true, healthy_within: 200ms", sick, p.one)
	if now := p.stands(t); now != before {
		t.Errorf("the second unit was touched: %s, was %s (%v)", now, before, o.Facts)
	}
	o, _ = p.do(t, "fail: "+two+" is not healthy after 200ms: ...; restarted before it: "+one, "k3", "do: restart, rolling: true, healthy_within: 200ms", p.one, sick)
	if p.stands(t) == before {
		t.Errorf("the first unit was not restarted: %v", o.Facts)
	}
	p.do(t, "pass: restarted: "+one+", "+two+"...", "k4", "do: restart, rolling: true", p.one, p.two)
}

func endsAtOnce(t *testing.T, p *place) {
	bad := nameOf(p.bad)
	p.do(t, "fail: "+bad+"...", "k1", "do: start, healthy_within: 200ms, stable: 200ms", p.bad)
	p.do(t, "fail: "+bad+"...", "", "stable: 200ms", p.bad)
	p.do(t, "fail: "+bad+"...; not touched: "+nameOf(p.one), "k2", "do: restart, rolling: true, healthy_within: 200ms, stable: 200ms", p.bad, p.one)
	p.do(t, "pass: stopped: "+bad, "k3", "do: stop", p.bad)
	p.do(t, "pass: stopped: "+bad, "", "state: stopped", p.bad)
}

// A crash loop looks as if it ran at every look.
func crashLoop(t *testing.T, p *place) {
	p.do(t, "pass: ...", "k1", "do: start", p.one)
	env, looks := *p.env, 0
	env.Sleep = func(ctx context.Context, d time.Duration) error {
		if looks++; looks == 1 {
			p.crash(t)
		}
		return p.env.Sleep(ctx, d)
	}
	for restarts, want := range []string{"fail: " + nameOf(p.one) + " was restarted 1 times while it was looked at...", "pass: ..."} {
		looks = 0
		inst := p.instance(t, fmt.Sprintf("stable: 100ms, every: 30ms, restarts: %d", restarts), p.one)
		o, err := inst.Runner.Run(t.Context(), &env)
		if err != nil {
			t.Fatal(err)
		}
		checktest.Match(t, want, string(o.Verdict)+": "+o.Reason)
	}
}

func unknown(t *testing.T, p *place) {
	if p.nobody == "" {
		return
	}
	for _, params := range []string{"state: running", "state: stopped", "do: start", "do: stop", "do: restart"} {
		p.do(t, "fail: "+nameOf(p.nobody)+" is not known to ...", "k "+params, params, p.nobody)
	}
	if said, err := p.instance(t, "do: start", p.nobody).Runner.(check.Examiner).Examine(t.Context(), p.env); err == nil {
		t.Errorf("examined: %s", said)
	}
}

func examines(t *testing.T, p *place) {
	said, err := p.instance(t, "do: restart", p.one, p.two).Runner.(check.Examiner).Examine(t.Context(), p.env)
	if err != nil || said != nameOf(p.one)+": not running, "+nameOf(p.two)+": not running" {
		t.Errorf("got %q, %v", said, err)
	}
	p.do(t, "pass: ...", "", "state: stopped", p.one, p.two)
}

// hangs holds that a program which does not answer is no verdict, and that it is
// not waited for longer than the context.
func hangs(t *testing.T, p *place) {
	p.do(t, "pass: ...", "k1", "do: start", p.one)
	whole := p.env.Host
	for n := range 4 {
		p.env.Host = func(name string) (check.Host, error) {
			host, err := whole(name)
			return &breaking{Host: host, left: n, how: hang}, err
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		inst := p.instance(t, "stable: 1h", p.one)
		o, err := inst.Runner.Run(ctx, p.env)
		cancel()
		if err == nil {
			t.Errorf("hang at call %d: got %s: %s", n, o.Verdict, o.Reason)
		}
	}
}

// spoilt breaks each answer that a look needs, in every way.
func spoilt(t *testing.T, p *place) {
	p.do(t, "pass: ...", "k1", "do: start", p.one)
	whole := p.env.Host
	counted := &breaking{left: -1}
	use := func(b *breaking) {
		p.env.Host = func(name string) (check.Host, error) {
			host, err := whole(name)
			b.Host = host
			return b, err
		}
	}
	use(counted)
	p.do(t, "pass: ...", "", "stable: 0s", p.one)
	if len(p.spoilt) > 0 && counted.calls == 0 {
		t.Fatal("the driver's program was not run")
	}
	for n := range counted.calls {
		for _, how := range p.spoilt {
			use(&breaking{left: n, how: how})
			p.do(t, "error: ...", "", "stable: 0s", p.one)
			if t.Failed() {
				t.Fatalf("call %d, %s", n, how)
			}
		}
	}
}

// The ways in which an answer is broken.
const (
	hang      = "hang"
	garbage   = "garbage"
	empty     = "empty"
	half      = "half of it"
	exits     = "exit 1"
	byASignal = "a signal"
	tooMuch   = "more than is kept"
)

// breaking is a host of which the program after so many others does not answer as
// it should.
type breaking struct {
	check.Host
	left, calls int
	how         string
}

func (b *breaking) Exec(ctx context.Context, cmd check.Command) (check.Result, error) {
	b.calls++
	now := b.left == 0
	b.left--
	if now && b.how == hang {
		<-ctx.Done()
		return check.Result{}, context.Cause(ctx)
	}
	r, err := b.Host.Exec(ctx, cmd)
	if !now || err != nil {
		return r, err
	}
	switch b.how {
	case garbage:
		r.Stdout = []byte("\x00\xff<html>503</html>\n{\"a\": [")
	case empty:
		r.Stdout = nil
	case half:
		r.Stdout = r.Stdout[:len(r.Stdout)/2]
	case exits:
		r.Code, r.Stdout, r.Stderr = 1, nil, []byte("permission denied\n")
	case byASignal:
		r.Signal = "killed"
	case tooMuch:
		r.Truncated = true
	}
	return r, nil
}
