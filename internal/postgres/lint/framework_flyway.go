package lint

import (
	"regexp"
	"strings"

	"allclear.dev/allclear/internal/diag"
)

// flywayName is how Flyway's files are named: a kind, a version unless it is
// repeatable, and a description. The groups are kind and version.
func flywayName() *regexp.Regexp {
	return regexp.MustCompile(`^(?:([VUB])([0-9][0-9_.]*?)|(R))__.*\.sql$`)
}

// readFlyway reads a file as Flyway's community edition does (from its documentation
// and source; settings of the whole project are not known): one transaction, unless
// every statement is one that PostgreSQL refuses in it, or the file's own
// configuration (NAME.sql.conf) says otherwise.
func readFlyway(name, text string, around Surroundings) (Source, error) {
	src := Source{Name: name, Text: text, OneTransaction: true}
	settings, err := flywaySettings(name, around)
	if err != nil {
		return Source{}, err
	}
	if settings["placeholderreplacement"] != "false" {
		var problem *diag.Problem
		form := regexp.MustCompile(`\$\{([^}]*)\}`)
		src.Text = replaceAll(form, text, func(found []int) string {
			value, known := around.Values[text[found[2]:found[3]]]
			if !known && problem == nil {
				problem = noValue(src, found[0], text[found[0]:found[1]], text[found[2]:found[3]])
			}
			return value
		})
		if problem != nil {
			return Source{}, problem
		}
	}
	if encoding := settings["encoding"]; encoding != "" && !strings.EqualFold(encoding, "UTF-8") {
		return Source{}, problemAt(src, 0, "its encoding is %s; only UTF-8 is read", encoding)
	}
	if condition, there := settings["shouldexecute"]; there {
		src.Unseen = append(src.Unseen, Unseen{What: "the condition shouldExecute=" + condition, Instead: "what is below is read as if it were true"})
	}
	switch settings["executeintransaction"] {
	case "true":
	case "false":
		src.OneTransaction = false
	default:
		statements, err := parse(src)
		if err != nil {
			return Source{}, err
		}
		src.OneTransaction = !allOutside(src, statements)
	}
	return src, nil
}

// flywaySettings reads the script configuration beside a file; names in lower case.
func flywaySettings(name string, around Surroundings) (map[string]string, error) {
	settings := map[string]string{}
	if around.Beside == nil {
		return settings, nil
	}
	text, there, err := around.Beside(name + ".conf")
	if err != nil || !there {
		return settings, err
	}
	src := Source{Name: name + ".conf", Text: text}
	at := 0
	for line := range strings.Lines(text) {
		word := strings.TrimSpace(line)
		key, value, is := strings.Cut(word, "=")
		key = strings.ToLower(strings.TrimPrefix(strings.TrimSpace(key), "flyway."))
		value = strings.TrimSpace(value)
		switch {
		case word == "" || strings.HasPrefix(word, "#"):
		case !is:
			return nil, problemAt(src, at, "want NAME=VALUE")
		case key == "executeintransaction" || key == "placeholderreplacement":
			if value = strings.ToLower(value); value != "true" && value != "false" {
				return nil, problemAt(src, at, "want true or false")
			}
		case key != "encoding" && key != "shouldexecute":
			return nil, problemAt(src, at, "there is no such setting for one file")
		}
		settings[key] = value
		at += len(line)
	}
	return settings, nil
}

// allOutside reports whether every statement is one that Flyway runs outside a
// transaction (its PostgreSQLParser). A file with some of them is refused by Flyway;
// read as one transaction, those are findings.
func allOutside(src Source, statements []parsed) bool {
	outside := regexp.MustCompile(`^(?:(?:CREATE|DROP) (?:DATABASE|TABLESPACE|SUBSCRIPTION)|ALTER SYSTEM|CREATE(?: UNIQUE)? INDEX CONCURRENTLY|DROP INDEX CONCURRENTLY|REINDEX(?: VERBOSE)? (?:SCHEMA|DATABASE|SYSTEM)|VACUUM|DISCARD ALL)\b`)
	for _, s := range statements {
		if s.unseen == nil && !outside.MatchString(strings.ToUpper(strings.Join(strings.Fields(src.Text[s.start:s.end]), " "))) {
			return false
		}
	}
	return len(statements) > 0
}
