package recognise

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/checklist"
)

// scope is the part of a deployment that a heading speaks of. It is the
// beginning of the ids of the standard items that may be meant there.
type scope string

const (
	anywhere scope = ""
	before   scope = "pre."
	during   scope = "deploy."
	after    scope = "post."
	goBack   scope = "rollback."
	signing  scope = "signoff."
	staging  scope = "env.staging."
	prod     scope = "env.prod."
	schema   scope = "special.schema."
	api      scope = "special.api."
	infra    scope = "special.infra."
	security scope = "special.security."
)

// headings lists which words of a heading mean which scope; the first counts.
func headings() []struct {
	scope scope
	words string
} {
	return []struct {
		scope scope
		words string
	}{
		{signing, "sign-off|sign off|signoff|approvals"},
		{goBack, "rollback|roll back|rolling back|revert|if deployment fails|if the deployment fails"},
		{before, "pre-deploy|pre deploy|predeploy|pre-release|pre-flight|preflight|pre-launch|prerequisite|before|preparation|prepare|planning|readiness"},
		{after, "post-deploy|post deploy|postdeploy|post-release|post-launch|after|follow-up|cleanup|clean-up"},
		{during, "deploy|release|execution|rollout|go-live|launch|migration|cutover"},
		{after, "verification|verify|validation|monitoring|smoke"},
	}
}

// scopeOf tells which scope a title alone means.
func scopeOf(title string) scope {
	text := strings.ToLower(title)
	for _, h := range headings() {
		for _, word := range strings.Split(h.words, "|") {
			if occurs(text, word) != "" {
				return h.scope
			}
		}
	}
	return anywhere
}

// specialOf tells which environment or scenario a section is about, when its
// phase is a collection of those.
func specialOf(phase, section string) scope {
	phase, section = strings.ToLower(phase), strings.ToLower(section)
	has := func(text string, words ...string) bool {
		for _, w := range words {
			if occurs(text, w) != "" {
				return true
			}
		}
		return false
	}
	switch {
	case has(phase, "environment"):
		switch {
		case has(section, "staging"):
			return staging
		case has(section, "production"):
			return prod
		}
	case has(phase, "special", "scenario", "case"):
		switch {
		case has(section, "schema", "database"):
			return schema
		case has(section, "api"):
			return api
		case has(section, "infrastructure"):
			return infra
		case has(section, "security"):
			return security
		}
	}
	return anywhere
}

// scopes tells for each phase and section what it is about.
type scopes struct {
	phases   map[*checklist.Phase]scope
	sections map[*checklist.Section]scope
}

func readScopes(list *checklist.Checklist) scopes {
	s := scopes{map[*checklist.Phase]scope{}, map[*checklist.Section]scope{}}
	for _, p := range list.Phases {
		of := scopeOf(p.Title)
		s.phases[p] = of
		for _, section := range p.Sections {
			s.sections[section] = of
			if special := specialOf(p.Title, section.Title); special != anywhere {
				s.sections[section], s.phases[p] = special, anywhere
			} else if own := scopeOf(section.Title); of == anywhere || own == signing {
				s.sections[section] = own
			}
		}
	}
	return s
}

// phase finds the id of the phase that a scope means, or "".
func (s scopes) phase(list *checklist.Checklist, want scope) string {
	for _, p := range list.Phases {
		if s.phases[p] != want {
			continue
		}
		for _, section := range p.Sections {
			if len(section.Items) > 0 {
				return p.ID
			}
		}
	}
	return ""
}

var windowWords = regexp.MustCompile(`(?i)\b(?:first|next|within)\s+(?:(\d{1,3})\s*)?-?(minute|min|hour|hr|h|day|d)s?\b`)

// windowOf reads how long a section's heading says that something is watched: the
// configuration's name for it, or its length. It is "" when it says nothing.
func windowOf(title string) string {
	m := windowWords.FindStringSubmatch(title)
	if m == nil {
		return ""
	}
	n := 1
	if m[1] != "" {
		n, _ = strconv.Atoi(m[1]) // three digits at most
	}
	unit := map[byte]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[strings.ToLower(m[2])[0]]
	switch d := time.Duration(n) * unit; d {
	case 15 * time.Minute:
		return "${env.windows.m15}"
	case time.Hour:
		return "${env.windows.h1}"
	case 24 * time.Hour:
		return "${env.windows.h24}"
	case 0:
		return ""
	default:
		text := strings.TrimSuffix(d.String(), "0s")
		if strings.HasSuffix(text, "h0m") {
			text = strings.TrimSuffix(text, "0m")
		}
		return text
	}
}
