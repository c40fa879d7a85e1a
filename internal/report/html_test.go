package report_test

import (
	"bytes"
	"encoding/xml"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/report"
	"allclear.dev/allclear/internal/run"
)

func TestHTMLGolden(t *testing.T) {
	r := sample(t)
	got, err := report.HTML(r.src, r.list, &r.s, r.events)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "record.html", got)
}

// TestHTMLIsSelfContained: no scripts, no handlers, nothing that is fetched.
func TestHTMLIsSelfContained(t *testing.T) {
	r := sample(t)
	got, err := report.HTML(r.src, r.list, &r.s, r.events)
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{`<script`, `(?i)\son[a-z]+=`, `\ssrc=`, `\shref=\"?[^\"#]`, `url\(`, `@import`, `<link`, `<iframe`, `https?://`} {
		if found := regexp.MustCompile(pattern).Find(got); found != nil {
			t.Errorf("the page has %q", found)
		}
	}
}

// TestHTMLHostile: no text leaves its place. The page stays well-formed, and its
// elements are those of the same page with harmless texts.
func TestHTMLHostile(t *testing.T) {
	tags := func(text string) []string {
		r := newPlay(t, []byte("## A\n- [ ] one\n- [ ] two\n"), func(it *run.Item) {
			if it.Text == "two" {
				it.Kind = run.Check
			}
		})
		p := r.s.Plan
		r.s.Run, r.s.Starter, p.Project, p.Environment, p.Release.Version, p.Previous.Version, p.Migrations = text, text, text, text, text, text, text
		p.Phases[0].Title, p.Items[0].Text, p.Items[0].ID = text, text, text
		r.s.Items[0] = &run.ItemState{Status: run.Pass, Actor: text, Reason: text, SettledAt: r.s.Now, Artefacts: []run.Artefact{{SHA256: text}}}
		r.events[0].Plan.Items[1].Text = text
		r.step(run.Event{Type: run.CheckFinished, Item: p.Items[1].ID, Attempt: 1, Verdict: "fail", Reason: text})
		got, err := report.HTML(r.src, r.list, &r.s, r.events)
		if err != nil {
			t.Fatal(err)
		}
		return elements(t, got)
	}
	want := strings.Join(tags("harmless"), " ")
	for _, text := range hostile() {
		if got := strings.Join(tags("x"+text+"x"), " "); got != want {
			t.Errorf("%q changes the page:\n%s\n%s", text, got, want)
		}
	}
}

// elements lists the start tags of a page.
func elements(t *testing.T, page []byte) []string {
	t.Helper()
	dec := xml.NewDecoder(bytes.NewReader(page))
	dec.Strict, dec.AutoClose, dec.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var out []string
	for {
		token, err := dec.Token()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, page)
		}
		if start, ok := token.(xml.StartElement); ok {
			out = append(out, start.Name.Local)
		}
	}
}

// TestContrast: every colour of a state has at least 4.5:1 on page and panel, on
// light and on dark (WCAG 2.2, 1.4.3).
func TestContrast(t *testing.T) {
	r := sample(t)
	page, err := report.HTML(r.src, r.list, &r.s, r.events)
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllSubmatch(page, -1)
	if len(blocks) != 3 {
		t.Fatalf("%d sets of colours", len(blocks))
	}
	for _, block := range blocks {
		color := map[string]string{}
		for _, m := range regexp.MustCompile(`--([a-z]+): #([0-9a-f]{6})`).FindAllStringSubmatch(string(block[1]), -1) {
			color[m[1]] = m[2]
		}
		for _, name := range []string{"text", "pass", "fail", "inconclusive", "running", "waiting", "muted", "override"} {
			for _, ground := range []string{"page", "panel"} {
				if ratio := contrast(t, color[name], color[ground]); ratio < 4.5 {
					t.Errorf("%s on %s: %.2f", name, ground, ratio)
				}
			}
		}
	}
}

func contrast(t *testing.T, a, b string) float64 {
	light, dark := luminance(t, a), luminance(t, b)
	return (max(light, dark) + 0.05) / (min(light, dark) + 0.05)
}

func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	part := func(v uint64) float64 {
		c := float64(v&255) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*part(n>>16) + 0.7152*part(n>>8) + 0.0722*part(n)
}
