package forge

import (
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"unicode/utf8"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
)

//go:embed release.md
var releaseDoc string

// Release is the type forge.release.
var Release = check.Define[release](check.Desc{
	Name:    "forge.release",
	Summary: "the release stands at the provider as a draft or published, with these notes and files",
	Doc:     releaseDoc,
})

// The states of a release and the sources of its notes.
const (
	draft         = "draft"
	published     = "published"
	fromChangelog = "changelog"
	fromFile      = "file"
	fromText      = "text"
	fromKept      = "kept"
)

// maxNotes bounds the notes, in bytes; GitHub takes no more than 125000.
const maxNotes = 120_000

type release struct {
	project
	Tag        string  `param:"tag" doc:"the tag that is released" default:"v${release.version}"`
	State      string  `param:"state" doc:"draft: prepared, seen only by those who may write; published: seen by everybody" default:"draft" enum:"draft,published"`
	Name       string  `param:"name" doc:"the release's title; the tag when left out" default:""`
	From       string  `param:"from" doc:"where the notes come from: the changelog's section of this release, a file, text, or as they are kept in the release that is there" default:"changelog" enum:"changelog,file,text,kept"`
	File       string  `param:"file" doc:"the changelog (CHANGELOG.md when left out) or the file" default:""`
	Section    string  `param:"section" doc:"version of the changelog's section; the run's release when left out" default:""`
	Text       string  `param:"text" doc:"the notes, with from: text" default:""`
	MinChars   int     `param:"min_chars" doc:"characters that the notes must have at least" default:"1"`
	Prerelease bool    `param:"prerelease" doc:"marked as not yet ready for production (GitHub)" default:"false"`
	Latest     string  `param:"latest" doc:"whether it becomes the latest release; auto lets the provider decide by version and date" default:"auto" enum:"auto,true,false"`
	Assets     []asset `param:"assets" doc:"files (GitHub) or links (GitLab) that belong to the release" default:""`
}

// Validate holds the rules between the parameters.
func (p *release) Validate() error {
	if err := p.validate(); err != nil {
		return err
	}
	if err := validRev(p.Tag); err != nil {
		return fmt.Errorf("tag: %w", err)
	}
	switch {
	case (p.From == fromText) != (strings.TrimSpace(p.Text) != ""):
		return errors.New("text: goes with from: text, and from: text with text")
	case p.From == fromFile && p.File == "":
		return errors.New("file: from: file needs it")
	case p.File != "" && (p.From == fromText || p.From == fromKept), p.Section != "" && p.From != fromChangelog:
		return fmt.Errorf("file, section: do not go with from: %s", p.From)
	case p.MinChars < 0 || len(p.Text) > maxNotes:
		return fmt.Errorf("min_chars must not be negative, and text no longer than %d bytes", maxNotes)
	case p.Latest == "true" && (p.State == draft || p.Prerelease):
		return errors.New("latest: a draft or prerelease is never the latest")
	case p.Provider == onGitLab && (p.Prerelease || p.Latest == "false"):
		return errors.New("prerelease and latest: false are GitHub's; GitLab takes the release with the latest date for the latest")
	case p.Provider == onGitLab && p.State == draft && p.From == fromKept:
		return errors.New("from: kept: GitLab has no drafts, so nothing is kept there before it is published")
	}
	for i, a := range p.Assets {
		if err := a.validate(p.Provider); err != nil {
			return fmt.Errorf("assets %d: %w", i+1, err)
		}
		for _, b := range p.Assets[:i] {
			if a.name() == b.name() {
				return fmt.Errorf("assets %d: the name %s is given twice", i+1, a.name())
			}
		}
	}
	return nil
}

// notesOnly tells that nothing is sent: GitLab has no drafts.
func (p *release) notesOnly() bool { return p.Provider == onGitLab && p.State == draft }

// Traits says what is done and whether it can be taken back.
func (p *release) Traits() check.Traits {
	t := check.Traits{Kind: check.Action, Class: check.Probed, Effect: check.Changes, Pool: check.Network, Target: p.target()}
	switch {
	case p.notesOnly():
		t.Class, t.Effect = check.Idempotent, check.Record
		t.Does = "keeps the notes of " + p.Tag + " as evidence (GitLab has no drafts)"
	case p.State == draft:
		t.Does, t.Undo = "prepares the release "+p.Tag+" as a draft", "deletes the draft, if it was made here and is not published"
	default:
		t.Does, t.Irreversible = "publishes the release "+p.Tag, "people and programs may have read a release that was published"
	}
	return t
}

// publisher is a provider at which one release is looked at and changed.
type publisher interface {
	survey(ctx context.Context) (*survey, error)
	undo(ctx context.Context) (check.Outcome, error)
	may(ctx context.Context) error
}

// survey is how the release stands and what is still to be done.
type survey struct {
	// block says why nothing is done; nothing is in the way when it is empty.
	block string
	// there tells that a release of this tag is there, begun that this action made
	// it.
	there, begun bool
	todo         []step
	facts        map[string]string
	notes        string
}

// step is one change.
type step struct {
	does string
	do   func(ctx context.Context) error
}

// open reads everything that is local, and makes the publisher. miss says what is
// certainly wrong with it.
func (p *release) open(ctx context.Context, env *check.Env) (pub publisher, miss string, err error) {
	notes, miss, err := p.notes(ctx, env)
	if err != nil || miss != "" {
		return nil, miss, err
	}
	files, miss, err := p.read(ctx, env)
	if err != nil || miss != "" {
		return nil, miss, err
	}
	pub, err = p.publisher(ctx, env, notes, files)
	return pub, "", err
}

func (p *release) publisher(ctx context.Context, env *check.Env, notes string, files []file) (publisher, error) {
	w := work{release: p, env: env, wanted: notes, attached: files, id: idOf(env.Key)}
	if p.Provider == onGitLab {
		g, err := p.gitlab(ctx, env)
		return &labRelease{work: w, gitlab: g}, err
	}
	g, err := p.github(ctx, env)
	if err != nil {
		return nil, err
	}
	uploads, err := p.uploads(ctx, env)
	return &hubRelease{work: w, github: g, uploads: uploads}, err
}

// work is one release at work.
type work struct {
	*release
	env      *check.Env
	wanted   string
	attached []file
	id       string
}

func (w *work) title() string {
	if w.Name != "" {
		return w.Name
	}
	return w.Tag
}

// tooShort says that notes are too short, "" when they are not.
func (w *work) tooShort(notes string) string {
	if n := utf8.RuneCountInString(strings.TrimSpace(notes)); n < w.MinChars {
		return fmt.Sprintf("the notes of %s have %s, fewer than %d", w.Tag, plural(n, "character"), w.MinChars)
	}
	return ""
}

// Run brings the release into the wanted state, step by step. What is there
// already is left as it is.
func (p *release) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return check.Outcome{}, err
	}
	if p.notesOnly() {
		return p.keepOnly(ctx, env)
	}
	pub, miss, err := p.open(ctx, env)
	if err != nil || miss != "" {
		return check.Failf("%s", miss), err
	}
	s, err := pub.survey(ctx)
	if err != nil {
		return check.Outcome{}, err
	}
	if s.block != "" {
		return withFacts(check.Failf("%s", s.block), s.facts), nil
	}
	did := []string{}
	for _, step := range s.todo {
		err := step.do(ctx)
		if refused, ok := errors.AsType[*rest.Refused](err); ok {
			return withFacts(check.Failf("could not %s: %v", step.does, refused), s.facts), nil
		}
		if err != nil {
			return withFacts(check.Outcome{}, s.facts), fmt.Errorf("%s: %w", step.does, err)
		}
		did = append(did, step.does)
	}
	o := check.Passf("%s is %s already, as wanted", p.Tag, s.facts["state"])
	if len(did) > 0 {
		o = check.Passf("%s is %s: %s", p.Tag, p.State, strings.Join(did, ", "))
		s.facts["state"] = p.State
	}
	return p.kept(env, withFacts(o, s.facts), s.notes)
}

// keepOnly is what there is to a draft where there are none.
func (p *release) keepOnly(ctx context.Context, env *check.Env) (check.Outcome, error) {
	notes, miss, err := p.notes(ctx, env)
	w := work{release: p}
	if miss == "" && err == nil {
		miss = w.tooShort(notes)
	}
	if err != nil || miss != "" {
		return check.Failf("%s", miss), err
	}
	o := check.Passf("the notes of %s, %s, are kept as evidence; GitLab has no drafts, so nothing was sent", p.Tag, plural(utf8.RuneCountInString(notes), "character"))
	return p.kept(env, withFacts(o, map[string]string{"state": "kept as evidence"}), notes)
}

// kept keeps the notes as evidence.
func (p *release) kept(env *check.Env, o check.Outcome, notes string) (check.Outcome, error) {
	a, err := env.Store("release-notes.md", strings.NewReader(notes))
	if err != nil {
		return o, fmt.Errorf("keep the notes: %w", err)
	}
	o.Artefacts = append(o.Artefacts, a)
	o = o.With("notes.sha256", sum(notes)).With("notes.characters", strconv.Itoa(utf8.RuneCountInString(notes)))
	return o.With("tag", p.Tag), nil
}

func withFacts(o check.Outcome, facts map[string]string) check.Outcome {
	if o.Facts = maps.Clone(o.Facts); o.Facts == nil {
		o.Facts = map[string]string{}
	}
	maps.Copy(o.Facts, facts)
	return o
}

// Probe tells whether the release is as wanted.
func (p *release) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	if p.notesOnly() {
		return check.NotDone, check.Failf("keeping the notes leaves nothing to look for; it is done again"), ctx.Err()
	}
	pub, miss, err := p.open(ctx, env)
	if err != nil {
		return "", check.Outcome{}, err
	}
	if miss != "" {
		return check.NotDone, check.Failf("%s", miss), nil
	}
	s, err := pub.survey(ctx)
	switch {
	case err != nil:
		return "", check.Outcome{}, err
	case s.block != "":
		return check.NotDone, withFacts(check.Failf("%s", s.block), s.facts), nil
	case len(s.todo) == 0:
		return check.Done, withFacts(check.Passf("%s is %s, as wanted", p.Tag, s.facts["state"]), s.facts), nil
	}
	var left []string
	for _, step := range s.todo {
		left = append(left, step.does)
	}
	o := withFacts(check.Failf("%s: still to do: %s", p.Tag, strings.Join(left, ", ")), s.facts)
	if s.begun {
		return check.Partly, o, nil
	}
	return check.NotDone, o, nil
}

// Undo deletes a draft that this very action made. What is published stays.
func (p *release) Undo(ctx context.Context, env *check.Env, _ check.Outcome) (check.Outcome, error) {
	if p.notesOnly() {
		return check.Passf("nothing was sent, so nothing is taken back"), ctx.Err()
	}
	if p.State == published {
		return check.Failf("a release that was published is not taken back: edit or delete %s by hand, and tell those who may have it", p.Tag), ctx.Err()
	}
	pub, err := p.publisher(ctx, env, "", nil)
	if err != nil {
		return check.Outcome{}, err
	}
	return pub.undo(ctx)
}

// Examine says whether the token may write releases. It changes nothing.
func (p *release) Examine(ctx context.Context, env *check.Env) (string, error) {
	if p.notesOnly() {
		return "keeps the notes and sends nothing", ctx.Err()
	}
	pub, err := p.publisher(ctx, env, "", nil)
	if err != nil {
		return "", err
	}
	if err := pub.may(ctx); err != nil {
		return "", err
	}
	said := "the token may write releases of " + p.Repo
	// Notes are often written later, so what is wrong with them is only said.
	if _, miss, err := p.notes(ctx, env); err != nil || miss != "" {
		said += "; the notes are not there yet"
		if miss != "" {
			said += ": " + miss
		}
	}
	return said, nil
}

// marked gives the notes of a text, who our mark says made the release, and
// whether they still are what the mark says.
func (w *work) marked(text string) (notes, id string, untouched bool) {
	notes, id, sumOf := unmark(text)
	return notes, id, id != "" && sumOf == sum(notes)[:32]
}

// same compares notes without regard to line ends and space around.
func same(a, b string) bool { return tidy(a) == tidy(b) }
