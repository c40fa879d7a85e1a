package lint

import (
	"regexp"
	"strings"
)

// cannotBeSQL is how Django's sqlmigrate marks an operation in Python: "MIGRATION NOW
// PERFORMS OPERATION THAT CANNOT BE WRITTEN AS SQL" until 4.0, "THIS OPERATION CANNOT
// BE WRITTEN AS SQL" since.
func cannotBeSQL() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^-- (?:MIGRATION NOW PERFORMS OPERATION THAT|THIS OPERATION) CANNOT BE WRITTEN AS SQL.*$`)
}

// readDjango reads what sqlmigrate prints. Its transactions are written out; a
// migration with atomic = False has none.
func readDjango(name, text string) Source {
	src := Source{Name: name, Text: text}
	for _, at := range cannotBeSQL().FindAllStringIndex(text, -1) {
		src.Unseen = append(src.Unseen, Unseen{At: at[0], What: djangoOperation(text, at[0], at[1])})
	}
	return src
}

// djangoOperation gives an operation's description, which stands in a comment behind
// the mark (until 4.0) or before it.
func djangoOperation(text string, start, end int) string {
	around := []string{}
	if _, after, found := strings.Cut(text[end:], "\n"); found {
		line, _, _ := strings.Cut(after, "\n")
		around = append(around, line)
	}
	before := text[:start]
	for range 2 {
		before = strings.TrimSuffix(before, "\n")
		last := strings.LastIndexByte(before, '\n') + 1
		around, before = append(around, before[last:]), before[:last]
	}
	for _, line := range around {
		if words, is := strings.CutPrefix(strings.TrimRight(line, "\r"), "-- "); is && strings.TrimSpace(words) != "" {
			return "the operation \"" + strings.TrimSpace(words) + "\""
		}
	}
	return "an operation in Python"
}
