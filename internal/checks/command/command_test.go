package command_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/command"
)

func TestCheck(t *testing.T) {
	checktest.Run(t, command.Command, []checktest.Case{
		{Name: "exit 0", Params: `[echo, hello]`, Want: "pass: echo ended with exit 0 after ..."},
		{Name: "exit 3", Params: "sh: 'echo one; echo two >&2; exit 3'", Want: "fail: the script ended with exit 3, want 0: two"},
		{Name: "other exit", Params: "{run: [sh, -c, exit 3], expect: {exit: [0, 3]}}", Want: "pass: sh ended with exit 3 after ..."},
		{Name: "exit 0 not wanted", Params: "{run: 'true', expect: {exit: 1}}", Want: "fail: true ended with exit 0, want 1"},
		{Name: "contains", Params: "{run: [echo, hello], expect: {stdout: ell}}", Want: "pass: ..."},
		{Name: "contains not", Params: "{run: [echo, hello], expect: {stdout: xyz}}", Want: `fail: echo printed no "xyz" on stdout`},
		{Name: "lacks", Params: "{run: [echo, WARNINGS], expect: {stdout: {lacks: WARN}}}", Want: `fail: echo printed "WARN" on stdout`},
		{Name: "matches", Params: "{run: [echo, v1.2], expect: {stdout: {matches: '^v[0-9.]+'}}}", Want: "pass: ..."},
		{Name: "matches not", Params: "{run: [echo, v1.2], expect: {stdout: {matches: '^x'}}}", Want: "fail: echo printed nothing that matches ^x on stdout"},
		{Name: "equals", Params: "{run: [echo, a], expect: {stdout: {equals: a}}}", Want: "pass: ..."},
		{Name: "equals not", Params: "{run: [echo, a], expect: {stdout: {equals: ''}}}", Want: `fail: echo printed "a" on stdout, want ""`},
		{Name: "stderr", Params: "{sh: 'echo bad >&2', expect: {stderr: {equals: ''}}}", Want: `fail: the script printed "bad" on stderr, want ""`},
		{Name: "json", Params: `{run: [echo, '{"a": {"b": [1, "x"]}}'], expect: {json: {a.b.0: 1, a.b.1: x}}}`, Want: "pass: ..."},
		{Name: "json differs", Params: `{run: [echo, '{"a": 1}'], expect: {json: {a: "1"}}}`, Want: `fail: echo printed a = 1, want "1"`},
		{Name: "json of a large number", Params: `{run: [echo, '{"id": 9007199254740993}'], expect: {json: {id: 9007199254740992}}}`, Want: "fail: echo printed id = 9007199254740993, want 9007199254740992"},
		{Name: "json of a large number in an expression", Params: `{run: [echo, '{"id": 9007199254740993}'], expect: {expr: json.id == 9007199254740992}}`, Want: "fail: ..."},
		{Name: "json of a fraction", Params: `{run: [echo, '{"a": 1.0, "b": [1, {"c": 2.50}]}'], expect: {json: {a: 1, b.1.c: 2.5}}}`, Want: "pass: ..."},
		{Name: "json and something after it", Params: `{run: [echo, '{"a": 1} {"a": 2}'], expect: {json: {a: 1}}}`, Want: "error: echo printed no JSON: ..."},
		{Name: "json malformed", Params: `{run: [echo, '{"a": '], expect: {json: {a: 1}}}`, Want: "error: echo printed no JSON: ..."},
		{Name: "json no data", Params: `{run: ['true'], expect: {json: {a: 1}}}`, Want: "error: true printed no JSON: ..."},
		{Name: "json value missing", Params: `{run: [echo, '{}'], expect: {json: {a: 1}}}`, Want: "error: echo printed JSON without a: a is missing"},
		{Name: "expr", Params: `{run: [echo, '{"a": 3}'], expect: {expr: json.a < 4 and exit == 0}}`, Want: "pass: ..."},
		{Name: "expr not met", Params: `{run: [echo, '{"a": 3}'], expect: {expr: json.a < 2}}`, Want: `fail: echo did not meet json.a < 2: {"a": 3}`},
		{Name: "expr no value", Params: `{run: [echo, '{}'], expect: {expr: json.a != 2}}`, Want: `error: evaluate json.a != 2: there is no field "a"...`},
		{Name: "no such program", Params: "[no-such-program-here]", Want: "error: run no-such-program-here: ..."},
		{Name: "script without program", Params: "sh: no-such-program-here", Want: "error: the script could not run a program (exit 127): ..."},
		{Name: "script stops at the first failure", Params: "sh: 'false; true'", Want: "fail: the script ended with exit 1, want 0"},
		{Name: "ended by a signal", Params: "sh: 'echo working; kill -9 $$'", Want: "error: the script was ended by signal: killed: working"},
		{Name: "hang", Params: "[sleep, 60]", Timeout: 100 * time.Millisecond, Want: "error: run sleep: context deadline exceeded"},
		{Name: "output without end", Params: "{run: [cat, /dev/zero], expect: {stdout: x}}", Timeout: 200 * time.Millisecond, Want: "error: run cat: context deadline exceeded"},
		{Name: "output too long to judge", Params: "{run: [head, -c, 9000000, /dev/zero], expect: {stdout: {lacks: x}}}", Want: "error: head printed more than 8388608 bytes ..."},
		{Name: "env", Params: "{sh: 'echo $A-$1', args: [b], env: {A: a}, expect: {stdout: {equals: a-b}}}", Want: "pass: ..."},
		{Name: "env denied", Params: "{run: [env], env: {LD_PRELOAD: x}}", Want: "error: environment variable LD_PRELOAD may not be set..."},
		{Name: "unknown host", Params: "{run: [env], on: web-9}", Want: `error: unknown host "web-9"`},
		{Name: "unknown user", Params: "{run: [env], user: no-such-user-here}", Want: "error: run as no-such-user-here: ..."},
		{Name: "secret not set", Params: "{run: [env], secret_env: {DB: 'env:DB'}}", Want: "error: secret env:DB: not set"},
		{Name: "binary output", Params: `{sh: 'printf "\377\376bad"; exit 1'}`, Want: "fail: the script ended with exit 1, want 0: \uFFFDbad"},
	})
}

func TestPage(t *testing.T) { checktest.Page(t, command.Command) }

func TestProblems(t *testing.T) {
	checktest.Run(t, command.Command, []checktest.Case{
		{Name: "nothing", Params: "{}", Want: "problem: ...needs run (the program and its arguments) or sh"},
		{Name: "both", Params: "{run: [a], sh: b}", Want: "problem: ...run and sh exclude each other"},
		{Name: "a line of shell", Params: "git status", Want: "problem: ...run is a list ([git, status])..."},
		{Name: "variable in a script", Params: "sh: 'psql ${env.url}'", Want: `problem: ...${env.url} is not put into a script...`},
		{Name: "probe of a check", Params: "{run: [a], probe: [b]}", Want: "problem: ...are for changes: true"},
		{Name: "probed without probe", Params: "{run: [a], changes: true, class: probed}", Want: "problem: ...class: probed and probe go together"},
		{Name: "probe without probed", Params: "{run: [a], changes: true, probe: [b]}", Want: "problem: ...class: probed and probe go together"},
		{Name: "twice", Params: "{run: [a], env: {A: b}, secret_env: {A: 'env:B'}}", Want: "problem: ...A is in env and in secret_env"},
		{Name: "bad expression", Params: "{run: [a], expect: {expr: '1 +'}}", Want: "problem: ...expr: want an expression..."},
		{Name: "empty text", Params: "{run: [a], expect: {stdout: ''}}", Want: "problem: ...expect: an empty text is in every output..."},
		{Name: "bad pattern", Params: "{run: [a], expect: {stdout: {matches: '['}}}", Want: "problem: ...matches: want a regexp..."},
		{Name: "args without a script", Params: "{run: [a], args: [b]}", Want: "problem: ...args belong to sh..."},
	})
}

func TestOutput(t *testing.T) {
	write := func(json string) string {
		return "{sh: 'printf %s \"$1\" > \"$ALLCLEAR_OUTPUT\"', args: ['" + json + "'], output: [m.seconds, m.name]}"
	}
	checktest.Run(t, command.Command, []checktest.Case{
		{Name: "facts", Params: write(`{"m.seconds": 1.50, "m.name": "x"}`), Want: "pass: ...", Check: func(t *testing.T, o check.Outcome) {
			if o.Sets["m.seconds"] != "1.50" || o.Sets["m.name"] != "x" {
				t.Errorf("got %v", o.Sets)
			}
		}},
		{Name: "no data", Params: write(""), Want: "error: m.seconds, m.name (the program wrote nothing to $ALLCLEAR_OUTPUT) was not supplied"},
		{Name: "one missing", Params: write(`{"m.seconds": 1}`), Want: "error: m.name (in $ALLCLEAR_OUTPUT) was not supplied"},
		{Name: "not declared", Params: write(`{"m.seconds": 1, "m.name": "x", "other": 1}`), Want: `error: $ALLCLEAR_OUTPUT holds "other", which output does not list`},
		{Name: "malformed", Params: write(`{"m.seconds`), Want: "error: read $ALLCLEAR_OUTPUT: ..."},
		{Name: "nested", Params: write(`{"m.seconds": [1], "m.name": ""}`), Want: "error: $ALLCLEAR_OUTPUT: m.seconds: want a text..."},
		{Name: "too long", Params: "{sh: 'head -c 100000 /dev/zero > \"$ALLCLEAR_OUTPUT\"', output: [a]}", Want: "error: read $ALLCLEAR_OUTPUT: ...longer than 65536 bytes"},
		{Name: "removed by the program", Params: "{sh: 'rm \"$ALLCLEAR_OUTPUT\"', output: [a]}", Want: "error: read $ALLCLEAR_OUTPUT: ..."},
	})
}

// kept is an Env.Store that remembers.
func kept(env *check.Env) map[string]string {
	files := map[string]string{}
	env.Store = func(name string, content io.Reader) (check.Artefact, error) {
		text, err := io.ReadAll(content)
		files[name] = string(text)
		return check.Artefact{Name: name, Size: int64(len(text))}, err
	}
	return files
}

func TestSecretsStayOut(t *testing.T) {
	env := checktest.NewEnv(t)
	files := kept(env)
	checktest.SetSecrets(env, checktest.Secrets{"env:DB": "correct-horse-battery"})
	inst, problems := checktest.Decode(command.Command, `{sh: 'echo "connecting to $DB" >&2; echo $DB; exit 1', secret_env: {DB: "env:DB"}}`, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	o, err := inst.Runner.Run(t.Context(), env)
	if err != nil || o.Reason != "the script ended with exit 1, want 0: connecting to [redacted]" {
		t.Errorf("got %s, %v", o.Reason, err)
	}
	if files["stdout.txt"] != "[redacted]\n" || len(o.Artefacts) != 2 {
		t.Errorf("kept %q as %v", files, o.Artefacts)
	}
	if strings.Contains(string(inst.Params), "correct-horse") {
		t.Errorf("parameters hold the secret: %s", inst.Params)
	}
}

// A target that is given the key and drops the second one must not drop the undo.
func TestUndoHasAKeyOfItsOwn(t *testing.T) {
	env := checktest.NewEnv(t)
	inst, problems := checktest.Decode(command.Command, `
run: [sh, -c, 'printf %s "$ALLCLEAR_KEY" > key']
changes: true
class: idempotent
undo: [sh, -c, 'test "$ALLCLEAR_KEY" = "$(cat key)/undo"']`, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	o, err := inst.Runner.Run(t.Context(), env)
	if err != nil || o.Verdict != check.Pass {
		t.Fatalf("run: %+v, %v", o, err)
	}
	if o, err := inst.Undoer().Undo(t.Context(), env, o); err != nil || o.Verdict != check.Pass {
		t.Errorf("undo: %+v, %v", o, err)
	}
}

func TestAction(t *testing.T) {
	env := checktest.NewEnv(t)
	var log bytes.Buffer
	env.Log = &log
	params := `
run: [sh, -c, 'echo going; touch done']
changes: true
class: probed
probe: [sh, -c, 'test -e done || exit 10']
undo: [rm, done]
verify: [test, -e, done]
holds: workers`
	inst, problems := checktest.Decode(command.Command, params, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	tr := inst.Traits
	if tr.Kind != check.Action || tr.Class != check.Probed || tr.Effect != check.Changes || tr.Holds != "workers" || tr.Undo != "runs rm done" {
		t.Errorf("traits %+v", tr)
	}
	probe := func(want check.Progress) {
		t.Helper()
		if got, _, err := inst.Prober().Probe(t.Context(), env); err != nil || got != want {
			t.Errorf("probe: got %s, %v, want %s", got, err, want)
		}
	}
	probe(check.NotDone)
	o, err := inst.Runner.Run(t.Context(), env)
	if err != nil || o.Verdict != check.Pass || !strings.HasSuffix(o.Reason, ", verified") || log.String() != "going\n" {
		t.Fatalf("got %+v, %v, log %q", o, err, log.String())
	}
	probe(check.Done)
	if o, err := inst.Undoer().Undo(t.Context(), env, o); err != nil || o.Verdict != check.Pass {
		t.Errorf("undo: %+v, %v", o, err)
	}
	probe(check.NotDone)
	if o, err := inst.Undoer().Undo(t.Context(), env, o); err != nil || o.Verdict != check.Fail {
		t.Errorf("an undo that fails: %+v, %v", o, err)
	}
}

func TestActionGoesWrong(t *testing.T) {
	checktest.Run(t, command.Command, []checktest.Case{
		{Name: "non-zero is failed", Params: "{sh: 'exit 4', changes: true}", Want: "fail: the script ended with exit 4, want 0"},
		{Name: "verify fails", Params: "{run: 'true', changes: true, verify: [sh, -c, 'echo no; exit 1']}", Want: "fail: it ran, but verifying failed: sh ended with exit 1: no"},
		{Name: "verify cannot run", Params: "{run: 'true', changes: true, verify: [no-such-program-here]}", Want: "error: verify: run no-such-program-here: ..."},
		{Name: "killed is in doubt", Params: "{sh: 'kill -9 $$', changes: true}", Want: "error: the script was ended by signal: killed"},
		{Name: "timeout is in doubt", Params: "{run: [sleep, 60], changes: true}", Timeout: 50 * time.Millisecond, Want: "error: run sleep: context deadline exceeded"},
	})
}

func TestProbeThatCannotTell(t *testing.T) {
	for probe, want := range map[string]string{
		"[sh, -c, exit 1]":       "probe: ended with exit 1",
		"[sh, -c, 'kill -9 $$']": "killed",
		"[no-such-program-here]": "probe: run no-such-program-here",
	} {
		inst, problems := checktest.Decode(command.Command, "{run: [a], changes: true, class: probed, probe: "+probe+"}", nil)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		progress, _, err := inst.Prober().Probe(t.Context(), checktest.NewEnv(t))
		if err == nil || progress != "" || !strings.Contains(err.Error(), strings.TrimPrefix(want, "probe: ended ")) {
			t.Errorf("%s: got %q, %v", probe, progress, err)
		}
	}
	inst, _ := checktest.Decode(command.Command, "{run: [a], changes: true}", nil)
	if progress, _, err := inst.Prober().Probe(t.Context(), checktest.NewEnv(t)); err == nil {
		t.Errorf("no probe given, but it tells %s", progress)
	}
	if o, err := inst.Undoer().Undo(t.Context(), checktest.NewEnv(t), check.Outcome{}); err == nil {
		t.Errorf("no undo given, but it tells %+v", o)
	}
}

type fixedVars map[string]string

func (v fixedVars) Lookup(name string) (string, check.Known) { return v[name], check.Set }
func (v fixedVars) Names() []string                          { return nil }

func TestValueThatIsAnOption(t *testing.T) {
	v := fixedVars{"run.tag": "--upload-pack=touch pwned"}
	_, problems := checktest.Decode(command.Command, `[git, ls-remote, "${run.tag}"]`, v)
	if !strings.Contains(problems.Error(), "the value of ${run.tag} begins with -") {
		t.Errorf("got %v", problems)
	}
	inst, problems := checktest.Decode(command.Command, `{run: [echo, "${run.tag}"], allow_dash: true}`, v)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if o, err := inst.Runner.Run(t.Context(), checktest.NewEnv(t)); err != nil || o.Verdict != check.Pass {
		t.Errorf("got %+v, %v", o, err)
	}
}

func TestOutputFileIsRemoved(t *testing.T) {
	env := checktest.NewEnv(t)
	t.Setenv("TMPDIR", env.Dir)
	inst, _ := checktest.Decode(command.Command, `{run: [sleep, "60"], output: [a]}`, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := inst.Runner.Run(ctx, env); err == nil {
		t.Error("want an error")
	}
	left, err := filepath.Glob(filepath.Join(env.Dir, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if _, err := os.Stat(env.Dir); err != nil {
		t.Error(err)
	}
}

// The folder of a program may be made by an item before.
func TestExamineWithoutItsFolder(t *testing.T) {
	for params, want := range map[string]string{
		"{run: [true, x], dir: later}":         "true is there; the folder later is not there yet, so an item before has to make it",
		"{run: [bin/migrate], dir: later}":     "sh is there; the folder later is not there yet...",
		"{run: [no-such-program], dir: later}": "there is no program no-such-program on local...",
		"{run: [bin/migrate], dir: .}":         "there is no program bin/migrate on local...",
		"{sh: 'exit 0'}":                       "sh is there",
	} {
		inst, problems := checktest.Decode(command.Command, strings.Replace(params, "[true", "['true'", 1), nil)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		said, err := inst.Runner.(check.Examiner).Examine(t.Context(), checktest.NewEnv(t))
		if err != nil {
			said = err.Error()
		}
		checktest.Match(t, want, said)
	}
}
