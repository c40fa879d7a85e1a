package recognise

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/checklist"
)

// Propose gives the blocks for what has none yet, in the order of the document.
// An item that nothing is known about gets none: it stays with a person. roles
// are those of the configuration; nil when there is none yet.
func Propose(list *checklist.Checklist, repo Repository, roles []string) ([]Proposal, error) {
	blocks, types, err := standardBlocks()
	if err != nil {
		return nil, fmt.Errorf("read the standard checklist: %w", err)
	}
	p := &proposer{
		list: list, repo: repo, roles: roles, blocks: blocks, types: types, rules: rules(),
		scopes: readScopes(list), used: map[string]bool{},
	}
	for item := range list.Items() {
		if item.ExplicitID {
			p.used[item.ID] = true
		}
	}
	for _, phase := range list.Phases {
		p.phase(phase)
		for _, section := range phase.Sections {
			p.section(phase, section)
			for _, item := range section.Items {
				if item.Block == nil && !item.Group {
					p.item(section, item)
				}
			}
		}
	}
	p.settle()
	return p.out, nil
}

type proposer struct {
	list   *checklist.Checklist
	repo   Repository
	roles  []string
	blocks map[string]block
	types  map[string]string
	rules  []rule
	scopes scopes
	// used are the ids that the document has, or will have.
	used map[string]bool
	out  []Proposal
	// raw are the proposals' blocks as they are so far.
	raw []block
}

func (p *proposer) add(proposal Proposal, b block) {
	p.out, p.raw = append(p.out, proposal), append(p.raw, b)
}

// item proposes a binding: a sign-off for a line with a role and a blank, the
// item's own command, or what its words mean.
func (p *proposer) item(section *checklist.Section, item *checklist.Item) {
	proposal := Proposal{Owner: item, Item: item, Text: item.Text, Line: item.Pos.Line}
	if role := p.signoff(section, item); role != "" {
		proposal.Type, proposal.Because = "signoff", "a role and a line to sign on"
		p.add(proposal, block{{"signoff", "signoff: {role: " + quoted(role) + "}"}})
		return
	}
	if argv, changes, ok := ownCommand(item); ok {
		proposal.Type, proposal.Because = "command", "the item carries its command"
		text := "command: {run: " + list(argv)
		if changes {
			text += ", changes: true"
		}
		p.add(proposal, block{{"command", text + "}"}})
		return
	}
	if p.known(section, item, proposal) {
		return
	}
	if fact := blankFact(item); fact != "" {
		proposal.Type, proposal.Because = "input", "a blank to fill in"
		p.add(proposal, block{{"input", "input: {fact: " + fact + "}"}})
	}
}

// blankFact names the fact of an item with one labelled blank that is no date.
func blankFact(item *checklist.Item) string {
	if len(item.Blanks) != 1 {
		return ""
	}
	name := strings.Join(strings.FieldsFunc(strings.ToLower(item.Blanks[0].Label), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }), "-")
	if name == "" || name == "date" || len(name) > 40 {
		return ""
	}
	return "input." + name
}

// signoff gives the role that a line such as "Tech Lead: ____ Date: ____" asks to
// sign, or "".
func (p *proposer) signoff(section *checklist.Section, item *checklist.Item) string {
	if p.scopes.sections[section] != signing || len(item.Blanks) == 0 {
		return ""
	}
	role := item.Blanks[0].Label
	if role == "" || len(role) > 40 || strings.EqualFold(role, "date") {
		return ""
	}
	if p.roles == nil {
		return role
	}
	for _, known := range p.roles {
		if strings.EqualFold(known, role) {
			return known
		}
	}
	return ""
}

// known looks the item's words up in the rules of its scope, and then in those
// of the neighbouring one, and tells whether it has found one that fits.
func (p *proposer) known(section *checklist.Section, item *checklist.Item, proposal Proposal) bool {
	text := strings.ToLower(item.Text)
	for _, may := range []func(*checklist.Section, string) bool{p.inScope, p.nearScope} {
		for _, r := range p.rules {
			if !may(section, r.id) {
				continue
			}
			words, ok := r.meets(text)
			if !ok {
				continue
			}
			proposal.means, proposal.Type = r.id, p.types[r.id]
			proposal.Because = "it says “" + strings.Join(words, " … ") + "”"
			b := p.adapt(section, slices.Clone(p.blocks[r.id]), &proposal)
			p.add(proposal, b)
			return true
		}
	}
	return false
}

// inScope tells whether a standard item may be meant in a section. Without a
// known scope everything but going back and the special cases may.
func (p *proposer) inScope(section *checklist.Section, id string) bool {
	s := p.scopes.sections[section]
	watched := strings.HasPrefix(id, "post.m15.") || strings.HasPrefix(id, "post.h")
	switch {
	case s == anywhere:
		return strings.HasPrefix(id, string(before)) || strings.HasPrefix(id, string(during)) || strings.HasPrefix(id, string(after)) && !watched
	case s == after:
		return strings.HasPrefix(id, string(after)) && watched == (windowOf(section.Title) != "")
	}
	return strings.HasPrefix(id, string(s))
}

// nearScope lets in what is verified after a deployment: it is often written
// below a heading of its own.
func (p *proposer) nearScope(section *checklist.Section, id string) bool {
	return p.scopes.sections[section] == after && windowOf(section.Title) == "" &&
		(strings.HasPrefix(id, "deploy.verify.") || strings.HasPrefix(id, "deploy.smoke."))
}

// adapt fits a standard block into the document: its id, its window, its gate,
// its role, and the repository's own command.
func (p *proposer) adapt(section *checklist.Section, b block, proposal *Proposal) block {
	b = b.with("id", "id: "+p.freeID(proposal.means))
	if own := p.repo.Commands[proposal.means]; own != "" {
		b = p.replaceType(b, proposal.Type, own)
		proposal.Type = "command"
		proposal.Because += ", and " + p.repo.Why[proposal.means] + " has the command"
	}
	if role := b.value("by"); role != "" && p.roles != nil && !slices.Contains(p.roles, role) {
		b = b.with("by", "")
	}
	if gate := b.value("gate"); gate != "" {
		b = b.with("gate", p.gate(map[string]scope{"pre-deployment": before, "deployment": during, "post-deployment": after}[gate]))
	}
	b = withLimit(b, proposal)
	if window := windowOf(section.Title); window != "" && b.value("watch") != "" {
		b = b.with("watch", `watch: {for: `+quoted(window)+`, every: "${env.windows.every}"}`)
	}
	return b
}

var (
	seconds = regexp.MustCompile(`(?i)(\d+(?:\.\d+)?)\s*(ms|milliseconds?|s|secs?|seconds?)\b`)
	percent = regexp.MustCompile(`(\d{1,3}(?:\.\d+)?)\s*%`)
)

// withLimit puts the limit that an item's text names into its block.
func withLimit(b block, proposal *Proposal) block {
	for _, e := range b {
		limit := e.text
		if m := seconds.FindStringSubmatch(proposal.Text); m != nil {
			unit := "s"
			if strings.HasPrefix(strings.ToLower(m[2]), "m") {
				unit = "ms"
			}
			limit = strings.Replace(limit, "p95: 2s", "p95: "+m[1]+unit, 1)
			if strings.Contains(limit, "histogram_quantile") {
				limit = strings.Replace(limit, "max: 2", "max: "+inSeconds(m[1], unit), 1)
			}
		}
		if m := percent.FindStringSubmatch(proposal.Text); m != nil {
			switch proposal.means {
			case "pre.code.coverage":
				limit = strings.Replace(limit, "min: 80", "min: "+m[1], 1)
			case "post.m15.error-rate":
				limit = strings.Replace(limit, "max: 0.01", "max: "+shifted(m[1], 2), 1)
			}
		}
		if limit != e.text {
			b = b.with(e.key, limit)
			proposal.Because += ", with its limit"
		}
	}
	return b
}

// inSeconds writes a time as the number of seconds that PromQL gives.
func inSeconds(number, unit string) string {
	if unit == "s" {
		return number
	}
	return shifted(number, 3)
}

// shifted divides a number by a power of ten.
func shifted(number string, places int) string {
	v, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return number
	}
	for range places {
		v /= 10
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

// replaceType puts another type in the place of a block's.
func (p *proposer) replaceType(b block, name, text string) block {
	out := slices.Clone(b)
	for i, e := range out {
		if e.key == name {
			out[i] = entry{"command", text}
			return out
		}
	}
	return b.with("by", "").with("evidence", "").with("command", text)
}

func (p *proposer) gate(s scope) string {
	if id := p.scopes.phase(p.list, s); id != "" {
		return "gate: " + id
	}
	return ""
}

// freeID gives an id that the document does not have yet.
func (p *proposer) freeID(id string) string {
	free := id
	for n := 2; p.used[free]; n++ {
		free = id + "-" + strconv.Itoa(n)
	}
	p.used[free] = true
	return free
}

// quoted writes a text as a YAML scalar.
func quoted(text string) string {
	if plainScalar.MatchString(text) {
		return text
	}
	return strconv.Quote(text)
}

var plainScalar = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9 /._-]*$`)

// list writes texts as a YAML list on one line.
func list(words []string) string {
	var out []string
	for _, w := range words {
		out = append(out, strconv.Quote(w))
	}
	return "[" + strings.Join(out, ", ") + "]"
}
