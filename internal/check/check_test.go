package check_test

import (
	"context"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/secret"
)

type sample struct {
	URL    string            `param:"url,short" doc:"address"`
	Every  time.Duration     `param:"every" doc:"pause" default:"5s"`
	Codes  []int             `param:"codes" doc:"codes" default:"200"`
	Mode   string            `param:"mode" doc:"mode" default:"on" enum:"on,off"`
	Header map[string]string `param:"header" doc:"headers" default:""`
	Body   check.Value       `param:"body" doc:"any" default:""`
	Token  secret.Ref        `param:"token" doc:"token" default:""`
	Least  check.Size        `param:"least" doc:"bytes" default:"1kB"`
	Part   check.Share       `param:"part" doc:"share" default:"80%"`
	Steps  []step            `param:"steps" doc:"steps" default:""`
	Flag   *bool             `param:"flag" doc:"flag" default:""`
}

type step struct {
	Name string `param:"name" doc:"name"`
}

func (s *sample) Run(ctx context.Context, _ *check.Env) (check.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return check.Outcome{}, err
	}
	return check.Passf("%s every %s codes %v %s %s %d %.1f %d", s.URL, s.Every, s.Codes, s.Mode, s.Body, s.Least, float64(s.Part), len(s.Steps)), nil
}

func TestDecode(t *testing.T) {
	typ := check.Define[sample](check.Desc{Name: "sample", Summary: "s"})
	checktest.Run(t, typ, []checktest.Case{
		{Name: "short form", Params: `http://x`, Want: "pass: http://x every 5s codes [200] on  1000 0.8 0"},
		{Name: "all", Params: "url: u\nevery: 1m\ncodes: [1, 2]\nbody: {a: [1, x]}\nleast: 2MiB\npart: 0.5\nsteps: [{name: a}]", Want: `pass: u every 1m0s codes [1 2] on {"a":[1,"x"]} 2097152 0.5 1`},
		{Name: "missing", Params: "every: 1s", Want: "problem: list.md:1:1: sample needs url: address"},
		{Name: "wrong", Params: "url: u\nevery: soon", Want: `problem: list.md:2:8: every: want a duration, got "soon"`},
		{Name: "enum", Params: "url: u\nmode: onn", Want: `problem: list.md:2:7: mode: unknown value "onn"`},
		{Name: "nested", Params: "url: u\nsteps: [{nam: a}]", Want: `problem: ...unknown parameter "nam" of sample...`},
		{Name: "value as secret", Params: "url: u\ntoken: hunter2", Want: `problem: list.md:2:8: token: a secret is a reference...`},
	})
}

type vars map[string]string

func (v vars) Lookup(name string) (string, check.Known) {
	if value, ok := v[name]; ok {
		return value, check.Set
	}
	switch name {
	case "env.url":
		return "", check.Unset
	case "run.id":
		return "", check.Later
	}
	return "", check.Unknown
}

func (v vars) Names() []string { return []string{"env.url", "env.host", "run.id"} }

func TestVariables(t *testing.T) {
	typ := check.Define[sample](check.Desc{Name: "sample", Summary: "s"})
	inst, problems := checktest.Decode(typ, "url: ${env.host}/x\nheader: {a: '${run.id}'}", vars{"env.host": "${env.url}"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if got := inst.Runner.(*sample).URL; got != "${env.url}/x" {
		t.Errorf("substituted text is read again: %q", got)
	}
	if len(inst.Deferred) != 1 || len(inst.Missing) != 0 {
		t.Errorf("deferred %v missing %v", inst.Deferred, inst.Missing)
	}
	inst, problems = checktest.Decode(typ, "url: u\nheader: {'x-${env.host}': a}", vars{"env.host": "web"})
	if len(problems) > 0 || inst.Runner.(*sample).Header["x-web"] != "a" {
		t.Errorf("a variable in a name: %v, %v", inst, problems)
	}
	if got := inst.Secrets(); len(got) != 0 {
		t.Errorf("references without any: %v", got)
	}
	inst, _ = checktest.Decode(typ, "url: u\ntoken: env:TOKEN", vars{})
	if got := inst.Secrets(); len(got) != 1 || got[0].String() != "env:TOKEN" {
		t.Errorf("references %v, want env:TOKEN", got)
	}
	inst, _ = checktest.Decode(typ, "url: ${env.url}", vars{})
	if len(inst.Missing) != 1 || inst.Missing[0] != "url" {
		t.Errorf("missing = %v, want [url]", inst.Missing)
	}
	_, problems = checktest.Decode(typ, "url: ${env.hots}", vars{})
	if len(problems) != 1 || problems[0].Hint != "did you mean ${env.host}?" {
		t.Errorf("problems = %+v", problems)
	}
}

type program struct {
	Argv   []check.Arg  `param:"run" doc:"argv" default:""`
	Script check.Script `param:"sh" doc:"script" default:""`
}

func (p *program) Run(ctx context.Context, _ *check.Env) (check.Outcome, error) {
	argv, err := check.Args(p.Argv, false)
	if err != nil {
		return check.Outcome{}, err
	}
	return check.Passf("%q %s", argv, p.Script), ctx.Err()
}

func TestArguments(t *testing.T) {
	typ := check.Define[program](check.Desc{Name: "program", Summary: "s"})
	v := vars{"a": "plain", "dash": "--upload-pack=x", "lines": "a\nb", "nul": "a\x00b"}
	for _, c := range []struct{ params, want string }{
		{`run: [ls, -l, "${a}", "--x=${dash}"]`, `["ls" "-l" "plain" "--x=--upload-pack=x"] `},
		{`run: [ls, "${dash}"]`, "error: argument 2: the value of ${dash} begins with -"},
		{`run: [ls, "x${lines}"]`, "error: argument 2: the value of x${lines} holds a line break"},
		{`run: [ls, "x${nul}"]`, "error: argument 2: it holds a NUL byte"},
		{`run: [ls, "a\nb"]`, `["ls" "a\nb"] `},
		{`sh: 'echo ${HOME} $1'`, `[] echo ${HOME} $1`},
		{`sh: 'echo ${env.url}'`, "problem"},
	} {
		inst, problems := checktest.Decode(typ, c.params, v)
		got := "problem"
		if len(problems) == 0 {
			o, err := inst.Runner.Run(t.Context(), nil)
			if got = o.Reason; err != nil {
				got = "error: " + err.Error()
			}
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.params, got, c.want)
		}
	}
}
