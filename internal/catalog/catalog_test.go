package catalog_test

import (
	"strings"
	"testing"

	"allclear.dev/allclear/internal/catalog"
	"allclear.dev/allclear/internal/check"
)

func TestTypesAreValid(t *testing.T) {
	if err := catalog.Validate(catalog.Types()); err != nil {
		t.Error(err)
	}
	if len(catalog.ByName()) != len(catalog.Types()) {
		t.Error("a name stands for two types")
	}
}

func TestValidateRefuses(t *testing.T) {
	good := check.Desc{Name: "a.b", Summary: "It is so", Doc: "# a.b"}
	of := func(change func(*check.Desc)) *check.Type {
		d := good
		change(&d)
		return &check.Type{Desc: d}
	}
	for want, types := range map[string][]*check.Type{
		"not a name":   {of(func(d *check.Desc) { d.Name = "A b" })},
		"listed twice": {of(func(*check.Desc) {}), of(func(*check.Desc) {})},
		"no summary":   {of(func(d *check.Desc) { d.Summary = "" })},
		"no page":      {of(func(d *check.Desc) { d.Doc = " \n" })},
	} {
		if err := catalog.Validate(types); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
