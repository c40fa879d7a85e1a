package checklist

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// manyItems writes a checklist of n items, about 100 bytes each, with as much
// inline Markdown as real checklists have: code in one item of six, emphasis in
// one of fifteen, a link in one of fifty. Every bound-th item has a block.
func manyItems(n, bound int) []byte {
	var b bytes.Buffer
	b.WriteString("# Large\n")
	for i := range n {
		if i%100 == 0 {
			fmt.Fprintf(&b, "\n## Phase %d\n", i/100)
		}
		if i%10 == 0 {
			fmt.Fprintf(&b, "\n### Section %d\n\n", i/10)
		}
		text := "Service answers"
		switch {
		case i%50 == 1:
			text = "The [runbook](https://wiki.example/runbook) is current"
		case i%15 == 2:
			text = "**Database:** the service connects"
		case i%6 == 3:
			text = "`systemctl status web` is active"
		}
		fmt.Fprintf(&b, "- [ ] %s on every host of group %d (if applicable), and nobody was paged about it\n", text, i)
		if bound > 0 && i%bound == 0 {
			fmt.Fprintf(&b, "  ```yaml allclear\n  id: item.n-%d\n  http: {url: \"https://svc-%d.example/health\"}\n  timeout: 5s\n  ```\n", i, i)
		}
	}
	return b.Bytes()
}

// BenchmarkParse compares reading a checklist with goldmark alone (GFM, parse
// only) on the same bytes, in turns, and reports the ratio: plain items first,
// then with a block under every tenth, whose YAML goldmark does not read.
func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ items, bound int }{{183, 0}, {10_000, 0}, {80_000, 0}, {10_000, 10}} {
		b.Run(fmt.Sprintf("items=%d/bound=%d", c.items, c.bound), func(b *testing.B) {
			src := manyItems(c.items, c.bound)
			b.SetBytes(int64(len(src)))
			var ours, theirs time.Duration
			for b.Loop() {
				start := time.Now()
				if _, problems := Parse("large.md", src); len(problems) > 0 {
					b.Fatal(problems)
				}
				middle := time.Now()
				goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(src))
				ours += middle.Sub(start)
				theirs += time.Since(middle)
			}
			b.ReportMetric(float64(ours)/float64(theirs), "ours/goldmark")
			b.ReportMetric(float64(ours.Nanoseconds())/float64(b.N*c.items), "ns/item")
		})
	}
}
