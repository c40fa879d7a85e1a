package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// before is the tag that keeps what was live before this attempt: it is set before
// anything is changed, so that it is known after a crash as well, and it keeps the
// image from being removed as unused.
func (i *image) before(key string) string {
	sum := sha256.Sum256([]byte(key))
	return i.Live + "-before-" + hex.EncodeToString(sum[:6])
}

// toggle makes the image the live one on every host, after every host has it.
func (i *image) toggle(ctx context.Context, env *check.Env, all []engine) (check.Outcome, error) {
	digest, err := i.needed(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	repository, _, err := split(i.Image)
	if err != nil {
		return check.Outcome{}, err
	}
	outcome := check.Outcome{Facts: map[string]string{"digest": digest}}
	var ids []string
	for _, at := range all {
		img, err := at.image(ctx, repository+"@"+digest)
		if _, none := errors.AsType[*absent](err); none {
			err = refuse("%v: pull it first", err)
		}
		if err != nil {
			return outcome, fmt.Errorf("%s: %w", at.Name(), err)
		}
		ids = append(ids, img.ID)
	}
	live := repository + ":" + i.Live
	var switched []string
	for n, at := range all {
		was, err := i.turn(ctx, env, at, repository, ids[n])
		if err != nil {
			if len(switched) > 0 {
				err = fmt.Errorf("%w (%s is switched already)", err, strings.Join(switched, ", "))
			}
			return outcome, fmt.Errorf("%s: %w", at.Name(), err)
		}
		outcome.Facts[at.Name()+" from"], outcome.Facts[at.Name()+" to"] = was, ids[n]
		if was != ids[n] {
			switched = append(switched, at.Name())
		}
	}
	outcome.Verdict, outcome.Reason = check.Pass, fmt.Sprintf("%s is %s", live, digest)
	if len(switched) == 0 {
		outcome.Reason += " already"
	}
	return outcome, nil
}

// turn gives the live tag to an image on one host and tells which one had it.
func (i *image) turn(ctx context.Context, env *check.Env, at engine, repository, id string) (string, error) {
	live := repository + ":" + i.Live
	now, err := at.idOf(ctx, live)
	if err != nil || now == id {
		return now, err
	}
	if now != "" {
		if err := at.tag(ctx, now, repository+":"+i.before(env.Key)); err != nil {
			return now, err
		}
	}
	if err := at.tag(ctx, id, live); err != nil {
		return now, err
	}
	fmt.Fprintf(env.Log, "%s: %s is %s now\n", at.Name(), live, id)
	is, err := at.idOf(ctx, live)
	if err == nil && is != id {
		err = fmt.Errorf("%s is %s, although it was just made %s: somebody else switches it", live, is, id)
	}
	return now, err
}

// idOf gives the id of an image; "" when the host has none of that name.
func (e engine) idOf(ctx context.Context, ref string) (string, error) {
	img, err := e.image(ctx, ref)
	if _, none := errors.AsType[*absent](err); none {
		return "", nil
	}
	return img.ID, err
}

func (e engine) tag(ctx context.Context, id, ref string) error {
	result, err := e.run(ctx, "docker", "tag", id, ref)
	if err == nil && result.Code != 0 {
		err = refuse("docker tag: %s", said(result))
	}
	return err
}

// Probe tells on how many hosts the image is the live one.
func (i *image) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	if i.Do != "switch" {
		return "", check.Outcome{}, errors.New("only do: switch leaves something that tells whether it was done")
	}
	all, err := i.places(env)
	if err != nil {
		return "", check.Outcome{}, err
	}
	if i.Workload.given() {
		return i.probeWorkload(ctx, env, all[0])
	}
	digest, err := i.needed(ctx, env)
	if err != nil {
		return "", check.Outcome{}, err
	}
	repository, _, err := split(i.Image)
	if err != nil {
		return "", check.Outcome{}, err
	}
	done := 0
	for _, at := range all {
		want, err := at.idOf(ctx, repository+"@"+digest)
		if err != nil {
			return "", check.Outcome{}, err
		}
		now, err := at.idOf(ctx, repository+":"+i.Live)
		if err != nil {
			return "", check.Outcome{}, err
		}
		if want != "" && want == now {
			done++
		}
	}
	outcome := check.Passf("%s:%s is %s on %d of %d hosts", repository, i.Live, digest, done, len(all))
	switch done {
	case 0:
		return check.NotDone, outcome, nil
	case len(all):
		return check.Done, outcome, nil
	}
	return check.Partly, outcome, nil
}

// Undo gives the live tag back to what had it, where this very action took it and
// nobody has since.
func (i *image) Undo(ctx context.Context, env *check.Env, _ check.Outcome) (check.Outcome, error) {
	if i.Do != "switch" {
		return check.Outcome{}, errors.New("an image that was pulled stays")
	}
	all, err := i.places(env)
	if err != nil {
		return check.Outcome{}, err
	}
	if i.Workload.given() {
		return settle(i.undoWorkload(ctx, env, all[0]))
	}
	repository, _, err := split(i.Image)
	if err != nil {
		return check.Outcome{}, err
	}
	digest, err := i.needed(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	var back []string
	for _, at := range all {
		did, err := i.undo(ctx, env, at, repository, digest)
		if err != nil {
			return settle(check.Outcome{}, fmt.Errorf("%s: %w", at.Name(), err))
		}
		if did {
			back = append(back, at.Name())
		}
	}
	if len(back) == 0 {
		return check.Passf("%s:%s was not switched by this item", repository, i.Live), nil
	}
	return check.Passf("%s:%s is what it was before on %s", repository, i.Live, strings.Join(back, ", ")), nil
}

func (i *image) undo(ctx context.Context, env *check.Env, at engine, repository, digest string) (bool, error) {
	was, err := at.idOf(ctx, repository+":"+i.before(env.Key))
	if err != nil || was == "" || env.Key == "" {
		return false, err
	}
	live := repository + ":" + i.Live
	now, err := at.idOf(ctx, live)
	if err != nil || now == was {
		return err == nil, err
	}
	want, err := at.idOf(ctx, repository+"@"+digest)
	if err == nil && now != want {
		err = refuse("%s is %s since, and stays", live, now)
	}
	if err != nil {
		return false, err
	}
	return true, at.tag(ctx, was, live)
}

// Examine says whether docker or kubectl answers.
func (i *image) Examine(ctx context.Context, env *check.Env) (string, error) {
	all, err := i.places(env)
	if err != nil {
		return "", err
	}
	if i.Pods.given() || i.Workload.given() {
		for _, at := range all {
			if i.Pods.given() {
				_, err = at.pods(ctx, i.Pods)
			} else {
				_, err = i.spec(ctx, env, at)
			}
			if err != nil {
				return "", fmt.Errorf("%s: %w", at.Name(), err)
			}
		}
		return "kubectl answers", nil
	}
	for _, at := range all {
		result, err := at.run(ctx, "docker", "version", "--format={{.Server.Version}}")
		if err == nil && result.Code != 0 {
			err = fmt.Errorf("docker does not answer: %s", said(result))
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", at.Name(), err)
		}
	}
	return "docker answers", nil
}
