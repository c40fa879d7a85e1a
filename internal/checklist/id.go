package checklist

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxSlug is the longest part of a generated id, in characters.
const maxSlug = 60

// slug turns a title or text into a part of an id: letters and digits of any
// script in lower case, everything else a single hyphen. A text without any
// gives a word and a short hash; a long one is cut and gets the hash too, so that
// equal beginnings stay apart.
func slug(text, word string) string {
	var b strings.Builder
	letter, hyphen := false, false
	for _, r := range text {
		if !idRune(r, letter && !hyphen) {
			hyphen = letter
			continue
		}
		if hyphen {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
		letter, hyphen = true, false
	}
	out := b.String()
	switch {
	case out == "":
		return word + "-" + shortHash(text)
	case len(out) > maxSlug && utf8.RuneCountInString(out) > maxSlug:
		return cutSlug(out) + "-" + shortHash(text)
	}
	return out
}

// idRune reports whether a character is kept in an id. Marks count only after a
// letter, and never the selectors that make a sign an emoji.
func idRune(r rune, afterLetter bool) bool {
	switch {
	case r < utf8.RuneSelf:
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	case r == utf8.RuneError:
		return false
	case unicode.IsLetter(r), unicode.IsNumber(r):
		return true
	case r >= 0xfe00 && r <= 0xfe0f:
		return false
	}
	return afterLetter && unicode.In(r, unicode.Mn, unicode.Mc)
}

// cutSlug shortens at a hyphen where there is one in the second half.
func cutSlug(s string) string {
	count, end := 0, len(s)
	for i := range s {
		if count == maxSlug-9 {
			end = i
			break
		}
		count++
	}
	if at := strings.LastIndexByte(s[:end], '-'); at > end/2 {
		end = at
	}
	return strings.TrimRight(s[:end], "-")
}

// shortHash is 8 hexadecimal digits of the text's SHA-256.
func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:4])
}

// uniqueNames hands out names, adding an ordinal to repeats. A name that is
// reserved is never given to a repeat of another one.
type uniqueNames struct {
	reserved map[string]bool
	taken    map[string]bool
	next     map[string]int
}

func newUniqueNames() *uniqueNames {
	return &uniqueNames{reserved: map[string]bool{}, taken: map[string]bool{}, next: map[string]int{}}
}

func (u *uniqueNames) give(name string) string {
	if !u.taken[name] {
		u.taken[name] = true
		return name
	}
	for n := max(u.next[name], 2); ; n++ {
		candidate := name + "-" + strconv.Itoa(n)
		if !u.taken[candidate] && !u.reserved[candidate] {
			u.taken[candidate] = true
			u.next[name] = n + 1
			return candidate
		}
	}
}

// validID reports whether an id written by a person has the allowed shape:
// [a-z0-9]+([.-][a-z0-9]+)*.
func validID(id string) bool {
	separator := true
	for i := range len(id) {
		switch c := id[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			separator = false
		case c == '.' || c == '-':
			if separator {
				return false
			}
			separator = true
		default:
			return false
		}
	}
	return !separator
}
