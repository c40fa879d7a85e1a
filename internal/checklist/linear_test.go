package checklist

import (
	"strings"
	"testing"
	"time"
)

// TestHostileInputStaysLinear reads a megabyte of each kind of input that makes
// some Markdown or YAML rule quadratic. The limit is generous; without the bounds
// of markdown.go several of them take half a minute or more.
func TestHostileInputStaysLinear(t *testing.T) {
	const size = 1 << 20
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	bound := func(yaml string) string { return "- [ ] a\n  ```yaml allclear\n  " + yaml + "\n  ```\n" }
	var stairs strings.Builder
	for i := 0; stairs.Len() < size; i++ {
		stairs.WriteString(strings.Repeat(" ", 2*i) + "- [ ] a\n")
	}
	for name, text := range map[string]string{
		"quotations in one line":  fill("> "),
		"lists in one line":       fill("- "),
		"deep lists again":        fill(strings.Repeat("- ", 200) + "a\n"),
		"stairs of lists":         stairs.String(),
		"blank lines in lists":    strings.Repeat("- ", 10) + "a\n" + strings.Repeat("\n", 300_000),
		"table of many columns":   fill("|-")[:size/2] + "\n" + fill("a\n")[:size/2],
		"link definitions":        fill("[a]: b\n"),
		"unfinished definitions":  fill("[a]: b '\n"),
		"brackets":                "- [ ] " + fill("["),
		"items of brackets":       fill("- [ ] " + strings.Repeat("[a](", 450) + "\n"),
		"items of emphasis":       fill("- [ ] " + strings.Repeat("*a_ ", 450) + "\n"),
		"items of comments":       fill("- [ ] " + strings.Repeat("<!--", 450) + "\n"),
		"emphasis inside itself":  "# " + fill("*a ")[:size/2] + fill("a* ")[:size/2],
		"one endless item":        "- [ ] a\n" + fill("  lazy *text* [x [y ` < <!-- ![ ]( ___ \n"),
		"equal items":             fill("- [ ] a\n"),
		"equal ids":               fill(bound("id: a")),
		"YAML brackets":           bound("a: " + fill("[")),
		"YAML lists":              bound("a: [" + fill("[],") + "]")[:size],
		"YAML keys in one line":   bound(fill("? ")[:size/2]),
		"YAML values in one line": bound(fill("a: ")[:size/2]),
	} {
		start := time.Now()
		Parse("hostile.md", []byte(text))
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
}
