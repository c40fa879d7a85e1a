package prometheus

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// routing is what Alertmanager's configuration says about who is notified.
// https://prometheus.io/docs/alerting/latest/configuration/
type routing struct {
	Route     *route                 `yaml:"route"`
	Receivers []map[string]yaml.Node `yaml:"receivers"`
}

type route struct {
	Receiver string            `yaml:"receiver"`
	Match    map[string]string `yaml:"match"`
	MatchRE  map[string]string `yaml:"match_re"`
	Matchers []string          `yaml:"matchers"`
	Continue bool              `yaml:"continue"`
	Routes   []*route          `yaml:"routes"`
}

// maxRoutes bounds how deep routes are followed.
const maxRoutes = 30

// readRouting reads the configuration as Alertmanager tells of it.
func readRouting(text string) (*routing, error) {
	var r routing
	if err := yaml.Unmarshal([]byte(text), &r); err != nil {
		return nil, fmt.Errorf("read Alertmanager's configuration: %w", err)
	}
	if r.Route == nil || r.Route.Receiver == "" || len(r.Receivers) == 0 {
		return nil, errors.New("Alertmanager's configuration has no route or no receivers")
	}
	return &r, nil
}

// notifies tells whether a receiver has any integration; the customary "null" has
// none.
func (r *routing) notifies(receiver string) bool {
	for _, one := range r.Receivers {
		name := one["name"]
		if name.Value != receiver {
			continue
		}
		for key, node := range one {
			if strings.HasSuffix(key, "_configs") && len(node.Content) > 0 {
				return true
			}
		}
	}
	return false
}

// receivers gives who is told of an alert with these labels, as Alertmanager
// finds them: the deepest route that matches, and its siblings after continue.
func (r *routing) receivers(labels map[string]string) ([]string, error) {
	return r.Route.follow(labels, r.Route.Receiver, 0)
}

func (r *route) follow(labels map[string]string, inherited string, depth int) ([]string, error) {
	if depth > maxRoutes {
		return nil, fmt.Errorf("Alertmanager's routes are more than %d deep", maxRoutes)
	}
	ok, err := r.matches(labels)
	if err != nil || !ok {
		return nil, err
	}
	if r.Receiver != "" {
		inherited = r.Receiver
	}
	var out []string
	for _, child := range r.Routes {
		found, err := child.follow(labels, inherited, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
		if len(found) > 0 && !child.Continue {
			break
		}
	}
	if len(out) == 0 {
		out = []string{inherited}
	}
	return out, nil
}

// matches tells whether all of a route's matchers hold. A label that is not there
// is an empty one.
func (r *route) matches(labels map[string]string) (bool, error) {
	for name, value := range r.Match {
		if labels[name] != value {
			return false, nil
		}
	}
	for name, value := range r.MatchRE {
		if ok, err := whole(value, labels[name]); err != nil || !ok {
			return false, err
		}
	}
	for _, text := range r.Matchers {
		for _, m := range splitMatchers(text) {
			if ok, err := matcherHolds(m, labels); err != nil || !ok {
				return false, err
			}
		}
	}
	return true, nil
}

func whole(pattern, text string) (bool, error) {
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		return false, fmt.Errorf("Alertmanager's configuration: %.60q is no regular expression", pattern)
	}
	return re.MatchString(text), nil
}

// splitMatchers splits {a="b", c=~"d"} at its commas.
func splitMatchers(text string) []string {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "{") && strings.HasSuffix(text, "}") {
		text = text[1 : len(text)-1]
	}
	var out []string
	start, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quoted:
			i++
		case text[i] == '"':
			quoted = !quoted
		case text[i] == ',' && !quoted:
			out, start = append(out, text[start:i]), i+1
		}
	}
	if rest := text[start:]; strings.TrimSpace(rest) != "" {
		out = append(out, rest)
	}
	return out
}

var matcher = regexp.MustCompile(`(?s)^\s*("(?:[^"\\]|\\.)*"|[^\s=!~"]+)\s*(=~|!~|!=|=)\s*(.*?)\s*$`)

func matcherHolds(text string, labels map[string]string) (bool, error) {
	m := matcher.FindStringSubmatch(text)
	if m == nil {
		return false, fmt.Errorf("Alertmanager's configuration: the matcher %.60q cannot be read", text)
	}
	got, want := labels[unquote(m[1])], unquote(m[3])
	switch m[2] {
	case "=":
		return got == want, nil
	case "!=":
		return got != want, nil
	}
	ok, err := whole(want, got)
	return ok == (m[2] == "=~"), err
}

func unquote(text string) string {
	if inner, err := strconv.Unquote(text); err == nil && strings.HasPrefix(text, `"`) {
		return inner
	}
	return text
}
