// Package config reads allclear.yaml: what differs per environment, who the
// people are, and what they may do. Every mistake in it is reported at once, with
// its place.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/secret"
)

// Config is the file as understood.
type Config struct {
	Project       string                 `param:"project" doc:"name of what is deployed"`
	Checklist     string                 `param:"checklist" doc:"the checklist's file" default:"DEPLOYMENT_CHECKLIST.md"`
	People        map[string]Person      `param:"people" doc:"who takes part, by a short name" default:""`
	Roles         map[string][]string    `param:"roles" doc:"people by role" default:""`
	Policy        Policy                 `param:"policy" doc:"what people may do" default:""`
	Changes       Changes                `param:"changes" doc:"what when: may ask about the change itself" default:""`
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
	Hosts       map[string]Host          `param:"hosts" doc:"machines and containers that on: and hosts: name" default:""`
	Groups      map[string][]string      `param:"groups" doc:"names for several hosts, for on:" default:""`
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

// Changes says what counts as a change of which kind.
type Changes struct {
	Kinds      map[string][]string `param:"kinds" doc:"patterns of files by kind, for changed.KIND; those of a built-in kind stand in the place of its own" default:""`
	Advisories []string            `param:"advisories" doc:"reports of scanners about the dependencies that are live, for changed.advisories" default:""`
}

// Notifications says who is told what.
type Notifications struct {
	On []string `param:"on" doc:"what people are told" default:"" enum:"held,in_doubt,your_turn,done"`
	To []string `param:"to" doc:"webhook:URL, webhook:env:NAME, file:PATH, slack:#channel, slack-webhook:env:NAME, teams:env:NAME, pagerduty:env:NAME or email:ADDRESS" default:""`
	// The rest is what the type notify has under the same names.
	Slack     check.Value `param:"slack" doc:"how Slack is reached, as in the type notify" default:""`
	Email     check.Value `param:"email" doc:"how mail is sent, as in the type notify" default:""`
	PagerDuty check.Value `param:"pagerduty" doc:"what PagerDuty is told, as in the type notify" default:""`
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
	policy := child(node, "policy")
	if policy == nil || child(policy, "starter_may_sign") == nil {
		c.Policy.StarterMaySign = []string{defaultStarterRole}
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

// defaultStarterRole is the role that whoever starts a run may sign.
const defaultStarterRole = "Deployment Engineer"

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

// Emails gives the mail address of every person, and for every role the addresses
// of its people with commas between them. An address that is missing leaves
// nothing: a message to a role must not pass somebody over.
func (c *Config) Emails() map[string]string {
	out := map[string]string{}
	for _, role := range c.RoleNames() {
		var addresses []string
		for _, id := range slices.Sorted(maps.Keys(c.People)) {
			if slices.Contains(c.RolesOf(id), role) {
				addresses = append(addresses, c.People[id].Email)
			}
		}
		if !slices.Contains(addresses, "") {
			out[role] = strings.Join(addresses, ",")
		} else {
			out[role] = ""
		}
	}
	for id, person := range c.People {
		out[id] = person.Email
	}
	return out
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
