package report

import (
	"bytes"
	"strings"

	"allclear.dev/allclear/internal/checklist"
)

// metrics fills the list entries that begin with a metric's name and a colon,
// below a heading that speaks of metrics: "- **Downtime**: Total downtime".
func (f *filler) metrics() {
	values := map[string]string{}
	for _, m := range f.m.List() {
		values[strings.ToLower(m.Name)] = m.Value
	}
	below, fence, previous := false, "", ""
	for start := 0; start < len(f.src); {
		end := len(f.src)
		if i := bytes.IndexByte(f.src[start:], '\n'); i >= 0 {
			end = start + i
		}
		line := strings.TrimRight(string(f.src[start:end]), " \t\r")
		text := strings.TrimLeft(line, " \t")
		switch {
		case fence != "":
			if strings.HasPrefix(text, fence) {
				fence = ""
			}
		case strings.HasPrefix(text, "```"), strings.HasPrefix(text, "~~~"):
			fence = text[:3]
		case strings.HasPrefix(line, "#"):
			below = isAboutMetrics(line)
		case previous != "" && line != "" && strings.Trim(line, "=-") == "" && !strings.HasPrefix(previous, "-"):
			below = isAboutMetrics(previous)
		case below:
			if value, ok := values[bulletName(text)]; ok {
				at := start + len(line)
				edit, err := checklist.FillEdit(f.src, checklist.Blank{Start: at, End: at}, "— "+value)
				edit.Text = " " + edit.Text
				f.add(edit, err)
			}
		}
		previous = line
		start = end + 1
	}
}

func isAboutMetrics(heading string) bool { return strings.Contains(strings.ToLower(heading), "metric") }

// bulletName gives the name that a list entry begins with, in lower case, or "".
func bulletName(text string) string {
	if len(text) < 2 || !strings.ContainsRune("-*+", rune(text[0])) || text[1] != ' ' {
		return ""
	}
	name, _, found := strings.Cut(text[2:], ":")
	if !found {
		return ""
	}
	return strings.ToLower(strings.Trim(name, " *_`"))
}
