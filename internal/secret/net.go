package secret

import (
	"bytes"
	"io"
	"regexp"
)

// rule recognises one well-known kind of token by its looks.
type rule struct {
	name string
	// hint is a text without which the pattern cannot match; it is looked for
	// first because that is cheap.
	hint string
	// pattern's first group, or all of it without one, is masked.
	pattern *regexp.Regexp
}

// rules lists the shapes as their issuers document them.
func rules() []rule {
	return []rule{
		{"aws-access-key", "KIA", regexp.MustCompile(`\b(AKIA[0-9A-Z]{16})\b`)},
		{"aws-session-key", "SIA", regexp.MustCompile(`\b(ASIA[0-9A-Z]{16})\b`)},
		{"github-token", "gh", regexp.MustCompile(`\b(gh[pousr]_[0-9A-Za-z]{36,255})\b`)},
		{"github-fine-grained-token", "github_pat_", regexp.MustCompile(`\b(github_pat_[0-9A-Za-z_]{22,255})\b`)},
		{"slack-token", "xox", regexp.MustCompile(`\b(xox[abeoprs]-[0-9A-Za-z-]{10,})`)},
		{"jwt", "eyJ", regexp.MustCompile(`\b(eyJ[0-9A-Za-z_-]{8,}\.eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,})`)},
		{"password-in-url", "://", regexp.MustCompile(`://[^\s/:@"'<>]*:([^\s/@"'<>]+)@`)},
	}
}

const (
	privateKeyRule = "private-key"
	// longestLine is how much of a line without an end is kept together.
	longestLine = 16 << 10
	// longestKey is how much is masked after the beginning of a private key whose
	// end does not come.
	longestKey = 64 << 10
)

// netWriter masks, line by line, what looks like a secret.
type netWriter struct {
	rules   []rule
	suspect func(rule string)
	next    io.Writer
	line    []byte
	// inKey counts the bytes since the beginning of a private key, 0 outside one.
	inKey int
}

// write takes the next bytes and passes whole lines on.
func (w *netWriter) write(p []byte) error {
	w.line = append(w.line, p...)
	end := bytes.LastIndexByte(w.line, '\n') + 1
	if end == 0 {
		if len(w.line) < longestLine {
			return nil
		}
		// A token does not contain a space or quote, so it is not cut there.
		if end = bytes.LastIndexAny(w.line, " \t\"'`,;<>") + 1; end == 0 {
			end = len(w.line)
		}
		// Nor is the beginning of a private key.
		const longestMark = 80
		if at := bytes.LastIndex(w.line[:end], []byte("-----BEGIN ")); at >= 0 && end-at < longestMark {
			if end = at; at == 0 {
				end = len(w.line)
			}
		}
	}
	err := w.emit(w.line[:end])
	w.line = w.line[:copy(w.line, w.line[end:])]
	return err
}

// flush passes on a last line that has no end.
func (w *netWriter) flush() error {
	err := w.emit(w.line)
	w.line = nil
	return err
}

func (w *netWriter) emit(text []byte) error {
	text = w.maskKeys(text)
	for _, rule := range w.rules {
		if bytes.Contains(text, []byte(rule.hint)) {
			text = w.mask(rule, text)
		}
	}
	if len(text) == 0 {
		return nil
	}
	_, err := w.next.Write(text)
	return err
}

// mask replaces the first group of every match.
func (w *netWriter) mask(rule rule, text []byte) []byte {
	var out []byte
	done := 0
	for _, match := range rule.pattern.FindAllSubmatchIndex(text, -1) {
		from, to := match[2], match[3]
		if string(text[from:to]) == Redacted {
			continue
		}
		out = append(append(out, text[done:from]...), Redacted...)
		done = to
		w.suspect(rule.name)
	}
	if done == 0 {
		return text
	}
	return append(out, text[done:]...)
}

// maskKeys replaces private keys in PEM (RFC 7468), which span lines.
func (w *netWriter) maskKeys(text []byte) []byte {
	begin, end := []byte("-----BEGIN "), []byte("-----END ")
	var out []byte
	for len(text) > 0 {
		if w.inKey > 0 {
			at := bytes.Index(text, end)
			if at < 0 && w.inKey+len(text) <= longestKey {
				w.inKey += len(text)
				return out
			}
			w.inKey = 0
			if at < 0 {
				continue
			}
			text = text[at:]
			text = text[endOfMark(text, len(end)):]
			continue
		}
		at := bytes.Index(text, begin)
		if at < 0 {
			break
		}
		mark := endOfMark(text[at:], len(begin))
		if !bytes.Contains(text[at:at+mark], []byte("PRIVATE KEY")) {
			out, text = append(out, text[:at+mark]...), text[at+mark:]
			continue
		}
		out = append(append(out, text[:at]...), Redacted...)
		text = text[at+mark:]
		w.inKey = 1
		w.suspect(privateKeyRule)
	}
	return append(out, text...)
}

// endOfMark gives the length of the PEM boundary that text begins with.
func endOfMark(text []byte, start int) int {
	const longestMark = 80
	window := text[:min(len(text), longestMark)]
	at := bytes.Index(window[start:], []byte("-----"))
	if at < 0 {
		return start
	}
	return start + at + len("-----")
}
