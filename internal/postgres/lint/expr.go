package lint

import "slices"

// volatile reports whether a default's value may differ from row to row, so that
// each row must be written when a column with it is added. A function that nobody
// knows may do anything.
func (c *catalog) volatile(n node) bool { return c.volatileWithin(n, 0) }

// maxInline bounds how deep functions in SQL are looked into.
const maxInline = 8

func (c *catalog) volatileWithin(n node, depth int) bool {
	found := false
	n.each(func(n node) bool {
		switch n.kind {
		case "FuncCall":
			found = found || c.callVolatile(decode[funcCall](n), depth)
		case "SubLink":
			found = true
		}
		return !found
	})
	return found
}

func (c *catalog) callVolatile(call funcCall, depth int) bool {
	parts := words(call.Name)
	if len(parts) == 0 {
		return true
	}
	name := parts[len(parts)-1]
	if f, ok := c.functions[qualified(parts)]; ok {
		// A function in SQL that is one expression takes that expression's place.
		if f.body.kind != "" && depth < maxInline {
			return c.volatileWithin(f.body, depth+1)
		}
		return f.volatility == "v"
	}
	if len(parts) > 1 && parts[0] != "pg_catalog" {
		return true
	}
	return !slices.Contains(steadyFunctions(), name)
}

// steadyFunctions are PostgreSQL's own functions that defaults are made of and that
// give one value within a statement (pg_proc.provolatile i or s).
func steadyFunctions() []string {
	return []string{
		"now", "transaction_timestamp", "statement_timestamp", "current_setting", "current_database", "current_schema", "current_user",
		"lower", "upper", "initcap", "concat", "concat_ws", "format", "md5", "sha256", "encode", "decode", "replace", "substr", "substring",
		"left", "right", "length", "char_length", "trim", "btrim", "ltrim", "rtrim", "lpad", "rpad", "repeat", "reverse", "split_part",
		"abs", "ceil", "ceiling", "floor", "round", "trunc", "power", "sqrt", "mod", "greatest", "least", "div",
		"date_trunc", "date_part", "extract", "timezone", "to_char", "to_date", "to_timestamp", "to_number", "make_date", "make_time",
		"make_interval", "make_timestamp", "make_timestamptz", "age", "justify_days", "localtimestamp", "localtime",
		"json_build_object", "json_build_array", "jsonb_build_object", "jsonb_build_array", "to_json", "to_jsonb", "row_to_json",
		"array_append", "array_cat", "array_length", "array_to_string", "string_to_array", "array_fill", "cardinality",
		"int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange", "point", "box", "inet", "host", "text", "to_tsvector",
		"pg_backend_pid", "inet_client_addr", "txid_current", "pg_current_xact_id", "uuid_nil", "uuid_ns_dns", "hashtext", "version",
	}
}

// notNullColumn gives the column that a CHECK proves not to be null: col IS NOT
// NULL, alone or among conditions that all must hold.
func notNullColumn(n node) string {
	switch n.kind {
	case "NullTest":
		test := decode[nullTest](n)
		if test.Type == "IS_NOT_NULL" && test.Arg.kind == "ColumnRef" {
			fields := words(decode[columnRef](test.Arg).Fields)
			if len(fields) > 0 {
				return fields[len(fields)-1]
			}
		}
	case "BoolExpr":
		b := decode[struct {
			Op   string `json:"boolop"`
			Args []node `json:"args"`
		}](n)
		if b.Op != "AND_EXPR" {
			return ""
		}
		for _, arg := range b.Args {
			if col := notNullColumn(arg); col != "" {
				return col
			}
		}
	}
	return ""
}

// columnsOf lists the columns that an expression reads.
func columnsOf(n node) []string {
	var out []string
	n.each(func(n node) bool {
		if n.kind == "ColumnRef" {
			if fields := words(decode[columnRef](n).Fields); len(fields) > 0 {
				out = append(out, fields[len(fields)-1])
			}
		}
		return true
	})
	slices.Sort(out)
	return slices.Compact(out)
}

// plainUsing reports whether USING only casts the column to the new type, which is
// the same as no USING.
func plainUsing(n node, column string, to sqlType) bool {
	if n.kind == "TypeCast" {
		cast := decode[typeCast](n)
		if !typeOf(cast.Type).same(to) {
			return false
		}
		n = cast.Arg
	}
	if n.kind != "ColumnRef" {
		return false
	}
	fields := words(decode[columnRef](n).Fields)
	return len(fields) > 0 && fields[len(fields)-1] == column
}
