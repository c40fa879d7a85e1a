package checklist

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestOutline(t *testing.T) {
	src := strings.ReplaceAll(`# Title

<!-- ## Not this
[no](never.md) -->
## [1.2.3] - 2026-01-02 ##

Text <!-- hidden --> with [a link](docs/a.md#x "t"), ![image](i.png), <https://example.com/x> and https://example.com/bare.
Also [full][ref] and `+"`[code](no.md)`"+`.

`+"```"+`
## Not this either
[no](fence.md)
`+"```"+`

    ## indented code

Setext
------

- entry one
  - entry [two](two.md)
> ## Quoted

<a class=x id = "anchor"></a><img alt="a = 'b'" src='pic.svg'>

| a | b |
|---|---|
| [cell](cell.md) | x |

[ref]: docs/b.md
[1.2.3]: https://example.com/1.2.3
`, "\n", "\r\n")
	o, err := ReadOutline([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	var heads, links, entries []string
	for _, h := range o.Headings {
		heads = append(heads, fmt.Sprintf("%d %s %d %v", h.Level, h.Text, h.Line, h.Top))
		if whole := src[h.Start:h.End]; h.Top && !strings.HasSuffix(whole, "\r\n") {
			t.Errorf("heading %q is not whole lines", whole)
		}
	}
	for _, l := range o.Links {
		links = append(links, l.Destination)
	}
	for _, e := range o.Entries {
		entries = append(entries, e.Text)
	}
	for what, pair := range map[string][2][]string{
		"headings": {heads, {"1 Title 1 true", "2 [1.2.3] - 2026-01-02 5 true", "2 Setext 17 true", "2 Quoted 22 false"}},
		"links":    {links, {"https://example.com/1.2.3", "docs/a.md#x", "i.png", "https://example.com/x", "https://example.com/bare", "docs/b.md", "two.md", "pic.svg", "cell.md"}},
		"entries":  {entries, {"entry one", "entry [two](two.md)"}},
		"anchors":  {o.Anchors, {"anchor"}},
	} {
		got, want := pair[0], pair[1]
		if what == "links" {
			slices.Sort(got)
			slices.Sort(want)
		}
		if what == "headings" {
			want[1] = "2 1.2.3 - 2026-01-02 5 true" // its brackets are a link here
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	if len(o.Definitions) != 2 || src[o.Definitions[1].Start:o.Definitions[1].End] != "[1.2.3]: https://example.com/1.2.3\r\n" {
		t.Errorf("definitions %+v", o.Definitions)
	}
	if seen := string(o.Visible); len(seen) != len(src) || strings.Contains(seen, "hidden") || strings.Contains(seen, "never.md") || !strings.Contains(seen, "fence.md") {
		t.Errorf("visible: %q", seen)
	}
	if h := o.Headings[2]; src[h.Start:h.End] != "Setext\r\n------\r\n" {
		t.Errorf("setext: %q", src[h.Start:h.End])
	}
}

func TestOutlineOfOddTexts(t *testing.T) {
	for name, src := range map[string]string{
		"empty": "", "no line end": "# A", "empty heading": "#\n##\n", "open comment": "<!-- ## a", "open fence": "```\n# a",
		"comment only": "<!---->", "short comment": "<!-->", "odd html": "<div id='x'", "odd attributes": "<div =='x' id= id='", "definition at the end": "[a]: b",
	} {
		o, err := ReadOutline([]byte(src))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i, h := range o.Headings {
			if h.Start > h.End || h.End > len(src) {
				t.Errorf("%s: heading %+v", name, h)
			}
			o.Section(i)
		}
	}
	if _, err := ReadOutline([]byte(strings.Repeat("> ", 100) + "x")); err == nil {
		t.Error("quotations a hundred deep are read")
	}
	o, err := ReadOutline([]byte(strings.Repeat("long [a](b) ", 2000)))
	if err != nil || len(o.Unread) != 1 {
		t.Errorf("a very long paragraph: %v %v", o.Unread, err)
	}
}
