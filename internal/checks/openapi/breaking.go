package openapi

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// change is a difference that can break a client.
type change struct {
	Rule string `json:"rule"`
	// At is the operation, as the older description names it; Path its path.
	At   string `json:"at"`
	Path string `json:"path"`
	What string `json:"what"`
	// Acked is the reason why it is accepted.
	Acked string `json:"acked,omitempty"`
}

// comparer gathers the changes between two descriptions.
type comparer struct {
	old, now *api
	today    time.Time
	changes  []change
	op       *operation
	// seen are pairs of schemas under comparison, so that recursion ends.
	seen map[string]bool
	err  error
}

func (c *comparer) add(rule, format string, args ...any) {
	found := change{Rule: rule, At: c.op.name, Path: c.op.path, What: fmt.Sprintf(format, args...)}
	if !slices.Contains(c.changes, found) {
		c.changes = append(c.changes, found)
	}
}

// breaking lists what of the newer description can break clients of the older one.
func breaking(old, now *api, today time.Time) ([]change, error) {
	c := &comparer{old: old, now: now, today: today}
	for _, key := range slices.Sorted(maps.Keys(old.operations)) {
		c.operation(old.operations[key], now.operations[key])
	}
	return c.changes, c.err
}

func (c *comparer) operation(old, now *operation) {
	c.op, c.seen = old, map[string]bool{}
	if now == nil {
		if sunset, err := time.Parse(time.DateOnly, old.sunset); old.deprecated && err == nil && sunset.Before(c.today) {
			return // announced, and its day has come
		}
		c.add("operation-removed", "the operation is gone")
		return
	}
	c.parameters(old, now)
	c.body(old, now)
	c.responses(old, now)
	for _, had := range alternatives(old.security) {
		if !slices.ContainsFunc(alternatives(now.security), func(need string) bool { return within(need, had) }) {
			c.add("security-tightened", "a caller with %s is no longer let in", named(had))
		}
	}
}

func alternatives(list []string) []string {
	if len(list) == 0 {
		return []string{""}
	}
	return list
}

func named(schemes string) string {
	if schemes == "" {
		return "nothing"
	}
	return schemes
}

// within tells whether all that is needed is had.
func within(need, had string) bool {
	return !slices.ContainsFunc(strings.Fields(need), func(x string) bool { return !slices.Contains(strings.Fields(had), x) })
}

func (c *comparer) parameters(old, now *operation) {
	for _, name := range slices.Sorted(maps.Keys(old.parameters)) {
		was, is := old.parameters[name], now.parameters[name]
		switch {
		case is == nil:
			c.add("request-parameter-removed", "parameter %s is gone", name)
			continue
		case is.required && !was.required:
			c.add("request-parameter-became-required", "parameter %s is now required", name)
		}
		c.schema("parameter "+name, request, was.schema, is.schema)
	}
	for _, name := range slices.Sorted(maps.Keys(now.parameters)) {
		if old.parameters[name] == nil && now.parameters[name].required {
			c.add("new-required-request-parameter", "parameter %s is new and required", name)
		}
	}
}

func (c *comparer) body(old, now *operation) {
	switch {
	case old.body == nil && now.body == nil:
		return
	case old.body == nil:
		if now.body.required {
			c.add("request-body-became-required", "a body is now required")
		}
		return
	case now.body == nil:
		c.add("request-body-removed", "the body is no longer taken")
		return
	case now.body.required && !old.body.required:
		c.add("request-body-became-required", "the body is now required")
	}
	for _, media := range slices.Sorted(maps.Keys(old.body.content)) {
		is, there := accepted(now.body.content, media)
		if !there {
			c.add("request-media-type-removed", "a body of %s is no longer taken", media)
			continue
		}
		c.schema("body", request, old.body.content[media], is)
	}
}

// accepted finds the schema of a media type, or of a range that holds it.
func accepted(content map[string]*node, media string) (*node, bool) {
	kind, _, _ := strings.Cut(media, "/")
	for _, candidate := range []string{media, kind + "/*", "*/*"} {
		if schema, is := content[candidate]; is {
			return schema, true
		}
	}
	return nil, false
}

func (c *comparer) responses(old, now *operation) {
	for _, code := range slices.Sorted(maps.Keys(old.responses)) {
		was, is := old.responses[code], now.responses[code]
		if is == nil {
			if is = now.responses[code[:1]+"XX"]; is == nil {
				is = now.responses["DEFAULT"]
			}
		}
		if is == nil {
			if code[0] == '2' || code == "DEFAULT" {
				c.add("response-status-removed", "the answer %s is gone", code)
			}
			continue
		}
		for _, media := range slices.Sorted(maps.Keys(was.content)) {
			schema, there := is.content[media]
			if !there {
				c.add("response-media-type-removed", "answer %s no longer comes as %s", code, media)
				continue
			}
			c.schema("answer "+code, answer, was.content[media], schema)
		}
		for _, header := range was.headers {
			if !slices.ContainsFunc(is.headers, func(h string) bool { return strings.EqualFold(h, header) }) {
				c.add("response-header-removed", "answer %s has no header %s any more", code, header)
			}
		}
	}
	for _, code := range slices.Sorted(maps.Keys(now.responses)) {
		if code[0] == '2' && old.responses[code] == nil && old.responses["2XX"] == nil && old.responses["DEFAULT"] == nil && successes(old) > 0 {
			c.add("response-status-added", "a success may now be answered with %s", code)
		}
	}
}

func successes(op *operation) (n int) {
	for code := range op.responses {
		if code[0] == '2' {
			n++
		}
	}
	return n
}
