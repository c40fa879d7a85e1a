package lint

import (
	"bytes"
	"encoding/json"
	"strings"
)

// node is one node of PostgreSQL's parse tree: its type's name and its fields.
type node struct {
	kind string
	raw  json.RawMessage
}

// UnmarshalJSON reads {"Kind": {fields}}. The decoder has looked at the text already
// and hands it over without white space around it, so that finding the name is
// enough: trees are deep, and each level would be read again for each above it.
func (n *node) UnmarshalJSON(text []byte) error {
	kind, fields := member(text)
	if kind == "" {
		return nil // null, or no node
	}
	n.kind, n.raw = kind, append(json.RawMessage(nil), fields...)
	return nil
}

// member gives the name and the value of an object of one member.
func member(text []byte) (name string, value []byte) {
	text = bytes.TrimSpace(text)
	if len(text) < 2 || text[0] != '{' || text[len(text)-1] != '}' {
		return "", nil
	}
	text = bytes.TrimSpace(text[1 : len(text)-1])
	if len(text) == 0 || text[0] != '"' {
		return "", nil
	}
	end := bytes.IndexByte(text[1:], '"') + 1
	value = bytes.TrimSpace(text[end+1:])
	if end == 0 || len(value) == 0 || value[0] != ':' {
		return "", nil
	}
	return string(text[1:end]), bytes.TrimSpace(value[1:])
}

// decode gives the fields of a node of a type, or the type's zero value.
func decode[T any](n node) (out T) {
	if len(n.raw) > 0 {
		// The parser wrote it: what does not fit is a field that is not asked for.
		_ = json.Unmarshal(n.raw, &out)
	}
	return out
}

// The nodes, as far as the rules look at them. The names are those of
// PostgreSQL's parsenodes.h.
type (
	rangeVar struct {
		Schema string `json:"schemaname"`
		Name   string `json:"relname"`
		Inh    bool   `json:"inh"`
	}
	typeName struct {
		Names    []node `json:"names"`
		Typmods  []node `json:"typmods"`
		Bounds   []node `json:"arrayBounds"`
		Location int    `json:"location"`
	}
	columnDef struct {
		Name        string     `json:"colname"`
		Type        typeName   `json:"typeName"`
		Constraints []node     `json:"constraints"`
		Default     node       `json:"raw_default"` // of ALTER TYPE: USING
		Collate     collClause `json:"collClause"`
	}
	collClause struct {
		Names    []node `json:"collname"`
		Location int    `json:"location"`
	}
	constraint struct {
		Type           string   `json:"contype"`
		Name           string   `json:"conname"`
		Expr           node     `json:"raw_expr"`
		Keys           []node   `json:"keys"`
		Including      []node   `json:"including"`
		Table          rangeVar `json:"pktable"`
		FKColumns      []node   `json:"fk_attrs"`
		PKColumns      []node   `json:"pk_attrs"`
		SkipValidation bool     `json:"skip_validation"`
		NoInherit      bool     `json:"is_no_inherit"`
		Index          string   `json:"indexname"`
	}
	alterTable struct {
		Relation  rangeVar `json:"relation"`
		Commands  []node   `json:"cmds"`
		Object    string   `json:"objtype"`
		MissingOK bool     `json:"missing_ok"`
	}
	alterCommand struct {
		Subtype   string `json:"subtype"`
		Name      string `json:"name"`
		Def       node   `json:"def"`
		Behavior  string `json:"behavior"`
		MissingOK bool   `json:"missing_ok"`
	}
	partitionCmd struct {
		Name       rangeVar       `json:"name"`
		Bound      partitionBound `json:"bound"`
		Concurrent bool           `json:"concurrent"`
	}
	partitionBound struct {
		Strategy  string `json:"strategy"`
		IsDefault bool   `json:"is_default"`
	}
	partitionSpec struct {
		Strategy string `json:"strategy"`
		Columns  []node `json:"partParams"`
	}
	createTable struct {
		Relation    rangeVar        `json:"relation"`
		Elements    []node          `json:"tableElts"`
		Inherits    []node          `json:"inhRelations"`
		Bound       *partitionBound `json:"partbound"`
		Partition   *partitionSpec  `json:"partspec"`
		IfNotExists bool            `json:"if_not_exists"`
	}
	createAs struct {
		Into struct {
			Relation rangeVar `json:"rel"`
			SkipData bool     `json:"skipData"`
		} `json:"into"`
		Object string `json:"objtype"`
	}
	createIndex struct {
		Name        string   `json:"idxname"`
		Relation    rangeVar `json:"relation"`
		Params      []node   `json:"indexParams"`
		Unique      bool     `json:"unique"`
		Concurrent  bool     `json:"concurrent"`
		IfNotExists bool     `json:"if_not_exists"`
		Where       node     `json:"whereClause"`
	}
	indexElem struct {
		Name string `json:"name"`
	}
	drop struct {
		Objects    []node `json:"objects"`
		Type       string `json:"removeType"`
		Behavior   string `json:"behavior"`
		MissingOK  bool   `json:"missing_ok"`
		Concurrent bool   `json:"concurrent"`
	}
	rename struct {
		Type     string   `json:"renameType"`
		Relation rangeVar `json:"relation"`
		Sub      string   `json:"subname"`
		Object   node     `json:"object"`
		New      string   `json:"newname"`
	}
	setVariable struct {
		Kind  string `json:"kind"`
		Name  string `json:"name"`
		Args  []node `json:"args"`
		Local bool   `json:"is_local"`
	}
	transaction struct {
		Kind      string `json:"kind"`
		Savepoint string `json:"savepoint_name"`
	}
	reindex struct {
		Kind     string   `json:"kind"`
		Relation rangeVar `json:"relation"`
		Name     string   `json:"name"`
		Params   []node   `json:"params"`
	}
	defElem struct {
		Name string `json:"defname"`
		Arg  node   `json:"arg"`
	}
	oneRelation struct {
		Relation   rangeVar `json:"relation"`
		Concurrent bool     `json:"concurrent"`
		SkipData   bool     `json:"skipData"`
		Where      node     `json:"whereClause"`
		Select     node     `json:"selectStmt"`
		IsFrom     bool     `json:"is_from"`
		Options    int      `json:"options"` // of LIKE
	}
	vacuum struct {
		Options   []node `json:"options"`
		Relations []node `json:"rels"`
		IsVacuum  bool   `json:"is_vacuumcmd"`
	}
	vacuumRelation struct {
		Relation rangeVar `json:"relation"`
	}
	relations struct {
		Relations []node `json:"relations"`
		Behavior  string `json:"behavior"`
		Mode      int    `json:"mode"`
	}
	domain struct {
		Name        []node   `json:"domainname"`
		Base        typeName `json:"typeName"`
		Constraints []node   `json:"constraints"`
	}
	alterDomain struct {
		Subtype string `json:"subtype"`
		Name    []node `json:"typeName"`
		Def     node   `json:"def"`
	}
	alterEnum struct {
		Name      []node `json:"typeName"`
		OldValue  string `json:"oldVal"`
		NewValue  string `json:"newVal"`
		Neighbour string `json:"newValNeighbor"`
	}
	createFunction struct {
		Name    []node `json:"funcname"`
		Options []node `json:"options"`
		Body    node   `json:"sql_body"`
	}
	funcCall struct {
		Name []node `json:"funcname"`
		Args []node `json:"args"`
	}
	typeCast struct {
		Arg  node     `json:"arg"`
		Type typeName `json:"typeName"`
	}
	columnRef struct {
		Fields []node `json:"fields"`
	}
	nullTest struct {
		Arg  node   `json:"arg"`
		Type string `json:"nulltesttype"`
	}
	text struct {
		Value string `json:"sval"`
	}
	list struct {
		Items []node `json:"items"`
	}
)

// words gives the texts of a list of String nodes.
func words(nodes []node) []string {
	var out []string
	for _, n := range nodes {
		if n.kind == "String" {
			out = append(out, decode[text](n).Value)
		}
	}
	return out
}

// qualified joins a name of several parts as the catalog keys it: a name without
// a schema is in public.
func qualified(parts []string) string {
	switch len(parts) {
	case 0:
		return ""
	case 1:
		return "public." + parts[0]
	}
	return strings.Join(parts[len(parts)-2:], ".")
}

func (r rangeVar) key() string {
	if r.Schema == "" {
		return "public." + r.Name
	}
	return r.Schema + "." + r.Name
}

// shown is a catalog key as people write it.
func shown(key string) string { return strings.TrimPrefix(key, "public.") }

// walk visits every node below a raw piece of the tree, outermost first and in the
// order of the text; below a node for which visit says no it does not go. Only nodes
// have names that begin with a capital.
func walk(raw json.RawMessage, visit func(n node) bool) {
	for at := 0; at < len(raw); {
		if raw[at] != '"' {
			at++
			continue
		}
		end := at + stringEnd(raw[at:])
		name := raw[at:end]
		at = end
		for at < len(raw) && (raw[at] == ' ' || raw[at] == '\n') {
			at++
		}
		if at >= len(raw) || raw[at] != ':' {
			continue // a value
		}
		at++
		if len(name) < 3 || name[1] < 'A' || name[1] > 'Z' {
			continue
		}
		size := valueEnd(raw[at:])
		if !visit(node{string(name[1 : len(name)-1]), bytes.TrimSpace(raw[at : at+size])}) {
			at += size
		}
	}
}

// stringEnd gives the length of the string that a text begins with.
func stringEnd(text []byte) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// valueEnd gives the length of the object or array that a text begins with.
func valueEnd(text []byte) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i += stringEnd(text[i:]) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth <= 0 {
				return i + 1
			}
		}
	}
	return len(text)
}

// each is walk from a node on, itself included.
func (n node) each(visit func(n node) bool) {
	if n.kind == "" || !visit(n) {
		return
	}
	walk(n.raw, visit)
}
