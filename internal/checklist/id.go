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
func slug(text, word string) string { return slugBelow("", text, word) }

// slugBelow is a prefix and the slug of a text.
func slugBelow(prefix, text, word string) string {
	buffer := append(make([]byte, 0, 256), prefix...)
	hyphen, start, count := false, len(buffer), 0
	for i := 0; i < len(text); {
		r, size := lowerASCII(text[i]), 1
		if r == utf8.RuneError {
			r, size = utf8.DecodeRuneInString(text[i:])
			r = unicode.ToLower(r)
		}
		i += size
		if r == 0 || r >= utf8.RuneSelf && !idRune(r, count > 0 && !hyphen) {
			hyphen = count > 0
			continue
		}
		if hyphen {
			buffer, count = append(buffer, '-'), count+1
		}
		buffer, count = utf8.AppendRune(buffer, r), count+1
		hyphen = false
	}
	switch {
	case count == 0:
		return string(buffer) + word + "-" + shortHash(text)
	case count > maxSlug:
		return prefix + cutSlug(string(buffer[start:])) + "-" + shortHash(text)
	}
	return string(buffer)
}

// lowerASCII gives a letter or digit in lower case, 0 for other ASCII bytes, and
// utf8.RuneError for a byte of a longer character.
func lowerASCII(c byte) rune {
	switch {
	case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		return rune(c)
	case c >= 'A' && c <= 'Z':
		return rune(c - 'A' + 'a')
	case c >= utf8.RuneSelf:
		return utf8.RuneError
	}
	return 0
}

// idRune reports whether a character beyond ASCII is kept in an id. Marks count
// only after a letter, and never the selectors that make a sign an emoji.
func idRune(r rune, afterLetter bool) bool {
	switch {
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
	// next is the ordinal of a name's next repeat; 0 while it is only reserved.
	next map[string]int
}

func newUniqueNames(size int) uniqueNames { return uniqueNames{make(map[string]int, size)} }

// reserve keeps a name for its first use.
func (u uniqueNames) reserve(name string) {
	if _, known := u.next[name]; !known {
		u.next[name] = 0
	}
}

// give hands out the name, or the name with the first free ordinal.
func (u uniqueNames) give(name string) string {
	n := u.next[name]
	if n == 0 {
		u.next[name] = 2
		return name
	}
	for ; ; n++ {
		candidate := name + "-" + strconv.Itoa(n)
		if _, known := u.next[candidate]; !known {
			u.next[candidate], u.next[name] = 2, n+1
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
