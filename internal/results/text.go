package results

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// plain is a line for each item, its fields between tabs: verdict, id, line, time
// in seconds, reason.
func plain(s *Set) []byte {
	var b bytes.Buffer
	for _, r := range s.Results {
		fmt.Fprintf(&b, "%s\t%s\t%d\t%s\t%s\n", r.Verdict, r.ID, r.Line, seconds(r.Took), r.Reason)
	}
	return b.Bytes()
}

// Schema names the form of the JSON document. A change that could mislead a
// reader changes the name.
const Schema = "allclear.results.v1"

// document is one JSON object.
func document(s *Set) ([]byte, error) {
	text, err := json.MarshalIndent(struct {
		Schema  string          `json:"schema"`
		Name    string          `json:"name"`
		File    string          `json:"file"`
		Started time.Time       `json:"started_at"`
		Took    time.Duration   `json:"took_ns"`
		Count   map[Verdict]int `json:"count"`
		Results []Result        `json:"results"`
	}{
		Schema, s.Name, s.File, s.Started.UTC(), s.Took,
		map[Verdict]int{Pass: s.Count(Pass), Fail: s.Count(Fail), Inconclusive: s.Count(Inconclusive), Skipped: s.Count(Skipped), Waived: s.Count(Waived)},
		s.Results,
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode results: %w", err)
	}
	return append(text, '\n'), nil
}

// lines is a JSON object a line.
func lines(s *Set) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	for _, r := range s.Results {
		if err := encoder.Encode(r); err != nil {
			return nil, fmt.Errorf("encode results: %w", err)
		}
	}
	return b.Bytes(), nil
}

// tap is version 14 of the Test Anything Protocol (testanything.org). What was
// waived is a test that is not ok with the directive for what is still to be done,
// so that no reader counts it as passed; what has no answer is not ok.
func tap(s *Set) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "TAP version 14\n1..%d\n", len(s.Results))
	for i, r := range s.Results {
		name := fmt.Sprintf("%d - %s", i+1, tapEscape(r.ID+" "+r.Text))
		switch {
		case r.Verdict == Pass:
			fmt.Fprintf(&b, "ok %s\n", name)
			continue
		case r.Verdict == Waived:
			fmt.Fprintf(&b, "not ok %s # TODO %s\n", name, tapEscape(r.excuse()))
			continue
		case r.Verdict == Skipped:
			fmt.Fprintf(&b, "ok %s # SKIP %s\n", name, tapEscape(r.excuse()))
			continue
		}
		fmt.Fprintf(&b, "not ok %s\n  ---\n  verdict: %s\n  message: %s\n  at: {file: %s, line: %d}\n  ...\n", name, r.Verdict, quoted(r.Reason), quoted(s.File), r.Line)
	}
	return b.Bytes()
}

// quoted is a text as JSON has it, which YAML reads the same.
func quoted(text string) []byte {
	out, err := json.Marshal(text)
	if err != nil { // a text always encodes
		return []byte(`""`)
	}
	return out
}

// tapEscape keeps a text from being read as a directive.
func tapEscape(text string) string {
	return strings.NewReplacer(`\`, `\\`, "#", `\#`).Replace(text)
}

// table is Markdown for a comment or a job's summary: what is bad first, the rest
// counted by gate.
func table(s *Set) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "### %s\n\n%s\n", cell(s.Name), s.summary())
	if bad := s.bad(); len(bad) > 0 {
		b.WriteString("\n| | Item | Line | Reason |\n|---|---|--:|---|\n")
		for _, r := range bad {
			fmt.Fprintf(&b, "| %s | %s | %d | %s |\n", cell(r.Word), cell(r.Text), r.Line, cell(r.Reason))
		}
	}
	b.WriteString("\n| Gate | Passed | Failed | No answer | Skipped | Waived |\n|---|--:|--:|--:|--:|--:|\n")
	s.byGate(func(gate string, results []Result) {
		part := Set{Results: results}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d |\n", cell(gate), part.Count(Pass), part.Count(Fail), part.Count(Inconclusive), part.Count(Skipped), part.Count(Waived))
	})
	return b.Bytes()
}

// cell keeps a text inside its cell and from being read as anything but text.
func cell(text string) string {
	var b strings.Builder
	for _, r := range text {
		if strings.ContainsRune("\\`*_[]<>&~|#@", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
