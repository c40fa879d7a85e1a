package lint

import (
	"regexp"
	"strings"
)

// logEntry is a line of ActiveRecord's log with a statement: what the logger puts
// before it, a name, the time it took; behind it the statement, and the values of
// its parameters. Colours may stand between.
func logEntry() *regexp.Regexp {
	const colour = `(?:\x1b\[[0-9;]*m)*`
	return regexp.MustCompile(`^(?:[A-Z], \[[^\]]*\] +[A-Z]+ -- [^:]*:)?(?: ?\[[^\]\[]*\])* +` + colour +
		`((?:[A-Za-z_:]+ ?)*)` + colour + ` ?\([0-9]+(?:\.[0-9]+)?ms\)` + colour + `  ` + colour)
}

// isLog reports whether a text has such a line.
func isLog(text string) bool {
	if !strings.Contains(text, "ms)") {
		return false
	}
	entry := logEntry()
	for line := range strings.Lines(text) {
		if strings.Contains(line, "ms)") && entry.MatchString(line) {
			return true
		}
	}
	return false
}

// readRails reads the log of a run of migrations (rails db:migrate at log level debug):
// every statement that ActiveRecord sent, with its transactions. All else is made
// blank, so that places stay. A line with a time that is not understood is a problem.
func readRails(name, text string) (Source, error) {
	entry, timed := logEntry(), regexp.MustCompile(`\([0-9]+(?:\.[0-9]+)?ms\)(?:\x1b\[[0-9;]*m)*  \S`)
	other := regexp.MustCompile(`^(?:[A-Z], \[|Migrating to |Rolling back to |Reverting |# Logfile created |\s*↳)`)
	values, colours := regexp.MustCompile(`  \[\[.*\]\]\s*$`), regexp.MustCompile(`\x1b\[[0-9;]*m`)
	// What is left of a line is the statement: no values of parameters, no colours.
	statementOf := func(line string) string {
		return colours.ReplaceAllStringFunc(values.ReplaceAllStringFunc(line, blank), blank)
	}
	src := Source{Name: name, Messages: []int{}}
	var out strings.Builder
	inside := false
	end := func() {
		if inside {
			src.Messages = append(src.Messages, out.Len())
		}
		inside = false
	}
	for line := range strings.Lines(text) {
		found := entry.FindStringSubmatchIndex(line)
		switch {
		case found != nil:
			end()
			sent := !strings.HasPrefix(line[found[2]:found[3]], "CACHE")
			out.WriteString(blank(line[:found[1]]))
			if inside = sent; sent {
				out.WriteString(statementOf(line[found[1]:]))
			} else {
				out.WriteString(blank(line[found[1]:]))
			}
		case inside && !other.MatchString(line):
			out.WriteString(statementOf(line))
		case timed.MatchString(line):
			return Source{}, problemAt(Source{Name: name, Text: text}, out.Len(), "this is not an entry of ActiveRecord's log as it is known")
		default:
			end()
			out.WriteString(blank(line))
		}
	}
	end()
	src.Text = out.String()
	return src, nil
}

// RailsVersions lists the versions that a log of migrations tells to be done.
func RailsVersions(log string) []string {
	var out []string
	form := regexp.MustCompile(`INSERT INTO "[^"]*schema_migrations" \("version"\) VALUES \((?:\$1\).*\[\["version", "|')([0-9]+)["']`)
	for _, found := range form.FindAllStringSubmatch(log, -1) {
		out = append(out, found[1])
	}
	return out
}
