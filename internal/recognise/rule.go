package recognise

import (
	_ "embed"
	"strings"
	"unicode"
	"unicode/utf8"
)

//go:embed rules.txt
var rulesText string

// rule says which words an item has that means the same as a standard item.
type rule struct {
	id    string
	parts []part
}

// part is met when one of its words occurs; a negative one when none does.
type part struct {
	words    []string
	negative bool
}

// rules reads the table. A line without a colon is a comment or empty.
func rules() []rule {
	var out []rule
	for _, line := range strings.Split(rulesText, "\n") {
		id, words, ok := strings.Cut(line, ": ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		r := rule{id: id}
		for _, text := range strings.Split(words, " & ") {
			text, negative := strings.CutPrefix(strings.TrimSpace(text), "!")
			r.parts = append(r.parts, part{strings.Split(text, "|"), negative})
		}
		out = append(out, r)
	}
	return out
}

// meets gives the words of a text (in small letters) that fit the rule.
func (r rule) meets(text string) (found []string, ok bool) {
	for _, p := range r.parts {
		word := ""
		for _, w := range p.words {
			if word = occurs(text, w); word != "" {
				break
			}
		}
		if (word == "") != p.negative {
			return nil, false
		}
		if word != "" {
			found = append(found, word)
		}
	}
	return found, true
}

// wholeWord is up to which length a word must occur as it is, or with an s: what
// begins with "log" or "app" is too much else.
const wholeWord = 3

// occurs finds a word, or what begins with it, and gives the whole of it.
func occurs(text, word string) string {
	for from := 0; ; {
		at := strings.Index(text[from:], word)
		if at < 0 {
			return ""
		}
		at += from
		from = at + len(word)
		before, _ := utf8.DecodeLastRuneInString(text[:at])
		if at > 0 && isWord(before) {
			continue
		}
		end := from
		for end < len(text) {
			r, size := utf8.DecodeRuneInString(text[end:])
			if !isWord(r) {
				break
			}
			end += size
		}
		rest := text[from:end]
		if len(word) <= wholeWord && rest != "" && rest != "s" {
			continue
		}
		return text[at:end]
	}
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) || r == '_' }
