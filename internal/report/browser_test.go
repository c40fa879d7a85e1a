package report_test

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/report"
	"allclear.dev/allclear/internal/run"
)

// measured is what the browser says about a page at a width.
type measured struct {
	Page   string   `json:"page"`
	Width  int      `json:"width"`
	Scroll int      `json:"scroll"`
	Wide   []string `json:"wide"`
	Faint  []string `json:"faint"`
	Dead   []string `json:"dead"`
	Twice  []string `json:"twice"`
	Heads  []int    `json:"heads"`
	Lang   string   `json:"lang"`
	Title  string   `json:"title"`
	Ran    bool     `json:"ran"`
	Small  []string `json:"small"`
}

// measuring looks at each frame as a person with a ruler would: what is wider than
// the frame, text too faint to be read (WCAG 2.2, 1.4.3), links that lead nowhere,
// targets too small to be hit (2.5.8).
const measuring = `
const lum = c => { const f = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; return .2126 * f(c[0]) + .7152 * f(c[1]) + .0722 * f(c[2]) };
const rgb = t => (t.match(/[\d.]+/g) || []).map(Number);
const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c } return null };
addEventListener('load', () => {
  const out = [];
  for (const frame of document.querySelectorAll('iframe')) {
    const d = frame.contentDocument, w = frame.contentWindow, root = d.documentElement;
    const name = e => e.tagName + ': ' + (e.textContent || '').trim().slice(0, 60);
    const m = { page: frame.dataset.page, width: +frame.width, scroll: root.scrollWidth, wide: [], faint: [], dead: [], twice: [], small: [],
      heads: [...d.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => +h.tagName[1]), lang: root.lang, title: d.title, ran: 'forged' in w || 'forged' in window };
    const ids = {};
    for (const e of d.body.querySelectorAll('*')) {
      if (e.id) { ids[e.id] = (ids[e.id] || 0) + 1; }
      const box = e.getBoundingClientRect();
      if (box.right > m.width + 1 && box.width && !e.closest('svg') && !e.closest('.skip')) m.wide.push(name(e));
      if ([...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && !e.closest('svg')) {
        const style = w.getComputedStyle(e), fore = rgb(style.color), back = ground(e) || (matchMedia('(prefers-color-scheme: dark)').matches ? [0, 0, 0] : [255, 255, 255]);
        const [a, b] = [lum(fore), lum(back)].sort((x, y) => y - x);
        if ((a + .05) / (b + .05) < 4.5) m.faint.push(name(e) + ' ' + style.color + ' on ' + back);
      }
      if (e.tagName === 'A' && box.height && box.height < 24 && w.getComputedStyle(e).display !== 'inline') m.small.push(name(e));
    }
    m.twice = Object.keys(ids).filter(id => ids[id] > 1);
    m.dead = [...d.querySelectorAll('a[href^="#"]')].map(a => a.getAttribute('href').slice(1)).filter(id => !ids[id]);
    out.push(m);
  }
  const pre = document.createElement('pre');
  pre.id = 'measured';
  pre.textContent = JSON.stringify(out);
  document.body.append(pre);
});`

// chromium runs the browser without a window and gives what it writes.
func chromium(t *testing.T, args ...string) string {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v: apt-get install -y --no-install-recommends chromium", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	all := append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir=" + t.TempDir()}, args...)
	var said strings.Builder
	cmd := exec.CommandContext(ctx, program, all...)
	cmd.Stderr = &said
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, said.String())
	}
	return string(out)
}

// longPage is the record of 183 items whose texts are as long and as strange as
// people make them.
func longPage(t *testing.T) []byte {
	t.Helper()
	texts := []string{
		"A short one", "קובץ הגיבוי נבדק ונמצא שלם", "数据库备份已经过验证并且可以恢复", strings.Repeat("Unbreakable", 12),
		"https://example.com/" + strings.Repeat("path/", 30), "`<script>window.forged = true</script>` is no script", strings.Repeat("many words ", 40),
	}
	var src strings.Builder
	for n := range 183 {
		if n%25 == 0 {
			fmt.Fprintf(&src, "\n## Phase %d\n", n/25)
		}
		if n%8 == 0 {
			fmt.Fprintf(&src, "\n### Section %d %s\n\n", n/8, texts[n%len(texts)])
		}
		fmt.Fprintf(&src, "- [ ] %d %s\n", n, texts[n%len(texts)])
	}
	r := newPlay(t, []byte(src.String()), func(it *run.Item) {
		if it.Line%3 == 0 {
			it.Kind = run.Check
		}
	})
	states := []run.Status{run.Pass, run.Fail, run.Inconclusive, run.NA, run.Waiting, run.Pending, run.InDoubt, run.Running, run.Undone, run.Done}
	for i := range r.s.Items {
		r.s.Items[i] = &run.ItemState{
			Status: states[i%len(states)], Actor: "ana", Reason: "because of " + texts[(i+1)%len(texts)], StartedAt: r.s.StartedAt, SettledAt: r.s.Now,
			Artefacts: []run.Artefact{{Name: "out.txt", SHA256: strings.Repeat("9f3c", 16), Size: 3}},
		}
	}
	page, err := report.HTML(r.src, r.list, &r.s, r.events)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// TestInBrowser shows the record in a real browser, on a telephone, a tablet and a
// desk, light and dark.
func TestInBrowser(t *testing.T) {
	r := sample(t)
	short, err := report.HTML(r.src, r.list, &r.s, r.events)
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string][]byte{"sample": short, "long": longPage(t)}
	dir := t.TempDir()
	var b strings.Builder
	b.WriteString("<!doctype html><meta charset=utf-8><script>" + measuring + "</script>")
	for name, page := range pages {
		for _, width := range []int{320, 768, 1280} {
			fmt.Fprintf(&b, `<iframe data-page="%s" width="%d" height="800" frameborder="0" srcdoc="%s"></iframe>`, name, width, html.EscapeString(string(page)))
		}
	}
	wrapper := filepath.Join(dir, "wrapper.html")
	if err := os.WriteFile(wrapper, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, scheme := range []string{"light", "dark"} {
		setting := map[string]string{"light": "1", "dark": "0"}[scheme]
		dom := chromium(t, "--window-size=1400,900", "--virtual-time-budget=10000", "--blink-settings=preferredColorScheme="+setting, "--dump-dom", "file://"+wrapper)
		found := regexp.MustCompile(`(?s)<pre id="measured">(.*?)</pre>`).FindStringSubmatch(dom)
		if found == nil {
			t.Fatalf("%s: the browser measured nothing:\n%.2000s", scheme, dom)
		}
		var all []measured
		if err := json.Unmarshal([]byte(html.UnescapeString(found[1])), &all); err != nil {
			t.Fatal(err)
		}
		if len(all) != 6 {
			t.Fatalf("%s: %d frames were measured", scheme, len(all))
		}
		for _, m := range all {
			m.check(t, scheme)
		}
	}
}

func (m *measured) check(t *testing.T, scheme string) {
	t.Helper()
	name := fmt.Sprintf("%s at %d, %s", m.Page, m.Width, scheme)
	if m.Scroll > m.Width {
		t.Errorf("%s: %d wide, it scrolls sideways; %v", name, m.Scroll, m.Wide[:min(len(m.Wide), 5)])
	}
	for what, list := range map[string][]string{
		"text that is too faint": m.Faint, "links that lead nowhere": m.Dead, "ids that are there twice": m.Twice, "links that are too small": m.Small,
	} {
		if len(list) > 0 {
			t.Errorf("%s: %d %s: %q", name, len(list), what, list[:min(len(list), 5)])
		}
	}
	if m.Lang != "en" || m.Title == "" {
		t.Errorf("%s: language %q, title %q", name, m.Lang, m.Title)
	}
	ones := 0
	for i, level := range m.Heads {
		if level == 1 {
			ones++
		}
		if i > 0 && level > m.Heads[i-1]+1 {
			t.Errorf("%s: a heading of level %d below one of %d", name, level, m.Heads[i-1])
		}
	}
	if ones != 1 {
		t.Errorf("%s: %d headings of the first level", name, ones)
	}
	if m.Ran {
		t.Errorf("%s: an item's text was executed", name)
	}
}

// TestOnPaper prints the record.
func TestOnPaper(t *testing.T) {
	dir := t.TempDir()
	page, pdf := filepath.Join(dir, "record.html"), filepath.Join(dir, "record.pdf")
	if err := os.WriteFile(page, longPage(t), 0o644); err != nil {
		t.Fatal(err)
	}
	chromium(t, "--no-pdf-header-footer", "--print-to-pdf="+pdf, "file://"+page)
	text, err := os.ReadFile(pdf)
	if err != nil {
		t.Fatal(err)
	}
	pages := len(regexp.MustCompile(`/Type /Page\b[^s]`).FindAll(text, -1))
	if pages < 10 || pages > 80 {
		t.Errorf("183 items take %d pages", pages)
	}
}
