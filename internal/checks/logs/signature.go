package logs

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// maxSignature bounds a signature, in bytes.
const maxSignature = 300

// masked are the parts of a line that differ each time that it is written, from
// the most particular to the least.
var masked = regexp.MustCompile(strings.Join([]string{
	`\b\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?(?:Z|[+-]\d\d:?\d\d))?`, // time
	`\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b`,  // UUID
	`[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}`,                                   // mail address
	`\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b`,                                             // IPv4
	`"(?:[^"\\\n]|\\.)*"`, `'(?:[^'\\\n]|\\.)*'`,                                       // quoted values
	`\b0[xX][0-9a-fA-F]+\b`,                 // hexadecimal
	`\b(?:[0-9a-f]{12,}|[0-9A-F]{12,})\b`,   // digests
	`\b[0-9A-HJKMNP-TV-Z]{26}\b`,            // ULID
	`[-+]?\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?`, // numbers
}, "|"))

// signature is what lines that say the same have in common: numbers, addresses,
// identifiers and quoted values are masked. Of what several lines say together,
// as a traceback does, it is the first line and the last.
func signature(l line) string {
	text := l.text
	for _, name := range []string{"message", "msg", "event", "error"} {
		if strings.HasPrefix(strings.TrimSpace(text), "{") && l.fields[name] != "" {
			text = l.fields[name]
			break
		}
	}
	first, rest, more := strings.Cut(strings.TrimSpace(text), "\n")
	if more {
		rest = strings.TrimSpace(rest)
		first += " … " + rest[strings.LastIndex(rest, "\n")+1:]
	}
	return short(masked.ReplaceAllStringFunc(first, mask), maxSignature)
}

func mask(found string) string {
	switch found[0] {
	case '"', '\'':
		return "<text>"
	}
	if strings.Contains(found, "@") {
		return "<mail>"
	}
	return "<n>"
}

// kind is a signature with what was seen of it.
type kind struct {
	Signature string `json:"signature"`
	Count     int    `json:"count"`
	Level     string `json:"level"`
	// Sample is the first line; New tells that the time before has none like it.
	Sample string `json:"sample"`
	New    bool   `json:"new"`
}

// kinds counts lines by their signature, the most frequent first. known are the
// signatures of the time before; nil means that there was none to look at.
func kinds(lines []line, known map[string]bool) []kind {
	index, out := map[string]int{}, []kind(nil)
	for _, l := range lines {
		s := signature(l)
		i, ok := index[s]
		if !ok {
			i = len(out)
			index[s] = i
			out = append(out, kind{Signature: s, Level: l.level.String(), Sample: short(l.text, 600), New: known != nil && !known[s]})
		}
		out[i].Count++
	}
	slices.SortStableFunc(out, func(a, b kind) int {
		if a.New != b.New {
			if a.New {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.Count, a.Count)
	})
	return out
}
