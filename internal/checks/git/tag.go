package git

import (
	"context"
	_ "embed" // the type's page
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"allclear.dev/allclear/internal/check"
)

//go:embed git.tag.md
var tagDoc string

// Tag is the type git.tag.
var Tag = check.Define[tag](check.Desc{
	Name: "git.tag", Summary: "a tag is where it should be, here and at the remote", Doc: tagDoc,
})

// tag looks at a tag, creates it, or pushes it. It never moves one.
type tag struct {
	Name       string `param:"name,short" doc:"the tag (v1.2.3, rollback/prod-42)"`
	At         string `param:"at" doc:"release, previous, or a commit, tag or branch" default:"release"`
	Do         string `param:"do" doc:"what to do; nothing but looking when left out" default:"" enum:"create,push"`
	Push       bool   `param:"push" doc:"with do: create, push it too" default:"false"`
	Remote     string `param:"remote" doc:"the remote that must hold the same tag; with push, origin when left out" default:""`
	Annotated  bool   `param:"annotated" doc:"a tag with a message and a date of its own, not just a name" default:"true"`
	Message    string `param:"message" doc:"message of a tag that is created; names the run when left out" default:""`
	Signed     bool   `param:"signed" doc:"signed with an SSH key" default:"false"`
	SigningKey string `param:"signing_key" doc:"key file to sign with; git's own user.signingkey when left out" default:""`
	Signers    string `param:"allowed_signers" doc:"file of the keys that may sign (ssh-keygen's ALLOWED SIGNERS)" default:""`
	Repo       string `param:"repo" doc:"repository" default:"."`
	On         string `param:"on" doc:"host of the repository; this machine when left out" default:""`
}

// Validate holds the rules between parameters.
func (t *tag) Validate() error {
	switch {
	case t.Push && t.Do != "create":
		return errors.New("push goes with do: create; a tag that is there is pushed by do: push")
	case t.Signed && !t.Annotated:
		return errors.New("only an annotated tag can be signed")
	case t.Signed != (t.Signers != ""):
		return errors.New("signed and allowed_signers go together")
	case t.SigningKey != "" && (!t.Signed || t.Do != "create"):
		return errors.New("signing_key is for do: create with signed")
	case t.Message != "" && t.Do != "create":
		return errors.New("message is for do: create")
	case strings.ContainsRune(t.Message, 0):
		return errors.New("the message holds a NUL byte")
	}
	if t.At != "release" && t.At != "previous" {
		if err := validRev(t.At); err != nil {
			return err
		}
	}
	if t.remote() != "" {
		if err := validRemote(t.remote()); err != nil {
			return err
		}
	}
	return validRef(t.Name)
}

func (t *tag) remote() string {
	if t.Remote == "" && t.pushes() {
		return "origin"
	}
	return t.Remote
}

func (t *tag) pushes() bool { return t.Push || t.Do == "push" }

// Traits tells looking from creating and pushing. Both may be repeated: a tag
// that is there already stays, and nothing is ever forced.
func (t *tag) Traits() check.Traits {
	traits := check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec,
		Does: "looks at the tag " + t.Name, Target: t.Name,
	}
	if t.Do == "" {
		return traits
	}
	traits.Kind, traits.Class, traits.Effect = check.Action, check.Idempotent, check.Changes
	traits.Does = fmt.Sprintf("creates the tag %s at %s", t.Name, t.At)
	switch {
	case t.Do == "push":
		traits.Does = fmt.Sprintf("pushes the tag %s to %s", t.Name, t.remote())
	case t.Push:
		traits.Does += " and pushes it to " + t.remote()
	}
	if t.pushes() {
		traits.Irreversible = "others may have fetched a tag that was pushed"
	} else {
		traits.Undo = "deletes the tag, if it was made here and was not pushed since"
	}
	return traits
}

// work is one tag at work in its repository.
type work struct {
	*tag
	repo
	want wanted
	key  string
	// checkout is where relative paths start; signers is the whole path of the file.
	checkout, signers string
}

// inCheckout makes a path independent of the repository's folder, where git runs.
func (w *work) inCheckout(path string) string {
	if filepath.IsAbs(path) || w.On != "" {
		return path
	}
	return filepath.Join(w.checkout, path)
}

func (t *tag) open(ctx context.Context, env *check.Env) (*work, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	host, err := env.Host(t.On)
	if err != nil {
		return nil, err
	}
	w := &work{tag: t, repo: repo{host: host, dir: t.Repo}, key: env.Key, checkout: env.Dir}
	w.signers = w.inCheckout(t.Signers)
	w.want, err = (&revision{Expect: t.At, Repo: t.Repo}).wanted(ctx, env, t.On)
	if err != nil {
		return nil, err
	}
	if t.Signed {
		if _, err := host.Lstat(ctx, w.signers); err != nil {
			return nil, fmt.Errorf("look at the allowed signers: %w", err)
		}
	}
	return w, nil
}

// Run looks at the tag, creates it or pushes it.
func (t *tag) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	w, err := t.open(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	s, err := w.state(ctx)
	if err != nil {
		return check.Outcome{}, err
	}
	switch t.Do {
	case "create":
		return w.create(ctx, s)
	case "push":
		return w.push(ctx, s)
	}
	return w.judge(s, t.Remote != ""), nil
}

// judge compares what there is with what is wanted.
func (w *work) judge(s state, remote bool) check.Outcome {
	facts := s.facts(w)
	miss := w.missed(s)
	switch {
	case miss == "" && remote && s.remote == "":
		miss = fmt.Sprintf("%s does not hold the tag %s", w.tag.remote(), w.Name)
	case miss == "" && remote && s.remote != s.object:
		miss = fmt.Sprintf("%s holds another tag %s: %s, here it is %s", w.tag.remote(), w.Name, short(s.remote), short(s.object))
	}
	outcome := check.Passf("tag %s is at %s", w.Name, w.want)
	if remote {
		outcome.Reason += ", the same at " + w.tag.remote()
	}
	if miss != "" {
		outcome = check.Failf("%s", miss)
	}
	outcome.Facts = facts
	return outcome
}

// missed says what is wrong with the tag here; empty when nothing is.
func (w *work) missed(s state) string {
	switch {
	case s.object == "":
		return fmt.Sprintf("there is no tag %s", w.Name)
	case s.commit != w.want.sha:
		return fmt.Sprintf("tag %s is at %s, want %s", w.Name, short(s.commit), w.want)
	case w.Annotated && !s.annotated:
		return fmt.Sprintf("tag %s is not annotated", w.Name)
	case s.annotated && s.named != w.Name:
		return fmt.Sprintf("tag %s is another tag's, which calls itself %s", w.Name, cut(s.named))
	case w.Signed && s.unsigned != "":
		return fmt.Sprintf("tag %s is not signed as it should be: %s", w.Name, s.unsigned)
	}
	return ""
}

// Probe tells whether the tag is there, and at the remote if it is pushed.
func (t *tag) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	w, err := t.open(ctx, env)
	if err != nil {
		return "", check.Outcome{}, err
	}
	s, err := w.state(ctx)
	if err != nil {
		return "", check.Outcome{}, err
	}
	outcome := w.judge(s, t.pushes())
	switch {
	case outcome.Verdict == check.Pass:
		return check.Done, outcome, nil
	case t.Do == "create" && t.Push && w.missed(s) == "":
		return check.Partly, outcome, nil
	}
	return check.NotDone, outcome, nil
}

// Undo deletes the tag again, if this very action made it and nobody else has
// it.
func (t *tag) Undo(ctx context.Context, env *check.Env, _ check.Outcome) (check.Outcome, error) {
	if t.Do != "create" || t.pushes() {
		return check.Outcome{}, errors.New("a tag that was pushed is not taken back")
	}
	w, err := t.open(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	s, err := w.state(ctx)
	if err != nil {
		return check.Outcome{}, err
	}
	switch {
	case s.object == "":
		return check.Passf("there is no tag %s any more", t.Name), nil
	case s.key != env.Key || env.Key == "":
		return check.Failf("tag %s was not made by this item and stays", t.Name), nil
	}
	if holder, err := w.pushed(ctx); err != nil || holder != "" {
		return check.Failf("tag %s was pushed to %s and stays", t.Name, holder), err
	}
	if _, err := w.run(ctx, "update-ref", "-d", "refs/tags/"+t.Name, s.object); err != nil {
		return check.Outcome{}, err
	}
	return check.Passf("tag %s deleted again", t.Name), nil
}

func short(sha string) string { return sha[:min(12, len(sha))] }
