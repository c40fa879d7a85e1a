package cli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rivo/uniseg"

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
		silent: func(*run.Item) bool { return false }, stop: func(*run.State) bool { return false },
		s: run.State{}}
}

func (g *played) step(e run.Event) {
	g.now = g.now.Add(time.Second)
	e.At = g.now
	next, effects := run.Step(g.s, e)
	g.s, g.effects = next, append(g.effects, effects...)
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

// scene is a run at a moment that people look at.
type scene struct {
	name string
	// shows is what must be seen at every width: failure, current item, next person.
	shows []string
	make  func(t *testing.T, p *run.Plan) *played
}

// migrated is the item that scenes stop at.
const migrated = "deploy.db.migrated"

func scenes() []scene {
	until := func(item string, status run.Status) func(s *run.State) bool {
		return func(s *run.State) bool {
			_, st := s.Of(item)
			return st.Status == status
		}
	}
	return []scene{
		{"live", []string{"RUNNING", migrated + " is running", "The migrations are", "Held: maintenance by deploy.pre.maintenance-on", "later DevOps Lead to attest"}, func(t *testing.T, p *run.Plan) *played {
			g := play(t, p)
			g.verdict[migrated] = ""
			g.start(p)
			g.now = g.now.Add(81 * time.Second)
			return g
		}},
		{"hold", []string{"HELD", migrated + " failed", "lock timeout after 5s, limit 5s", "line 5", "decision is needed", "allclear retry"}, func(t *testing.T, p *run.Plan) *played {
			g := play(t, p)
			g.verdict[migrated], g.reason[migrated] = "failed", "0132_drop_legacy_ref: lock timeout after 5s, limit 5s"
			return g.start(p)
		}},
		{"holds", []string{"HELD", "and 12 more", "2.31 s, limit 2 s", "Turn", "rollback"}, func(t *testing.T, p *run.Plan) *played {
			g := play(t, p)
			for i := range p.Items {
				if p.Items[i].Kind == run.Watch {
					g.verdict[p.Items[i].ID], g.reason[p.Items[i].ID] = "fail", "p95 2.31 s, limit 2 s"
				}
			}
			return g.start(p)
		}},
		{"your-turn", []string{"WAITING", "Tech Lead to attest pre.code.reviewed", "needs Tech Lead"}, func(t *testing.T, p *run.Plan) *played {
			g := play(t, p)
			g.silent = func(*run.Item) bool { return true }
			return g.start(p)
		}},
		{"sign", []string{"WAITING", "Product Owner to sign"}, func(t *testing.T, p *run.Plan) *played {
			g := play(t, p)
			g.silent = func(it *run.Item) bool { return it.ID == "signoff.pre.product-owner" }
			return g.start(p)
		}},
		{"in-doubt", []string{"IN DOUBT", migrated + " is in doubt", "a person must say what happened", "--happened or --did-not"}, func(t *testing.T, p *run.Plan) *played {
			g := play(t, p)
			g.verdict[migrated], g.reason[migrated] = "in doubt", "the connection broke after COMMIT was sent"
			return g.start(p)
		}},
		{"watching", []string{"RUNNING", "watching post.", "Turn  later"}, func(t *testing.T, p *run.Plan) *played {
			g := play(t, p)
			g.stop = until("post.m15.error-rate", run.Watching)
			g.start(p)
			limit := g.now.Add(6 * time.Minute)
			g.stop = func(s *run.State) bool { return s.Now.After(limit) }
			return g.on()
		}},
		{"paused", []string{"PAUSED", "paused by ben (call from support)", "allclear resume"}, func(t *testing.T, p *run.Plan) *played {
			g := play(t, p)
			g.verdict[migrated] = ""
			g.start(p)
			g.step(run.Event{Type: run.Paused, Actor: "ben", Reason: "call from support"})
			return g
		}},
		{"done", []string{"DONE", "the run is over: done"}, func(t *testing.T, p *run.Plan) *played {
			return play(t, p).start(p)
		}},
		{"rolled-back", []string{"ROLLED BACK", "the run is over: rolled back"}, func(t *testing.T, p *run.Plan) *played {
			g := play(t, p)
			g.verdict["deploy.restart.web"], g.reason["deploy.restart.web"] = "failed", "web-1 does not answer"
			g.start(p)
			g.step(run.Event{Type: run.RollbackStarted, Actor: "ben", Reason: "web-1 does not answer"})
			return g.on()
		}},
	}
}

// papers are the terminals of the golden screens.
func papers() map[string]paper {
	all := map[string]paper{}
	for _, width := range []int{40, 80, 120} {
		all[fmt.Sprintf("%d", width)] = paper{width: width}
		all[fmt.Sprintf("%d-ascii", width)] = paper{width: width, ascii: true}
	}
	return all
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "screens", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s differs; go test ./internal/cli -update writes it anew. Got:\n%s", name, got)
	}
}

var update = flag.Bool("update", false, "write the golden screens anew")

// TestScreens holds the screens of a list of 183 items, and that at every width
// the failure, the current item and the next person are there.
func TestScreens(t *testing.T) {
	p := examplePlan(t)
	for _, sc := range scenes() {
		g := sc.make(t, p)
		for name, paper := range papers() {
			lines := screen(&g.s, paper, g.now)
			checkLines(t, sc.name+"-"+name, lines, paper)
			flat := strings.Join(strings.Fields(strings.Join(lines, " ")), "")
			for _, want := range sc.shows {
				if !strings.Contains(flat, strings.Join(strings.Fields(want), "")) {
					t.Errorf("%s-%s does not show %q:\n%s", sc.name, name, want, strings.Join(lines, "\n"))
				}
			}
			golden(t, sc.name+"-"+name+".txt", strings.Join(lines, "\n")+"\n")
		}
		golden(t, sc.name+"-spoken.txt", strings.Join(speak(&g.s), "\n")+"\n")
	}
}

// checkLines holds that each line fits the paper and that without colour nothing
// but printable characters is written.
func checkLines(t *testing.T, name string, lines []string, p paper) {
	t.Helper()
	for n, line := range lines {
		if w := uniseg.StringWidth(line); w > p.width {
			t.Errorf("%s line %d takes %d cells of %d: %s", name, n+1, w, p.width, line)
		}
		for _, r := range line {
			if r < 0x20 || r == 0x7f || p.ascii && r > 0x7f {
				t.Errorf("%s line %d has %U: %q", name, n+1, r, line)
			}
		}
	}
}

// TestScreenFitsTheTerminal draws no more lines than a terminal has, and never
// drops what stops the run.
func TestScreenFitsTheTerminal(t *testing.T) {
	p := examplePlan(t)
	for _, sc := range scenes() {
		g := sc.make(t, p)
		for _, height := range []int{16, 24, 40, 60} {
			for _, width := range []int{40, 80, 120} {
				lines := screen(&g.s, paper{width: width, height: height}, g.now)
				if len(lines) >= height {
					t.Errorf("%s: %d lines on %dx%d", sc.name, len(lines), width, height)
				}
				flat := strings.Join(strings.Fields(strings.Join(lines, " ")), "")
				for _, want := range sc.shows[:2] {
					if !strings.Contains(flat, strings.Join(strings.Fields(want), "")) {
						t.Errorf("%s on %dx%d does not show %q:\n%s", sc.name, width, height, want, strings.Join(lines, "\n"))
					}
				}
			}
		}
	}
}

// TestPlanScreens holds the plan at the three widths.
func TestPlanScreens(t *testing.T) {
	p := examplePlan(t)
	for name, paper := range papers() {
		var b bytes.Buffer
		if err := writePlan(&b, paper, p, "DEPLOYMENT_CHECKLIST.md"); err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(b.String(), short(p.Digest()), "DIGEST000000")
		golden(t, "plan-"+name+".txt", text)
		left := 40
		if paper.width > narrow {
			left = 6 + (paper.width-6)*6/10 // the left column
		}
		var texts strings.Builder
		for _, line := range strings.Split(text, "\n") {
			texts.WriteString(strings.Join(strings.Fields(line[:min(len(line), left)]), ""))
		}
		for i := range p.Items {
			want := strings.Join(strings.Fields(paper.plain(p.Items[i].Text)), "")
			if p.Items[i].Kind != run.Group && !strings.Contains(texts.String(), want) {
				t.Errorf("plan-%s does not show %q", name, p.Items[i].Text)
			}
		}
		var lines []string
		for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
			if !strings.HasPrefix(line, "Run it: ") { // a command is for copying
				lines = append(lines, line)
			}
		}
		checkLines(t, "plan-"+name, lines, paper)
	}
}

// TestColumns holds that wide characters, marks that combine, and text from right
// to left leave the columns where they are.
func TestColumns(t *testing.T) {
	texts := []string{"数据库迁移已应用并验证完毕无误", "データベースの移行", "גיבוי בסיס הנתונים נוצר ואומת", "تم إنشاء نسخة احتياطية 42", "e\u0301tat ve\u0301rifie\u0301", "👩‍👩‍👧 family 👍🏽 flags 🇩🇪", "a\u202egnp.exe\u202c b", "line\nbreak\tand\x1b[31mcolour\r"}
	for _, p := range []paper{{width: 40}, {width: 40, ascii: true}} {
		for _, text := range texts {
			for cells := 1; cells < 40; cells++ {
				if got := p.fit(text, cells); uniseg.StringWidth(got) != cells {
					t.Errorf("fit(%q, %d) takes %d cells: %q", text, cells, uniseg.StringWidth(got), got)
				}
			}
			checkLines(t, text, p.wrap(strings.Repeat(text+" ", 5), "  "), p)
		}
	}
	if got := (paper{width: 40}).fit("גיבוי", 8); !strings.Contains(got, "\u200e") {
		t.Errorf("fit(%q) does not turn back to left to right", got)
	}
}
