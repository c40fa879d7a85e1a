// Package tool holds the type that holds the programs of a host to their versions.
package tool

import (
	"context"
	_ "embed" // the type's page
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"allclear.dev/allclear/internal/check"
)

//go:embed tool.version.md
var versionDoc string

// Version is the type tool.version.
var Version = check.Define[version](check.Desc{
	Name: "tool.version", Summary: "every program is there, in a version that fits", Doc: versionDoc,
})

// version asks programs for their versions.
type version struct {
	Tools map[string]constraint `param:"tools,short" doc:"the versions that fit, by program: node: \">=20.11 <21\""`
	Ask   map[string]question   `param:"ask" doc:"how a program is asked, where NAME --version does not tell" default:""`
	On    string                `param:"on" doc:"host of the programs; this machine when left out" default:""`
}

// question is a program that tells a version.
type question struct {
	Argv  []check.Arg    `param:"run,short" doc:"the program and its arguments"`
	Match *regexp.Regexp `param:"match" doc:"regular expression (RE2) whose first group is the version; the first number with a dot when left out" default:""`
}

// constraint is a set of versions in the words of Masterminds/semver, as npm and
// Cargo have them.
type constraint struct {
	text  string
	holds *semver.Constraints
}

// UnmarshalText reads ">=1.2 <2", "~1.4", "^3.1", "20.x", "1.2 || 1.4".
func (c *constraint) UnmarshalText(text []byte) error {
	holds, err := semver.NewConstraint(string(text))
	if err != nil {
		return errors.New(`want versions such as ">=1.2 <2", "~1.4", "^3.1" or "20.x"`)
	}
	c.text, c.holds = string(text), holds
	return nil
}

// String gives the constraint as written.
func (c constraint) String() string { return c.text }

// MarshalText gives the constraint as written.
func (c constraint) MarshalText() ([]byte, error) { return []byte(c.text), nil }

var programName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]*$`)

// Validate holds the rules between parameters.
func (v *version) Validate() error {
	if len(v.Tools) == 0 {
		return errors.New("tools names no program")
	}
	for name := range v.Tools {
		if _, asked := v.Ask[name]; !asked && !programName.MatchString(name) {
			return fmt.Errorf("tools: %q is not a program's name; say under ask how it is asked", name)
		}
	}
	for name, q := range v.Ask {
		if _, wanted := v.Tools[name]; !wanted {
			return fmt.Errorf("ask: %s is not one of tools", name)
		}
		if q.Match != nil && q.Match.NumSubexp() < 1 {
			return fmt.Errorf("ask: match of %s has no group", name)
		}
		if _, err := check.Args(q.Argv, false); err != nil || len(q.Argv) == 0 {
			return fmt.Errorf("ask: run of %s: %w", name, cmpErr(err))
		}
	}
	return nil
}

func cmpErr(err error) error {
	if err == nil {
		return errors.New("it is empty")
	}
	return err
}

// Traits says that programs are run.
func (v *version) Traits() check.Traits {
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec,
		Does: "asks " + strings.Join(slices.Sorted(maps.Keys(v.Tools)), ", ") + " for their versions", Target: v.On,
	}
}

// Run asks each program. One that is not there is a fail; one that says no version
// leaves the whole undecided.
func (v *version) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	host, err := env.Host(v.On)
	if err != nil {
		return check.Outcome{}, err
	}
	facts := map[string]string{}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(v.Tools)) {
		found, err := v.ask(ctx, host, name)
		switch {
		case errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist):
			facts[name] = "not there"
			wrong = append(wrong, name+" is not there")
			continue
		case err != nil:
			return check.Outcome{}, err
		}
		facts[name] = found.Original()
		if !v.Tools[name].holds.Check(found) {
			wrong = append(wrong, fmt.Sprintf("%s is %s, want %s", name, found.Original(), v.Tools[name]))
		}
	}
	outcome := check.Passf("%d programs in versions that fit", len(facts))
	if len(wrong) > 0 {
		outcome = check.Failf("%s", strings.Join(wrong, "; "))
	}
	outcome.Facts = facts
	return outcome, nil
}

// number is the first version in what a program says: digits with a dot, perhaps
// with the name of a version before the release behind them. What distributions
// put behind ("-1+deb12u1") is no such name.
var number = regexp.MustCompile(`(?i)(?:^|[^0-9A-Z.])v?((?:go)?[0-9]+(?:\.[0-9]+)+(?:-?(?:alpha|beta|rc|pre|preview|dev|snapshot)[0-9A-Z.]*)?)`)

// maxAnswer bounds what a program may say, in bytes.
const maxAnswer = 64 << 10

func (v *version) ask(ctx context.Context, host check.Host, name string) (*semver.Version, error) {
	argv := []string{name, "--version"}
	match := number
	if q, given := v.Ask[name]; given {
		var err error
		if argv, err = check.Args(q.Argv, false); err != nil {
			return nil, err
		}
		if q.Match != nil {
			match = q.Match
		}
	}
	result, err := host.Exec(ctx, check.Command{Argv: argv, Limit: maxAnswer})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	const notFound = 127 // of a shell; hosts that are reached by one give it
	if result.Code == notFound {
		return nil, fmt.Errorf("%s: %w", name, exec.ErrNotFound)
	}
	if result.Code != 0 || result.Signal != "" || result.Truncated {
		return nil, fmt.Errorf("%s ended with exit %d and tells no version", strings.Join(argv, " "), result.Code)
	}
	said := string(result.Stdout) + "\n" + string(result.Stderr) // java and others use the second
	found := match.FindStringSubmatch(said)
	if found == nil {
		return nil, fmt.Errorf("%s tells no version: say under ask how it is asked", strings.Join(argv, " "))
	}
	parsed, err := semver.NewVersion(upToThree(strings.TrimPrefix(found[1], "go")))
	if err != nil {
		return nil, fmt.Errorf("%s says %q, which is no version", strings.Join(argv, " "), found[1])
	}
	return parsed, nil
}

// upToThree cuts a version with more than three numbers, which semver does not
// know (HAProxy 2.6.12.1).
func upToThree(text string) string {
	end := strings.IndexFunc(text, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(text)
	}
	plain, rest := text[:end], strings.TrimPrefix(text[end:], "-")
	parts := strings.Split(plain, ".")
	for i, part := range parts {
		if trimmed := strings.TrimLeft(part, "0"); trimmed != "" {
			parts[i] = trimmed // 24.04 is a version of Ubuntu, and 04 none of semver
		} else {
			parts[i] = "0"
		}
	}
	text = strings.Join(parts[:min(len(parts), 3)], ".")
	if rest != "" {
		text += "-" + rest
	}
	return text
}
