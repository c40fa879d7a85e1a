package lint

import (
	"slices"
	"strconv"
	"strings"
)

// sqlType is a type as the catalog knows it.
type sqlType struct {
	name string // without pg_catalog: int4, varchar, public.email
	mods []int
	dims int
}

func typeOf(t typeName) sqlType {
	parts := words(t.Names)
	if len(parts) > 1 && parts[0] == "pg_catalog" {
		parts = parts[1:]
	}
	out := sqlType{name: strings.Join(parts, "."), dims: len(t.Bounds)}
	for _, m := range t.Typmods {
		if m.kind != "A_Const" {
			continue
		}
		c := decode[struct {
			Int struct {
				Value int `json:"ival"`
			} `json:"ival"`
		}](m)
		out.mods = append(out.mods, c.Int.Value)
	}
	// interval's first modifier says which fields there are; all of them is the same as none.
	if out.name == "interval" && len(out.mods) > 0 && out.mods[0] == 32767 {
		out.mods = out.mods[1:]
	}
	return out
}

// String writes the type as PostgreSQL shows it, near enough.
func (t sqlType) String() string {
	names := map[string]string{
		"int2": "smallint", "int4": "integer", "int8": "bigint", "bool": "boolean", "float4": "real", "float8": "double precision",
		"timestamptz": "timestamp with time zone", "bpchar": "character",
	}
	name := t.name
	if long := names[name]; long != "" {
		name = long
	}
	if len(t.mods) > 0 {
		var mods []string
		for _, m := range t.mods {
			mods = append(mods, strconv.Itoa(m))
		}
		name += "(" + strings.Join(mods, ",") + ")"
	}
	return name + strings.Repeat("[]", t.dims)
}

func (t sqlType) same(other sqlType) bool {
	return t.name == other.name && t.dims == other.dims && slices.Equal(t.mods, other.mods)
}

func isSerial(name string) bool {
	return slices.Contains([]string{"serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"}, name)
}

// typeChange is what ALTER COLUMN … TYPE does to the table.
type typeChange int

const (
	typeKeeps    typeChange = iota // only the catalog changes
	typeReindex                    // the column's indexes are built again
	typeRewrites                   // every row is written again
)

// changeOf tells what a change of type does, by the rule of PostgreSQL's
// ATColumnChangeRequiresRewrite: the rows stay when the new type reads the old
// bytes as they are. Measured on PostgreSQL 15 for every pair that is named here.
func (c *catalog) changeOf(from, to sqlType, utc bool) typeChange {
	if d := c.domains[qualified(strings.Split(from.name, "."))]; d != nil && !from.same(to) {
		return c.changeOf(d.base, to, utc)
	}
	if d := c.domains[qualified(strings.Split(to.name, "."))]; d != nil {
		if d.constrained {
			return typeRewrites
		}
		return c.changeOf(from, d.base, utc)
	}
	switch {
	case from.same(to):
		return typeKeeps
	case from.dims != to.dims, from.dims > 0 && from.name != to.name:
		return typeRewrites
	case from.name == to.name:
		return sameName(from, to)
	case from.name == "varchar" && to.name == "text",
		from.name == "text" && to.name == "varchar" && len(to.mods) == 0,
		from.name == "cidr" && to.name == "inet", from.name == "xml" && to.name == "text",
		from.name == "xml" && to.name == "varchar" && len(to.mods) == 0:
		return typeKeeps
	case from.name == "citext" && (to.name == "text" || to.name == "varchar" && len(to.mods) == 0),
		to.name == "citext" && (from.name == "text" || from.name == "varchar"):
		return typeReindex // the same bytes in another order
	case slices.Contains(oidTypes(), from.name) && slices.Contains(oidTypes(), to.name):
		return typeKeeps
	case utc && (from.name == "timestamp" && to.name == "timestamptz" || from.name == "timestamptz" && to.name == "timestamp") &&
		(len(to.mods) == 0 || first(to.mods) >= allDigits):
		return typeReindex // digits would be counted again
	}
	return typeRewrites
}

// oidTypes are the types that hold an object's number and read each other's bytes.
func oidTypes() []string {
	return []string{"oid", "int4", "regclass", "regtype", "regproc", "regprocedure", "regoper", "regoperator", "regrole", "regnamespace", "regconfig", "regdictionary"}
}

// allDigits are the digits of a second that a time has, also when nothing is said.
const allDigits = 6

// sameName compares types that differ in their modifiers only: a wider one, or
// none, needs no look at the values.
func sameName(from, to sqlType) typeChange {
	if from.dims > 0 {
		return typeRewrites
	}
	old, want := first(from.mods), first(to.mods)
	switch from.name {
	case "varchar", "varbit":
		if len(to.mods) == 0 || len(from.mods) > 0 && want >= old {
			return typeKeeps
		}
	case "numeric":
		if len(to.mods) == 0 || len(from.mods) > 0 && want >= old && second(from.mods) == second(to.mods) {
			return typeKeeps
		}
	case "timestamp", "timestamptz", "time", "timetz", "interval":
		if len(to.mods) == 0 || want >= allDigits || len(from.mods) > 0 && want >= old {
			return typeKeeps
		}
	}
	return typeRewrites
}

func first(mods []int) int {
	if len(mods) == 0 {
		return 0
	}
	return mods[0]
}

func second(mods []int) int {
	if len(mods) < 2 {
		return 0
	}
	return mods[1]
}
