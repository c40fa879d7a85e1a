package recognise

import (
	"strings"

	"allclear.dev/allclear/internal/checklist"
)

// phase proposes how a phase runs: going back apart from everything else, what
// comes before and after side by side. Everything else runs in its order.
func (p *proposer) phase(phase *checklist.Phase) {
	if phase.Block != nil || phase.Title == "" || !hasItems(phase) {
		return
	}
	proposal := Proposal{Owner: phase, Text: phase.Title, Line: phase.Pos.Line, Because: "its heading"}
	switch p.scopes.phases[phase] {
	case goBack:
		p.add(proposal, block{{"phase", "phase: rollback"}, {"order", "order: sequential"}})
	case before, after:
		p.add(proposal, block{{"order", "order: parallel"}})
	}
}

func hasItems(phase *checklist.Phase) bool {
	for _, s := range phase.Sections {
		if len(s.Items) > 0 {
			return true
		}
	}
	return false
}

// section proposes a section's window, and for an environment, a scenario or a
// list of sign-offs the gate that it belongs to and when it counts.
func (p *proposer) section(phase *checklist.Phase, section *checklist.Section) {
	if section.Block != nil || section.Title == "" || len(section.Items) == 0 {
		return
	}
	b := block{}
	set := func(key, text string) {
		if text != "" {
			b = append(b, entry{key, text})
		}
	}
	switch s := p.scopes.sections[section]; s {
	case after:
		if window := windowOf(section.Title); window != "" {
			set("window", "window: "+quoted(window))
		}
	case staging:
		set("gate", p.gate(after))
		set("when", `when: env.name == "staging"`)
	case prod:
		set("gate", p.gate(before))
		set("when", `when: env.name == "production"`)
	case schema, api, infra, security:
		set("gate", p.gate(before))
		set("when", "when: "+scenario(s))
	case signing:
		set("gate", p.gate(signedGate(phase.Title, section.Title)))
	}
	if len(b) > 0 {
		p.add(Proposal{Owner: section, Text: section.Title, Line: section.Pos.Line, Because: "its heading"}, b)
	}
}

// scenario is the condition under which a special list counts.
func scenario(s scope) string {
	switch s {
	case schema:
		return "changed.migrations"
	case api:
		return "changed.api"
	case infra:
		return "changed.infrastructure"
	}
	return "changed.advisories"
}

// signedGate tells which part of the deployment a list of sign-offs ends.
func signedGate(phase, section string) scope {
	for _, title := range []string{section, phase} {
		rest := strings.ToLower(title)
		for _, word := range []string{"sign-off", "sign off", "signoff", "approvals"} {
			rest = strings.ReplaceAll(rest, word, "")
		}
		if s := scopeOf(rest); s == before || s == after {
			return s
		}
	}
	return anywhere
}
