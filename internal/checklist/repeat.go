package checklist

import (
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"allclear.dev/allclear/internal/diag"
)

// fields takes a setting that is a mapping apart: each known key goes to take.
func (d *settingsDecoder) fields(name string, n *yaml.Node, keys []string, take func(key string, value *yaml.Node)) bool {
	if n.Kind != yaml.MappingNode {
		p := d.add(n, "%s: want a mapping, got %s", name, nodeWord(n))
		p.Allowed = keys
		return false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if slices.Contains(keys, key.Value) {
			take(key.Value, n.Content[i+1])
			continue
		}
		p := d.add(key, "unknown key %q of %s", key.Value, name)
		p.Allowed = keys
		if near := diag.Nearest(key.Value, keys); near != "" {
			p.Hint = "did you mean \"" + near + "\"?"
		}
	}
	return true
}

// isBatch tells whether a text says how many hosts, as a number or as a share.
func isBatch(text string) bool {
	number, share := strings.CutSuffix(text, "%")
	n, err := strconv.Atoi(number)
	return err == nil && n >= 1 && (n <= 100 || !share && n <= maxBatch) && strconv.Itoa(n) == number
}

// maxBatch bounds on.batch, in hosts.
const maxBatch = 99999

// on reads one host, a list of them, or a mapping that also says how to go on from
// one to the next.
func (d *settingsDecoder) on(n *yaml.Node) {
	var v On
	before := d.problems()
	if n.Kind != yaml.MappingNode {
		v.Hosts = d.words("on", n, nil).Value
	} else {
		d.fields("on", n, []string{"hosts", "batch", "max_failures"}, func(key string, value *yaml.Node) {
			switch key {
			case "hosts":
				v.Hosts = d.words("on.hosts", value, nil).Value
			case "batch":
				if v.Batch = d.word("on.batch", value, nil); v.Batch.IsSet() && !isBatch(v.Batch.Value) {
					d.add(value, "on.batch: want a number of hosts or a share of them, got %s", nodeWord(value)).Hint = "such as 1, 5 or 25%"
				}
			case "max_failures":
				v.MaxFailures = d.number("on.max_failures", value, 0).Value
			}
		})
		d.missing("on", n, "hosts")
	}
	if d.problems() == before {
		d.block.Settings.On = set(d, n, v)
	}
}

// missing reports keys that a mapping must have.
func (d *settingsDecoder) missing(name string, n *yaml.Node, keys ...string) {
	for _, key := range keys {
		given := false
		for i := 0; i < len(n.Content); i += 2 {
			given = given || n.Content[i].Value == key
		}
		if !given {
			d.add(n, "%s needs %s", name, key)
		}
	}
}

func (d *settingsDecoder) retry(n *yaml.Node) {
	var v Retry
	before := d.problems()
	ok := d.fields("retry", n, []string{"times", "every"}, func(key string, value *yaml.Node) {
		switch key {
		case "times":
			v.Times = d.number("retry.times", value, 1).Value
		case "every":
			v.Every = d.duration("retry.every", value, false).Value
		}
	})
	if !ok {
		return
	}
	d.missing("retry", n, "times")
	if d.problems() == before {
		d.block.Settings.Retry = set(d, n, v)
	}
}

// problems counts what was reported so far: a setting with a problem stays unset.
func (d *settingsDecoder) problems() int { return len(d.b.problems) + d.b.dropped }

func (d *settingsDecoder) watch(n *yaml.Node) {
	var v Watch
	at := map[string]*yaml.Node{}
	before := d.problems()
	keys := []string{"for", "every", "max_failures", "min_samples", "initial_delay"}
	ok := d.fields("watch", n, keys, func(key string, value *yaml.Node) {
		at[key] = value
		name := "watch." + key
		switch key {
		case "for":
			length, variable := d.length(name, value)
			v.For, v.ForVar = length.Value, variable
		case "every":
			length, variable := d.length(name, value)
			v.Every, v.EveryVar = length.Value, variable
		case "initial_delay":
			v.InitialDelay = d.duration(name, value, false).Value
		case "max_failures":
			v.MaxFailures = d.number(name, value, 0).Value
		case "min_samples":
			v.MinSamples = d.number(name, value, 1).Value
		}
	})
	if !ok {
		return
	}
	d.missing("watch", n, "for", "every")
	// What a variable gives is known, and checked, when the plan is made.
	if d.problems() == before && !v.ForVar.IsSet() && !v.EveryVar.IsSet() {
		d.window(v, at)
	}
	if d.problems() == before {
		d.block.Settings.Watch = set(d, n, v)
	}
}

// window checks the numbers of a watch against each other. A watch that tolerates
// as many failures as it has samples would pass when every sample failed.
func (d *settingsDecoder) window(v Watch, at map[string]*yaml.Node) {
	samples := v.Samples()
	switch {
	case v.Every > v.For:
		d.add(at["every"], "watch.every %s is longer than watch.for %s: no sample would be taken",
			at["every"].Value, at["for"].Value)
	case v.MaxFailures >= samples:
		held := plural(samples, "sample")
		if node := at["max_failures"]; node != nil {
			p := d.add(node, "watch.max_failures %d tolerates every sample: the window holds %s", v.MaxFailures, held)
			p.Hint = "a watch fails on the next failure after max_failures"
		}
	case v.MinSamples > samples:
		d.add(at["min_samples"], "watch.min_samples %d can never be reached: the window holds %s", v.MinSamples, plural(samples, "sample"))
	}
}

// undo reads the type that takes an action back.
func (d *settingsDecoder) undo(n *yaml.Node) {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		d.add(n, "undo: want a mapping with one type, got %s", nodeWord(n)).Hint = "such as undo: {command: {…}}"
		return
	}
	key := n.Content[0]
	switch {
	case len(n.Content) > 2:
		var names []string
		for i := 0; i < len(n.Content); i += 2 {
			names = append(names, n.Content[i].Value)
		}
		d.add(n.Content[2], "undo: want one type, got %s", strings.Join(names, " and "))
	case !d.isType(key):
		p := d.add(key, "undo: %q is no type", key.Value)
		if near := diag.Nearest(key.Value, d.b.opts.Types); near != "" {
			p.Hint = "did you mean \"" + near + "\"?"
		}
	default:
		d.block.Settings.Undo = &Type{
			Name: key.Value, Pos: diag.Pos{File: d.b.list.File, Line: key.Line, Col: key.Column}, Params: n.Content[1],
		}
	}
}
