package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/crypto/ssh"

	"allclear.dev/allclear/internal/diag"
)

// people holds the rules for people: names that are safe everywhere, and keys that
// each belong to one person, or "different people" would mean nothing.
func (v *validator) people(c *Config) {
	owner := map[string]string{}
	for _, id := range slices.Sorted(maps.Keys(c.People)) {
		v.short([]string{"people"}, "person", id)
		person, path := c.People[id], []string{"people", id}
		for i, line := range person.Keys {
			where := append(slices.Clone(path), "key", strconv.Itoa(i))
			key, err := publicKey(line)
			if err != nil {
				p := v.at(where, "the key of %s: %v", id, err)
				p.Hint, p.Line = "paste the line of the .pub file", ""
				continue
			}
			switch other := owner[key]; other {
			case "":
				owner[key] = id
			case id:
				v.at(where, "the key of %s is given twice", id)
			default:
				v.at(where, "%s and %s have the same key: a key belongs to one person", other, id)
			}
		}
		if person.Email != "" && !validEmail(person.Email) {
			v.at(append(slices.Clone(path), "email"), "email: %q is not an address", person.Email)
		}
		v.once(append(slices.Clone(path), "roles"), person.Roles)
	}
}

// publicKey gives the bytes by which two lines of authorized_keys are one key.
func publicKey(line string) (string, error) {
	if strings.Contains(line, "PRIVATE KEY") {
		return "", errors.New("this is a private key: it does not belong here, and must be replaced now that it has been written down")
	}
	key, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil || len(rest) > 0 {
		return "", errors.New("not a public SSH key")
	}
	return string(key.Marshal()), nil
}

// unclear says why two names that look alike could be different; "" if they
// cannot.
func unclear(name string) string {
	for _, r := range name {
		if !unicode.IsGraphic(r) {
			return fmt.Sprintf("holds the invisible character U+%04X", r)
		}
	}
	switch strings.Join(strings.Fields(name), " ") {
	case "":
		return "is empty"
	case name:
		return ""
	}
	return "has a space at an end or two in a row"
}

// roles holds that every role's people exist, and that no two roles look alike.
func (v *validator) roles(c *Config) {
	people := slices.Sorted(maps.Keys(c.People))
	for _, role := range slices.Sorted(maps.Keys(c.Roles)) {
		v.once([]string{"roles", role}, c.Roles[role])
		for i, id := range c.Roles[role] {
			if slices.Contains(people, id) {
				continue
			}
			p := v.at([]string{"roles", role, strconv.Itoa(i)}, "role %q: there is no person %q", role, id)
			p.Allowed = people
			suggest(p, id, people)
		}
	}
	spelt := map[string]string{}
	each := func(name string, report func(format string, args ...any) *diag.Problem) {
		if problem := unclear(name); problem != "" {
			report("role %q: the name %s", name, problem)
			return
		}
		folded := strings.ToLower(name)
		if other := spelt[folded]; other != "" && other != name {
			report("role %q is also written %q: use one spelling", name, other)
			return
		}
		spelt[folded] = name
	}
	for _, role := range slices.Sorted(maps.Keys(c.Roles)) {
		each(role, func(format string, args ...any) *diag.Problem {
			return v.key([]string{"roles"}, role, format, args...)
		})
	}
	for _, id := range people {
		for i, role := range c.People[id].Roles {
			each(role, func(format string, args ...any) *diag.Problem {
				return v.at([]string{"people", id, "roles", strconv.Itoa(i)}, format, args...)
			})
		}
	}
}

// once holds that a list names nothing twice.
func (v *validator) once(path, list []string) {
	for i, name := range list {
		if slices.Index(list, name) < i {
			v.at(append(slices.Clone(path), strconv.Itoa(i)), "%q is listed twice", name)
		}
	}
}

func (v *validator) policy(c *Config) {
	v.positive(c.Policy.SignatureExpires, "policy", "signature_expires")
	v.positive(c.Policy.WaiveMax, "policy", "waive_max")
	v.known(c, c.Policy.StarterMaySign, "policy", "starter_may_sign")
	v.known(c, c.Policy.WaiveRoles, "policy", "waive_roles")
	if v.given("policy", "waive_roles") && len(c.Policy.WaiveRoles) == 0 {
		v.at([]string{"policy", "waive_roles"}, "waive_roles names nobody, and an empty list does not mean that nobody may waive").Hint = "name a role, or leave it out: then anyone listed may"
	}
}

// known holds that a role exists, as soon as there are any: a slip in it would
// otherwise give the right to nobody.
func (v *validator) known(c *Config, roles []string, path ...string) {
	names := c.RoleNames()
	v.once(path, roles)
	for i, role := range roles {
		if role == defaultStarterRole || len(names) == 0 || slices.Contains(names, role) {
			continue
		}
		p := v.at(append(slices.Clone(path), strconv.Itoa(i)), "nobody has the role %q", role)
		p.Allowed = names
		suggest(p, role, names)
	}
}

func suggest(p *diag.Problem, name string, names []string) {
	if near := diag.Nearest(name, names); near != "" {
		p.Hint = "did you mean " + strconv.Quote(near) + "?"
	}
}
