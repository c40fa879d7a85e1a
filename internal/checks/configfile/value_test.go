package configfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/configfile"
)

func TestPage(t *testing.T) { checktest.Page(t, configfile.Value) }

func file(name, text string) func(*check.Env) {
	return func(env *check.Env) {
		if err := os.WriteFile(filepath.Join(env.Dir, name), []byte(text), 0o600); err != nil {
			panic(err)
		}
	}
}

const (
	asYAML = "# ours\nserver: {workers: 8, ports: [{name: web, port: 80}]}\ndebug: false\nratio: 1.0\nlabels:\n  app.kubernetes.io/name: shop\nempty:\npassword: hunter22\n"
	asTOML = "debug = false\nstarted = 2026-01-02\n[server]\nworkers = 8\n[[server.ports]]\nname = \"web\"\nport = 80\n"
	asINI  = "top = 1\n; ours\n[server]\nworkers = 8\nlist: a, b # c\n"
)

func TestValue(t *testing.T) {
	checktest.Run(t, configfile.Value, []checktest.Case{
		{Name: "yaml", Env: file("a.yaml", asYAML), Params: `{file: a.yaml, values: {server.workers: 8, "server.ports[0].name": web, debug: false, ratio: 1, 'labels."app.kubernetes.io/name"': shop, empty: null}, absent: [server.socket, "server.ports[1]"], expect: config.server.workers > 4}`, Want: "pass: a.yaml is as it must be"},
		{Name: "whole parts", Env: file("a.yaml", asYAML), Params: `{file: a.yaml, values: {"server.ports": [{name: web, port: 80}]}}`, Want: "pass: ..."},
		{Name: "toml", Env: file("a.toml", asTOML), Params: `{file: a.toml, values: {server.workers: 8, "server.ports[0].port": 80, started: "2026-01-02"}}`, Want: "pass: ..."},
		{Name: "json", Env: file("a.json", `{"n": 12345678901234567, "s": "x"}`), Params: `{file: a.json, values: {n: 12345678901234567, s: x}}`, Want: "pass: ..."},
		{Name: "long numbers", Env: file("a.json", `{"n": 12345678901234567}`), Params: `{file: a.json, values: {n: 12345678901234568}}`, Want: "fail: a.json: n is 12345678901234567, want 12345678901234568"},
		{Name: "a key twice in json", Env: file("a.json", `{"a": {"b": 1}, "c": [{"b": 1}, {"b": 2}], "a": 2}`), Params: `{file: a.json, values: {a: 2}}`, Want: `error: a.json: "a" stands there twice`},
		{Name: "keys that are not twice", Env: file("a.json", `{"a": {"a": "b", "b": 1}, "c": [{"b": 1.0}, {"b": 2}], "b": "a"}`), Params: `{file: a.json, values: {c: [{b: 1}, {b: 2.0}], b: a}}`, Want: "pass: ..."},
		{Name: "ini", Env: file("a.ini", asINI), Params: `{file: a.ini, values: {top: "1", server.workers: "8", server.list: "a, b # c"}}`, Want: "pass: ..."},
		{Name: "env", Env: file(".env", "A=1\nexport B='x y'\n"), Params: `{file: .env, values: {A: "1", B: x y}}`, Want: "pass: ..."},
		{Name: "the second document", Env: file("a.yml", "a: 1\n---\na: 2\n"), Params: `{file: a.yml, document: 2, values: {a: 2}}`, Want: "pass: ..."},
		{Name: "another value", Env: file("a.yaml", asYAML), Params: `{file: a.yaml, values: {server.workers: 9, debug: "false"}}`, Want: `fail: a.yaml: debug is false, want "false"; server.workers is 8, want 9`},
		{Name: "not there", Env: file("a.yaml", asYAML), Params: `{file: a.yaml, values: {server.socket: x, "server.ports[3]": 1}}`, Want: "fail: ...server.ports[3] is not there; server.socket is not there"},
		{Name: "there", Env: file("a.yaml", asYAML), Params: `{file: a.yaml, absent: [debug, empty]}`, Want: "fail: ...debug is there; empty is there"},
		{Name: "not so", Env: file("a.yaml", asYAML), Params: `{file: a.yaml, expect: config.debug}`, Want: "fail: ...not so: config.debug"},
		{Name: "a secret is not shown", Env: file("a.yaml", asYAML), Params: `{file: a.yaml, values: {password: other999}}`, Want: "fail: a.yaml: password is [not shown], want [not shown]"},
		{Name: "a secret in a mapping is not shown", Env: file("a.yaml", "db: {host: x, password: hunter22}\n"), Params: `{file: a.yaml, values: {db: {host: x}}}`, Want: "fail: a.yaml: db is [not shown], want ...", Check: hidden},
		{Name: "a password in an address is not shown", Env: file("a.yaml", "db: postgres://app:hunter22@db/app\n"), Params: `{file: a.yaml, values: {db: x}}`, Want: `fail: a.yaml: db is [not shown], want "x"`, Check: hidden},
		{Name: "expect about nothing", Env: file("a.yaml", asYAML), Params: `{file: a.yaml, expect: config.nothing > 1}`, Want: "error: ...there is no field..."},
		{Name: "through a plain value", Env: file("a.yaml", asYAML), Params: `{file: a.yaml, values: {debug.level: 1}}`, Want: "error: ...leads on behind a plain value"},
		{Name: "a list asked for a key", Env: file("a.yaml", asYAML), Params: `{file: a.yaml, absent: [server.ports.web]}`, Want: "error: ...asks a list for a key"},
		{Name: "a mapping asked for a place", Env: file("a.yaml", asYAML), Params: `{file: a.yaml, absent: ["server[0]"]}`, Want: "error: ...asks a mapping for a place in a list"},
		{Name: "no file", Params: `{file: a.yaml, values: {a: 1}}`, Want: "error: read a.yaml: ..."},
		{Name: "empty", Env: file("a.yaml", " \n"), Params: `{file: a.yaml, absent: [a]}`, Want: "error: a.yaml: the file is empty"},
		{Name: "malformed yaml", Env: file("a.yaml", "a: [1\n"), Params: `{file: a.yaml, absent: [a]}`, Want: "error: a.yaml: ..."},
		{Name: "a key twice", Env: file("a.yaml", "a: 1\na: 2\n"), Params: `{file: a.yaml, values: {a: 2}}`, Want: "error: a.yaml: ..."},
		{Name: "malformed json", Env: file("a.json", `{"a": 1} x`), Params: `{file: a.json, values: {a: 1}}`, Want: "error: ..."},
		{Name: "malformed toml", Env: file("a.toml", "a = = 1"), Params: `{file: a.toml, values: {a: 1}}`, Want: "error: ..."},
		{Name: "malformed ini", Env: file("a.ini", "[open\n"), Params: `{file: a.ini, values: {a: 1}}`, Want: "error: ..."},
		{Name: "a key twice in ini", Env: file("a.ini", "[s]\na=1\na=2\n"), Params: `{file: a.ini, values: {s.a: "2"}}`, Want: "error: ...a stands there twice in [s]"},
		{Name: "malformed env", Env: file(".env", "A"), Params: `{file: .env, absent: [B]}`, Want: "error: ...line 1 is not NAME=value"},
		{Name: "not UTF-8", Env: file("a.yaml", "a: \xff\n"), Params: `{file: a.yaml, absent: [b]}`, Want: "error: ...not UTF-8"},
		{Name: "which document", Env: file("a.yml", "a: 1\n---\na: 2\n"), Params: `{file: a.yml, values: {a: 2}}`, Want: "error: ...2 documents: say which..."},
		{Name: "no such document", Env: file("a.yml", "a: 1\n"), Params: `{file: a.yml, document: 3, values: {a: 2}}`, Want: "error: ...1 documents, and document 3 is asked for"},
		{Name: "huge", Env: file("a.json", `"`+strings.Repeat("x", 9<<20)+`"`), Params: `{file: a.json, absent: [b]}`, Want: "error: read a.json: ..."},
		{Name: "aliases upon aliases", Env: file("a.yaml", bomb()), Params: `{file: a.yaml, absent: [b]}`, Want: "error: ..."},
		{Name: "asks nothing", Params: `{file: a.yaml}`, Want: "problem: ...say what the file must hold..."},
		{Name: "no format", Params: `{file: settings, values: {a: 1}}`, Want: "problem: ...does not tell how it is written..."},
		{Name: "a path that is none", Params: `{file: a.yaml, values: {"a[x]": 1}}`, Want: "problem: ...want a number from 0 in brackets..."},
		{Name: "an open quote", Params: `{file: a.yaml, absent: ['"a']}`, Want: "problem: ...a quote is not closed..."},
		{Name: "documents of json", Params: `{file: a.json, document: 2, absent: [a]}`, Want: "problem: ...document is for YAML..."},
	})
}

func hidden(t *testing.T, o check.Outcome) {
	if o.Facts["db"] != "[not shown]" {
		t.Errorf("%v", o.Facts)
	}
}

// bomb is YAML whose aliases would grow to billions of values.
func bomb() string {
	text := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 9 {
		before := string(rune('0' + i))
		line := "*a" + before + strings.Repeat(", *a"+before, 9)
		text += "a" + string(rune('1'+i)) + ": &a" + string(rune('1'+i)) + " [" + line + "]\n"
	}
	return text
}
