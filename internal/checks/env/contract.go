package env

import (
	"bytes"
	"context"
	_ "embed" // the page
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/dotenv"
)

//go:embed contract.md
var contractDoc string

// Contract is the type env.contract.
var Contract = check.Define[contract](check.Desc{
	Name:    "env.contract",
	Summary: "every variable that the code reads is documented, and every documented one is set",
	Doc:     contractDoc,
})

const (
	// maxCode bounds a file of code, in bytes; maxCodeFiles how many are read.
	maxCode, maxCodeFiles = 4 << 20, 20_000
)

type contract struct {
	Code         []string      `param:"code" doc:"patterns of the files that read variables: Python, Go, JavaScript, TypeScript, Ruby, PHP, shell, Compose, YAML" default:""`
	Exclude      []string      `param:"exclude" doc:"patterns of files to leave out" default:""`
	Docs         []string      `param:"docs" doc:"patterns of the files that document them: dotenv examples, or Markdown with tables" default:""`
	Live         []environment `param:"live" doc:"where the deployed system has them; of several, the later one counts" default:""`
	Required     []string      `param:"required" doc:"variables that must be set, beside those that the code reads without a default" default:""`
	Optional     []string      `param:"optional" doc:"patterns (SENTRY_*) of variables that need not be set" default:""`
	Ignore       []string      `param:"ignore" doc:"patterns (CI, GITHUB_*) of variables that are nobody's business here" default:""`
	Placeholders []pattern     `param:"placeholders" doc:"regular expressions of values that nobody replaced, beside the usual ones of secrets" default:""`
	Dynamic      []string      `param:"dynamic" doc:"patterns of files whose computed names somebody has looked through" default:""`
	Unread       bool          `param:"unread" doc:"a documented variable that no code reads is wrong" default:"false"`
}

// Validate holds the rules between the parameters.
func (p *contract) Validate() error {
	parts := 0
	for _, is := range []bool{len(p.Code) > 0, len(p.Docs) > 0 || len(p.Required) > 0, len(p.Live) > 0} {
		if is {
			parts++
		}
	}
	switch {
	case parts < 2:
		return errors.New("give at least two of code, docs and live")
	case p.Unread && (len(p.Code) == 0 || len(p.Docs) == 0):
		return errors.New("unread needs code and docs")
	case len(p.Live) == 0 && (len(p.Required) > 0 || len(p.Placeholders) > 0 || len(p.Optional) > 0):
		return errors.New("required, optional and placeholders need live")
	}
	for _, name := range p.Required {
		if !dotenv.ValidName(name) {
			return fmt.Errorf("required: %q is not a variable's name", name)
		}
	}
	for _, x := range slices.Concat(p.Code, p.Exclude, p.Docs, p.Dynamic, p.Optional, p.Ignore) {
		if !doublestar.ValidatePattern(x) || x == "" {
			return fmt.Errorf("%q is no pattern", x)
		}
	}
	for i := range p.Live {
		if err := p.Live[i].validate(); err != nil {
			return fmt.Errorf("live: %w", err)
		}
	}
	return nil
}

// Traits says what is read.
func (p *contract) Traits() check.Traits {
	what := slices.Concat(p.Code, p.Docs)
	if len(p.Live) > 0 {
		what = append(what, places(p.Live))
	}
	target := strings.Join(what, ", ")
	return check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec, Does: "compares the names of variables in " + target, Target: target}
}

// known is all that is known of the variables.
type known struct {
	reads   map[string][]use
	dynamic []use
	docs    map[string]documented
	live    map[string]string
	files   int
}

// Run reads the three sides and compares.
func (p *contract) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	host, err := env.Host("")
	if err != nil {
		return check.Outcome{}, err
	}
	key, err := fingerprintKey(env.DataDir)
	if err != nil {
		return check.Outcome{}, err
	}
	k := &known{reads: map[string][]use{}, docs: map[string]documented{}, live: map[string]string{}}
	if err := p.readCode(ctx, host, k); err != nil {
		return check.Outcome{}, err
	}
	if err := p.readDocs(ctx, host, k); err != nil {
		return check.Outcome{}, err
	}
	if len(p.Live) > 0 {
		if k.live, err = merge(ctx, env, p.Live); err != nil {
			return check.Outcome{}, err
		}
	}
	o, err := p.judge(k)
	if err != nil {
		return o, err
	}
	artefact, err := p.keep(env, k, key)
	if err != nil {
		return check.Outcome{}, err
	}
	o.Artefacts = []check.Artefact{artefact}
	if len(k.dynamic) > 0 && o.Verdict == check.Pass {
		return o, fmt.Errorf("which variables these read is not known: %s (name them in required, and the files in dynamic)", shortList(located(k.dynamic)))
	}
	return o, ctx.Err()
}

// glob gives the files that match, each pattern at least one.
func glob(ctx context.Context, host check.Host, what string, patterns, exclude []string) ([]string, error) {
	var out []string
	for _, pattern := range patterns {
		some, err := host.Glob(ctx, pattern)
		if err != nil {
			return nil, fmt.Errorf("list files: %w", err)
		}
		before := len(out)
		for _, file := range some {
			info, err := host.Lstat(ctx, file)
			if err != nil {
				return nil, fmt.Errorf("look at %s: %w", file, err)
			}
			if info.Mode.IsRegular() {
				out = append(out, file)
			}
		}
		if len(out) == before {
			return nil, fmt.Errorf("%s: no file matches %s", what, pattern)
		}
	}
	out = slices.DeleteFunc(out, func(f string) bool { return matches(exclude, f) })
	slices.Sort(out)
	if out = slices.Compact(out); len(out) > maxCodeFiles {
		return nil, fmt.Errorf("%s: more than %d files match", what, maxCodeFiles)
	}
	return out, nil
}

func matches(patterns []string, text string) bool {
	return slices.ContainsFunc(patterns, func(x string) bool { ok, err := doublestar.Match(x, text); return err == nil && ok })
}

func (p *contract) readCode(ctx context.Context, host check.Host, k *known) error {
	files, err := glob(ctx, host, "code", p.Code, p.Exclude)
	if err != nil {
		return err
	}
	if len(p.Code) > 0 && len(files) == 0 {
		return errors.New("code: exclude leaves no file")
	}
	for _, file := range files {
		text, err := host.ReadFile(ctx, file, maxCode)
		if err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		if !utf8.Valid(text) {
			return fmt.Errorf("%s is no UTF-8 text: leave it out with exclude", file)
		}
		found, understood := findUses(file, string(text))
		if !understood {
			return fmt.Errorf("how %s reads variables is not known: leave it out with exclude, or name what it reads in required", file)
		}
		k.files++
		for _, u := range found.reads {
			if !matches(p.Ignore, u.Name) {
				k.reads[u.Name] = append(k.reads[u.Name], u)
			}
		}
		if !matches(p.Dynamic, file) {
			k.dynamic = append(k.dynamic, found.dynamic...)
		}
	}
	if len(p.Code) > 0 && len(k.reads) == 0 && len(k.dynamic) == 0 {
		return fmt.Errorf("code: none of the %d files reads a variable", k.files)
	}
	return nil
}

func (p *contract) readDocs(ctx context.Context, host check.Host, k *known) error {
	files, err := glob(ctx, host, "docs", p.Docs, nil)
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := host.ReadFile(ctx, file, maxCode)
		if err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		found, err := findDocumented(file, string(text))
		if err != nil {
			return fmt.Errorf("docs: %w", err)
		}
		for name, d := range found {
			before, twice := k.docs[name]
			if !matches(p.Ignore, name) && (!twice || before.Optional) {
				k.docs[name] = d
			}
		}
	}
	if len(p.Docs) > 0 && len(k.docs) == 0 {
		return fmt.Errorf("docs: %s document no variable", strings.Join(files, ", "))
	}
	return nil
}

// keep stores names, places, lengths and fingerprints; never a value.
func (p *contract) keep(env *check.Env, k *known, key []byte) (check.Artefact, error) {
	type row struct {
		Name        string      `json:"name"`
		Read        []use       `json:"read,omitempty"`
		Documented  *documented `json:"documented,omitempty"`
		Set         bool        `json:"set"`
		Length      int         `json:"length,omitempty"`
		Fingerprint string      `json:"fingerprint,omitempty"`
	}
	names := slices.Concat(slices.Collect(maps.Keys(k.reads)), slices.Collect(maps.Keys(k.docs)), slices.Collect(maps.Keys(k.live)))
	slices.Sort(names)
	var rows []row
	for _, name := range slices.Compact(names) {
		r := row{Name: name, Read: k.reads[name]}
		if d, is := k.docs[name]; is {
			r.Documented = &d
		}
		if value, is := k.live[name]; is {
			r.Set, r.Length = true, utf8.RuneCountInString(value)
			r.Fingerprint = (&examined{key: key}).fingerprint(value)
		}
		rows = append(rows, r)
	}
	text, err := json.MarshalIndent(rows, "", " ")
	if err != nil {
		return check.Artefact{}, fmt.Errorf("write the list: %w", err)
	}
	artefact, err := env.Store("variables.json", bytes.NewReader(text))
	if err != nil {
		return artefact, fmt.Errorf("keep the list: %w", err)
	}
	return artefact, nil
}

// judge compares: what is read must be documented, what is documented or needed
// must be set.
func (p *contract) judge(k *known) (check.Outcome, error) {
	var undocumented, unread, unset, empty, filler []string
	for _, name := range slices.Sorted(maps.Keys(k.reads)) {
		if _, is := k.docs[name]; !is && len(p.Docs) > 0 {
			undocumented = append(undocumented, fmt.Sprintf("%s (%s)", name, at(k.reads[name])))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(k.docs)) {
		if len(k.reads[name]) == 0 && len(p.Code) > 0 {
			unread = append(unread, name)
		}
	}
	if len(p.Live) > 0 {
		for _, name := range p.needed(k) {
			value, set := k.live[name]
			switch {
			case !set:
				unset = append(unset, name)
			case strings.TrimSpace(value) == "":
				empty = append(empty, name)
			case p.filler(name, value):
				filler = append(filler, name)
			}
		}
	}
	var misses []string
	for _, m := range []struct {
		what string
		list []string
	}{
		{"read but not documented", undocumented}, {"not set in " + places(p.Live), unset}, {"empty in " + places(p.Live), empty},
		{"a placeholder that nobody replaced", filler},
	} {
		if len(m.list) > 0 {
			misses = append(misses, m.what+": "+shortList(m.list))
		}
	}
	if p.Unread && len(unread) > 0 {
		misses = append(misses, "documented but not read: "+shortList(unread))
	}
	if len(misses) > 0 && len(k.dynamic) > 0 {
		misses = append(misses, "not known: "+shortList(located(k.dynamic)))
	}
	o := check.Passf("%d variables read in %d files, %d documented, %d set: nothing is missing", len(k.reads), k.files, len(k.docs), len(k.live))
	if len(misses) > 0 {
		o = check.Failf("%s", strings.Join(misses, "; "))
	}
	o.Facts = map[string]string{
		"files": strconv.Itoa(k.files), "read": strconv.Itoa(len(k.reads)), "documented": strconv.Itoa(len(k.docs)), "set": strconv.Itoa(len(k.live)),
		"undocumented": shortList(undocumented), "unread": shortList(unread), "unset": shortList(unset), "empty": shortList(empty),
		"placeholders": shortList(filler), "dynamic": shortList(located(k.dynamic)),
	}
	if len(p.Live) > 0 {
		o.Facts["source"] = places(p.Live)
	}
	return o, nil
}

// needed lists what must be set: what is required, read without a default, or
// documented as needed and not known to have a default.
func (p *contract) needed(k *known) []string {
	need := map[string]bool{}
	for name, places := range k.reads {
		if slices.ContainsFunc(places, func(u use) bool { return !u.Default }) && !k.docs[name].Optional {
			need[name] = true
		}
	}
	for name, d := range k.docs {
		if len(k.reads[name]) == 0 && !d.Optional {
			need[name] = true
		}
	}
	for name := range need {
		if matches(p.Optional, name) {
			delete(need, name)
		}
	}
	for _, name := range p.Required {
		need[name] = true
	}
	return slices.Sorted(maps.Keys(need))
}

// filler tells whether a value was meant to be replaced. The usual words count in
// secrets only: test is a fine name of an environment.
func (p *contract) filler(name, value string) bool {
	if secretLike(name, value) && placeholder(value) {
		return true
	}
	return slices.ContainsFunc(p.Placeholders, func(x pattern) bool { return x.MatchString(value) })
}

func at(list []use) string { return list[0].File + ":" + strconv.Itoa(list[0].Line) }

func located(list []use) (out []string) {
	for _, u := range list {
		out = append(out, fmt.Sprintf("%s:%d %.60s", path.Clean(u.File), u.Line, u.Name))
	}
	return out
}

func shortList(list []string) string {
	const most = 20
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
	}
	return strings.Join(list, ", ")
}
