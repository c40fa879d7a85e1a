package engine

import (
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

// runVars are the variables that only the run knows: run.* and fact.*.
type runVars struct {
	info  check.RunInfo
	facts map[string]string
}

// Lookup gives a variable's value. A fact that nobody has given is Later, so that
// the item that needs it is inconclusive and says which.
func (v runVars) Lookup(name string) (string, check.Known) {
	switch name {
	case "run.id":
		return v.info.ID, check.Set
	case "run.started_at":
		return v.info.StartedAt.UTC().Format(time.RFC3339), check.Set
	case "run.starter":
		return v.info.Starter, check.Set
	}
	fact, isFact := strings.CutPrefix(name, "fact.")
	if !isFact {
		return "", check.Unknown
	}
	if value, ok := v.facts[fact]; ok {
		return value, check.Set
	}
	return "", check.Later
}

// Names lists what can be asked for.
func (v runVars) Names() []string {
	names := []string{"run.id", "run.started_at", "run.starter"}
	for name := range v.facts {
		names = append(names, "fact."+name)
	}
	return names
}
