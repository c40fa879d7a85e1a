package tool_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/tool"
)

func TestPage(t *testing.T) { checktest.Page(t, tool.Version) }

// with puts programs in the folder where the host looks first for them.
func with(programs map[string]string) func(*check.Env) {
	return func(env *check.Env) {
		for name, body := range programs {
			if err := os.WriteFile(filepath.Join(env.Dir, name), []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
				panic(err)
			}
		}
	}
}

func TestVersion(t *testing.T) {
	says := func(text string) func(*check.Env) { return with(map[string]string{"prog": "echo '" + text + "'"}) }
	const asked = `, ask: {prog: [./prog]}}`
	checktest.Run(t, tool.Version, []checktest.Case{
		{Name: "the real git", Params: `{tools: {git: ">=2.0"}}`, Want: "pass: 1 programs in versions that fit"},
		{Name: "too old", Params: `{tools: {git: ">=99"}}`, Want: "fail: git is ..., want >=99"},
		{Name: "not there", Params: `{tools: {no-such-program-9: ">=1"}}`, Want: "fail: no-such-program-9 is not there"},
		{Name: "go", Params: `{tools: {prog: ">=1.26 <2"}` + asked, Env: says("go version go1.26.8 linux/amd64"), Want: "pass: ..."},
		{Name: "psql", Params: `{tools: {prog: "15.x"}` + asked, Env: says("psql (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Want: "pass: ..."},
		{Name: "java on the other stream", Params: `{tools: {prog: "17.x"}` + asked, Env: with(map[string]string{"prog": `echo 'openjdk version "17.0.15" 2025-04-15' >&2`}), Want: "pass: ..."},
		{Name: "four numbers", Params: `{tools: {prog: "~2.6.12"}` + asked, Env: says("HAProxy version 2.6.12.1-1+deb12u1"), Want: "pass: ..."},
		{Name: "leading noughts", Params: `{tools: {prog: ">=24.4"}` + asked, Env: says("Ubuntu 24.04"), Want: "pass: ..."},
		{Name: "a date is none", Params: `{tools: {prog: ">=1"}` + asked, Env: says("built in 2026"), Want: "error: ./prog tells no version: ..."},
		{Name: "before a release", Params: `{tools: {prog: ">=1.4"}` + asked, Env: says("1.5.0-rc1"), Want: "fail: prog is 1.5.0-rc1, want >=1.4"},
		{Name: "before a release, Python's way", Params: `{tools: {prog: ">=3.13.0-alpha"}` + asked, Env: says("Python 3.13.0rc2"), Want: "pass: ..."},
		{Name: "match", Params: `{tools: {prog: "3.x"}, ask: {prog: {run: [./prog], match: "lib ([0-9.]+)"}}}`, Env: says("tool 1.0 lib 3.2"), Want: "pass: ..."},
		{Name: "nothing", Params: `{tools: {prog: ">=1"}` + asked, Env: says(""), Want: "error: ./prog tells no version: ..."},
		{Name: "it fails", Params: `{tools: {prog: ">=1"}` + asked, Env: with(map[string]string{"prog": "echo 1.2.3; exit 3"}), Want: "error: ./prog ended with exit 3 and tells no version"},
		{Name: "it is endless", Params: `{tools: {prog: ">=1"}` + asked, Env: with(map[string]string{"prog": "yes 1.2.3 | head -c 1000000"}), Want: "error: ..."},
		{Name: "it hangs", Params: `{tools: {prog: ">=1"}` + asked, Env: with(map[string]string{"prog": "exec sleep 60"}), Timeout: 200 * time.Millisecond, Want: "error: ..."},
		{Name: "no versions", Params: `{tools: {git: newest}}`, Want: "problem: ...want versions such as..."},
		{Name: "no tools", Params: `{tools: {}}`, Want: "problem: ...tools names no program..."},
		{Name: "an option as a name", Params: `{tools: {"-rf": ">=1"}}`, Want: "problem: ...is not a program's name..."},
		{Name: "asked and not wanted", Params: `{tools: {git: ">=1"}, ask: {go: [go, version]}}`, Want: "problem: ...go is not one of tools..."},
		{Name: "no group", Params: `{tools: {git: ">=1"}, ask: {git: {run: [git], match: "[0-9]"}}}`, Want: "problem: ...has no group..."},
		{Name: "an empty command", Params: `{tools: {git: ">=1"}, ask: {git: {run: []}}}`, Want: "problem: ..."},
	})
}

// A host that is reached by a shell says by 127 that there is no such program.
func TestNotThereOnAHost(t *testing.T) {
	env := checktest.NewEnv(t)
	env.Host = func(string) (check.Host, error) { return shellHost{}, nil }
	inst, problems := checktest.Decode(tool.Version, `{tools: {node: ">=20"}, on: web}`, nil)
	if inst == nil {
		t.Fatal(problems)
	}
	outcome, err := inst.Runner.Run(t.Context(), env)
	if err != nil || outcome.Verdict != check.Fail {
		t.Errorf("%v %v", outcome, err)
	}
}

type shellHost struct{ check.Host }

func (shellHost) Exec(context.Context, check.Command) (check.Result, error) {
	return check.Result{Code: 127}, nil
}
