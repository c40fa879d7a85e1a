package results

import (
	"bytes"
	"fmt"
	"strings"
)

// prometheus is for the textfile collector of node_exporter (prometheus.io,
// "Exposition formats"). Each item has one series with its verdict, and 1 only if
// it passed: an alert on absence or on 0 sees everything that is not green.
func prometheus(s *Set) []byte {
	var b bytes.Buffer
	label := func(text string) string {
		return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text)
	}
	b.WriteString("# HELP allclear_items Items of the checklist by verdict.\n# TYPE allclear_items gauge\n")
	for _, v := range []Verdict{Pass, Fail, Inconclusive, Skipped, Waived} {
		fmt.Fprintf(&b, "allclear_items{name=\"%s\",verdict=\"%s\"} %d\n", label(s.Name), v, s.Count(v))
	}
	b.WriteString("# HELP allclear_item_pass Whether the item passed.\n# TYPE allclear_item_pass gauge\n")
	for _, r := range s.Results {
		pass := 0
		if r.Verdict == Pass {
			pass = 1
		}
		fmt.Fprintf(&b, "allclear_item_pass{name=\"%s\",item=\"%s\",verdict=\"%s\"} %d\n", label(s.Name), label(r.ID), r.Verdict, pass)
	}
	b.WriteString("# HELP allclear_item_seconds How long the last attempt took.\n# TYPE allclear_item_seconds gauge\n")
	for _, r := range s.Results {
		fmt.Fprintf(&b, "allclear_item_seconds{name=\"%s\",item=\"%s\"} %s\n", label(s.Name), label(r.ID), seconds(r.Took))
	}
	b.WriteString("# HELP allclear_looked_at_seconds When the items were looked at, in seconds since 1970.\n# TYPE allclear_looked_at_seconds gauge\n")
	fmt.Fprintf(&b, "allclear_looked_at_seconds{name=\"%s\"} %d\n", label(s.Name), s.Started.Unix())
	return b.Bytes()
}

// nagios is the output of a monitoring plugin (nagios-plugins.org, "Development
// guidelines"): one line with performance data, then the bad items.
func nagios(s *Set) []byte {
	word := "OK"
	switch {
	case s.Count(Fail) > 0:
		word = "CRITICAL"
	case s.Count(Inconclusive) > 0 || s.Count(Pass) == 0:
		word = "UNKNOWN"
	}
	var b bytes.Buffer
	bar := func(text string) string { return strings.ReplaceAll(text, "|", "/") } // what follows it is data
	fmt.Fprintf(&b, "ALLCLEAR %s - %s | passed=%d failed=%d inconclusive=%d skipped=%d waived=%d time=%ss\n",
		word, s.summary(), s.Count(Pass), s.Count(Fail), s.Count(Inconclusive), s.Count(Skipped), s.Count(Waived), seconds(s.Took))
	for _, r := range s.bad() {
		fmt.Fprintf(&b, "%s %s: %s\n", bar(r.Word), bar(r.ID), bar(r.Reason))
	}
	return b.Bytes()
}
