package cli

import (
	"fmt"
	"strings"
)

// needed says what to do about what a plan misses: one sentence for each place
// where it can be given.
func needed(environment string, missing []string) []string {
	var targets, roles, addresses, out []string
	release, previous := false, false
	for _, name := range missing {
		switch role, isRole := strings.CutPrefix(name, "roles."); {
		case isRole:
			roles = append(roles, role)
		case strings.HasPrefix(name, "email."):
			addresses = append(addresses, strings.TrimPrefix(name, "email."))
		case strings.HasPrefix(name, "release."):
			release = true
		case strings.HasPrefix(name, "previous."):
			previous = true
		default:
			targets = append(targets, name)
		}
	}
	if release {
		out = append(out, "say which version: --release VERSION")
	}
	if previous {
		out = append(out, fmt.Sprintf("record what is live now: allclear adopt %s VERSION", environment))
	}
	if len(roles) > 0 {
		out = append(out, "give somebody the role in allclear.yaml: "+strings.Join(roles, ", "))
	}
	if len(addresses) > 0 {
		out = append(out, "write email: under people in allclear.yaml for everybody of: "+strings.Join(addresses, ", "))
	}
	if len(targets) > 0 {
		out = append(out, fmt.Sprintf("set for %s in allclear.yaml: %s", environment, strings.Join(targets, ", ")))
	}
	return out
}
