package env

import (
	"bytes"
	"context"
	_ "embed" // the page
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/dotenv"
)

//go:embed diff.md
var diffDoc string

// Diff is the type env.diff.
var Diff = check.Define[diff](check.Desc{
	Name:    "env.diff",
	Summary: "two environments are configured alike, and share no secret",
	Doc:     diffDoc,
})

type diff struct {
	Left          []environment `param:"left" doc:"where the one environment has its variables; of several, the later one counts" default:""`
	Right         []environment `param:"right" doc:"where the other one has them" default:""`
	NamesEqual    bool          `param:"names_equal" doc:"both must have the same variables" default:"true"`
	SecretsDiffer bool          `param:"secrets_differ" doc:"variables that look like secrets must have different values" default:"true"`
	Secrets       []string      `param:"secrets" doc:"patterns of further variables that hold secrets" default:""`
	ValuesEqual   bool          `param:"values_equal" doc:"variables that hold no secrets must have the same values" default:"false"`
	Allow         []string      `param:"allow" doc:"patterns (*_URL) of variables and settings that may be on one side only, or differ, or agree" default:""`
	Versions      []twofold     `param:"versions" doc:"programs that must print the same on both sides" default:""`
	Settings      twofold       `param:"settings" doc:"program that prints NAME = value lines, such as manage.py diffsettings, alike on both sides" default:""`
}

// twofold is a program that runs on both sides.
type twofold struct {
	Name    string      `param:"name" doc:"name in the table" default:""`
	Command []check.Arg `param:"command,short" doc:"the program, for both sides" default:""`
	Left    []check.Arg `param:"left" doc:"the program for the left side, if it is another one" default:""`
	Right   []check.Arg `param:"right" doc:"the program for the right side, if it is another one" default:""`
	LeftOn  string      `param:"left_on" doc:"host of the left side; that of left when left out" default:""`
	RightOn string      `param:"right_on" doc:"host of the right side; that of right when left out" default:""`
	Pattern pattern     `param:"pattern" doc:"regular expression whose match (or first group) counts: \\d+\\.\\d+" default:""`
}

func (v *twofold) given() bool { return len(v.Command) > 0 || len(v.Left) > 0 || len(v.Right) > 0 }

func (v *twofold) validate() error {
	for _, argv := range [][]check.Arg{v.Command, v.Left, v.Right} {
		if _, err := check.Args(argv, false); err != nil {
			return err
		}
	}
	if len(v.Command) == 0 && (len(v.Left) == 0 || len(v.Right) == 0) {
		return errors.New("say command, or both left and right")
	}
	return nil
}

func (v *twofold) name() string {
	if v.Name != "" {
		return v.Name
	}
	return v.argv(true)[0].Text
}

func (v *twofold) argv(left bool) []check.Arg {
	own := v.Right
	if left {
		own = v.Left
	}
	if len(own) == 0 {
		return v.Command
	}
	return own
}

// Validate holds the rules between the parameters.
func (p *diff) Validate() error {
	switch {
	case (len(p.Left) == 0) != (len(p.Right) == 0):
		return errors.New("left and right go together")
	case len(p.Left) == 0 && len(p.Versions) == 0 && !p.Settings.given():
		return errors.New("give left and right, versions or settings")
	case len(p.Left) > 0 && reflect.DeepEqual(p.Left, p.Right):
		return errors.New("left and right are the same source")
	case len(p.Left) > 0 && !p.NamesEqual && !p.SecretsDiffer && !p.ValuesEqual:
		return errors.New("say names_equal, secrets_differ or values_equal: nothing would be compared")
	}
	for _, list := range [][]environment{p.Left, p.Right} {
		for i := range list {
			if err := list[i].validate(); err != nil {
				return err
			}
		}
	}
	for i := range p.Versions {
		if err := p.Versions[i].validate(); err != nil {
			return fmt.Errorf("versions: %w", err)
		}
	}
	if p.Settings.given() {
		if err := p.Settings.validate(); err != nil {
			return fmt.Errorf("settings: %w", err)
		}
	}
	for _, x := range slices.Concat(p.Allow, p.Secrets) {
		if !doublestar.ValidatePattern(x) || x == "" {
			return fmt.Errorf("%q is no pattern", x)
		}
	}
	for _, v := range append(slices.Clone(p.Versions), p.Settings) {
		if v.given() && reflect.DeepEqual(v.argv(true), v.argv(false)) && p.host(v.LeftOn, p.Left) == p.host(v.RightOn, p.Right) {
			return fmt.Errorf("%s: it is the same program on the same host: say left and right, or left_on and right_on", v.name())
		}
	}
	return nil
}

func (p *diff) host(own string, side []environment) string {
	if own == "" && len(side) > 0 {
		return side[0].On
	}
	return own
}

// Traits says what is read.
func (p *diff) Traits() check.Traits {
	target := places(p.Left) + " and " + places(p.Right)
	if len(p.Left) == 0 {
		target = "versions and settings"
	}
	return check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec, Does: "compares " + target, Target: target}
}

// comparison is one run.
type comparison struct {
	*diff
	env    *check.Env
	key    []byte
	facts  map[string]string
	misses []string
	rows   []compared
}

// compared is a row of the table that is kept; fingerprints, never values.
type compared struct {
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	Left  string `json:"left,omitempty"`
	Right string `json:"right,omitempty"`
	Note  string `json:"note,omitempty"`
}

// Run reads both sides and compares.
func (p *diff) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	if err := p.Validate(); err != nil {
		return check.Outcome{}, err
	}
	key, err := fingerprintKey(env.DataDir)
	if err != nil {
		return check.Outcome{}, err
	}
	c := &comparison{diff: p, env: env, key: key, facts: map[string]string{}}
	if len(p.Left) > 0 {
		left, err := merge(ctx, env, p.Left)
		if err != nil {
			return check.Outcome{}, fmt.Errorf("left: %w", err)
		}
		right, err := merge(ctx, env, p.Right)
		if err != nil {
			return check.Outcome{}, fmt.Errorf("right: %w", err)
		}
		if !p.NamesEqual && !slices.ContainsFunc(slices.Collect(maps.Keys(left)), func(name string) bool { _, both := right[name]; return both }) {
			return check.Outcome{}, fmt.Errorf("no variable is in %s and in %s, so that there is nothing to compare", places(p.Left), places(p.Right))
		}
		c.variables(left, right)
	}
	for i := range p.Versions {
		if err := c.version(ctx, &p.Versions[i]); err != nil {
			return check.Outcome{}, err
		}
	}
	if p.Settings.given() {
		if err := c.settings(ctx); err != nil {
			return check.Outcome{}, err
		}
	}
	text, err := json.MarshalIndent(c.rows, "", " ")
	if err != nil {
		return check.Outcome{}, fmt.Errorf("write the table: %w", err)
	}
	artefact, err := env.Store("comparison.json", bytes.NewReader(text))
	if err != nil {
		return check.Outcome{}, fmt.Errorf("keep the table: %w", err)
	}
	o := check.Passf("%d variables, settings and versions compared: no difference that is not allowed", len(c.rows))
	if len(c.misses) > 0 {
		o = check.Failf("%s", strings.Join(c.misses, "; "))
	}
	c.facts["compared"] = strconv.Itoa(len(c.rows))
	o.Facts, o.Artefacts = c.facts, []check.Artefact{artefact}
	return o, ctx.Err()
}

func (c *comparison) print(value string, there bool) string {
	if !there {
		return ""
	}
	return (&examined{key: c.key}).fingerprint(value)
}

// miss adds a rule that does not hold with the names that break it.
func (c *comparison) miss(fact, what string, names []string) {
	c.facts[fact] = shortList(names)
	if len(names) > 0 {
		c.misses = append(c.misses, what+": "+shortList(names))
	}
}

// variables compares the names and values of two environments.
func (c *comparison) variables(left, right map[string]string) {
	var onlyLeft, onlyRight, shared, unequal, allowed []string
	all := maps.Clone(left)
	maps.Copy(all, right)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		l, inLeft := left[name]
		r, inRight := right[name]
		row := compared{Kind: "variable", Name: name, Left: c.print(l, inLeft), Right: c.print(r, inRight)}
		secret := matches(c.Secrets, name) || secretLike(name, l) || secretLike(name, r)
		switch {
		case matches(c.Allow, name):
			row.Note = "allowed"
			allowed = append(allowed, name)
		case !inRight:
			onlyLeft = append(onlyLeft, name)
		case !inLeft:
			onlyRight = append(onlyRight, name)
		case secret && l == r && strings.TrimSpace(l) != "":
			row.Note = "a shared secret"
			shared = append(shared, name)
		case !secret && l != r:
			unequal = append(unequal, name)
		}
		c.rows = append(c.rows, row)
	}
	c.facts["left"], c.facts["right"], c.facts["allowed"] = places(c.Left), places(c.Right), shortList(allowed)
	if c.NamesEqual {
		c.miss("only_left", "only in "+places(c.Left), onlyLeft)
		c.miss("only_right", "only in "+places(c.Right), onlyRight)
	}
	if c.SecretsDiffer {
		c.miss("shared_secrets", "secrets with the same value on both sides", shared)
	}
	if c.ValuesEqual {
		c.miss("unequal", "with different values", unequal)
	}
}

// output runs a program on one side.
func (c *comparison) output(ctx context.Context, v *twofold, left bool) (string, error) {
	name := c.host(v.RightOn, c.Right)
	if left {
		name = c.host(v.LeftOn, c.Left)
	}
	host, err := c.env.Host(name)
	if err != nil {
		return "", err
	}
	argv, err := check.Args(v.argv(left), false)
	if err != nil {
		return "", err
	}
	r, err := host.Exec(ctx, check.Command{Argv: argv, Limit: maxSource})
	switch {
	case err != nil:
		return "", fmt.Errorf("%s on %s: %w", argv[0], host.Name(), err)
	case r.Code != 0 || r.Signal != "":
		return "", fmt.Errorf("%s on %s ended with code %d %s", argv[0], host.Name(), r.Code, r.Signal)
	case r.Truncated:
		return "", fmt.Errorf("%s on %s printed more than %d bytes", argv[0], host.Name(), maxSource)
	}
	text := strings.TrimSpace(string(r.Stdout))
	if text == "" {
		text = strings.TrimSpace(string(r.Stderr)) // where some programs print their version
	}
	if text == "" {
		return "", fmt.Errorf("%s on %s printed nothing", argv[0], host.Name())
	}
	return text, nil
}

// version compares what a program prints.
func (c *comparison) version(ctx context.Context, v *twofold) error {
	var said [2]string
	for i, left := range []bool{true, false} {
		text, err := c.output(ctx, v, left)
		if err != nil {
			return fmt.Errorf("versions: %w", err)
		}
		if v.Pattern.Regexp != nil {
			m := v.Pattern.FindStringSubmatch(text)
			if m == nil {
				return fmt.Errorf("versions: %s prints nothing that matches %s", v.name(), v.Pattern)
			}
			text = m[min(1, len(m)-1)]
		}
		said[i] = shorten(text)
		if text != said[i] {
			return fmt.Errorf("versions: %s prints more than a version: say pattern", v.name())
		}
	}
	c.rows = append(c.rows, compared{Kind: "version", Name: v.name(), Left: said[0], Right: said[1]})
	c.facts["version."+v.name()] = said[0]
	if said[0] != said[1] {
		c.facts["version."+v.name()] = said[0] + " | " + said[1]
		c.misses = append(c.misses, fmt.Sprintf("%s is %q on the left and %q on the right", v.name(), said[0], said[1]))
	}
	return nil
}

// settings compares lines NAME = value, by fingerprint: they hold secrets.
func (c *comparison) settings(ctx context.Context) error {
	var sides [2]map[string]string
	for i, left := range []bool{true, false} {
		text, err := c.output(ctx, &c.Settings, left)
		if err != nil {
			return fmt.Errorf("settings: %w", err)
		}
		if sides[i], err = settingsOf(text); err != nil {
			return fmt.Errorf("settings of %s: %w", c.Settings.name(), err)
		}
	}
	all := maps.Clone(sides[0])
	maps.Copy(all, sides[1])
	var unequal, shared []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		l, inLeft := sides[0][name]
		r, inRight := sides[1][name]
		row := compared{Kind: "setting", Name: name, Left: c.print(l, inLeft), Right: c.print(r, inRight)}
		secret := matches(c.Secrets, name) || secretLike(name, l) || secretLike(name, r)
		switch {
		case matches(c.Allow, name):
			row.Note = "allowed"
		case secret && inLeft && inRight && l != r: // as it should be
		case secret && l == r:
			if c.SecretsDiffer && strings.Trim(l, `'"[]{}() `) != "" && l != "None" && secretLike("", l) {
				shared = append(shared, name)
			}
		case l != r || inLeft != inRight:
			unequal = append(unequal, name)
		}
		c.rows = append(c.rows, row)
	}
	c.miss("settings.unequal", "settings that differ", unequal)
	c.miss("settings.shared", "settings with the same secret on both sides", shared)
	return nil
}

// settingsOf reads NAME = value lines, as Django's diffsettings prints them, with
// ### after a setting that Django does not know. No message shows a line.
func settingsOf(text string) (map[string]string, error) {
	out, number := map[string]string{}, 0
	for line := range strings.Lines(text) {
		number++
		if strings.TrimSpace(line) == "" {
			continue
		}
		name, value, found := strings.Cut(line, "=")
		if name = strings.TrimSpace(name); !found || !dotenv.ValidName(name) {
			return nil, fmt.Errorf("line %d is not NAME = value", number)
		}
		out[name] = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "###"))
	}
	if len(out) == 0 {
		return nil, errors.New("it printed no setting")
	}
	return out, nil
}
