package cli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rivo/uniseg"

	"allclear.dev/allclear/internal/run"
)

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
		{"live", []string{"RUNNING", migrated + " is running", "The migrations are", "Held: maintenance by deploy.pre.maintenance-on", "later Deployment Engineer to attest"}, func(t *testing.T, p *run.Plan) *played {
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
		{"holds", []string{"HELD", "and 13 more", "2.31 s, limit 2 s", "Turn", "rollback"}, func(t *testing.T, p *run.Plan) *played {
			g := play(t, p)
			for i := range p.Items {
				if p.Items[i].Kind == run.Watch {
					g.verdict[p.Items[i].ID], g.reason[p.Items[i].ID] = "fail", "p95 2.31 s, limit 2 s"
				}
			}
			return g.start(p)
		}},
		{"your-turn", []string{"WAITING", "Product Owner to attest pre.comms.customer", "needs Product Owner"}, func(t *testing.T, p *run.Plan) *played {
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

// TestReadmePicture keeps the picture in the README the one that is drawn.
func TestReadmePicture(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	drawn, err := os.ReadFile("testdata/screens/hold-80.txt")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "```\n"+string(drawn)+"```\n") {
		t.Error("the picture in README.md is not testdata/screens/hold-80.txt")
	}
}
