package person_test

import (
	"testing"

	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/person"
)

func TestInput(t *testing.T) {
	checktest.Page(t, person.Input)
	checktest.Run(t, person.Input, []checktest.Case{
		{Name: "asks", Params: "release.ticket", Want: ": waits for a person", Check: facts(nil)},
		{Name: "asks with words", Params: "{fact: release.ticket, question: Which ticket?, attach: [uat.open]}", Env: record, Want: ": Which ticket?", Check: facts(map[string]string{"uat.open": "0"})},
		{Name: "no name", Params: "ticket", Want: "problem: ...is not a name such as release.ticket..."},
		{Name: "an expression that is none", Params: "{fact: a.b, match: '['}", Want: "problem: ..."},
		{Name: "both", Params: "{fact: a.b, match: x, choices: [y]}", Want: "problem: ...exclude each other..."},
		{Name: "a choice twice", Params: "{fact: a.b, choices: [y, y]}", Want: "problem: ...stands there twice..."},
	})
	inst, problems := checktest.Decode(person.Input, "{fact: release.ticket, match: 'OPS-[0-9]+', role: [Tech Lead]}", nil)
	if inst == nil {
		t.Fatal(problems)
	}
	p := inst.Traits.Person
	if p.Fact != "release.ticket" || p.Match != "OPS-[0-9]+" || len(p.Roles) != 1 || p.Evidence[0] != "text" {
		t.Errorf("asks for %+v", p)
	}
}
