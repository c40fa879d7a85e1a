package openapi

import (
	"maps"
	"slices"
)

// visible tells whether a property is part of what goes in a direction.
func visible(a *api, n *node, d direction) bool {
	s, err := a.shapeOf(n)
	if err != nil {
		return true // the comparison will say so
	}
	return !(d == request && s.hides == "readOnly" || d == answer && s.hides == "writeOnly")
}

// objects compares properties.
func (c *comparer) objects(where string, d direction, was, is *shape) {
	for _, name := range slices.Sorted(maps.Keys(was.properties)) {
		at := where + "." + name
		if !visible(c.old, was.properties[name], d) {
			continue
		}
		now, there := is.properties[name]
		switch {
		case !there || !visible(c.now, now, d):
			c.add(string(d)+"-property-removed", "%s is gone", at)
			continue
		case d == request && slices.Contains(is.required, name) && !slices.Contains(was.required, name):
			c.add("request-property-became-required", "%s is now required", at)
		case d == answer && slices.Contains(was.required, name) && !slices.Contains(is.required, name):
			c.add("response-property-became-optional", "%s may now be missing", at)
		}
		c.schema(at, d, was.properties[name], now)
	}
	if d == request {
		for _, name := range is.required {
			if _, had := was.properties[name]; !had && !slices.Contains(was.required, name) && visible(c.now, is.properties[name], d) {
				c.add("new-required-request-property", "%s is new and required", where+"."+name)
			}
		}
	}
	c.additional(where, d, was, is)
}

// additional compares what is said of properties without a name.
func (c *comparer) additional(where string, d direction, was, is *shape) {
	open := func(n *node) bool { return n.str() != "false" }
	switch {
	case d == request && open(was.additional) && !open(is.additional):
		c.add("request-additional-properties-forbidden", "%s takes no other properties any more", where)
	case was.additional.schema() != nil && is.additional.schema() != nil:
		c.schema(where+".*", d, was.additional, is.additional)
	case d == request && is.additional.schema() != nil && open(was.additional):
		c.add("request-additional-properties-narrowed", "%s takes other properties only of a certain form now", where)
	case d == answer && was.additional.schema() != nil && is.additional.schema() == nil && open(is.additional):
		c.add("response-additional-properties-opened", "%s may now have other properties of any form", where)
	}
}

// schema gives a node that is a schema with something in it, else nil.
func (n *node) schema() *node {
	if n == nil || !n.isMap || len(n.fields) == 0 {
		return nil
	}
	return n
}

// eithers compares oneOf and anyOf. Alternatives are known by their reference or
// their place.
func (c *comparer) eithers(where string, d direction, was, is *shape) {
	for _, key := range []string{"oneOf", "anyOf"} {
		old, now := alternativesOf(was.either[key]), alternativesOf(is.either[key])
		for _, name := range slices.Sorted(maps.Keys(old)) {
			if now[name] != nil {
				c.schema(where+" ("+name+")", d, old[name], now[name])
			} else if d == request && len(now) > 0 {
				c.add("request-alternative-removed", "%s no longer takes %s", where, name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(now)) {
			switch {
			case old[name] != nil:
			case d == answer && len(old) > 0:
				c.add("response-alternative-added", "%s may now be %s", where, name)
			case len(old) == 0 && d == request:
				c.add("request-alternatives-introduced", "%s must now be one of several forms", where)
				return
			}
		}
		if d == answer && len(old) > 0 && len(now) == 0 {
			c.add("response-alternatives-opened", "%s is no longer one of certain forms", where)
		}
	}
}

func alternativesOf(list []*node) map[string]*node {
	out := map[string]*node{}
	for _, n := range list {
		name := n.get("$ref").str()
		if name == "" {
			name = n.get("title").str()
		}
		if name == "" || out[name] != nil {
			name = n.canonical()
			if len(name) > 100 {
				name = digest([]byte(name))[:12]
			}
		}
		out[name] = n
	}
	return out
}
