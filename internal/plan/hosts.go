package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v4"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/checklist"
	"allclear.dev/allclear/internal/diag"
)

// hosts holds that the host which a type names with on: is one of the
// environment's. A name that only the run will know is looked up then.
func (b *binder) hosts(t *checklist.Type, inst *check.Instance) {
	if len(inst.Deferred)+len(inst.Missing) > 0 {
		return
	}
	var named struct {
		On string `json:"on"`
	}
	if inst.Type.RunsOnHosts() && json.Unmarshal(inst.Params, &named) == nil {
		b.host(t, "on", named.On, inst.Traits.Supervises)
	}
}

func (b *binder) host(t *checklist.Type, key, name string, supervises bool) {
	_, known := b.Hosts[name]
	if name == "" || name == "local" || name == "localhost" || known && !supervises {
		return
	}
	pos, width := t.Pos, len(t.Name)
	if at := valueOf(t.Params, key, name); at != nil {
		pos, width = diag.Pos{File: b.Checklist.File, Line: at.Line, Col: at.Column}, max(len(at.Value), 1)
	}
	if known {
		p := b.problem(pos, width, "%s: %s keeps programs running on this machine only, not on %s", key, t.Name, name)
		p.Hint = "name what runs them there: driver: systemd, compose or kubernetes"
		return
	}
	p := b.problem(pos, width, "%s: the environment has no host %q", key, name)
	p.Allowed = append([]string{"local"}, slices.Sorted(maps.Keys(b.Hosts))...)
	if near := diag.Nearest(name, p.Allowed); near != "" {
		p.Hint = fmt.Sprintf("did you mean %q?", near)
	} else {
		p.Hint = "hosts: of the environment in allclear.yaml says how each is reached"
	}
}

// valueOf finds where a name is written under a key.
func valueOf(node *yaml.Node, key, name string) *yaml.Node {
	if node == nil || node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key && node.Content[i+1].Value == name {
			return node.Content[i+1]
		}
	}
	return nil
}
