package document

import (
	"cmp"
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/checklist"
)

//go:embed changelog.entry.md
var entryDoc string

// Entry is the type changelog.entry.
var Entry = check.Define[entry](check.Desc{
	Name:    "changelog.entry",
	Summary: "the changelog has a well-formed section for the release",
	Doc:     entryDoc,
})

// unreleased is the name of the section for what is not released yet (Keep a
// Changelog 1.1.0).
const unreleased = "unreleased"

type entry struct {
	Version    string   `param:"version,short" doc:"the version whose section is looked for, or Unreleased" default:"${release.version}"`
	File       string   `param:"file" doc:"the changelog, in the checkout" default:"CHANGELOG.md"`
	Do         string   `param:"do" doc:"check, or release: what is under Unreleased becomes the section of the version" default:"check" enum:"check,release"`
	Date       string   `param:"date" doc:"with do: release, the day (2026-11-23); left out: today, in UTC" default:""`
	NonEmpty   bool     `param:"non_empty" doc:"the section and every category in it must say something" default:"true"`
	Categories []string `param:"categories" doc:"the headings that a section may have; left out: Added, Changed, Deprecated, Removed, Fixed, Security" default:""`
	Require    []string `param:"require" doc:"the headings that the section must have" default:""`
	Links      bool     `param:"links" doc:"a version in brackets must have its link definition; with do: release, the comparisons are carried on" default:"true"`
	Newest     bool     `param:"newest" doc:"the section must be the first one of a version" default:"true"`
	Commit     bool     `param:"commit" doc:"with do: release, commit the file with git" default:"false"`
	Message    string   `param:"message" doc:"with commit, the message; left out: Changelog: VERSION" default:""`
}

// Validate holds the rules between the parameters.
func (p *entry) Validate() error {
	release := p.Do == "release"
	switch {
	case strings.TrimSpace(p.Version) == "" || strings.ContainsAny(p.Version, "[]()\r\n\x00") || strings.Contains(p.Version, " "):
		return fmt.Errorf("version: %q is no version", p.Version)
	case release && strings.EqualFold(p.Version, unreleased):
		return errors.New("version: name the version that do: release makes of Unreleased")
	case !release && (p.Date != "" || p.Commit):
		return errors.New("date and commit go with do: release")
	case strings.ContainsRune(p.Message, 0) || p.Message != "" && !p.Commit:
		return errors.New("message: a text that goes with commit")
	case strings.HasPrefix(p.File, "-") || p.File == "" || strings.ContainsAny(p.File, "\r\n\x00"):
		return fmt.Errorf("file: %q is no file", p.File)
	}
	for _, c := range p.Require {
		if !hasFold(p.allowed(), c) {
			return fmt.Errorf("require: %q is none of the categories", c)
		}
	}
	if _, err := time.Parse(time.DateOnly, p.Date); p.Date != "" && err != nil {
		return fmt.Errorf("date: want a day such as 2026-11-23, got %q", p.Date)
	}
	return nil
}

// allowed are the categories that a section may have.
func (p *entry) allowed() []string {
	if len(p.Categories) > 0 {
		return p.Categories
	}
	return []string{"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
}

// message is that of the commit.
func (p *entry) message() string { return cmp.Or(p.Message, "Changelog: "+p.Version) }

// Traits tells looking from writing.
func (p *entry) Traits() check.Traits {
	t := check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec,
		Does: "looks for " + p.Version + " in " + p.File, Target: p.File,
	}
	if p.Do == "release" {
		t.Kind, t.Class, t.Effect = check.Action, check.Idempotent, check.Changes
		t.Does = fmt.Sprintf("makes a section %s of what is under Unreleased in %s", p.Version, p.File)
		t.Undo = "writes the file as it was, if nobody has changed it since"
		if p.Commit {
			t.Does += " and commits it"
			t.Undo += ", and commits that"
		}
	}
	return t
}

// Run looks at the changelog, or releases its Unreleased section.
func (p *entry) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	if p.Do == "release" {
		return p.release(ctx, env)
	}
	text, err := readDocument(ctx, env, p.File)
	if errors.Is(err, fs.ErrNotExist) {
		return check.Failf("there is no %s", p.File), ctx.Err()
	}
	if err != nil {
		return check.Outcome{}, err
	}
	log, err := readChangelog(text)
	if err != nil {
		return check.Outcome{}, fmt.Errorf("%s: %w", p.File, err)
	}
	o, err := p.judge(log, env.Now())
	if err != nil {
		return check.Outcome{}, err
	}
	o.Facts["sha256"] = digest(text)
	return o, ctx.Err()
}

// judge applies the rules to the section of the version.
func (p *entry) judge(log *changelog, now time.Time) (check.Outcome, error) {
	found := log.find(p.Version)
	facts := map[string]string{"file": p.File, "versions": strconv.Itoa(len(log.sections))}
	if len(found) == 0 {
		o := check.Failf("%s has no section %s%s", p.File, p.Version, log.has())
		o.Facts = facts
		return o, nil
	}
	s := found[0]
	facts["line"], facts["heading"] = strconv.Itoa(s.line), cut(s.heading)
	var misses []string
	if len(found) > 1 {
		misses = append(misses, fmt.Sprintf("%s stands twice (lines %d and %d)", p.Version, s.line, found[1].line))
	}
	misses = append(misses, p.judgeHeading(log, s, now)...)
	misses = append(misses, p.judgeBody(s, facts)...)
	o := check.Passf("%s, line %d: %s, with %s", p.File, s.line, s.heading, cmp.Or(facts["categories"], "text"))
	if len(misses) > 0 {
		o = check.Failf("%s, line %d: %s", p.File, s.line, strings.Join(misses, "; "))
	}
	o.Facts = facts
	return o, nil
}

func (p *entry) judgeHeading(log *changelog, s *section, now time.Time) (misses []string) {
	if s.malformed != "" {
		misses = append(misses, s.malformed)
	}
	if !s.unreleased() {
		// The day begins 14 hours earlier in the east of the Pacific than in UTC.
		if s.date.After(now.UTC().Add(14 * time.Hour)) {
			misses = append(misses, "its date, "+s.date.Format(time.DateOnly)+", is in the future")
		}
		if s.yanked {
			misses = append(misses, "it is marked as [YANKED]: such a release is not deployed")
		}
		if first := log.newest(); p.Newest && first != s {
			misses = append(misses, fmt.Sprintf("%s stands above it (line %d), and the newest version comes first", first.name, first.line))
		}
	}
	if p.Links && s.bracketed && log.link(s.name) == nil && !(s.unreleased() && len(log.definitions) == 0) {
		misses = append(misses, fmt.Sprintf("[%s] has no link definition", s.name))
	}
	return misses
}

func (p *entry) judgeBody(s *section, facts map[string]string) (misses []string) {
	var names []string
	for _, c := range s.categories {
		names = append(names, c.name)
		if !hasFold(p.allowed(), c.name) {
			misses = append(misses, fmt.Sprintf("line %d: %q is no category (%s)", c.line, c.name, strings.Join(p.allowed(), ", ")))
		}
		if p.NonEmpty && !c.says {
			misses = append(misses, fmt.Sprintf("line %d: nothing stands under %s", c.line, c.name))
		}
	}
	for i, name := range names {
		if hasFold(names[:i], name) {
			misses = append(misses, name+" stands twice in it")
		}
	}
	for _, want := range p.Require {
		if !hasFold(names, want) {
			misses = append(misses, "it has no "+want)
		}
	}
	if p.NonEmpty && !s.says {
		misses = append(misses, "it says nothing")
	}
	facts["categories"], facts["entries"], facts["text"] = strings.Join(names, ", "), strconv.Itoa(s.entries), cut(s.text)
	return misses
}

func hasFold(list []string, name string) bool {
	return slices.ContainsFunc(list, func(x string) bool { return strings.EqualFold(strings.TrimSpace(x), strings.TrimSpace(name)) })
}

// readChangelog reads the sections of a changelog.
func readChangelog(text []byte) (*changelog, error) {
	if len(strings.TrimSpace(string(text))) == 0 {
		return nil, errors.New("the file is empty")
	}
	if !utf8.Valid(text) || slices.Contains(text, 0) {
		return nil, errors.New("the file is no UTF-8 text")
	}
	outline, err := checklist.ReadOutline(text)
	if err != nil {
		return nil, err
	}
	return sections(outline), nil
}
