package config

import (
	"fmt"
	"maps"
	"net/mail"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"go.yaml.in/yaml/v4"

	"allclear.dev/allclear/internal/diag"
	"allclear.dev/allclear/internal/secret"
)

// validator holds the rules between values.
type validator struct {
	text     source
	root     *yaml.Node
	problems diag.Problems
}

// at reports a mistake at a path of keys and list indexes, or at the nearest part
// of it that exists.
func (v *validator) at(path []string, format string, args ...any) *diag.Problem {
	where := v.find(path)
	v.problems = append(v.problems, v.text.at(where.Line, where.Column, len(where.Value), fmt.Sprintf(format, args...)))
	return &v.problems[len(v.problems)-1]
}

// find gives the value at a path if it is a plain one, its key otherwise. A plain
// value stands for a list of one.
func (v *validator) find(path []string) *yaml.Node {
	node, where := v.root, v.root
	for _, step := range path {
		if i, err := strconv.Atoi(step); err == nil && node.Kind == yaml.SequenceNode && i < len(node.Content) {
			node = node.Content[i]
			where = node
			continue
		}
		next := child(node, step)
		if next == nil {
			break
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				where = node.Content[i]
			}
		}
		if next.Kind == yaml.ScalarNode && next.Value != "" {
			where = next
		}
		node = next
	}
	return where
}

// key reports a mistake in a key itself.
func (v *validator) key(parent []string, key, format string, args ...any) *diag.Problem {
	node := v.root
	for _, step := range parent {
		if next := child(node, step); next != nil {
			node = next
		}
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if k := node.Content[i]; k.Value == key {
			v.problems = append(v.problems, v.text.at(k.Line, k.Column, len(k.Value), fmt.Sprintf(format, args...)))
			return &v.problems[len(v.problems)-1]
		}
	}
	return v.at(parent, format, args...)
}

// given reports whether a key was written.
func (v *validator) given(path ...string) bool {
	node := v.root
	for _, step := range path {
		if node = child(node, step); node == nil {
			return false
		}
	}
	return true
}

func (v *validator) validate(c *Config) {
	v.project(c)
	v.people(c)
	v.roles(c)
	v.policy(c)
	v.changes(c.Changes)
	v.environments(c)
	v.notifications(c.Notifications)
}

func (v *validator) project(c *Config) {
	if v.given("project") && strings.TrimSpace(c.Project) == "" {
		v.at([]string{"project"}, "project: the name is empty")
	}
	if v.given("checklist") && !filepath.IsLocal(filepath.FromSlash(c.Checklist)) {
		v.at([]string{"checklist"}, "checklist: %q is not a path inside the project", c.Checklist)
	}
}

func (v *validator) environments(c *Config) {
	if v.given("environments") && len(c.Environments) == 0 {
		v.at([]string{"environments"}, "there must be at least one environment")
	}
	data := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Environments)) {
		v.short([]string{"environments"}, "environment", name)
		env := c.Environments[name]
		v.environment([]string{"environments", name}, env)
		folder := filepath.Clean(filepath.FromSlash(env.Data))
		if env.Data == "" {
			folder = filepath.Join(".allclear", name)
		}
		if other := data[folder]; other != "" {
			v.at([]string{"environments", name, "data"}, "data: %s keeps its records there already; every environment needs its own directory", other)
		}
		data[folder] = name
	}
}

// changes holds that kinds have names for conditions and patterns that are some.
func (v *validator) changes(c Changes) {
	for _, kind := range slices.Sorted(maps.Keys(c.Kinds)) {
		parent := []string{"changes", "kinds"}
		switch {
		case !variableName.MatchString(kind) || strings.Contains(kind, "-"):
			v.key(parent, kind, "kinds: %q cannot stand in a condition: use letters, digits and _", kind)
		case kind == "files" || kind == "advisories":
			v.key(parent, kind, "kinds: changed.%s is there already and is no kind of file", kind)
		case len(c.Kinds[kind]) == 0:
			v.key(parent, kind, "kinds: %s has no pattern", kind)
		}
		for i, glob := range c.Kinds[kind] {
			if !doublestar.ValidatePattern(glob) || strings.HasPrefix(glob, "/") {
				v.at(append(parent, kind, strconv.Itoa(i)), "kinds: %q is no pattern of files below the checkout", glob).Hint = "such as deploy/** or **/*.tf"
			}
		}
	}
	for i, file := range c.Advisories {
		if !filepath.IsLocal(filepath.FromSlash(file)) {
			v.at([]string{"changes", "advisories", strconv.Itoa(i)}, "advisories: %q is not a path inside the project", file)
		}
	}
}

var shortName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

// short holds that a key is a name which is safe in paths, variables and commands.
func (v *validator) short(parent []string, what, name string) {
	if !shortName.MatchString(name) {
		v.key(parent, name, "%s %q: use small letters, digits, - and _", what, name)
	}
}

func (v *validator) environment(path []string, env Environment) {
	at := func(keys ...string) []string { return append(slices.Clone(path), keys...) }
	if problem := badURL(env.URL); problem != "" {
		v.at(at("url"), "url: %s", problem)
	}
	if end := strings.LastIndex(env.Redis, "@"); end >= 0 { // a password may hold an @
		p := v.at(at("redis"), "redis: an address holds no password")
		p.Hint, p.Line = "write redis://"+env.Redis[end+1:]+"; the password is a parameter of the type", ""
	}
	v.variables(path, env)
	v.hosts(path, env.Hosts)
	v.groups(path, env)
	for name, length := range env.Windows {
		if length <= 0 {
			v.at(at("windows", name), "windows: %s must be longer than nothing", name)
		}
	}
	m := env.Maintenance
	switch {
	case m.Header != "" && !headerName.MatchString(m.Header):
		v.at(at("maintenance", "bypass_header"), "bypass_header: %q is not a header's name", m.Header)
	case m.Header != "" && m.Token.IsZero() && !v.given(at("maintenance", "bypass_token")...):
		v.at(at("maintenance", "bypass_header"), "bypass_header needs bypass_token, a reference to its value")
	case m.Header == "" && !m.Token.IsZero():
		v.at(at("maintenance", "bypass_token"), "bypass_token needs bypass_header, the header's name")
	}
	if env.Lease.Kind == "postgres" && env.Lease.Database.IsZero() && env.Database.IsZero() && !v.given(at("lease", "database")...) {
		v.at(at("lease", "kind"), "a lease of the kind postgres needs a database")
	}
}

var (
	headerName   = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$") // RFC 9110 5.6.2, token
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)
)

// variables holds that every name can stand in ${env.NAME} and means one thing.
func (v *validator) variables(path []string, env Environment) {
	for section, names := range map[string][]string{
		"vars": slices.Collect(maps.Keys(env.Vars)), "windows": slices.Collect(maps.Keys(env.Windows)),
	} {
		parent := append(slices.Clone(path), section)
		for _, name := range names {
			switch {
			case !variableName.MatchString(name):
				v.key(parent, name, "%s: %q cannot be a variable's name: use letters, digits, - and _", section, name)
			case section == "vars" && slices.Contains(reserved(), name):
				v.key(parent, name, "%q is a key of the environment itself", name)
			}
		}
	}
}

// reserved are the names under env. that have a key of their own.
func reserved() []string {
	return []string{"name", "url", "database", "redis", "windows"}
}

// badURL says what is wrong with an address of a service; nothing is not wrong.
func badURL(text string) string {
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "not an address: want https://HOST/PATH"
	case u.Scheme != "http" && u.Scheme != "https":
		return "want an address that begins with https:// or http://"
	case u.Hostname() == "":
		return "the address has no host"
	case u.User != nil:
		return "an address holds no name and password: use a secret reference in the checklist"
	}
	return ""
}

func (v *validator) notifications(n Notifications) {
	on, to := v.given("notifications", "on"), v.given("notifications", "to")
	if v.given("notifications") && on != to {
		v.at([]string{"notifications"}, "notifications need both on and to; with one of them nobody is told anything")
	}
	for i, target := range n.To {
		path := []string{"notifications", "to", strconv.Itoa(i)}
		kind, rest, _ := strings.Cut(target, ":")
		switch {
		case kind == "file" && rest != "":
		case kind == "webhook" && badURL(rest) == "" && rest != "":
		case slices.Contains([]string{"webhook", "slack-webhook", "teams", "pagerduty"}, kind) && isRef(rest):
		case slices.Contains([]string{"slack", "email"}, kind) && rest != "":
		case target != "":
			p := v.at(path, "notifications: this is no place for messages")
			p.Allowed = []string{"slack:#channel", "slack-webhook:env:NAME", "teams:env:NAME", "pagerduty:env:NAME", "email:ADDRESS", "webhook:https://…", "webhook:env:NAME", "webhook:file:PATH", "file:PATH"}
		}
	}
}

func isRef(text string) bool {
	_, err := secret.ParseRef(text)
	return err == nil
}

// positive holds that a length of time that was written is one.
func (v *validator) positive(length time.Duration, path ...string) {
	if v.given(path...) && length == 0 {
		v.at(path, "%s must be a time longer than nothing, such as 24h", path[len(path)-1])
	}
}

func validEmail(text string) bool {
	address, err := mail.ParseAddress(text)
	return err == nil && address.Address == text
}
