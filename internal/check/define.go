package check

import (
	"fmt"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v4"

	"allclear.dev/allclear/internal/diag"
)

// Desc describes a type to people.
type Desc struct {
	// Name is the key in a binding: "http", "postgres.backup".
	Name string
	// Summary says in one line when an item of this type passes.
	Summary string
	// Doc is the type's page: Markdown whose fenced "yaml allclear" blocks are
	// examples, each decoded by a test.
	Doc string
}

// Type is a built-in way to resolve an item. Make one with Define.
type Type struct {
	Desc
	// Params describes the parameters, in the struct's order.
	Params []Param
	// Probes and Undoes tell what the type's implementation offers.
	Probes, Undoes bool
	decode         func(node *yaml.Node, src Source) (*Instance, diag.Problems)
}

// Instance is a type with decoded parameters.
type Instance struct {
	Type   *Type
	Runner Runner
	Traits Traits
	// Missing names targets of the configuration that are not set ("url"); an
	// instance with missing targets can be planned but not run.
	Missing []string
	// Deferred names variables whose values only the run will know.
	Deferred []string
	// Params is the parameters' canonical JSON with every known variable put in.
	Params []byte
}

// Prober gives the instance's probe, or nil.
func (i *Instance) Prober() Prober {
	p, _ := i.Runner.(Prober)
	return p
}

// Undoer gives the instance's undo, or nil.
func (i *Instance) Undoer() Undoer {
	u, _ := i.Runner.(Undoer)
	return u
}

// Source says where parameters were written and what their variables mean.
type Source struct {
	// File names the file that the node's lines belong to.
	File string
	// Lines gives the text of a line (from 1) for messages; may be nil.
	Lines func(line int) string
	// Vars gives the values of ${name}; nil means that there are none.
	Vars Vars
	// Host is the host that the item runs on, by its name; it stands for the
	// parameter on, which is not to be written then. Empty means that the
	// parameter decides.
	Host string
	// Frozen says that these are a plan's parameters, in which what the plan knew
	// has been put in: an unknown ${name} is text.
	Frozen bool
}

// Define makes a type from its parameter struct P, whose pointer runs it. A
// struct that cannot be described is a mistake in allclear itself and panics, so
// that no binary with it passes its first test.
func Define[P any, PP interface {
	*P
	Runner
}](desc Desc) *Type {
	params, err := describe(reflect.TypeFor[P]())
	if err != nil {
		panic(fmt.Sprintf("type %s: %v", desc.Name, err))
	}
	_, probes := any(PP(nil)).(Prober)
	_, undoes := any(PP(nil)).(Undoer)
	t := &Type{Desc: desc, Params: params, Probes: probes, Undoes: undoes}
	t.decode = func(node *yaml.Node, src Source) (*Instance, diag.Problems) {
		p := PP(new(P))
		d := newDecoder(desc.Name, src)
		node = d.onHost(node, params)
		json := d.params(node, reflect.ValueOf(p).Elem(), params)
		if len(d.problems) > 0 {
			return nil, d.problems
		}
		inst := &Instance{
			Type: t, Runner: p, Params: json, Missing: d.missing, Deferred: d.deferred,
			Traits: Traits{Kind: Check, Class: Pure, Effect: Reads, Pool: Network},
		}
		if v, ok := any(p).(Validator); ok && len(d.missing) == 0 && len(d.deferred) == 0 {
			if err := v.Validate(); err != nil {
				return nil, diag.Problems{d.problem(node, fmt.Sprintf("%s: %v", desc.Name, err))}
			}
		}
		if tr, ok := any(p).(Traiter); ok {
			inst.Traits = tr.Traits()
		}
		return inst, nil
	}
	return t
}

// RunsOnHosts tells whether the type has a parameter on for one host.
func (t *Type) RunsOnHosts() bool { return slices.ContainsFunc(t.Params, isHost) }

// isHost tells whether a parameter is the one host that a type works on.
func isHost(p Param) bool { return p.Name == "on" && p.Type == "string" }

// Decode reads parameters strictly: an unknown name, a wrong type or a missing
// value is a problem with its place. A nil node means no parameters.
func (t *Type) Decode(node *yaml.Node, src Source) (*Instance, diag.Problems) {
	if node == nil {
		node = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	}
	return t.decode(node, src)
}

// Vars gives the values of ${name} in parameters.
type Vars interface {
	// Lookup gives a variable's value and how much is known about it.
	Lookup(name string) (string, Known)
	// Names lists the variables that exist, for suggestions.
	Names() []string
}

// Known says how much is known about a variable.
type Known int

// Unknown means there is no such variable; Unset that the configuration has a
// place for it but no value; Later that only the run will know; Set that the
// value is there.
const (
	Unknown Known = iota
	Unset
	Later
	Set
)

// NoVars is a Vars without any variable.
type NoVars struct{}

// Lookup knows nothing.
func (NoVars) Lookup(string) (string, Known) { return "", Unknown }

// Names is empty.
func (NoVars) Names() []string { return nil }

// Describe gives the parameters of a struct with param tags, as Read decodes it,
// for documentation and schemas. It panics as Define does.
func Describe[T any]() []Param {
	params, err := describe(reflect.TypeFor[T]())
	if err != nil {
		panic(fmt.Sprintf("%s: %v", reflect.TypeFor[T](), err))
	}
	return params
}

// Read decodes a mapping into a struct with param tags, as strictly as a type's
// parameters, for files that are not types: the configuration above all. owner
// names the mapping in messages.
func Read[T any](owner string, node *yaml.Node, src Source) (T, diag.Problems) {
	var out T
	params, err := describe(reflect.TypeFor[T]())
	if err != nil {
		panic(fmt.Sprintf("%s: %v", owner, err))
	}
	d := newDecoder(owner, src)
	d.params(node, reflect.ValueOf(&out).Elem(), params)
	return out, d.problems
}
