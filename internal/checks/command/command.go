// Package command holds the type that runs a program.
package command

import (
	"context"
	_ "embed" // the type's page
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/secret"
)

//go:embed command.md
var commandDoc string

// Command is the type command.
var Command = check.Define[command](check.Desc{
	Name: "command", Summary: "a program ends as expected", Doc: commandDoc,
})

// command runs a program. Without changes it is a check; with changes it is an
// action.
type command struct {
	Argv      []check.Arg           `param:"run,short" doc:"the program and its arguments; no shell takes part" default:""`
	Script    check.Script          `param:"sh" doc:"instead of run: a script for sh -eu; values reach it through args and env" default:""`
	Args      []check.Arg           `param:"args" doc:"the script's $1, $2 …" default:""`
	Dash      bool                  `param:"allow_dash" doc:"allow a variable's value to begin with -" default:"false"`
	On        string                `param:"on" doc:"host to run on; this machine when left out" default:""`
	Dir       string                `param:"dir" doc:"working directory; the checkout when left out" default:""`
	Env       map[string]string     `param:"env" doc:"environment variables to add" default:""`
	SecretEnv map[string]secret.Ref `param:"secret_env" doc:"environment variables whose values are secrets" default:""`
	User      string                `param:"user" doc:"run as this user" default:""`
	Expect    expect                `param:"expect" doc:"what makes it pass" default:""`
	Output    []string              `param:"output" doc:"facts that the program writes as a JSON object to the file named by $ALLCLEAR_OUTPUT" default:""`
	Changes   bool                  `param:"changes" doc:"it changes something: an action, not a check" default:"false"`
	Class     string                `param:"class" doc:"what may be done when it is unknown whether an action ran" default:"unsafe" enum:"idempotent,probed,unsafe"`
	ProbeArgv []check.Arg           `param:"probe" doc:"a program that only reads and ends with 0: done, 10: not done, 11: partly done" default:""`
	UndoArgv  []check.Arg           `param:"undo" doc:"a program that takes the action back" default:""`
	Verify    []check.Arg           `param:"verify" doc:"a program that must end with 0 after the action" default:""`
	Holds     string                `param:"holds" doc:"resource that the action takes and that must be given back" default:""`
	Releases  string                `param:"releases" doc:"resource that the action gives back" default:""`
}

// Validate holds the rules between parameters.
func (c *command) Validate() error {
	switch {
	case len(c.Argv) == 0 && c.Script == "":
		return errors.New("needs run (the program and its arguments) or sh")
	case len(c.Argv) > 0 && c.Script != "":
		return errors.New("run and sh exclude each other")
	case c.Script == "" && len(c.Args) > 0:
		return errors.New("args belong to sh; put them into run")
	case len(c.Argv) == 1 && strings.Contains(strings.TrimSpace(c.Argv[0].Text), " "):
		return errors.New(`run is a list ([git, status]), because no shell takes it apart; for a shell write sh`)
	case !c.Changes && (len(c.ProbeArgv) > 0 || len(c.UndoArgv) > 0 || len(c.Verify) > 0 || c.Holds != "" || c.Releases != ""):
		return errors.New("probe, undo, verify, holds and releases are for changes: true")
	case !c.Changes && c.Class != "unsafe":
		return errors.New("class is for changes: true")
	case (c.Class == "probed") != (len(c.ProbeArgv) > 0):
		return errors.New("class: probed and probe go together")
	}
	if err := c.Expect.validate(); err != nil {
		return fmt.Errorf("expect: %w", err)
	}
	for name := range c.SecretEnv {
		if _, twice := c.Env[name]; twice {
			return fmt.Errorf("%s is in env and in secret_env", name)
		}
	}
	return c.argumentsValid()
}

func (c *command) argumentsValid() error {
	for _, list := range [][]check.Arg{c.Argv, c.Args, c.ProbeArgv, c.UndoArgv, c.Verify} {
		if _, err := check.Args(list, c.Dash); err != nil {
			return err
		}
	}
	return nil
}

// Traits tells a check from an action.
func (c *command) Traits() check.Traits {
	t := check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec,
		Does: "runs " + c.shown(), Target: c.target(),
	}
	if !c.Changes {
		return t
	}
	t.Kind, t.Class, t.Effect = check.Action, check.Class(c.Class), check.Changes
	t.Holds, t.Releases = c.Holds, c.Releases
	if len(c.UndoArgv) > 0 {
		t.Undo = "runs " + texts(c.UndoArgv)
	}
	return t
}

func (c *command) target() string {
	if c.On == "" {
		return "local"
	}
	return c.On
}

// shown is the program as people read it: variables stand as written.
func (c *command) shown() string {
	if c.Script != "" {
		first, _, more := strings.Cut(strings.TrimSpace(string(c.Script)), "\n")
		if more {
			first += " …"
		}
		return "sh: " + first
	}
	return texts(c.Argv)
}

func texts(args []check.Arg) string {
	var words []string
	for _, a := range args {
		words = append(words, a.Text)
	}
	return strings.Join(words, " ")
}

// Run runs the program and compares its end with what is expected.
func (c *command) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	r, err := c.runner(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	argv, err := c.argv()
	if err != nil {
		return check.Outcome{}, err
	}
	file, err := r.outputFile(ctx, c.Output)
	if err != nil {
		return check.Outcome{}, err
	}
	defer r.remove(ctx, file)
	end, err := r.exec(ctx, argv, file)
	if err != nil {
		return check.Outcome{}, err
	}
	outcome, err := c.judge(env, end)
	if err != nil || outcome.Verdict == check.Fail {
		return outcome, err
	}
	if outcome.Sets, err = r.output(ctx, file, c.Output); err != nil {
		return outcome, err
	}
	if len(c.Verify) == 0 {
		return outcome, nil
	}
	return c.verify(ctx, r, outcome)
}

// judge gives the verdict on how the program ended, with its output kept.
func (c *command) judge(env *check.Env, end ending) (check.Outcome, error) {
	outcome := check.Outcome{Target: c.target()}.
		With("exit", fmt.Sprint(end.Code)).With("seconds", fmt.Sprintf("%.3f", end.Took.Seconds()))
	kept, err := end.store(env)
	if err != nil {
		return outcome, err
	}
	outcome.Artefacts = kept
	if end.Signal != "" {
		return outcome, fmt.Errorf("%s was ended by signal: %s%s", end.name(), end.Signal, end.tail())
	}
	if c.Script != "" && (end.Code == 126 || end.Code == 127) && !slices.Contains(c.Expect.Exit, end.Code) {
		return outcome, fmt.Errorf("the script could not run a program (exit %d)%s", end.Code, end.tail())
	}
	miss, err := c.Expect.missed(end)
	if err != nil {
		return outcome, err
	}
	outcome.Verdict, outcome.Reason = check.Pass, fmt.Sprintf("%s ended with exit %d after %s", end.name(), end.Code, end.shortTook())
	if miss != "" {
		outcome.Verdict, outcome.Reason = check.Fail, end.name()+" "+miss
	}
	return outcome, nil
}

func (c *command) verify(ctx context.Context, r *runner, outcome check.Outcome) (check.Outcome, error) {
	argv, err := check.Args(c.Verify, c.Dash)
	if err != nil {
		return outcome, err
	}
	end, err := r.exec(ctx, argv, "")
	if err != nil {
		return outcome, fmt.Errorf("verify: %w", err)
	}
	if end.Signal != "" {
		return outcome, fmt.Errorf("verify: %s was ended by signal: %s", end.name(), end.Signal)
	}
	if end.Code != 0 {
		outcome.Verdict = check.Fail
		outcome.Reason = fmt.Sprintf("it ran, but verifying failed: %s ended with exit %d%s", end.name(), end.Code, end.tail())
		return outcome, nil
	}
	outcome.Reason += ", verified"
	return outcome, nil
}

func (c *command) argv() ([]string, error) {
	if c.Script == "" {
		return check.Args(c.Argv, c.Dash)
	}
	args, err := check.Args(c.Args, c.Dash)
	// The word after the script is its $0.
	return append([]string{"sh", "-euc", string(c.Script), "script"}, args...), err
}

// Probe runs the probe program, which may only read.
func (c *command) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	end, err := c.side(ctx, env, c.ProbeArgv, "probe")
	if err != nil {
		return "", check.Outcome{}, err
	}
	progress, known := map[int]check.Progress{0: check.Done, 10: check.NotDone, 11: check.Partly}[end.Code]
	if !known || end.Signal != "" {
		return "", check.Outcome{}, fmt.Errorf("probe %s ended with exit %d%s, want 0 (done), 10 (not done) or 11 (partly)%s",
			end.name(), end.Code, end.signal(), end.tail())
	}
	return progress, check.Passf("probe %s ended with exit %d", end.name(), end.Code), nil
}

// Undo runs the undo program. A target that drops repeats must not take it for a
// repetition of the action.
func (c *command) Undo(ctx context.Context, env *check.Env, _ check.Outcome) (check.Outcome, error) {
	own := *env
	if own.Key != "" {
		own.Key += "/undo"
	}
	end, err := c.side(ctx, &own, c.UndoArgv, "undo")
	if err != nil {
		return check.Outcome{}, err
	}
	if end.Signal != "" {
		return check.Outcome{}, fmt.Errorf("undo %s was ended by signal: %s", end.name(), end.Signal)
	}
	if end.Code != 0 {
		return check.Failf("undo %s ended with exit %d%s", end.name(), end.Code, end.tail()), nil
	}
	return check.Passf("undo %s ended with exit 0 after %s", end.name(), end.shortTook()), nil
}

// side runs the probe or undo program.
func (c *command) side(ctx context.Context, env *check.Env, args []check.Arg, what string) (ending, error) {
	if len(args) == 0 {
		return ending{}, fmt.Errorf("no %s was given", what)
	}
	argv, err := check.Args(args, c.Dash)
	if err != nil {
		return ending{}, fmt.Errorf("%s: %w", what, err)
	}
	r, err := c.runner(ctx, env)
	if err != nil {
		return ending{}, err
	}
	end, err := r.exec(ctx, argv, "")
	if err != nil {
		return end, fmt.Errorf("%s: %w", what, err)
	}
	return end, nil
}

// runner reaches the host and fetches the secrets.
func (c *command) runner(ctx context.Context, env *check.Env) (*runner, error) {
	host, err := env.Host(c.On)
	if err != nil {
		return nil, err
	}
	r := &runner{host: host, dir: c.Dir, user: c.User, log: env.Log}
	if env.Key != "" {
		r.env = append(r.env, "ALLCLEAR_KEY="+env.Key)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		r.env = append(r.env, name+"="+c.Env[name])
	}
	for _, name := range slices.Sorted(maps.Keys(c.SecretEnv)) {
		value, err := env.Secret(ctx, c.SecretEnv[name])
		if err != nil {
			return nil, err
		}
		r.env = append(r.env, name+"="+value.Reveal())
		if !value.IsZero() {
			r.secrets = append(r.secrets, value)
		}
	}
	return r, nil
}
