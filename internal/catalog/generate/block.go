package main

import (
	"encoding/json"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/checklist"
)

// blockSchema describes one `yaml allclear` block, of an item or of a heading.
func blockSchema(types []*check.Type) *schema {
	s := &schema{
		Schema: dialect, ID: "https://allclear.dev/schema/checklist-block.schema.json", Title: "a yaml allclear block",
		Description: "Under an item: the item's own keys and the one type that resolves it; without a type a person states it. Under a heading: what holds for everything below.",
		AnyOf:       []*schema{ref("item"), ref("heading")},
		Defs:        map[string]*schema{},
	}
	addWords(s.Defs)
	item := &schema{Type: []string{"object"}, MinProps: 1, Properties: itemSettings(), Additional: json.RawMessage("false")}
	undo := &schema{Type: []string{"object"}, MinProps: 1, MaxProps: 1, Properties: map[string]*schema{}, Additional: json.RawMessage("false"), Description: "the type that takes the action back"}
	none := &schema{Not: &schema{}}
	for _, t := range types {
		def := mapping(t.Params)
		def.Description = t.Summary
		s.Defs["type."+t.Name] = def
		item.Properties[t.Name] = ref("type." + t.Name)
		undo.Properties[t.Name] = ref("type." + t.Name)
		names := &schema{Required: []string{t.Name}}
		item.OneOf = append(item.OneOf, names)
		none.Not.AnyOf = append(none.Not.AnyOf, names)
	}
	item.OneOf = append(item.OneOf, none)
	item.Properties["undo"] = undo
	s.Defs["item"] = item
	s.Defs["heading"] = &schema{Type: []string{"object"}, MinProps: 1, Properties: headingSettings(), Additional: json.RawMessage("false")}
	s.Defs["span"] = span()
	return s
}

// span is a length of time as an item's own keys take it: days too.
func span() *schema {
	return &schema{
		Type: []string{"string", "integer"}, Pattern: `^([0-9]+d)?([0-9.]+(ns|us|µs|ms|s|m|h))*$`, MinLength: 1,
		Description: "30s, 5m, 1h30m, 7d",
	}
}

func about(s *schema, description string) *schema {
	s.Description = description
	return s
}

func plain(description string) *schema {
	return &schema{Type: []string{"string"}, Pattern: `\S`, Description: description}
}

func several(description string, one *schema) *schema {
	return &schema{AnyOf: []*schema{{Type: []string{"array"}, Items: one, MinItems: 1}, one}, Description: description}
}

func oneOf(values []string) *schema {
	s := &schema{}
	for _, v := range values {
		s.Enum = append(s.Enum, text(v))
	}
	return s
}

func count(least int) *schema { return &schema{Type: []string{"integer"}, Minimum: &least} }

// itemSettings are the keys of checklist.ItemKeys but undo, which needs the types.
func itemSettings() map[string]*schema {
	return map[string]*schema{
		"id":        {Type: []string{"string"}, Pattern: `^[a-z0-9]+([.-][a-z0-9]+)*$`, Description: "the item's name in commands and records"},
		"when":      plain("an expression; the item is n/a when it is false"),
		"required":  {Type: []string{"boolean"}, Description: "whether the gate needs the item"},
		"timeout":   about(ref("span"), "bounds one attempt"),
		"retry":     fields("repeats an attempt that failed or could not find out", []string{"times"}, map[string]*schema{"times": count(1), "every": ref("span")}),
		"watch":     watchSetting(),
		"by":        several("roles that may resolve the item", plain("")),
		"needs":     several("ids, globs or sections that the item waits for", plain("")),
		"gate":      plain("the phase whose gate the item belongs to"),
		"on":        onSetting(),
		"evidence":  several("what an attestation must bring", oneOf(checklist.EvidenceKinds())),
		"fresh_for": about(ref("span"), "how long a verdict holds"),
	}
}

func onSetting() *schema {
	hosts := func() *schema { return several("hosts or groups that the item runs on", plain("")) }
	spread := fields("also how to go on from one host to the next", []string{"hosts"}, map[string]*schema{
		"hosts":        hosts(),
		"batch":        {Type: []string{"integer", "string"}, Pattern: `^([1-9][0-9]{0,4}|([1-9][0-9]?|100)%)$`, Description: "hosts at once, as a number or a share; one for an action, all of them for a check when left out"},
		"max_failures": about(count(0), "hosts that may be without success before no further one is begun"),
	})
	return &schema{AnyOf: append(hosts().AnyOf, spread), Description: "hosts or groups that the item runs on"}
}

func watchSetting() *schema {
	return fields("turns a check into a watch", []string{"for", "every"}, map[string]*schema{
		"for":           about(ref("span"), "length of the window"),
		"every":         about(ref("span"), "time between two samples"),
		"initial_delay": about(ref("span"), "wait before the window begins"),
		"max_failures":  about(count(0), "failed samples that are tolerated"),
		"min_samples":   about(count(1), "samples that a pass needs"),
	})
}

func fields(description string, required []string, properties map[string]*schema) *schema {
	return &schema{Type: []string{"object"}, Required: required, Properties: properties, Additional: json.RawMessage("false"), Description: description}
}

// headingSettings are the keys of checklist.HeadingKeys.
func headingSettings() map[string]*schema {
	return map[string]*schema{
		"phase":  plain("the phase's role, such as rollback"),
		"order":  about(oneOf(checklist.Orders()), "whether items wait for the ones above"),
		"window": about(ref("span"), "how long the section's watches run"),
		"gate":   plain("the phase whose gate the items belong to"),
		"when":   plain("an expression; the items are n/a when it is false"),
		"needs":  several("ids, globs or sections that the items wait for", plain("")),
	}
}
