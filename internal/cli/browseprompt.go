package cli

import (
	"errors"
	"strings"
	"unicode"
)

// prompt is the line at the bottom in which a command or a word to find is typed.
type prompt struct {
	open, find bool
	text       []rune
	at         int
}

// maxPrompt bounds what can be typed or pasted, in characters.
const maxPrompt = 2000

func (p *prompt) insert(text string) {
	for _, r := range text {
		if r == '\n' || r == '\t' {
			r = ' '
		}
		if p.open && unicode.IsPrint(r) && len(p.text) < maxPrompt {
			p.text = append(p.text[:p.at], append([]rune{r}, p.text[p.at:]...)...)
			p.at++
		}
	}
}

// edit does what a key stands for in a line of text.
func (p *prompt) edit(k key) {
	switch k.name {
	case "left":
		p.at = max(p.at-1, 0)
	case "right":
		p.at = min(p.at+1, len(p.text))
	case "home", "ctrl+a":
		p.at = 0
	case "end", "ctrl+e":
		p.at = len(p.text)
	case "backspace":
		if p.at > 0 {
			p.text = append(p.text[:p.at-1], p.text[p.at:]...)
			p.at--
		}
	case "delete":
		if p.at < len(p.text) {
			p.text = append(p.text[:p.at], p.text[p.at+1:]...)
		}
	case "ctrl+u":
		p.text, p.at = p.text[p.at:], 0
	default:
		p.insert(k.text)
	}
}

// splitWords divides a command line at spaces; quotation marks keep words
// together, a backslash takes the meaning from what follows. There is no more to
// it: nothing here is given to a shell.
func splitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote rune
	escaped, begun := false, false
	for _, r := range line {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, begun = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, begun = r, true
		case unicode.IsSpace(r):
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	if quote != 0 || escaped {
		return nil, errors.New("a quotation mark is not closed")
	}
	if begun {
		words = append(words, word.String())
	}
	return words, nil
}
