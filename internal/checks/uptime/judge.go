package uptime

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// judge wants one monitor of the address that is as it should be.
func (w *watcher) judge(found []monitor) (check.Outcome, error) {
	var misses []string
	var open []error
	for _, m := range found {
		miss, err := w.wrong(m)
		switch {
		case err != nil:
			open = append(open, err)
		case len(miss) > 0:
			misses = append(misses, fmt.Sprintf("%s %s", m.title(), strings.Join(miss, ", ")))
		default:
			return facts(check.Passf("%s watches %s%s", m.title(), w.URL, w.how(m)), m), nil
		}
	}
	if len(open) > 0 {
		return check.Outcome{}, errors.Join(open...)
	}
	return facts(check.Failf("%s", strings.Join(misses, "; ")), found[0]), nil
}

// wrong says what is not as it should be with a monitor; an error when its state
// says nothing yet.
func (w *watcher) wrong(m monitor) ([]string, error) {
	var miss []string
	switch m.State {
	case paused:
		miss = append(miss, "is paused")
	case down:
		miss = append(miss, "says "+m.Said)
	case unsure:
		return nil, fmt.Errorf("%s says %s, from which nothing follows yet", m.title(), m.Said)
	}
	if w.MaxInterval > 0 {
		if m.Interval <= 0 {
			return nil, fmt.Errorf("the answer does not say how often %s looks", m.title())
		}
		if m.Interval > w.MaxInterval {
			miss = append(miss, fmt.Sprintf("looks every %s, less often than every %s", m.Interval, w.MaxInterval))
		}
	}
	if w.Keyword != "" && m.Keyword != w.Keyword {
		miss = append(miss, fmt.Sprintf("does not look for %q", w.Keyword))
	}
	if m.Contacts < w.Contacts {
		miss = append(miss, fmt.Sprintf("tells %s, fewer than %d", plural(m.Contacts, "contact"), w.Contacts))
	}
	return miss, nil
}

// how says what was looked at.
func (w *watcher) how(m monitor) string {
	var out []string
	if w.MaxInterval > 0 {
		out = append(out, "every "+m.Interval.String())
	}
	if w.Keyword != "" {
		out = append(out, fmt.Sprintf("looks for %q", w.Keyword))
	}
	if w.Contacts > 0 {
		out = append(out, "tells "+plural(m.Contacts, "contact"))
	}
	if len(out) == 0 {
		return ""
	}
	return ": " + strings.Join(out, ", ")
}

func facts(o check.Outcome, m monitor) check.Outcome {
	o = o.With("monitor", m.ID).With("name", line(m.Name)).With("url", line(m.URL)).With("state", m.Said)
	if m.Interval > 0 {
		o = o.With("interval", m.Interval.String()).With("contacts", strconv.Itoa(m.Contacts))
	}
	if m.Last != "" {
		o = o.With("last_check", line(m.Last))
	}
	return o
}

func (m monitor) title() string { return fmt.Sprintf("monitor %s (%s)", m.ID, line(m.Name)) }

func names(found []monitor) string {
	var out []string
	for i, m := range found {
		if i == 5 {
			out = append(out, fmt.Sprintf("and %d more", len(found)-i))
			break
		}
		out = append(out, m.title())
	}
	return strings.Join(out, ", ")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// line makes a text of an answer fit for a sentence.
func line(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	if runes := []rune(text); len(runes) > 120 {
		return string(runes[:119]) + "…"
	}
	return text
}
