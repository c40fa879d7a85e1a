package git

import (
	"context"
	_ "embed" // the type's page
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"allclear.dev/allclear/internal/check"
)

//go:embed release.switch.md
var switchDoc string

// Switch is the type release.switch.
var Switch = check.Define[toggle](check.Desc{
	Name: "release.switch", Summary: "the link to what is live points to the release, on every host", Doc: switchDoc,
})

// toggle points the link to what is live at another release, in one step that
// nobody can see half of.
type toggle struct {
	To        string   `param:"to,short" doc:"release or previous" default:"release" enum:"release,previous"`
	Link      string   `param:"link" doc:"the link to what is live" default:"${env.current}"`
	Releases  string   `param:"releases" doc:"folder that holds the releases" default:"${env.releases}"`
	Name      string   `param:"name" doc:"name of the release's folder; its version when left out" default:""`
	Repo      string   `param:"repo" doc:"clone or mirror on the host that the release's files are compared with" default:"${env.mirror}"`
	MayDiffer []string `param:"may_differ" doc:"patterns of files of the commit that building may have changed" default:""`
	Stamp     string   `param:"revision_file" doc:"file in the release that holds the commit" default:"REVISION"`
	On        []string `param:"on" doc:"hosts; this machine when left out" default:""`
}

// Validate holds the rules between parameters.
func (s *toggle) Validate() error {
	for _, pattern := range s.MayDiffer {
		if err := within(pattern); err != nil || strings.HasPrefix(pattern, ":") {
			return fmt.Errorf("may_differ: %.100q is not a pattern of paths inside the release", pattern)
		}
	}
	if err := whole("link", s.Link); err != nil {
		return err
	}
	if s.Link == s.Releases || strings.HasPrefix(s.Link, s.Releases+"/") {
		return fmt.Errorf("link: %s lies among the releases", s.Link)
	}
	return s.source().Validate()
}

// source finds the release as the checkout made it.
func (s *toggle) source() *checkout {
	return &checkout{At: s.To, Repo: s.Repo, Releases: s.Releases, Name: s.Name, Stamp: s.Stamp, On: s.On}
}

// Traits says what is switched and how it is taken back.
func (s *toggle) Traits() check.Traits {
	return check.Traits{
		Kind: check.Action, Class: check.Probed, Effect: check.Changes, Pool: check.Exec,
		Does: fmt.Sprintf("points %s at %s", s.Link, s.To), Target: s.Link,
		Undo: "points the link at what it pointed at before",
	}
}

// memo is kept beside the link: what this action found there, written before
// anything is changed, so that it is known after a crash as well.
type memo struct {
	Key  string `json:"key"`
	From string `json:"from"`
	To   string `json:"to"`
}

func (s *toggle) memoFile() string {
	return path.Join(path.Dir(s.Link), "."+path.Base(s.Link)+".switched")
}

func (s *toggle) memo(ctx context.Context, at place) (memo, error) {
	var m memo
	result, err := at.try(ctx, "test", "-e", s.memoFile())
	if err != nil || result.Code != 0 {
		return m, err
	}
	text, err := at.ReadFile(ctx, s.memoFile(), maxNote)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		return m, fmt.Errorf("read %s: %w", s.memoFile(), err)
	}
	return m, nil
}

// turn is one host's link and where it is to point.
type turn struct {
	tree
	now string
}

// Run holds that every host has the release whole, and only then switches them,
// one after the other.
func (s *toggle) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	all, err := places(env, s.On)
	if err != nil {
		return check.Outcome{}, err
	}
	outcome := check.Outcome{Facts: map[string]string{}}
	var turns []turn
	for i, at := range all {
		t, err := s.look(ctx, env, at, s.source().host(i))
		if err != nil {
			return settle(outcome, fmt.Errorf("%s: %w", at.Name(), err))
		}
		turns = append(turns, t)
	}
	var switched []string
	for _, t := range turns {
		outcome.Facts[t.Name()+".from"], outcome.Facts[t.Name()+".to"], outcome.Facts["revision"] = t.now, t.dir, t.want.sha
		if t.now == t.dir {
			continue
		}
		if err := s.turn(ctx, env, t); err != nil {
			if len(switched) > 0 {
				err = fmt.Errorf("%w (%s is switched already)", err, strings.Join(switched, ", "))
			}
			return settle(outcome, fmt.Errorf("%s: %w", t.Name(), err))
		}
		fmt.Fprintf(env.Log, "%s: %s now points at %s\n", t.Name(), s.Link, t.dir)
		switched = append(switched, t.Name())
	}
	outcome.Verdict = check.Pass
	outcome.Reason = fmt.Sprintf("%s points at %s", s.Link, turns[0].want)
	if len(switched) > 0 {
		return outcome, nil
	}
	outcome.Reason += " already"
	return outcome, nil
}

// look finds the release on a host, holds that it is whole, and reads the link.
func (s *toggle) look(ctx context.Context, env *check.Env, at place, on string) (turn, error) {
	t, err := s.source().open(ctx, env, at, on)
	if err != nil {
		return turn{}, err
	}
	now, err := at.link(ctx, s.Link)
	if err != nil {
		return turn{}, err
	}
	err = t.verify(ctx, s.MayDiffer)
	if gone, missing := errors.AsType[*absent](err); missing && s.To == "previous" && s.Name == "" {
		// Before this item was used, releases may have had other names.
		m, err2 := s.memo(ctx, at)
		if err2 != nil {
			return turn{}, err2
		}
		if m.From != "" && path.Dir(m.From) == s.Releases {
			t.dir = m.From
			err = t.verify(ctx, s.MayDiffer)
		} else {
			err = gone
		}
	}
	if gone, missing := errors.AsType[*absent](err); missing {
		err = refuse("%v: check the release out first", gone)
	}
	return turn{tree: *t, now: now}, err
}

// turn notes what the link pointed at and replaces it by rename(2).
func (s *toggle) turn(ctx context.Context, env *check.Env, t turn) error {
	text, err := json.Marshal(memo{Key: env.Key, From: t.now, To: t.dir})
	if err != nil {
		return err
	}
	if err := t.write(ctx, s.memoFile(), append(text, '\n')); err != nil {
		return err
	}
	return s.point(ctx, t.place, t.dir)
}

// point makes the link point at dir, and sees that it does.
func (s *toggle) point(ctx context.Context, at place, dir string) error {
	next := path.Join(path.Dir(s.Link), "."+path.Base(s.Link)+".next")
	if _, err := at.run(ctx, "ln", "-s", "-f", "-n", "--", dir, next); err != nil {
		return err
	}
	if _, err := at.run(ctx, "mv", "-f", "-T", "--", next, s.Link); err != nil {
		return err
	}
	if _, err := at.run(ctx, "sync", "-f", path.Dir(s.Link)); err != nil {
		return err
	}
	now, err := at.link(ctx, s.Link)
	if err == nil && now != dir {
		err = fmt.Errorf("%s points at %s, although it was just pointed at %s: somebody else switches it", s.Link, now, dir)
	}
	return err
}

// Probe tells on how many hosts the link points at the release.
func (s *toggle) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	all, err := places(env, s.On)
	if err != nil {
		return "", check.Outcome{}, err
	}
	done, facts := 0, map[string]string{}
	for i, at := range all {
		t, err := s.look(ctx, env, at, s.source().host(i))
		if _, other := errors.AsType[*refused](err); other {
			facts[at.Name()] = err.Error()
			continue
		}
		if err != nil {
			return "", check.Outcome{}, fmt.Errorf("%s: %w", at.Name(), err)
		}
		facts[at.Name()] = t.now
		if t.now == t.dir {
			done++
		}
	}
	outcome := check.Passf("%s points at %s on %d of %d hosts", s.Link, s.To, done, len(all))
	outcome.Facts = facts
	return progress(done, len(all)), outcome, nil
}

// Undo points the link at what it pointed at before, where this very action
// switched it and nobody has since.
func (s *toggle) Undo(ctx context.Context, env *check.Env, _ check.Outcome) (check.Outcome, error) {
	all, err := places(env, s.On)
	if err != nil {
		return check.Outcome{}, err
	}
	outcome := check.Outcome{Facts: map[string]string{}}
	var back []string
	for _, at := range all {
		was, err := s.undo(ctx, env, at)
		if err != nil {
			return settle(outcome, fmt.Errorf("%s: %w", at.Name(), err))
		}
		if was != "" {
			outcome.Facts[at.Name()+".to"] = was
			back = append(back, at.Name())
		}
	}
	outcome.Verdict = check.Pass
	outcome.Reason = fmt.Sprintf("%s points at what it pointed at before on %s", s.Link, strings.Join(back, ", "))
	if len(back) == 0 {
		outcome.Reason = s.Link + " was not switched by this item"
	}
	return outcome, nil
}

func (s *toggle) undo(ctx context.Context, env *check.Env, at place) (string, error) {
	m, err := s.memo(ctx, at)
	if err != nil || m.Key != env.Key || env.Key == "" {
		return "", err
	}
	now, err := at.link(ctx, s.Link)
	switch {
	case err != nil:
		return "", err
	case now == m.From:
		return m.From, nil
	case now != m.To:
		return "", refuse("%s points at %s since, and stays", s.Link, now)
	case m.From == "":
		return "", refuse("%s did not exist before, and stays", s.Link)
	}
	info, err := at.Lstat(ctx, m.From)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode.IsDir():
		return "", refuse("%s, which it pointed at before, is no folder any more", m.From)
	case err != nil:
		return "", err
	}
	return m.From, s.point(ctx, at, m.From)
}

// Examine says whether the link may be replaced and the repository read.
func (s *toggle) Examine(ctx context.Context, env *check.Env) (string, error) {
	all, err := places(env, s.On)
	if err != nil {
		return "", err
	}
	for _, at := range all {
		if _, err := at.link(ctx, s.Link); err != nil {
			return "", fmt.Errorf("%s: %w", at.Name(), err)
		}
		result, err := at.try(ctx, "test", "-w", path.Dir(s.Link))
		if err != nil {
			return "", err
		}
		if result.Code != 0 {
			return "", fmt.Errorf("%s: %s may not be written to, so that the link cannot be replaced", at.Name(), path.Dir(s.Link))
		}
		if _, err := (repo{host: at.Host, dir: s.Repo}).run(ctx, "rev-parse", "--git-dir"); err != nil {
			return "", fmt.Errorf("%s: %s: %w", at.Name(), s.Repo, err)
		}
	}
	return s.Link + " can be replaced", nil
}
