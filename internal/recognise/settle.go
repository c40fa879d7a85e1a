package recognise

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// settle drops what refers to items that the document does not have, and writes
// the blocks out.
func (p *proposer) settle() {
	ids := map[string]bool{}
	maps.Copy(ids, p.used)
	for item := range p.list.Items() {
		ids[item.ID] = true
	}
	var out []Proposal
	for i, b := range p.raw {
		proposal := p.out[i]
		if needs := b.value("needs"); needs != "" {
			needs, later := p.above(i, needs)
			b = b.with("needs", present("needs: ", needs, ids))
			if later {
				b = b.rehearsedOnCopy()
			}
		}
		if proposal.Type == "migrations.apply" && !p.rehearses() {
			b = b.with("migrations.apply", strings.Replace(b.text("migrations.apply"), ", rehearsed: required", "", 1))
		}
		b = b.attaching(ids)
		if proposal.Type == "run.items" && !p.resolvable(b, ids) {
			continue
		}
		proposal.YAML = b.String()
		if proposal.Item != nil {
			proposal.YAML = "# proposed because " + proposal.Because + "\n" + proposal.YAML
		}
		out = append(out, proposal)
	}
	p.out = out
}

// above takes out of a list what the same section has further down: an action
// there waits for this item, so that this one cannot wait for it. It tells whether
// there was any.
func (p *proposer) above(i int, needs string) (string, bool) {
	below := map[string]bool{}
	for j := i + 1; j < len(p.out); j++ {
		if p.out[j].Item != nil && p.out[i].Item != nil && slices.Equal(p.out[j].Item.Path, p.out[i].Item.Path) {
			below[strings.TrimSpace(p.raw[j].value("id"))] = true
		}
	}
	var keep []string
	names := strings.Split(strings.Trim(needs, "[]"), ",")
	for _, name := range names {
		if !below[strings.TrimSpace(name)] {
			keep = append(keep, strings.TrimSpace(name))
		}
	}
	return "[" + strings.Join(keep, ", ") + "]", len(keep) < len(names)
}

// rehearses tells whether any item of the document tries the migrations on a copy.
// Without one, nothing could be applied that must have been rehearsed.
func (p *proposer) rehearses() bool {
	for item := range p.list.Items() {
		if item.Block != nil && item.Block.Type != nil && item.Block.Type.Name == rehearse {
			return true
		}
	}
	return slices.ContainsFunc(p.out, func(proposal Proposal) bool { return proposal.Type == rehearse })
}

const rehearse = "migrations.rehearse"

// rehearsedOnCopy lets a rehearsal work without the backup of this run.
func (b block) rehearsedOnCopy() block {
	text := b.value(rehearse)
	if text == "" {
		return b
	}
	return b.with(rehearse, rehearse+": "+strings.Replace(text, "scratch:", `base: "${env.rehearsal}", scratch:`, 1))
}

var attached = regexp.MustCompile(`,? *attach(?:_items)?: (\[[^\]]*\])`)

// attaching leaves of what a block attaches the items that the document has.
func (b block) attaching(ids map[string]bool) block {
	out := slices.Clone(b)
	for i, e := range out {
		m := attached.FindStringSubmatch(e.text)
		if m == nil {
			continue
		}
		kept := present("", m[1], ids)
		if kept == "" {
			out[i].text = strings.Replace(e.text, m[0], "", 1)
		} else {
			out[i].text = strings.Replace(e.text, m[1], kept, 1)
		}
	}
	return out
}

var idList = regexp.MustCompile(`(?:items|rerun): (\[[^\]]*\])`)

// resolvable tells whether a roll-up names items that there are.
func (p *proposer) resolvable(b block, ids map[string]bool) bool {
	m := idList.FindStringSubmatch(b.value("run.items"))
	return m != nil && strings.Count(present("", m[1], ids), ",") == strings.Count(m[1], ",") && present("", m[1], ids) != ""
}

// present keeps the ids and patterns of a YAML list that something answers to.
func present(key, value string, ids map[string]bool) string {
	var keep []string
	for _, name := range strings.Split(strings.Trim(value, "[]"), ",") {
		name = strings.TrimSpace(name)
		for id := range ids {
			if ok, err := doublestar.Match(strings.ReplaceAll(strings.Trim(name, `"`), ".", "/"), strings.ReplaceAll(id, ".", "/")); err == nil && ok {
				keep = append(keep, name)
				break
			}
		}
	}
	if len(keep) == 0 {
		return ""
	}
	return key + "[" + strings.Join(keep, ", ") + "]"
}
