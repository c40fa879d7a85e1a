package cli

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/run"
)

// browserOf shows a scene on a terminal.
func browserOf(g *played, p paper) *browser {
	b := &browser{
		state: g.s, paper: p, now: g.now, folds: map[string]bool{},
		times:  gateTimes{"pre-deployment": {g.s.StartedAt, g.s.StartedAt.Add(90 * time.Second)}, "deployment": {from: g.s.StartedAt.Add(90 * time.Second)}},
		normal: map[string]time.Duration{"pre-deployment": 2 * time.Minute},
		detail: func(pn pane, s *run.State, it *run.Item) []string {
			if pn == paneLog {
				var lines []string
				for n := range 100 {
					lines = append(lines, fmt.Sprintf("line %d of the log", n))
				}
				return lines
			}
			return (&options{}).paneLines(nil, pn, s, it)
		},
	}
	b.arrange()
	return b
}

// typing presses keys: names in angle brackets, all else as text.
func typing(b *browser, keys string) (last wish) {
	for keys != "" {
		k := key{text: keys[:1]}
		if name, rest, ok := strings.Cut(keys, ">"); ok && keys[0] == '<' {
			k, keys = key{name: name[1:]}, rest
		} else {
			keys = keys[1:]
		}
		last = b.press(k)
	}
	return last
}

// TestBrowserScreens holds the full screen of a list of 183 items at three sizes.
func TestBrowserScreens(t *testing.T) {
	p := examplePlan(t)
	for _, sc := range scenes() {
		if !slices.Contains([]string{"live", "hold", "your-turn", "rolled-back"}, sc.name) {
			continue
		}
		g := sc.make(t, p)
		for _, size := range []paper{{width: 40, height: 16}, {width: 80, height: 24}, {width: 80, height: 24, ascii: true}, {width: 120, height: 40}} {
			b := browserOf(g, size)
			typing(b, "n")
			name := fmt.Sprintf("full-%s-%d", sc.name, size.width)
			if size.ascii {
				name += "-ascii"
			}
			lines := b.lines()
			checkLines(t, name, lines, size)
			if len(lines) != size.height {
				t.Errorf("%s: %d lines, want %d", name, len(lines), size.height)
			}
			golden(t, name+".txt", strings.Join(lines, "\n")+"\n")
		}
	}
}

// TestBrowserKeys looks around.
func TestBrowserKeys(t *testing.T) {
	g := scenes()[1].make(t, examplePlan(t)) // held
	b := browserOf(g, paper{width: 100, height: 30})
	at := func() string {
		if it := b.item(); it != nil {
			return it.ID
		}
		return b.rows[b.cursor].key(b.state.Plan)
	}
	for _, c := range []struct{ keys, at, shows string }{
		{"", "gate pre-deployment", "Pre-deployment"},
		{"n", migrated, "lock timeout after 5s"},
		{"n", migrated, ""}, // it is the only one
		{"h", "section deployment deployment.migrations", "1/5"},
		{"h", "section deployment deployment.migrations", "1/5 +"},
		{"<enter>", "section deployment deployment.migrations", migrated},
		{"h", "section deployment deployment.migrations", ""},
		{"/SHOULD NOT BE THERE<enter>", "section deployment deployment.migrations", "there is none"},
		{"/migrations are applied<enter>", migrated, ""}, // unfolds what it stands in
		{"e", migrated, "probed"},
		{"l", migrated, "line 99 of the log"},
		{"<esc>?", migrated, "previous problem"},
		{"?.", migrated, ""},
		{"<home>", "gate deployment", ""}, // the only gate with a problem
		{".G", "gate post-deployment", ""},
		{"k<right>jj", "", ""},
		{"<pgup><pgup><pgup><pgup><pgup><pgup><pgup>", "gate pre-deployment", ""},
		{"<left><left><end><up><up><up><home>", "gate pre-deployment", ""},
	} {
		typing(b, c.keys)
		screen := strings.Join(b.lines(), "\n")
		if c.at != "" && at() != c.at {
			t.Fatalf("after %q the cursor is on %s, want %s:\n%s", c.keys, at(), c.at, screen)
		}
		if !strings.Contains(screen, c.shows) {
			t.Fatalf("after %q the screen does not show %q:\n%s", c.keys, c.shows, screen)
		}
		if marked := strings.Count("\n"+screen, "\n>"); marked != 1 {
			t.Fatalf("after %q %d rows are marked:\n%s", c.keys, marked, screen)
		}
	}
}

// TestOneKeyChangesNothing presses every key on every kind of row: each that would
// change something only writes a command into the prompt, which Enter runs.
func TestOneKeyChangesNothing(t *testing.T) {
	for _, sc := range scenes() {
		b := browserOf(sc.make(t, examplePlan(t)), paper{width: 100, height: 40})
		for n := range b.rows {
			for c := byte(' '); c <= '~'; c++ {
				b.prompt, b.cursor = prompt{}, min(n, len(b.rows)-1)
				if w := b.press(key{text: string(c)}); len(w.run) > 0 {
					t.Fatalf("%s: the key %q runs %v", sc.name, c, w.run)
				}
				b.pane, b.bad = paneShort, false
			}
		}
	}
	b := browserOf(scenes()[1].make(t, examplePlan(t)), paper{width: 100, height: 40})
	env := b.state.Plan.Environment
	for keys, want := range map[string]string{
		"nr<enter>":                       "retry " + env + " " + migrated,
		"nowhy not<enter>":                "waive " + env + " " + migrated + " --for 24h --reason|why not",
		"b<left>x<backspace>bad<enter>":   "",
		"p<esc>:status a<enter>":          "status a",
		"pa 'call'<enter>":                "pause " + env + " --reason|a 'call'",
		":x \"never closed<enter>":        "",
		":<enter>":                        "",
		":ab<home>x<end>y<delete><enter>": "xaby",
	} {
		b.prompt, b.cursor = prompt{}, 0
		w := typing(b, keys)
		got := strings.ReplaceAll(strings.Join(w.run, " "), "--reason ", "--reason|")
		if want != "" && got != want {
			t.Errorf("%q runs %q, want %q", keys, got, want)
		}
		if want == "" && strings.HasPrefix(keys, ":") && len(w.run) > 0 {
			t.Errorf("%q runs %q", keys, w.run)
		}
	}
}

// TestDecodeKeys reads what terminals send, in pieces too.
func TestDecodeKeys(t *testing.T) {
	for in, want := range map[string][]key{
		"a":                       {{text: "a"}},
		"é数":                      {{text: "é"}, {text: "数"}},
		"\x1b[A\x1bOB\x1b[5~":     {{name: "up"}, {name: "down"}, {name: "pgup"}},
		"\x1b":                    {{name: "esc"}},
		"\r\n\t\x7f\x03":          {{name: "enter"}, {name: "enter"}, {name: "tab"}, {name: "backspace"}, {name: "ctrl+c"}},
		"\x1b[200~a\nb\x1b[201~q": {{text: "a\nb"}, {text: "q"}},
		"\x1b[1;5Cx":              {{text: "x"}}, // unknown ones are left out
		"\x1b[<0;10;5Mx":          {{text: "x"}},
		"\x1b[200~never ends":     nil,
		"\x1b[":                   nil,
		"\xe6\x95":                nil,
		"\xff":                    {{text: "\uFFFD"}},
	} {
		got, rest := decodeKeys([]byte(in))
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
		if want == nil && string(rest) != in {
			t.Errorf("%q: %q is left", in, rest)
		}
	}
}

// TestSplitWords divides command lines.
func TestSplitWords(t *testing.T) {
	for line, want := range map[string]string{
		`a b  c`: "a|b|c", `a "b c" 'd "e'`: `a|b c|d "e`, `a "" b`: "a||b", `a\ b "\""`: `a b|"`, ``: "", `  `: "", `$(x) ;y`: "$(x)|;y",
	} {
		got, err := splitWords(line)
		if err != nil || strings.Join(got, "|") != want {
			t.Errorf("%q: %v, %v", line, got, err)
		}
	}
	for _, line := range []string{`a "b`, `a 'b`, `a\`} {
		if got, err := splitWords(line); err == nil {
			t.Errorf("%q: %v", line, got)
		}
	}
}

// TestGateTimes follows a run's gates.
func TestGateTimes(t *testing.T) {
	p := examplePlan(t)
	g := scenes()[7].make(t, p)
	if g.s.Status() != run.RunPaused {
		t.Fatalf("the scene is %s", g.s.Status())
	}
	times := gateTimes{}
	before := run.State{}
	for _, e := range g.events {
		after, _ := run.Step(before, e)
		times.tell(&before, &after, e)
		before = after
	}
	first := times[p.Phases[0].ID]
	if first.from.IsZero() || first.to.Before(first.from) || times.took(p.Phases[0].ID, g.now) != first.to.Sub(first.from) {
		t.Errorf("the first gate: %+v", first)
	}
	if open := times[p.Phases[g.s.Open].ID]; open.from.IsZero() || !open.to.IsZero() {
		t.Errorf("the open gate: %+v", open)
	}
}

// BenchmarkBrowserFrame draws a list of 10,000 items.
func BenchmarkBrowserFrame(b *testing.B) {
	p := &run.Plan{Project: "p", Environment: "e", Phases: []run.Phase{{ID: "a", Title: "A"}}}
	for n := range 10_000 {
		p.Items = append(p.Items, run.Item{ID: fmt.Sprintf("a.i%d", n), Text: "An item of the list", Phase: "a", Gate: "a", Section: "a", Kind: run.Check, Applies: run.Applies})
	}
	if err := run.Order(p); err != nil {
		b.Fatal(err)
	}
	s, _ := run.Step(run.State{}, run.Event{Type: run.RunStarted, Run: "r", Plan: p, At: time.Unix(0, 0), Actor: "eve"})
	screen := &browser{state: s, paper: paper{width: 100, height: 50}, now: time.Unix(1, 0), folds: map[string]bool{}}
	for b.Loop() {
		screen.arrange()
		_ = screen.lines()
	}
}
