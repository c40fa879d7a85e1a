package env_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/env"
)

func TestDiff(t *testing.T) {
	checktest.Page(t, env.Diff)
	const l = "DEBUG=false\nWORKERS=4\nAPI_URL=https://a\nSECRET_KEY='" + strong + "'\nEMPTY_KEY=\n"
	const r = "DEBUG=false\nWORKERS=4\nAPI_URL=https://b\nSECRET_KEY='" + other + "'\nEMPTY_KEY=\n"
	both := func(left, right string) func(*check.Env) { return tree(t, "l.env", left, "r.env", right) }
	const params = "{left: [l.env], right: [r.env]}"
	printing := func(left, right string) func(*check.Env) {
		return tree(t, "l.env", l, "r.env", r, "a", left, "b", right)
	}
	const version = "{versions: [{name: python, left: [cat, a], right: [cat, b]}]}"
	const settings = "{settings: {left: [cat, a], right: [cat, b]}, allow: [ALLOWED_*]}"
	checktest.Run(t, env.Diff, []checktest.Case{
		{Name: "alike", Params: params, Env: both(l, r), Want: "pass: 5 variables, settings and versions compared...", Check: func(t *testing.T, o check.Outcome) {
			if len(o.Artefacts) != 1 || o.Facts["compared"] != "5" {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "before the first run", Params: params, Env: func(e *check.Env) { both(l, r)(e); e.DataDir = filepath.Join(e.Dir, "not", "yet") }, Want: "pass: ..."},
		{Name: "names", Params: params, Env: both(l+"X=1\n", r+"Y=1\n"), Want: "fail: only in l.env: X; only in r.env: Y"},
		{Name: "names do not matter", Params: "{left: [l.env], right: [r.env], names_equal: false}", Env: both(l+"X=1\n", r), Want: "pass: ..."},
		{Name: "nothing on both sides", Params: "{left: [l.env], right: [r.env], names_equal: false}", Env: both("A=1\n", "B=1\n"), Want: "error: no variable is in l.env and in r.env, so that there is nothing to compare"},
		{Name: "allowed names", Params: "{left: [l.env], right: [r.env], allow: [X, Y*]}", Env: both(l+"X=1\n", r+"Y=1\n"), Want: "pass: ..."},
		{Name: "shared secret", Params: params, Env: both(l, l), Want: "fail: secrets with the same value on both sides: SECRET_KEY"},
		{Name: "password in an address", Params: params, Env: both("DB=postgres://u:hunter22@db/x", "DB=postgres://u:hunter22@db/x"), Want: "fail: ...DB"},
		{Name: "further secrets", Params: "{left: [l.env], right: [r.env], secrets: [WORK*]}", Env: both(l, r), Want: "fail: ...WORKERS"},
		{Name: "values", Params: "{left: [l.env], right: [r.env], values_equal: true}", Env: both(l, r), Want: "fail: with different values: API_URL"},
		{Name: "allowed values", Params: "{left: [l.env], right: [r.env], values_equal: true, allow: ['*_URL']}", Env: both(l, r), Want: "pass: ..."},
		{Name: "versions", Params: version, Env: printing("Python 3.12.1\n", "Python 3.12.1\n"), Want: "pass: ..."},
		{Name: "another version", Params: version, Env: printing("Python 3.12.1\n", "Python 3.13.0\n"), Want: `fail: python is "Python 3.12.1" on the left and "Python 3.13.0" on the right`},
		{Name: "part of a version", Params: `{versions: [{left: [cat, a], right: [cat, b], pattern: '(\d+)\.'}]}`, Env: printing("Python 3.12.1\n", "Python 3.13.0\n"), Want: "pass: ..."},
		{Name: "no version", Params: `{versions: [{left: [cat, a], right: [cat, b], pattern: '\d+'}]}`, Env: printing("1", "none"), Want: "error: versions: cat prints nothing that matches..."},
		{Name: "prints nothing", Params: version, Env: printing("1", ""), Want: "error: versions: cat on local printed nothing"},
		{Name: "fails", Params: "{versions: [{left: [cat, a], right: [cat, none]}]}", Env: printing("1", "1"), Want: "error: versions: cat on local ended with code 1..."},
		{Name: "settings", Params: settings, Env: printing("DEBUG = False\nSECRET_KEY = '"+strong+"'\nALLOWED_HOSTS = ['a']  ###\n", "DEBUG = False\nSECRET_KEY = '"+other+"'\n"), Want: "pass: 3 variables, settings and versions compared..."},
		{Name: "settings differ", Params: settings, Env: printing("DEBUG = False\nX = 1\n", "DEBUG = True\n"), Want: "fail: settings that differ: DEBUG, X"},
		{Name: "settings of another form", Params: settings, Env: printing("DEBUG = False\n", "Traceback "+hidden), Want: "error: settings of cat: line 1 is not NAME = value"},
		{Name: "no left", Params: "{left: [none.env], right: [r.env]}", Env: both(l, r), Want: "error: left: read none.env: ..."},
		{Name: "empty right", Params: params, Env: both(l, "# nothing"), Want: "error: right: r.env has no variable at all"},
		{Name: "malformed", Params: params, Env: both(l, hidden), Want: "error: right: read r.env: line 1 is not NAME=value"},
		{Name: "no host", Params: params, Env: func(e *check.Env) {
			e.Host = func(string) (check.Host, error) { return nil, errors.New("no such host") }
		}, Want: "error: left: no such host"},
		{Name: "program that hangs", Params: "{versions: [{left: [sleep, 60], right: [cat, a]}]}", Env: printing("1", "1"), Timeout: 100 * time.Millisecond, Want: "error: versions: sleep on local: ..."},
		{Name: "problem: same", Params: "{left: [a], right: [a]}", Want: "problem: ...are the same source"},
		{Name: "problem: one", Params: "{left: [a]}", Want: "problem: ...left and right go together"},
		{Name: "problem: nothing", Params: "{}", Want: "problem: ...give left and right..."},
		{Name: "problem: same program", Params: "{versions: [{command: [cat, a]}]}", Want: "problem: ...the same program on the same host..."},
		{Name: "problem: half", Params: "{versions: [{left: [cat, a]}]}", Want: "problem: ...or both left and right"},
	})
}
