// Package config reads allclear.yaml: what differs per environment, who the
// people are, and what they may do. Every mistake in it is reported at once, with
// its place.
package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
	"golang.org/x/crypto/ssh"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/diag"
	"allclear.dev/allclear/internal/secret"
)

// maxSize bounds the file, in bytes.
const maxSize = 1 << 20

// Config is the file as understood.
type Config struct {
	Project       string                 `param:"project" doc:"name of what is deployed"`
	Checklist     string                 `param:"checklist" doc:"the checklist's file" default:"DEPLOYMENT_CHECKLIST.md"`
	People        map[string]Person      `param:"people" doc:"who takes part, by a short name" default:""`
	Roles         map[string][]string    `param:"roles" doc:"people by role" default:""`
	Policy        Policy                 `param:"policy" doc:"what people may do" default:""`
	Environments  map[string]Environment `param:"environments" doc:"where it is deployed to, by name"`
	Notifications Notifications          `param:"notifications" doc:"who is told what" default:""`
	// Names are the environments in the order of the file.
	Names []string
	// Digest is the SHA-256 of the file; PolicyDigest that of people, roles and
	// policy alone.
	Digest, PolicyDigest string
}

// Person is somebody who may attest or sign.
type Person struct {
	Name  string   `param:"name" doc:"the full name" default:""`
	Keys  []string `param:"key" doc:"public SSH keys, as in authorized_keys" default:""`
	Roles []string `param:"roles" doc:"the roles this person has" default:""`
	Email string   `param:"email" doc:"address for messages" default:""`
}

// Policy says what people may do.
type Policy struct {
	StarterMaySign   []string      `param:"starter_may_sign" doc:"roles that the person who started a run may sign" default:""`
	Distinct         *bool         `param:"distinct" doc:"demand different people for the sign-offs of a gate" default:"true"`
	SignatureExpires time.Duration `param:"signature_expires" doc:"how long a signature stands" default:"24h"`
	WaiveRoles       []string      `param:"waive_roles" doc:"roles that may waive; anyone listed when left out" default:""`
	WaiveMax         time.Duration `param:"waive_max" doc:"the longest waiver" default:"72h"`
	ProtectedBranch  string        `param:"protected_branch" doc:"branch from which people, roles and policy are read" default:""`
}

// Environment is a place that is deployed to. What is not set may be asked for in
// a checklist; the plan then shows that it is needed.
type Environment struct {
	Name        string
	URL         string                   `param:"url" doc:"address of the service" default:""`
	Database    secret.Ref               `param:"database" doc:"reference to the database's URL" default:""`
	Redis       string                   `param:"redis" doc:"address of Redis, redis://host:port; its password is a parameter of the type" default:""`
	Vars        map[string]string        `param:"vars" doc:"values for ${env.NAME}" default:""`
	Windows     map[string]time.Duration `param:"windows" doc:"lengths for ${env.windows.NAME}" default:""`
	Maintenance Maintenance              `param:"maintenance" doc:"how checks pass the maintenance page" default:""`
	Lease       Lease                    `param:"lease" doc:"where the right to deploy is kept" default:""`
	Protected   *bool                    `param:"protected" doc:"ask for the environment's name before a run" default:"true"`
	Data        string                   `param:"data" doc:"data directory; .allclear/NAME when left out" default:""`
}

// Maintenance is the header that passes the maintenance page.
type Maintenance struct {
	Header string     `param:"bypass_header" doc:"name of the header" default:""`
	Token  secret.Ref `param:"bypass_token" doc:"reference to its value" default:""`
}

// Lease says where the right to deploy is kept.
type Lease struct {
	Kind     string     `param:"kind" doc:"none keeps it in the data directory only" default:"none" enum:"none,postgres"`
	Database secret.Ref `param:"database" doc:"reference to the database's URL; the environment's when left out" default:""`
}

// Notifications says who is told what.
type Notifications struct {
	On []string `param:"on" doc:"what people are told" default:"" enum:"held,in_doubt,your_turn,done"`
	To []string `param:"to" doc:"webhook:URL, webhook:env:NAME or file:PATH" default:""`
}

// Parse reads the file. Without problems of the severity error the configuration
// can be used.
func Parse(file string, src []byte) (*Config, diag.Problems) {
	lines := strings.Split(strings.ReplaceAll(string(src), "\r\n", "\n"), "\n")
	line := func(n int) string {
		if n < 1 || n > len(lines) {
			return ""
		}
		return lines[n-1]
	}
	node, problems := root(file, src, line)
	if len(problems) > 0 {
		return nil, problems
	}
	c, problems := check.Read[Config]("allclear.yaml", node, check.Source{File: file, Lines: line})
	v := &validator{file: file, line: line, root: node, problems: problems}
	v.validate(&c)
	if v.problems.HasErrors() {
		return nil, v.problems.Sorted()
	}
	c.complete(node, src)
	return &c, v.problems.Sorted()
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// root parses the YAML and refuses what a configuration does not need: aliases,
// tags, repeated keys, several documents.
func root(file string, src []byte, line func(int) string) (*yaml.Node, diag.Problems) {
	whole := func(format string, args ...any) diag.Problems {
		return diag.Problems{{Pos: diag.Pos{File: file}, Message: fmt.Sprintf(format, args...)}}
	}
	if len(src) > maxSize {
		return nil, whole("the file has %d bytes, more than %d", len(src), maxSize)
	}
	var doc yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(src))
	if err := decoder.Decode(&doc); err != nil {
		p := diag.Problem{Pos: diag.Pos{File: file}, Message: strings.TrimPrefix(err.Error(), "yaml: ")}
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			fmt.Sscan(m[1], &p.Pos.Line)
			p.Pos.Col, p.Line = 1, line(p.Pos.Line)
		}
		return nil, diag.Problems{p}
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, whole("the file must hold a mapping: project, people, environments")
	}
	var problems diag.Problems
	plainYAML(doc.Content[0], 0, func(n *yaml.Node, message string) {
		problems = append(problems, diag.Problem{Pos: diag.Pos{File: file, Line: n.Line, Col: n.Column}, Message: message, Line: line(n.Line)})
	})
	return doc.Content[0], problems
}

const maxDepth = 20

// plainYAML reports what makes YAML more than a tree of plain values.
func plainYAML(n *yaml.Node, depth int, report func(*yaml.Node, string)) {
	switch {
	case depth > maxDepth:
		report(n, fmt.Sprintf("nested deeper than %d", maxDepth))
		return
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		report(n, "anchors and aliases are not used here: write the value out")
		return
	case strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") || n.Style&yaml.TaggedStyle != 0:
		report(n, "tags are not used here")
		return
	}
	seen := map[string]bool{}
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			if seen[child.Value] {
				report(child, fmt.Sprintf("%q is given twice", child.Value))
			}
			seen[child.Value] = true
		}
		plainYAML(child, depth+1, report)
	}
}

// complete fills what follows from the rest.
func (c *Config) complete(node *yaml.Node, src []byte) {
	environments := child(node, "environments")
	for i := 0; environments != nil && i+1 < len(environments.Content); i += 2 {
		name := environments.Content[i].Value
		env := c.Environments[name]
		env.Name = name
		c.Environments[name] = env
		c.Names = append(c.Names, name)
	}
	if len(c.Policy.StarterMaySign) == 0 {
		c.Policy.StarterMaySign = []string{"Deployment Engineer"}
	}
	if c.Policy.SignatureExpires == 0 {
		c.Policy.SignatureExpires = 24 * time.Hour
	}
	if c.Policy.WaiveMax == 0 {
		c.Policy.WaiveMax = 72 * time.Hour
	}
	c.Digest, c.PolicyDigest = digest(src), c.policyDigest()
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func (c *Config) policyDigest() string {
	text, err := json.Marshal(struct {
		People map[string]Person
		Roles  map[string][]string
		Policy Policy
	}{c.People, c.Roles, c.Policy})
	if err != nil { // strings, lists and durations only
		return ""
	}
	return digest(text)
}

func child(node *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i+1]
		}
	}
	return nil
}

// WithPeopleOf gives the configuration with the people, roles and policy of
// another one: those of the protected branch, which nobody changes alone.
func (c *Config) WithPeopleOf(other *Config) *Config {
	out := *c
	out.People, out.Roles, out.Policy, out.PolicyDigest = other.People, other.Roles, other.Policy, other.PolicyDigest
	return &out
}

// RoleNames lists every role, sorted.
func (c *Config) RoleNames() []string {
	set := map[string]bool{}
	for role := range c.Roles {
		set[role] = true
	}
	for _, p := range c.People {
		for _, role := range p.Roles {
			set[role] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// UnfilledRoles lists the roles that nobody has, sorted.
func (c *Config) UnfilledRoles() []string {
	return slices.DeleteFunc(c.RoleNames(), func(role string) bool {
		return len(c.Roles[role]) > 0 || slices.ContainsFunc(slices.Collect(maps.Values(c.People)), func(p Person) bool {
			return slices.Contains(p.Roles, role)
		})
	})
}

// RolesOf lists a person's roles, sorted.
func (c *Config) RolesOf(person string) []string {
	set := map[string]bool{}
	for _, role := range c.People[person].Roles {
		set[role] = true
	}
	for role, people := range c.Roles {
		if slices.Contains(people, person) {
			set[role] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// IsDistinct reports whether the sign-offs of a gate need different people.
func (p Policy) IsDistinct() bool { return p.Distinct == nil || *p.Distinct }

// IsProtected reports whether a run must be confirmed.
func (e Environment) IsProtected() bool { return e.Protected == nil || *e.Protected }

// validator holds the rules between values.
type validator struct {
	file     string
	line     func(int) string
	root     *yaml.Node
	problems diag.Problems
}

// at reports a mistake at a key path, or at the nearest part of it that exists.
func (v *validator) at(path []string, format string, args ...any) *diag.Problem {
	node, where := v.root, v.root
	for _, key := range path {
		next := child(node, key)
		if next == nil {
			break
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == key {
				where = node.Content[i]
			}
		}
		if next.Kind == yaml.ScalarNode {
			where = next
		}
		node = next
	}
	v.problems = append(v.problems, diag.Problem{
		Pos: diag.Pos{File: v.file, Line: where.Line, Col: where.Column}, Width: max(len(where.Value), 1),
		Message: fmt.Sprintf(format, args...), Line: v.line(where.Line),
	})
	return &v.problems[len(v.problems)-1]
}

var shortName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

func (v *validator) validate(c *Config) {
	if node := child(v.root, "environments"); node != nil && len(c.Environments) == 0 && !v.problems.HasErrors() {
		v.at([]string{"environments"}, "there must be at least one environment")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Environments)) {
		if !shortName.MatchString(name) {
			v.at([]string{"environments", name}, "environment %q: use small letters, digits, - and _", name)
		}
		for variable := range c.Environments[name].Vars {
			if slices.Contains(reserved(), variable) {
				v.at([]string{"environments", name, "vars", variable}, "%q is a key of the environment itself", variable)
			}
		}
	}
	people := slices.Sorted(maps.Keys(c.People))
	for _, id := range people {
		if !shortName.MatchString(id) {
			v.at([]string{"people", id}, "person %q: use small letters, digits, - and _", id)
		}
		for _, key := range c.People[id].Keys {
			if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key)); err != nil {
				v.at([]string{"people", id, "key"}, "the key of %s is not a public SSH key", id).Hint = "paste the line of the .pub file"
			}
		}
	}
	for _, role := range slices.Sorted(maps.Keys(c.Roles)) {
		for _, id := range c.Roles[role] {
			if !slices.Contains(people, id) {
				p := v.at([]string{"roles", role}, "role %q: there is no person %q", role, id)
				p.Allowed = people
				if near := diag.Nearest(id, people); near != "" {
					p.Hint = fmt.Sprintf("did you mean %q?", near)
				}
			}
		}
	}
	for _, to := range c.Notifications.To {
		if !strings.HasPrefix(to, "webhook:") && !strings.HasPrefix(to, "file:") {
			v.at([]string{"notifications", "to"}, "notifications go to webhook:URL, webhook:env:NAME or file:PATH, not %q", to)
		}
	}
}

// reserved are the names under env. that have a key of their own.
func reserved() []string { return []string{"name", "url", "database", "redis", "windows"} }
