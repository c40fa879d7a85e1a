package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// Release is what the variables say about a release.
type Release struct{ Version, Revision string }

// Vars are the variables of a plan: env.*, release.*, previous.* and project,
// and those that only the run will know.
type Vars struct {
	Project           string
	Env               Environment
	Release, Previous Release
	// Emails are the mail addresses of people, and of roles, as Config.Emails gives
	// them.
	Emails map[string]string
}

// Lookup gives a variable's value, as far as it is known before the run.
func (v Vars) Lookup(name string) (string, check.Known) {
	if strings.HasPrefix(name, "fact.") && len(name) > len("fact.") {
		return "", check.Later
	}
	switch name {
	case "run.id", "run.started_at", "run.starter":
		return "", check.Later
	case "project":
		return v.Project, check.Set
	case "env.name":
		return v.Env.Name, check.Set
	case "env.protected":
		return strconv.FormatBool(v.Env.IsProtected()), check.Set
	case "env.url":
		return known(v.Env.URL)
	case "env.database":
		return known(v.Env.Database.String())
	case "env.redis":
		return known(v.Env.Redis)
	case "release.version":
		return known(v.Release.Version)
	case "release.revision":
		return known(v.Release.Revision)
	case "previous.version":
		return known(v.Previous.Version)
	case "previous.revision":
		return known(v.Previous.Revision)
	}
	if window, ok := strings.CutPrefix(name, "env.windows."); ok {
		if d, set := v.Env.Windows[window]; set {
			return d.String(), check.Set
		}
		return "", check.Unset
	}
	if who, ok := strings.CutPrefix(name, "email."); ok {
		if value, there := v.Emails[who]; there {
			return known(value)
		}
		return "", check.Unknown
	}
	if key, ok := strings.CutPrefix(name, "env."); ok {
		if value, set := v.Env.Vars[key]; set {
			return known(value)
		}
		return "", check.Unset
	}
	return "", check.Unknown
}

func known(value string) (string, check.Known) {
	if value == "" {
		return "", check.Unset
	}
	return value, check.Set
}

// Names lists the variables, sorted.
func (v Vars) Names() []string {
	names := []string{
		"project", "env.name", "env.protected", "env.url", "env.database", "env.redis", "release.version", "release.revision",
		"previous.version", "previous.revision", "run.id", "run.started_at", "run.starter",
	}
	for who := range v.Emails {
		names = append(names, "email."+who)
	}
	for key := range v.Env.Vars {
		names = append(names, "env."+key)
	}
	for key := range maps.Keys(v.Env.Windows) {
		names = append(names, "env.windows."+key)
	}
	slices.Sort(names)
	return names
}
