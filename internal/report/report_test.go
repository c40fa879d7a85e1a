package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/checklist"
	"allclear.dev/allclear/internal/report"
	"allclear.dev/allclear/internal/results"
	"allclear.dev/allclear/internal/run"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (run with -update to accept):\n%s", path, got)
	}
}

// play is a run being made for a test: every event is a second apart.
type play struct {
	t      *testing.T
	src    []byte
	list   *checklist.Checklist
	s      run.State
	events []run.Event
	now    time.Time
}

// newPlay starts a run of a checklist; kinds says what an item is that is no
// attestation.
func newPlay(t *testing.T, src []byte, change func(*run.Item)) *play {
	t.Helper()
	list, problems := checklist.Parse("list.md", src)
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	sum := sha256.Sum256(src)
	p := &run.Plan{Project: "tulia", Environment: "production", Checklist: hex.EncodeToString(sum[:]),
		Release: run.Release{Version: "1.42.0", Revision: "0123456789abcdef0123"}}
	for _, ph := range list.Phases {
		p.Phases = append(p.Phases, run.Phase{ID: ph.ID, Title: ph.Title, Parallel: true, Rollback: ph.ID == "rollback"})
		for _, sec := range ph.Sections {
			for _, it := range sec.Items {
				item := run.Item{ID: it.ID, Text: it.Text, Line: it.Pos.Line, Phase: ph.ID, Section: sec.ID, Gate: ph.ID, Kind: run.Attest, Applies: run.Applies}
				for _, child := range it.Children {
					item.Kind, item.Children = run.Group, append(item.Children, child.ID)
				}
				change(&item)
				p.Items = append(p.Items, item)
			}
		}
	}
	if err := run.Order(p); err != nil {
		t.Fatal(err)
	}
	r := &play{t: t, src: src, list: list, now: time.Date(2026, 11, 22, 15, 28, 0, 0, time.UTC)}
	r.step(run.Event{Type: run.RunStarted, Run: "r-2026-1122-3", Plan: p, Actor: "eve"})
	return r
}

func (r *play) step(e run.Event) {
	r.t.Helper()
	r.now = r.now.Add(time.Second)
	e.At = r.now
	if r.s.Plan != nil {
		if err := run.Refuse(&r.s, e); err != nil {
			r.t.Fatal(err)
		}
	}
	r.s, _ = run.Step(r.s, e)
	r.events = append(r.events, e)
}

const list = "# Release\r\n\r\n## Before\r\n\r\n" +
	"- [ ] Tests passed\r\n" +
	"- [x] CDN configured (if\r\n  applicable)   \r\n" +
	"- [ ] All of these\r\n  - [ ] Disk is *large* enough\r\n  - [ ] Docs read\r\n" +
	"- [ ] Alerts are quiet\r\n" +
	"\r\n## Sign-Off\r\n\r\n" +
	"- [ ] Tech Lead: _______ Date: _____\r\n" +
	"- [ ] QA Lead: _______ Date: _____\r\n" +
	"\r\n## Deployment Metrics\r\n\r\n" +
	"- **Deployment Duration**: Start to completion time\r\n" +
	"- **Downtime**: Total downtime (if any)\r\n- **Migration Duration**: Database migration time\r\n" +
	"- **Rollback Count**: Number of rollbacks\r\n- **Issues Found**: Post-deployment issues\r\n" +
	"- **Time to Resolution**: Time to fix issues\r\n- **Success Rate**: Successful deployments / total deployments\r\n" +
	"- **Nerves**: lost\r\n" +
	"\r\n## Notes\r\n\r\n```\r\nDeployment Date: ____\r\nVersion: ____\r\nDeployed By: ____\r\nMood: ____\r\n\r\n" +
	"Notes:\r\n- \r\n- \r\n\r\nIssues Encountered:\r\n- \r\n\r\nResolutions:\r\n- \r\n```\r\nNo line end"

// sample plays a run with every kind of end.
func sample(t *testing.T) *play {
	r := newPlay(t, []byte(list), func(it *run.Item) {
		switch {
		case strings.HasPrefix(it.Text, "Tests"), strings.HasPrefix(it.Text, "Alerts"), strings.HasPrefix(it.Text, "Disk"):
			it.Kind, it.Type = run.Check, "http"
		case strings.HasPrefix(it.Text, "CDN"):
			it.Applies, it.Because = run.NotApplicable, "no CDN in this environment"
		case strings.Contains(it.Text, "Lead"):
			role, _, _ := strings.Cut(it.Text, ":")
			it.Kind, it.Type, it.Person = run.Signoff, "signoff", &run.Person{Roles: []string{role}}
		}
	})
	id := func(text string) string {
		for _, it := range r.s.Plan.Items {
			if strings.HasPrefix(it.Text, text) {
				return it.ID
			}
		}
		t.Fatalf("no item %q", text)
		return ""
	}
	digest := strings.Repeat("9f3c", 16)
	r.step(run.Event{Type: run.CheckFinished, Item: id("Tests"), Attempt: 1, Verdict: "pass", Reason: "214 of 214 passed", Artefacts: []run.Artefact{{Name: "junit.xml", SHA256: digest, Size: 7}}})
	r.step(run.Event{Type: run.CheckFinished, Item: id("Disk"), Attempt: 1, Verdict: "inconclusive", Reason: "no answer from web-1"})
	r.step(run.Event{Type: run.CheckFinished, Item: id("Alerts"), Attempt: 1, Verdict: "fail", Reason: "2 alerts", Facts: map[string]string{"alerts": "2"}})
	r.step(run.Event{Type: run.Retried, Item: id("Disk"), Actor: "bo"})
	r.step(run.Event{Type: run.CheckFinished, Item: id("Disk"), Attempt: 2, Verdict: "pass", Reason: "61 % free", Facts: map[string]string{"free": "61"}})
	r.step(run.Event{Type: run.Waived, Item: id("Alerts"), Actor: "ana", Reason: "known noise, OPS-88", Until: r.now.Add(48 * time.Hour)})
	r.step(run.Event{Type: run.Attested, Item: id("Docs"), Actor: "dee", Verdict: "pass", Reason: "read"})
	for _, who := range []struct{ person, role string }{{"ana", "Tech Lead"}, {"dee", "QA Lead"}} {
		r.step(run.Event{Type: run.Signed, Item: id(who.role), Actor: who.person, Role: who.role, Verdict: "approve", Subject: r.s.SubjectOf(id(who.role))})
	}
	r.step(run.Event{Type: run.RunClosed})
	if r.s.Status() != run.RunDone {
		t.Fatalf("%s: %s", r.s.Status(), r.s.Advise())
	}
	return r
}

func TestMarkdownGolden(t *testing.T) {
	r := sample(t)
	got, err := report.Markdown(r.src, r.list, &r.s, r.events)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "filled.md", got)
	if again, err := report.Markdown(r.src, nil, &r.s, r.events); err != nil || !bytes.Equal(got, again) {
		t.Errorf("without a parsed list: %v", err)
	}
	// What is not ticked, not filled and not appended is the team's.
	if strings.Contains(strings.ReplaceAll(string(got), "\r\n", ""), "\n") {
		t.Error("a line end changed")
	}
	parsed, problems := checklist.Parse("filled.md", got)
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	before := map[string]bool{}
	for it := range r.list.Items() {
		before[it.Text] = true
	}
	n := 0
	for range parsed.Items() {
		n++
	}
	if n != len(r.s.Plan.Items) {
		t.Errorf("%d items after filling in, %d before", n, len(r.s.Plan.Items))
	}
}

func TestJSONGolden(t *testing.T) {
	r := sample(t)
	got, err := report.JSON(&r.s, r.events)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", got)
	if !json.Valid(got) {
		t.Error("not JSON")
	}
}

// junit is the run for build servers.
func junit(s *run.State) ([]byte, error) {
	set, err := report.Results(s, "list.md")
	if err != nil {
		return nil, err
	}
	return results.Write("junit", set)
}

func TestJUnitGolden(t *testing.T) {
	r := sample(t)
	got, err := junit(&r.s)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "junit.xml", got)
}

// TestOnlyGreenIsTicked puts an item into every state and looks at its box, its
// test and its JSON.
func TestOnlyGreenIsTicked(t *testing.T) {
	type want struct {
		ticked bool
		junit  string
	}
	for status, want := range map[run.Status]want{
		run.Pass: {true, ""}, run.Done: {true, ""}, run.NA: {false, "skipped"}, run.Fail: {false, "failure"},
		run.Failed: {false, "failure"}, run.Undone: {false, "failure"}, run.Inconclusive: {false, "error"},
		run.InDoubt: {false, "error"}, run.Pending: {false, "error"}, run.Running: {false, "error"},
		run.Waiting: {false, "error"}, run.Watching: {false, "error"}, run.WaitingRetry: {false, "error"},
		run.Superseded: {false, "error"}, "never heard of": {false, "error"},
	} {
		r := newPlay(t, []byte("## A\n- [x] one\n"), func(it *run.Item) {})
		r.s.Items[0] = &run.ItemState{Status: status, Actor: "ana", Reason: "why"}
		md, err := report.Markdown(r.src, r.list, &r.s, r.events)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(md), "- [x]"); got != want.ticked {
			t.Errorf("%s: ticked %t: %s", status, got, md)
		}
		text, err := junit(&r.s)
		if err != nil {
			t.Fatal(err)
		}
		for _, element := range []string{"skipped", "failure", "error"} {
			if got := bytes.Contains(text, []byte("<"+element+" ")); got != (element == want.junit) {
				t.Errorf("%s: <%s> %t:\n%s", status, element, got, text)
			}
		}
		js, err := report.JSON(&r.s, r.events)
		if err != nil || strings.Contains(string(js), `"ticked": true`) != want.ticked {
			t.Errorf("%s: JSON %v\n%s", status, err, js)
		}
	}
}

// TestExpiredWaiverIsNoWaiver: a waiver that is over lets nothing look waived.
func TestExpiredWaiverIsNoWaiver(t *testing.T) {
	r := newPlay(t, []byte("## A\n- [ ] one\n"), func(it *run.Item) {})
	r.s.Items[0] = &run.ItemState{Status: run.Fail, Reason: "bad", Waiver: &run.Waiver{Person: "ana", Reason: "r", Until: r.s.Now.Add(-time.Second)}}
	text, err := junit(&r.s)
	if err != nil || !bytes.Contains(text, []byte("<failure")) {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestOtherChecklistIsRefused(t *testing.T) {
	r := sample(t)
	if _, err := report.Markdown(append([]byte(" "), r.src...), r.list, &r.s, r.events); !errors.Is(err, report.ErrOtherChecklist) {
		t.Errorf("got %v", err)
	}
	var none run.State
	if _, err := report.Results(&none, "list.md"); err == nil {
		t.Error("a report of nothing")
	}
	if _, err := report.JSON(&none, nil); err == nil {
		t.Error("a report of nothing")
	}
}

// hostile texts try to leave their place in every kind of document.
func hostile() []string {
	return []string{
		"</pre><script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "]]><x/>", "a\nb\n- [x] forged\n## Forged",
		"`` ` ```\n```", "\x1b[31mred\x1b[0m", "\u202egnp.exe", "\xff\xfe", "[x](javascript:alert(1))", "{{.}} ${x} <% %>",
		"\x00\u2028\u2029\u0085", strings.Repeat("é", 5000), "*/ } body{display:none} <style>", "__init__ *b* ~~s~~ |t| <!-- ",
	}
}

func TestHostileTexts(t *testing.T) {
	for _, text := range hostile() {
		r := newPlay(t, []byte("## A\n- [ ] one: ___ Date: ___\n- [ ] two\n\n```\nNotes:\n- \nDeployed By: ___\n```\n"), func(it *run.Item) {})
		r.s.Starter, r.s.Plan.Release.Version, r.s.AbortReason = text, text, text
		r.s.Plan.Items[0].Text = text
		r.s.Items[0] = &run.ItemState{Status: run.Pass, Actor: text, Reason: text, Facts: map[string]string{text: text}}
		r.s.Items[1] = &run.ItemState{Status: run.Fail, Reason: text, Artefacts: []run.Artefact{{Name: text, SHA256: text}}}
		md, err := report.Markdown(r.src, r.list, &r.s, r.events)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if n := bytes.Count(md, []byte("\n")); n != bytes.Count(r.src, []byte("\n"))+2 { // two notes more than entries
			t.Errorf("%q: %d lines:\n%s", text, n, md)
		}
		parsed, _ := checklist.Parse("x", md)
		ticked := 0
		for it := range parsed.Items() {
			if it.Ticked {
				ticked++
			}
		}
		if len(parsed.Phases) != 1 || ticked != 1 {
			t.Errorf("%q: %d phases, %d ticked:\n%s", text, len(parsed.Phases), ticked, md)
		}
		if bytes.ContainsAny(md, "\x1b\x00") || bytes.ContainsRune(md, '\u202e') {
			t.Errorf("%q: control characters stay", text)
		}
		ju, err := junit(&r.s)
		if err != nil {
			t.Fatal(err)
		}
		var back struct {
			Cases []struct {
				Name string `xml:"name,attr"`
			} `xml:"testsuite>testcase"`
		}
		if err := xml.Unmarshal(ju, &back); err != nil || len(back.Cases) != 2 {
			t.Errorf("%q: %v, %d tests", text, err, len(back.Cases))
		}
		js, err := report.JSON(&r.s, r.events)
		if err != nil || !json.Valid(js) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
