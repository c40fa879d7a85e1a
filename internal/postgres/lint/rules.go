package lint

import (
	"maps"
	"slices"
)

// levels are the rules and how much each of their findings matters.
func levels() map[string]Level {
	return map[string]Level{
		"idx-create": Hazard, "idx-create-partitioned": Hazard, "idx-reindex": Hazard, "pk-add": Hazard, "pk-using-index-nullable": Hazard,
		"uq-add": Hazard, "excl-add": Hazard, "fk-add": Hazard, "fk-inline-default": Hazard, "check-add": Hazard, "check-inline": Hazard,
		"validate-same-tx": Hazard, "notnull-set": Hazard, "default-volatile": Hazard, "add-serial": Hazard, "add-identity": Hazard,
		"add-generated": Hazard, "add-domain": Hazard, "type-change": Hazard, "type-collation": Hazard, "type-check-recheck": Hazard, "set-logged": Hazard,
		"set-tablespace": Hazard, "set-access-method": Hazard, "vacuum-full": Hazard, "cluster": Hazard, "refresh-mv": Hazard, "part-attach": Hazard,
		"part-create": Hazard, "domain-add": Hazard, "lock-held": Hazard, "idx-in-ddl-tx": Hazard, "data-and-ddl-mixed": Hazard, "set-expression": Hazard,

		"drop-table": Risk, "drop-column": Risk, "drop-schema": Risk, "drop-database": Risk, "drop-view": Risk, "drop-constraint": Risk,
		"drop-not-null": Risk, "drop-type": Risk, "rename-table": Risk, "rename-column": Risk, "rename-schema": Risk, "rename-enum-value": Risk,
		"rename-view": Risk, "set-schema": Risk, "truncate": Risk, "truncate-cascade": Risk, "delete-all": Risk, "update-all": Risk, "not-batched": Risk, "ddl-after-data": Risk, "add-required": Risk,
		"enum-used-in-tx": Risk, "idx-conc-in-tx": Risk, "idx-conc-ifnotexists": Risk, "idx-conc-lock-timeout": Risk, "idx-conc-partitioned": Risk,
		"part-detach-default": Risk, "tx-nesting": Risk, "tx-open": Risk, "cannot-see-inside": Risk, "drop-function-cascade": Risk, "fk-type-mismatch": Risk,
		"idx-corruption-14": Risk,

		"no-lock-timeout": Style, "no-statement-timeout": Style, "idx-drop": Style, "fk-no-index": Style, "drop-referencing": Style, "lock-many": Style,
		"lock-table": Style, "part-detach": Style, "json-column": Style, "char-column": Style, "money-column": Style, "int-key": Style,
		"long-name": Style, "enum-order": Style, "trigger": Style, "unused-allow": Style,
	}
}

// Rules lists the rules' names.
func Rules() []string { return slices.Sorted(maps.Keys(levels())) }
