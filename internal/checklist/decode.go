package checklist

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"allclear.dev/allclear/internal/diag"
)

// settingsDecoder fills a block's settings and finds its type.
type settingsDecoder struct {
	b     *builder
	owner owner
	block *Block
}

func (d *settingsDecoder) add(n *yaml.Node, format string, args ...any) *diag.Problem {
	return d.b.report(diag.Problem{
		Pos: diag.Pos{File: d.b.list.File, Line: n.Line, Col: n.Column}, Width: width(n), Message: fmt.Sprintf(format, args...),
	})
}

func (d *settingsDecoder) decode() {
	content := d.block.Node.Content
	seen := map[string]bool{}
	var types []*yaml.Node
	for i := 0; i+1 < len(content); i += 2 {
		key, value := content[i], content[i+1]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" || key.Value == "" || seen[key.Value] {
			continue // already reported
		}
		seen[key.Value] = true
		switch {
		case slices.Contains(d.owner.keys, key.Value):
			d.setting(key.Value, value)
		case d.misplacedKey(key):
		case d.isType(key):
			types = append(types, key)
			if d.block.Type == nil {
				d.block.Type = &Type{Name: key.Value, Pos: diag.Pos{File: d.b.list.File, Line: key.Line, Col: key.Column}, Params: value}
			}
		default:
			d.unknown(key)
		}
	}
	if len(types) > 1 {
		d.twoTypes(types)
	}
}

func (d *settingsDecoder) twoTypes(types []*yaml.Node) {
	var names []string
	for _, n := range types {
		names = append(names, n.Value)
	}
	p := d.add(types[1], "an item has one type, got %s", strings.Join(names, " and "))
	p.Hint = "make two items of it"
}

// misplacedKey reports a key that is known but stands in the wrong kind of block.
func (d *settingsDecoder) misplacedKey(key *yaml.Node) bool {
	other, there := HeadingKeys(), "a heading, not under an item"
	if d.owner.heading {
		other, there = ItemKeys(), "an item, not under a heading"
	}
	if slices.Contains(other, key.Value) {
		d.add(key, "%s belongs under %s", key.Value, there).Allowed = d.owner.keys
		return true
	}
	if d.owner.heading && d.isType(key) {
		p := d.add(key, "type %s stands under a heading", key.Value)
		p.Allowed, p.Hint = d.owner.keys, "a type binds an item: indent the block under one"
		return true
	}
	return false
}

// isType reports whether a key names a type. Without a list of types every name
// of the right shape does, unless it looks like a misspelt setting.
func (d *settingsDecoder) isType(key *yaml.Node) bool {
	if len(d.b.opts.Types) > 0 {
		return slices.Contains(d.b.opts.Types, key.Value)
	}
	return typeShape(key.Value) && diag.Nearest(key.Value, d.owner.keys) == ""
}

// typeShape reports whether a name is one of lower-case words joined by dots.
func typeShape(name string) bool {
	for word := range strings.SplitSeq(name, ".") {
		if word == "" || word[0] < 'a' || word[0] > 'z' {
			return false
		}
		for _, r := range word {
			if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' {
				return false
			}
		}
	}
	return true
}

func (d *settingsDecoder) unknown(key *yaml.Node) {
	known := d.owner.keys
	if !d.owner.heading {
		known = slices.Concat(known, d.b.opts.Types)
	}
	p := d.add(key, "unknown key %q", key.Value)
	if !d.owner.heading && len(d.b.opts.Types) > 0 {
		p.Message = fmt.Sprintf("%q is neither a type nor a setting of an item", key.Value)
	}
	p.Allowed = d.owner.keys
	if near := diag.Nearest(key.Value, known); near != "" {
		p.Hint = fmt.Sprintf("did you mean %q?", near)
	} else if !d.owner.heading {
		p.Hint = "allclear types lists the types"
	}
}

// setting decodes one key.
func (d *settingsDecoder) setting(name string, n *yaml.Node) {
	s := &d.block.Settings
	switch name {
	case "id":
		d.id(n)
	case "when":
		s.When = d.expression(n)
	case "required":
		s.Required = d.flag(name, n)
	case "timeout":
		s.Timeout = d.duration(name, n, true)
	case "fresh_for":
		s.FreshFor = d.duration(name, n, true)
	case "window":
		s.Window, s.WindowVar = d.length(name, n)
	case "retry":
		d.retry(n)
	case "watch":
		d.watch(n)
	case "by":
		s.By = d.words(name, n, nil)
	case "needs":
		s.Needs = d.words(name, n, nil)
	case "on":
		d.on(n)
	case "evidence":
		s.Evidence = d.words(name, n, EvidenceKinds())
	case "gate":
		s.Gate = d.word(name, n, nil)
	case "phase":
		s.Phase = d.word(name, n, nil)
	case "order":
		s.Order = d.word(name, n, Orders())
	case "undo":
		d.undo(n)
	}
}

func set[T any](d *settingsDecoder, n *yaml.Node, v T) Setting[T] {
	return Setting[T]{Value: v, Pos: diag.Pos{File: d.b.list.File, Line: n.Line, Col: n.Column}, Width: width(n)}
}

func (d *settingsDecoder) id(n *yaml.Node) {
	word := d.word("id", n, nil)
	if !word.IsSet() {
		return
	}
	if !validID(word.Value) {
		d.add(n, "id: %q is not made of lower-case letters and digits joined by . or -", word.Value).
			Hint = "such as deploy.verify.health-200"
		return
	}
	d.block.Settings.ID = word
}

// text gives a scalar that is written as text and not empty.
func (d *settingsDecoder) text(name string, n *yaml.Node) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		d.add(n, "%s: want a text, got %s", name, nodeWord(n))
		return "", false
	}
	value := strings.TrimSpace(n.Value)
	if value == "" {
		d.add(n, "%s is empty", name)
		return "", false
	}
	return value, true
}

func (d *settingsDecoder) expression(n *yaml.Node) Setting[string] {
	value, ok := d.text("when", n)
	if !ok {
		return Setting[string]{}
	}
	return set(d, n, value)
}

// word gives one name without blanks, from a closed list when there is one.
func (d *settingsDecoder) word(name string, n *yaml.Node, allowed []string) Word {
	value, ok := d.text(name, n)
	if !ok {
		return Word{}
	}
	if allowed != nil && !slices.Contains(allowed, value) {
		p := d.add(n, "%s: unknown value %q", name, value)
		p.Allowed = allowed
		if near := diag.Nearest(value, allowed); near != "" {
			p.Hint = fmt.Sprintf("did you mean %q?", near)
		}
		return Word{}
	}
	if allowed == nil && strings.ContainsAny(value, "\r\n") {
		d.add(n, "%s: want one line", name)
		return Word{}
	}
	return set(d, n, value)
}

// words gives a list of names; a single name is a list of one.
func (d *settingsDecoder) words(name string, n *yaml.Node, allowed []string) Setting[[]Word] {
	entries := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		entries = n.Content
		if len(entries) == 0 {
			d.add(n, "%s is empty", name)
			return Setting[[]Word]{}
		}
	} else if n.Kind == yaml.MappingNode {
		d.add(n, "%s: want a text or a list of texts, got a mapping", name)
		return Setting[[]Word]{}
	}
	var out []Word
	seen := map[string]bool{}
	for _, entry := range entries {
		word := d.word(name, entry, allowed)
		switch {
		case !word.IsSet():
		case seen[word.Value]:
			d.add(entry, "%s: %q is given twice", name, word.Value)
		default:
			seen[word.Value] = true
			out = append(out, word)
		}
	}
	if len(out) == 0 {
		return Setting[[]Word]{}
	}
	return set(d, n, out)
}

func (d *settingsDecoder) flag(name string, n *yaml.Node) Setting[bool] {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || (n.Value != "true" && n.Value != "false") {
		d.add(n, "%s: want true or false, got %s", name, nodeWord(n)).Allowed = []string{"true", "false"}
		return Setting[bool]{}
	}
	return set(d, n, n.Value == "true")
}

// number gives a whole number of at least least.
func (d *settingsDecoder) number(name string, n *yaml.Node, least int) Setting[int] {
	v, err := strconv.Atoi(n.Value)
	switch {
	case n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil:
		d.add(n, "%s: want a whole number, got %s", name, nodeWord(n))
		return Setting[int]{}
	case v < least:
		d.add(n, "%s: want at least %d, got %d", name, least, v)
		return Setting[int]{}
	}
	return set(d, n, v)
}

// duration gives a length of time; positive says that 0 is none.
func (d *settingsDecoder) duration(name string, n *yaml.Node, positive bool) Setting[time.Duration] {
	v, err := parseDuration(n.Value)
	switch {
	case n.Kind != yaml.ScalarNode || err != nil:
		p := d.add(n, "%s: want a duration, got %s", name, nodeWord(n))
		p.Hint = "such as 30s, 5m, 1h30m or 7d"
		return Setting[time.Duration]{}
	case v < 0:
		d.add(n, "%s: want no negative duration, got %s", name, n.Value)
		return Setting[time.Duration]{}
	case v == 0 && positive:
		d.add(n, "%s: want more than 0", name)
		return Setting[time.Duration]{}
	}
	return set(d, n, v)
}

// length gives a duration of more than 0, or the variable that stands for one.
func (d *settingsDecoder) length(name string, n *yaml.Node) (Setting[time.Duration], Word) {
	value := strings.TrimSpace(n.Value)
	if n.Kind != yaml.ScalarNode || !strings.HasPrefix(value, "${") {
		return d.duration(name, n, true), Word{}
	}
	variable, ok := strings.CutSuffix(strings.TrimPrefix(value, "${"), "}")
	if !ok || variable == "" || strings.ContainsAny(variable, "${} \t\r\n") {
		d.add(n, "%s: want a duration or one variable, got %s", name, nodeWord(n)).Hint = "such as 15m or ${env.windows.m15}"
		return Setting[time.Duration]{}, Word{}
	}
	return Setting[time.Duration]{}, set(d, n, variable)
}

// parseDuration reads a Go duration that may begin with days of 24 hours.
func parseDuration(text string) (time.Duration, error) {
	before, after, found := strings.Cut(text, "d")
	if !found {
		return time.ParseDuration(text)
	}
	days, err := strconv.ParseUint(before, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("read days: %w", err)
	}
	total := time.Duration(days) * 24 * time.Hour
	if after == "" {
		return total, nil
	}
	rest, err := time.ParseDuration(after)
	if err != nil || rest < 0 {
		return 0, fmt.Errorf("read %q after days", after)
	}
	return total + rest, nil
}
