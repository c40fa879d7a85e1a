package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/run"
)

// sentences are the moments of a small run, beside the scenes: every way in which
// a run can be stopped, need somebody, or go on.
func sentences() []scene {
	sign := func(verdict string) func(*testing.T, *run.Plan) *played {
		return func(t *testing.T, p *run.Plan) *played {
			g := play(t, p)
			g.silent = func(it *run.Item) bool { return it.ID == "signoff.pre.tech-lead" }
			g.start(p)
			g.step(run.Event{Type: run.Signed, Item: "signoff.pre.tech-lead", Actor: "ana", Role: "Tech Lead", Verdict: verdict, Reason: "not on a Friday", Subject: g.s.SubjectOf("signoff.pre.tech-lead")})
			return g
		}
	}
	failing := func(verdict, reason string, then ...run.Event) func(*testing.T, *run.Plan) *played {
		return func(t *testing.T, p *run.Plan) *played {
			g := play(t, p)
			g.verdict[migrated], g.reason[migrated] = verdict, reason
			g.start(p)
			for _, e := range then {
				g.step(e)
			}
			return g
		}
	}
	return []scene{
		{name: "no-go", make: sign("reject")},
		{name: "not-known", make: func(t *testing.T, p *run.Plan) *played {
			g := play(t, p)
			id := "pre.code.tests"
			for i := range p.Items {
				if p.Items[i].Kind == run.Check && p.Items[i].Applies == run.Applies {
					id = p.Items[i].ID
					break
				}
			}
			g.verdict[id], g.reason[id] = "inconclusive", "no answer within 10s"
			return g.start(p)
		}},
		{name: "tried-again", make: func(t *testing.T, p *run.Plan) *played {
			g := play(t, p)
			for i := range p.Items {
				if p.Items[i].Retry.Times > 0 && !p.InRollback(&p.Items[i]) {
					g.verdict[p.Items[i].ID], g.reason[p.Items[i].ID] = "fail", "HTTP 502"
				}
			}
			g.stop = func(s *run.State) bool { return strings.Contains(s.Advise().Stops, "tried again") }
			return g.start(p)
		}},
		{name: "aborted", make: func(t *testing.T, p *run.Plan) *played {
			g := failing("failed", "disk full", run.Event{Type: run.Aborted, Actor: "ana", Reason: "enough"})(t, p)
			return g.on()
		}},
		{name: "aborting", make: failing("", "", run.Event{Type: run.Aborted, Actor: "ana", Reason: "enough"})},
		{name: "rolling-back", make: func(t *testing.T, p *run.Plan) *played {
			g := failing("failed", "disk full", run.Event{Type: run.RollbackStarted, Actor: "ben", Reason: "disk full"})(t, p)
			g.silent = func(it *run.Item) bool { return it.ID == "rollback.decide.authorised" }
			return g.on()
		}},
		{name: "rollback-failed", make: func(t *testing.T, p *run.Plan) *played {
			g := failing("failed", "disk full", run.Event{Type: run.RollbackStarted, Actor: "ben", Reason: "disk full"})(t, p)
			g.verdict["rollback.exec.code-reverted"], g.reason["rollback.exec.code-reverted"] = "failed", "no such tag"
			return g.on()
		}},
		{name: "waived", make: func(t *testing.T, p *run.Plan) *played {
			g := failing("failed", "disk full")(t, p)
			g.step(run.Event{Type: run.Waived, Item: migrated, Actor: "ana", Reason: "OPS-1", Until: g.now.Add(time.Hour)})
			return g.on()
		}},
	}
}

// TestOneSentence holds the sentence of every case, and that every place where a
// run is shown says it in the same words.
func TestOneSentence(t *testing.T) {
	p := examplePlan(t)
	var all strings.Builder
	for _, sc := range append(scenes(), sentences()...) {
		s := &sc.make(t, p).s
		a := s.Advise()
		fmt.Fprintf(&all, "%s\n  %s: %s\n\n", sc.name, s.Status(), a)

		var short, doc bytes.Buffer
		o := &options{Streams: Streams{Out: &short, Err: &short}}
		o.writeStatus(s, true)
		writeStatusJSON(&doc, s)
		var told struct{ Stops, Turn, Next string }
		if err := json.Unmarshal(doc.Bytes(), &told); err != nil || run.Advice(told) != a {
			t.Errorf("%s: JSON says %+v, not %+v (%v)", sc.name, told, a, err)
		}
		places := map[string]string{
			"status --short": short.String(),
			"the screen":     strings.Join(screen(s, paper{width: 80}, s.Now), " "),
			"a phone":        strings.Join(screen(s, paper{width: 40}, s.Now), " "),
			"a reader":       strings.Join(speak(s), " "),
		}
		for place, text := range places {
			for _, part := range []string{a.Stops, a.Turn, a.Next} {
				if !strings.Contains(squeezed(text), squeezed(part)) {
					t.Errorf("%s: %s does not say %q:\n%s", sc.name, place, part, text)
				}
			}
		}
	}
	golden(t, "sentences.txt", all.String())
}

// squeezed leaves out where lines are broken, and a sentence's capital.
func squeezed(text string) string { return strings.ToLower(strings.Join(strings.Fields(text), "")) }
