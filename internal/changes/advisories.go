package changes

import (
	"fmt"
	"slices"
	"strings"
)

// Advisory is what a scanner's report says about one package of what is live.
type Advisory struct {
	ID, Package string
	// Version is the one that was scanned; empty when the report names a range only.
	Version string
}

// Replaced compares what a release replaces with what a scanner has said about
// the release that is live: a security update is one that takes a version away
// for which an advisory is known. reports tells how many reports were read.
func Replaced(gone []Package, unread []string, advisories []Advisory, reports int) Answer {
	var hits []string
	for _, p := range gone {
		for _, a := range advisories {
			if p.Is(a.Package, a.Version) {
				if hit := fmt.Sprintf("%s in %s %s", a.ID, p.Name, p.Version); !slices.Contains(hits, hit) {
					hits = append(hits, hit)
				}
			}
		}
	}
	switch {
	case len(hits) > 0:
		return Answer{Known: true, Changed: true, Why: "it replaces " + some(hits)}
	case len(unread) > 0:
		return Answer{Why: fmt.Sprintf("which versions changed in %s cannot be read", some(unread))}
	case len(gone) == 0:
		return Answer{Known: true, Why: "no version of a dependency is replaced"}
	case reports == 0:
		return Answer{Why: fmt.Sprintf("%s are replaced, and no report of a scanner is named under changes.advisories in allclear.yaml", packages(gone))}
	}
	return Answer{Known: true, Why: fmt.Sprintf("%s are replaced, and %d reports know nothing against them", packages(gone), reports)}
}

func packages(list []Package) string {
	var names []string
	for _, p := range list {
		names = append(names, strings.TrimSpace(p.Name+" "+p.Version))
	}
	return some(names)
}
