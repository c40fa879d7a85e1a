package env_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/env"
)

// tree puts files into the checkout and makes the values of the live side secrets.
func tree(t *testing.T, files ...string) func(*check.Env) {
	return func(e *check.Env) {
		for i := 0; i < len(files); i += 2 {
			path := filepath.Join(e.Dir, files[i])
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(files[i+1]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		checktest.SetSecrets(e, checktest.Secrets{"env:A": strong, "env:B": other, "env:C": hidden})
	}
}

// names gives what the code was found to read: NAME, or NAME? with a default.
func names(t *testing.T, file, text string) (read []string, dynamic string) {
	t.Helper()
	e := checktest.NewEnv(t)
	tree(t, file, text, ".env.example", "UNRELATED=1\n")(e)
	var stored []byte
	e.Store = func(_ string, content io.Reader) (check.Artefact, error) {
		text, err := io.ReadAll(content)
		stored = text
		return check.Artefact{Name: "variables.json"}, err
	}
	inst, problems := checktest.Decode(env.Contract, "{code: ['**/*.*', '*file'], exclude: [.env.example], docs: [.env.example]}", nil)
	if inst == nil {
		t.Fatal(problems)
	}
	tree(t, "Xfile", "#!/bin/sh\n")(e)
	o, err := inst.Runner.Run(t.Context(), e)
	if err != nil && !strings.Contains(err.Error(), "is not known") {
		return []string{err.Error()}, ""
	}
	var rows []struct {
		Name string
		Read []struct{ Default bool }
	}
	if err := json.Unmarshal(stored, &rows); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if len(r.Read) == 0 {
			continue
		}
		mark := "?"
		if slices.ContainsFunc(r.Read, func(u struct{ Default bool }) bool { return !u.Default }) {
			mark = ""
		}
		read = append(read, r.Name+mark)
	}
	return read, o.Facts["dynamic"]
}

func TestNamesReadByCode(t *testing.T) {
	for _, c := range []struct{ file, text, want, dynamic string }{
		{"a.py", "import os\nos.environ['A']\nos.environ.get(\"B\", 'x')\nos.getenv('C')\nos.getenv('D', None)\nos.environ.setdefault('E', '1')\n", "A B? C D E?", ""},
		{"a.py", "# os.environ['NO']\n\"\"\"os.environ['NO']\"\"\"\nx = \"os.environ['NO']\"\nf\"{os.environ['YES']}\"\nos.environ['W'] = '1'\nif os.environ['Q'] == '1': pass\nif 'R' in os.environ: pass\n", "Q R? YES", ""},
		{"a.py", "import environ\nenv = environ.Env()\nenv('A')\nenv('B', default=None)\nenv.bool('C', False)\nenv.int(\"D\")\nDATABASES = {'default': env.db()}\nenv.cache('REDIS_URL', default='x')\nenv.db(default='y')\n", "A B? C? D DATABASE_URL REDIS_URL?", ""},
		{"a.py", "from decouple import config\nconfig('A')\nconfig('B', default=1, cast=int)\nconfig('C', cast=bool)\n", "A B? C", ""},
		{"a.py", "config('A')\nos.environ['B']\n", "B", ""},
		{"a.py", "import os\nos.environ[name]\nos.getenv(f'X_{y}')\nos.environ.get('A' + b)\nos.environ['Z']\n", "Z", "a.py:2 environ[name], a.py:4 environ.get('A' + b), a.py:3 getenv(f'X_{y}')"},
		{"a.py", "class S(BaseSettings):\n    a: str\n", "", "a.py:1 BaseSettings"},
		{"a.py", "os.environ['A'] or 'x'\nint(os.environ.get('B') or 5)\n", "A? B?", ""},
		{"a.go", "package a\n// os.Getenv(\"NO\")\nvar s = `os.Getenv(\"NO\")`\nfunc f() { os.Getenv(\"A\"); os.LookupEnv(\"B\"); os.Getenv(name); f(append(os.Environ(), s)) }\ntype c struct {\n\tP int `env:\"PORT\" envDefault:\"80\"`\n\tQ int `env:\"Q,required\"`\n\tR int `env:\"R, default=1\"`\n}\n", "A B? PORT? Q R?", "a.go:4 os.Getenv(name)"},
		{"b.go", "package b\nfunc f() { for _, e := range os.Environ() { _ = e }; os.Getenv(\"A\") }\n", "A", "b.go:2 range os.Environ("},
		{"a.ts", "const a = process.env.A; process.env['B'] ?? 'x'; process.env.C || 1;\n// process.env.NO\nconst u = `${process.env.D}/x`; 'process.env.NO2';\nprocess.env.W = '1';\nconst { E, F = 'x', G: g } = process.env;\nimport.meta.env.VITE_H; import.meta.env.PROD;\n", "A B? C? D E F? G VITE_H", ""},
		{"a.js", "process.env[key]; process.env.A\n", "A", "a.js:1 process.env[key]"},
		{"a.rb", "ENV['A']\nENV.fetch('B')\nENV.fetch(\"C\", 'x')\nENV.fetch('D') { 1 }\nENV['E'] || 2\nENV['W'] = '1'\n# ENV['NO']\n\"#{ENV['F']}\"\nENV[name]\n", "A B C? D? E? F", "a.rb:9 ENV[name]"},
		{"a.php", "<?php getenv('A'); $_ENV['B'] ?? 'x'; env('C', 'd'); env('D'); // getenv('NO')\n", "A B? C? D", ""},
		{"a.sh", "#!/bin/sh\n# $NO\nX=1; echo $X \"$A\" '$NO' ${B:-2} ${C:?no}\nD=${D:-x}\nfor I in $E; do echo $I; done\necho $lower ${!F}\n", "A B? C D? E", "a.sh:6 !F"},
		{"docker-compose.yml", "services:\n  web:\n    image: app:${TAG:-latest} # ${NO}\n    command: echo $$NO $A\n    environment:\n      - PASSED\n      - SET=1\n      - REF=${B}\n    labels: [x]\n  w:\n    environment:\n      EMPTY:\n      GIVEN: 1\n", "A B EMPTY PASSED TAG?", ""},
		{"k8s.yaml", "a: $NO ${A} ${{ secrets.NO }}\n", "A", ""},
	} {
		read, dynamic := names(t, c.file, c.text)
		if got := strings.Join(read, " "); got != c.want || dynamic != c.dynamic {
			t.Errorf("%s\n%s\ngot  %s | %s\nwant %s | %s", c.file, c.text, got, dynamic, c.want, c.dynamic)
		}
	}
}

const (
	settings  = "import os\nos.environ['SECRET_KEY']\nos.environ['DATABASE_URL']\nos.getenv('WORKERS', '4')\n"
	described = "SECRET_KEY=\nDATABASE_URL=postgres://\nWORKERS=4\n# SENTRY_DSN=\nUNREAD=1\n"
	live      = "SECRET_KEY='" + strong + "'\nDATABASE_URL=postgres://u:hunter22@db/x\nUNREAD=1\nEXTRA=1\n"
)

func TestContract(t *testing.T) {
	checktest.Page(t, env.Contract)
	const all = "{code: [app/*.py], docs: [.env.example], live: [.env]}"
	world := func(pairs ...string) func(*check.Env) {
		r := strings.NewReplacer(pairs...)
		return tree(t, "app/settings.py", r.Replace(settings), ".env.example", r.Replace(described), ".env", live)
	}
	table := "| Name | Required | Default |\n|---|:-:|---|\n| `SECRET_KEY` | yes | |\n| DATABASE_URL | yes | - |\n| `WORKERS` | | 4 |\n| `SENTRY_DSN` | no | |\n\n```\n| `NO` | yes | |\n```\n"
	checktest.Run(t, env.Contract, []checktest.Case{
		{Name: "all", Params: all, Env: world(), Want: "pass: 3 variables read in 1 files, 5 documented, 4 set: nothing is missing", Check: func(t *testing.T, o check.Outcome) {
			if o.Facts["unread"] != "SENTRY_DSN, UNREAD" || len(o.Artefacts) != 1 {
				t.Errorf("%v", o.Facts)
			}
		}},
		{Name: "not documented", Params: "{code: [app/*.py], docs: [.env.example]}", Env: world("'WORKERS'", "'THREADS'"), Want: "fail: read but not documented: THREADS (app/settings.py:4)"},
		{Name: "not set", Params: all, Env: world("'4'", "None"), Want: "fail: not set in .env: WORKERS"},
		{Name: "optional", Params: "{code: [app/*.py], docs: [.env.example], live: [.env], optional: [WORK*]}", Env: world("'4'", "None"), Want: "pass: ..."},
		{Name: "ignored", Params: "{code: [app/*.py], docs: [.env.example], ignore: [THREADS]}", Env: world("'WORKERS'", "'THREADS'"), Want: "pass: ..."},
		{Name: "required", Params: "{required: [SENTRY_DSN], live: [.env]}", Env: world(), Want: "fail: not set in .env: SENTRY_DSN"},
		{Name: "unread", Params: "{code: [app/*.py], docs: [.env.example], unread: true}", Env: world(), Want: "fail: documented but not read: SENTRY_DSN, UNREAD"},
		{Name: "empty", Params: "{docs: [.env.example], live: [.env]}", Env: tree(t, ".env.example", "A=\n", ".env", "A=''\nB=1\n"), Want: "fail: empty in .env: A"},
		{Name: "usual placeholder", Params: "{docs: [.env.example], live: [.env]}", Env: tree(t, ".env.example", "API_KEY=\nENV=\n", ".env", "API_KEY=changeme\nENV=test\n"), Want: "fail: a placeholder that nobody replaced: API_KEY"},
		{Name: "own placeholder", Params: "{docs: [.env.example], live: [.env], placeholders: ['^your-']}", Env: tree(t, ".env.example", "HOST=\n", ".env", "HOST=your-host\n"), Want: "fail: a placeholder that nobody replaced: HOST"},
		{Name: "markdown", Params: "{code: [app/*.py], docs: [docs/env.md], live: [.env]}", Env: func(e *check.Env) { world()(e); tree(t, "docs/env.md", table)(e) }, Want: "pass: 3 variables read in 1 files, 4 documented, 4 set..."},
		{Name: "later sources", Params: "{required: [A], live: [.env, b.env]}", Env: tree(t, ".env", "A=\n", "b.env", "A=1\n"), Want: "pass: ..."},
		{Name: "computed name", Params: "{code: [app/*.py], docs: [.env.example]}", Env: world("'WORKERS', '4'", "name"), Want: "error: which variables these read is not known: app/settings.py:4 getenv(name)..."},
		{Name: "computed name beside a miss", Params: "{code: [app/*.py], docs: [.env.example], live: [.env], required: [X], optional: [WORKERS]}", Env: world("'WORKERS', '4'", "name"), Want: "fail: not set in .env: X; not known: app/settings.py:4 getenv(name)"},
		{Name: "looked through", Params: "{code: [app/*.py], docs: [.env.example], dynamic: [app/*]}", Env: world("'WORKERS', '4'", "name"), Want: "pass: ..."},
		{Name: "reads nothing", Params: "{code: [app/*.py], docs: [.env.example]}", Env: tree(t, "app/a.py", "x = 1\n", ".env.example", "A=1\n"), Want: "error: code: none of the 1 files reads a variable"},
		{Name: "documents nothing", Params: "{code: [app/*.py], docs: [docs/env.md]}", Env: func(e *check.Env) { world()(e); tree(t, "docs/env.md", "# Text\n")(e) }, Want: "error: docs: docs/env.md document no variable"},
		{Name: "no code", Params: "{code: [src/*.py], docs: [.env.example]}", Env: world(), Want: "error: code: no file matches src/*.py"},
		{Name: "unknown language", Params: "{code: [app/*], docs: [.env.example]}", Env: func(e *check.Env) { world()(e); tree(t, "app/A.java", "x")(e) }, Want: "error: how app/A.java reads variables is not known..."},
		{Name: "unknown document", Params: "{code: [app/*.py], docs: [app/*.py]}", Env: world(), Want: "error: docs: app/settings.py: want a dotenv file..."},
		{Name: "malformed live", Params: "{required: [A], live: [.env]}", Env: tree(t, ".env", "what is this"), Want: "error: read .env: line 1 is not NAME=value"},
		{Name: "empty live", Params: "{required: [A], live: [.env]}", Env: tree(t, ".env", "# nothing\n"), Want: "error: .env has no variable at all"},
		{Name: "no live", Params: "{required: [A], live: [.env]}", Want: "error: read .env: ...no such file..."},
		{Name: "problem: one side", Params: "{code: [a]}", Want: "problem: ...at least two..."},
		{Name: "problem: source", Params: "{required: [A], live: [{file: a, secret: b}]}", Want: "problem: ...give one of..."},
		{Name: "problem: option", Params: "{required: [A], live: [{container: --help}]}", Want: "problem: ...is no name"},
	})
}

// answering is a host on which some programs give prepared answers.
type answering struct {
	check.Host
	argv   []string
	result check.Result
	err    error
	hang   bool
}

func (h *answering) Exec(ctx context.Context, c check.Command) (check.Result, error) {
	h.argv = c.Argv
	if h.hang {
		<-ctx.Done()
		return check.Result{}, context.Cause(ctx)
	}
	return h.result, h.err
}

func TestContractOfContainers(t *testing.T) {
	secret := `{"kind": "Secret", "data": {"SECRET_KEY": "` + base64.StdEncoding.EncodeToString([]byte(strong)) + `"}}`
	on := func(h *answering, argv string) func(*check.Env) {
		return func(e *check.Env) {
			tree(t)(e)
			h.Host, _ = e.Host("")
			e.Host = func(string) (check.Host, error) { return h, nil }
			t.Cleanup(func() {
				if got := strings.Join(h.argv, " "); argv != "" && got != argv {
					t.Errorf("ran  %s\nwant %s", got, argv)
				}
			})
		}
	}
	out := func(text string) *answering { return &answering{result: check.Result{Stdout: []byte(text)}} }
	const docker, kubectl = "{required: [SECRET_KEY], live: [{container: web}]}", "{required: [SECRET_KEY], live: [{secret: app, namespace: prod, context: c}]}"
	checktest.Run(t, env.Contract, []checktest.Case{
		{Name: "docker", Params: docker, Env: on(out(`["PATH=/bin", "SECRET_KEY=`+strong+`"]`), "docker inspect --type=container --format={{json .Config.Env}} web"), Want: "pass: ..."},
		{Name: "secret", Params: kubectl, Env: on(out(secret), "kubectl get secret app --output=json --namespace=prod --context=c"), Want: "pass: ..."},
		{Name: "config map", Params: "{required: [A, B], live: [{config_map: app}]}", Env: on(out(`{"kind": "ConfigMap", "data": {"A": "1"}}`), "kubectl get configmap app --output=json"), Want: "fail: not set in the ConfigMap app: B"},
		{Name: "another kind", Params: kubectl, Env: on(out(`{"kind": "List", "data": {"A": "1"}}`), ""), Want: "error: read the Secret app: the answer is no Secret"},
		{Name: "no base64", Params: kubectl, Env: on(out(`{"kind": "Secret", "data": {"SECRET_KEY": "`+hidden+`!"}}`), ""), Want: "error: ...SECRET_KEY is not in base64"},
		{Name: "no data", Params: kubectl, Env: on(out(`{"kind": "Secret"}`), ""), Want: "error: the Secret app has no variable at all"},
		{Name: "malformed", Params: docker, Env: on(out(`["SECRET_KEY=`+hidden), ""), Want: "error: ...is not the JSON that was asked for"},
		{Name: "no such container", Params: docker, Env: on(&answering{result: check.Result{Code: 1, Stderr: []byte("Error: No such container: web")}}, ""), Want: "error: read the container web: docker ended with code 1 : Error: No such container: web"},
		{Name: "cut", Params: docker, Env: on(&answering{result: check.Result{Stdout: []byte("[]"), Truncated: true}}, ""), Want: "error: ...more than..."},
		{Name: "not there", Params: docker, Env: on(&answering{err: errors.New("docker: not found")}, ""), Want: "error: read the container web: docker: not found"},
		{Name: "hang", Params: docker, Env: on(&answering{hang: true}, ""), Timeout: 100 * time.Millisecond, Want: "error: ...deadline exceeded"},
	})
}
