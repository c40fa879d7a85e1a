package cli

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"allclear.dev/allclear/internal/run"
)

// exampleConfig is an environment in which every item of the example's checklist
// of 183 items is decided.
const exampleConfig = `project: tulia
checklist: DEPLOYMENT_CHECKLIST.md
people:
  ana: {roles: [Tech Lead]}
  ben: {roles: [DevOps Lead]}
  chloe: {roles: [Product Owner]}
  dan: {roles: [Deployment Engineer]}
  eli: {roles: [QA Lead]}
policy:
  starter_may_sign: [Deployment Engineer]
environments:
  production:
    url: https://api.tulia.example
    database: env:DATABASE_URL
    redis: redis://127.0.0.1:6379/0
    windows: {m15: 15m, h1: 1h, h24: 24h, every: 30s}
    vars: {downtime: "yes", security: "no", tools: t, site: s, releases: r, settings: s, secrets: s, run: r, backups: b, notices: n, socket: s, maintenance_map: m, tenant: t, other_tenant: o, customer: c, service: s}
`

// examplePlan binds the example's checklist.
func examplePlan(t *testing.T) *run.Plan {
	t.Helper()
	dir := t.TempDir()
	list, err := os.ReadFile("../../examples/tulia/DEPLOYMENT_CHECKLIST.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"DEPLOYMENT_CHECKLIST.md": string(list), "allclear.yaml": exampleConfig} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := &options{dir: dir}
	s, err := o.site("production")
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := s.bind(t.Context(), planFlags{release: "1.42.0", revision: "4f2c9e1", previous: "1.41.3",
		set: []string{"changed.migrations=true", "changed.api=false", "changed.infrastructure=false"}})
	if err != nil {
		t.Fatal(err)
	}
	items := 0
	for i := range p.Items {
		if p.Items[i].Kind != run.Group {
			items++
		}
	}
	if items != 183 {
		t.Fatalf("the example has %d items, want 183", items)
	}
	return p
}

// played is a run whose world answers at once, as a test says.
type played struct {
	t       *testing.T
	s       run.State
	now     time.Time
	events  []run.Event
	effects []run.Effect
	// verdict answers for an item: pass, fail, ..., or "" to leave it under way.
	verdict map[string]string
	reason  map[string]string
	// silent are items about which no person says anything.
	silent func(it *run.Item) bool
	// stop ends the play, after each event.
	stop func(s *run.State) bool
}

func play(t *testing.T, p *run.Plan) *played {
	return &played{t: t, now: time.Date(2026, 11, 22, 15, 27, 0, 0, time.UTC), verdict: map[string]string{}, reason: map[string]string{},
		silent: func(*run.Item) bool { return false }, stop: func(*run.State) bool { return false }}
}

func (g *played) step(e run.Event) {
	g.now = g.now.Add(time.Second)
	e.At = g.now
	next, effects := run.Step(g.s, e)
	g.s, g.effects, g.events = next, append(g.effects, effects...), append(g.events, e)
}

func (g *played) start(p *run.Plan) *played {
	g.step(run.Event{Type: run.RunStarted, Run: "production-20261122-152700-3f1a", Plan: p, Actor: "dan"})
	return g.on()
}

// on plays until nothing is left to do.
func (g *played) on() *played {
	for n := 0; n < 20000 && !g.s.Closed && !g.stop(&g.s); n++ {
		next := -1
		for i, e := range g.effects {
			if e.Type != run.SetTimer {
				next = i
				break
			}
		}
		if next < 0 && g.person() {
			continue
		}
		if next < 0 { // nothing but time goes on
			for i, e := range g.effects {
				if next < 0 || e.At.Before(g.effects[next].At) {
					next = i
				}
			}
		}
		if next < 0 {
			break
		}
		e := g.effects[next]
		g.effects = slices.Delete(g.effects, next, next+1)
		g.answer(e)
	}
	return g
}

func (g *played) answer(e run.Effect) {
	verdict, given := g.verdict[e.Item]
	if given && verdict == "" && e.Type != run.Intend && e.Type != run.Sample {
		return
	}
	or := func(usual string) string {
		if given {
			return verdict
		}
		return usual
	}
	answer := run.Event{Item: e.Item, Attempt: e.Attempt, Key: e.Key, Reason: g.reason[e.Item]}
	switch e.Type {
	case run.RunCheck:
		answer.Type, answer.Verdict = run.CheckFinished, or("pass")
	case run.Sample:
		if given && verdict == "" {
			return
		}
		answer.Type, answer.Verdict = run.SampleTaken, or("pass")
	case run.Intend:
		answer.Type = run.ActionIntended
	case run.Perform:
		answer.Type, answer.Verdict = run.ActionFinished, or("done")
	case run.Probe:
		answer.Type, answer.Verdict = run.ActionProbed, "inconclusive"
	case run.IntendUndo:
		answer.Type = run.UndoIntended
	case run.PerformUndo:
		answer.Type, answer.Verdict = run.UndoFinished, "done"
	case run.SetTimer:
		if e.At.After(g.now) {
			g.now = e.At
		}
		answer.Type, answer.Timer = run.TimerFired, e.Timer
	case run.Close:
		answer.Type = run.RunClosed
	default:
		return
	}
	g.step(answer)
}

// person lets one person do what is asked; false when nobody does anything.
func (g *played) person() bool {
	for _, i := range g.s.Asked() {
		it := &g.s.Plan.Items[i]
		if g.silent(it) {
			continue
		}
		role, actor := "Tech Lead", "ana"
		if it.Person != nil && len(it.Person.Roles) > 0 {
			role = it.Person.Roles[0]
			actor = map[string]string{"Tech Lead": "ana", "DevOps Lead": "ben", "Product Owner": "chloe", "Deployment Engineer": "dan", "QA Lead": "eli"}[role]
		}
		before := g.s.Items[i].Status
		if it.Kind == run.Signoff {
			g.step(run.Event{Type: run.Signed, Item: it.ID, Actor: actor, Role: role, Verdict: "approve", Subject: g.s.SubjectOf(it.ID)})
		} else {
			g.step(run.Event{Type: run.Attested, Item: it.ID, Actor: actor, Role: role, Verdict: "pass"})
		}
		if g.s.Items[i].Status != before {
			return true
		}
	}
	return false
}
