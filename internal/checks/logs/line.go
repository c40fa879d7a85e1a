package logs

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// maxLine bounds what is kept of one line with what continues it, in bytes.
	maxLine = 16 << 10
	// maxLines bounds how many lines are looked at.
	maxLines = 200_000
)

// level is how serious a line is.
type level int

// The levels; unknown is of a line that does not say.
const (
	unknown level = iota
	trace
	debug
	info
	notice
	warning
	failure
	critical
)

// levelOf gives a level by one of its usual names, or by its number in syslog
// (RFC 5424 section 6.2.1), pino and bunyan (10 to 60).
func levelOf(name string) level {
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "trace", "finest", "10":
		return trace
	case "debug", "dbg", "fine", "20", "7":
		return debug
	case "info", "information", "informational", "30", "6":
		return info
	case "notice", "5":
		return notice
	case "warn", "warning", "40", "4":
		return warning
	case "error", "err", "eror", "severe", "50", "3":
		return failure
	case "crit", "critical", "fatal", "alert", "emerg", "emergency", "panic", "dpanic", "60", "2", "1", "0":
		return critical
	}
	return unknown
}

// UnmarshalText reads a level as people write it.
func (l *level) UnmarshalText(text []byte) error {
	if *l = levelOf(string(text)); *l == unknown || len(text) < 3 {
		return errors.New("want trace, debug, info, notice, warning, error or critical")
	}
	return nil
}

// String names the level.
func (l level) String() string {
	return [...]string{"unknown", "trace", "debug", "info", "notice", "warning", "error", "critical"}[l]
}

// line is one entry of a log.
type line struct {
	at     time.Time
	text   string
	level  level
	fields map[string]string
}

// field gives a field by its name: of JSON (dotted), of an access log, a label.
func (l line) field(name string) string { return l.fields[name] }

// newLine reads what a text says about itself. What the source knows stands in
// fields already; of two levels the more serious one counts, because a journal
// calls everything that a program prints info.
func newLine(at time.Time, text string, fields map[string]string) line {
	text = strings.ToValidUTF8(strings.TrimRight(text, "\r\n"), "\uFFFD")
	if len(text) > maxLine {
		text = strings.ToValidUTF8(text[:maxLine], "")
	}
	l := line{at: at, text: text, fields: fields}
	if l.fields == nil {
		l.fields = map[string]string{}
	}
	readJSON(text, l.fields)
	readAccess(text, l.fields)
	for _, name := range []string{"PRIORITY", "detected_level", "level", "severity", "levelname", "lvl", "log.level", "severity_text", "loglevel"} {
		l.level = max(l.level, levelOf(l.fields[name]))
	}
	if l.fields["level"] == "" || !strings.HasPrefix(strings.TrimSpace(text), "{") {
		l.level = max(l.level, levelIn(text))
	}
	return l
}

// readJSON takes the fields of a line that is a JSON object, two levels deep.
func readJSON(text string, into map[string]string) {
	start := strings.TrimSpace(text)
	if !strings.HasPrefix(start, "{") {
		return
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal([]byte(start), &fields) != nil {
		return
	}
	flatten("", fields, 3, into)
}

// flatten writes nested fields as dotted names.
func flatten(prefix string, fields map[string]json.RawMessage, depth int, into map[string]string) {
	for name, raw := range fields {
		var inner map[string]json.RawMessage
		if depth > 0 && json.Unmarshal(raw, &inner) == nil && inner != nil {
			flatten(prefix+name+".", inner, depth-1, into)
			continue
		}
		text := strings.TrimSpace(string(raw))
		var s string
		if json.Unmarshal(raw, &s) == nil {
			text = s
		}
		into[prefix+name] = text
	}
}

// access is the "combined" form of nginx and Apache, and the common one before it.
// https://nginx.org/en/docs/http/ngx_http_log_module.html#log_format
var access = regexp.MustCompile(`^(\S+) \S+ \S+ \[([^\]]+)\] "([A-Z]+) (\S+)[^"]*" (\d{3}) (\S+)(?: "([^"]*)" "([^"]*)")?`)

func readAccess(text string, into map[string]string) {
	m := access.FindStringSubmatch(text)
	if m == nil {
		return
	}
	path, _, _ := strings.Cut(m[4], "?")
	for i, name := range []string{"remote", "", "method", "", "status", "bytes", "referer", "agent"} {
		if name != "" {
			into[name] = m[i+1]
		}
	}
	into["path"] = path
}

// spoken finds the level in a line of text: level=error, [error], ERROR:, E0301,
// or a word in capitals among the first.
var spoken = regexp.MustCompile(`(?i:\b(?:level|lvl|severity)=["']?([a-z]+))|\[(?i:(trace|debug|info|notice|warn|warning|error|crit|critical|alert|emerg|fatal))\]|\b(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL|PANIC|ALERT|EMERG|SEVERE)\b`)

func levelIn(text string) level {
	head, _, _ := strings.Cut(text, "\n")
	if len(head) > 200 {
		head = head[:200]
	}
	m := spoken.FindStringSubmatch(head)
	if m == nil {
		return unknown
	}
	return levelOf(m[1] + m[2] + m[3])
}

// stamps are the forms in which lines begin with their time.
var stamps = regexp.MustCompile(`^(?:\[|\(|(?:ts|time|timestamp|t)="?)?(?:` +
	`(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: ?(?:Z|[+-]\d\d:?\d\d))?)` + // ISO 8601, logfmt, Python, gunicorn
	`|(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d)` + // nginx' error log, Go
	`|([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d)` + // RFC 3164
	`|\S+ \S+ \S+ \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\]` + // access logs
	`)`)

// timeOf finds the time of a line of a file. zone is that of times without one,
// now gives the year of those without.
func timeOf(text string, zone *time.Location, now time.Time) (time.Time, bool) {
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		fields := map[string]string{}
		readJSON(text, fields)
		for _, name := range []string{"@timestamp", "timestamp", "time", "ts", "t", "datetime", "asctime", "date"} {
			if at, ok := parseTime(fields[name], zone); ok {
				return at, true
			}
		}
		return time.Time{}, false
	}
	m := stamps.FindStringSubmatch(text)
	if m == nil {
		return time.Time{}, false
	}
	switch {
	case m[1] != "":
		return parseTime(m[1], zone)
	case m[2] != "":
		at, err := time.ParseInLocation("2006/01/02 15:04:05", m[2], zone)
		return at, err == nil
	case m[3] != "":
		at, err := time.ParseInLocation("2006 Jan _2 15:04:05", strconv.Itoa(now.In(zone).Year())+" "+m[3], zone)
		if err == nil && at.After(now.Add(24*time.Hour)) { // December, read in January
			at = at.AddDate(-1, 0, 0)
		}
		return at, err == nil
	}
	at, err := time.Parse("02/Jan/2006:15:04:05 -0700", m[4])
	return at, err == nil
}

// parseTime reads a time in ISO 8601 and its looser forms, or a number of
// seconds, milliseconds, microseconds or nanoseconds since 1970.
func parseTime(text string, zone *time.Location) (time.Time, bool) {
	text = strings.Replace(text, ",", ".", 1)
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02 15:04:05.999999999Z07:00",
		"2006-01-02 15:04:05.999999999 -0700", "2006-01-02 15:04:05.999999999-0700", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999"} {
		if at, err := time.ParseInLocation(form, text, zone); err == nil {
			return at, true
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || n < 1e8 {
		return time.Time{}, false
	}
	for n >= 1e11 {
		n /= 1000
	}
	return time.UnixMicro(int64(n * 1e6)), true
}

// pattern is a regular expression of Go's, which takes linear time.
type pattern struct{ *regexp.Regexp }

// UnmarshalText compiles it.
func (p *pattern) UnmarshalText(text []byte) error {
	if len(text) > 1000 {
		return errors.New("longer than 1000 characters")
	}
	re, err := regexp.Compile(string(text))
	if err != nil {
		return fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	p.Regexp = re
	return nil
}

// span is a time: from start on, before end.
type span struct{ start, end time.Time }

func (s span) holds(at time.Time) bool { return !at.Before(s.start) && at.Before(s.end) }

func (s span) minutes() float64 { return s.end.Sub(s.start).Minutes() }

// tooMany is the error of a source that has more lines than are looked at.
func tooMany(s span) error {
	return fmt.Errorf("more than %d lines since %s: narrow the query, or take a shorter time", maxLines, s.start.UTC().Format(time.RFC3339))
}

// short cuts a text for a message.
func short(text string, most int) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
