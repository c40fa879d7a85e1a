package celery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// consumed are queues of one worker.
type consumed []queue

func (c consumed) names() (out []string) {
	for _, q := range c {
		out = append(out, q.Name)
	}
	return out
}

// standing is what each worker consumed before the attempt touched it. It is
// written down first, so that going back restores that and nothing else.
type standing map[string]consumed

// missing lists what is not consumed now.
func (s standing) missing(l *loads) (out []string) {
	for _, name := range sorted(s) {
		for _, q := range s[name] {
			if n := l.nodes[name]; n == nil || !(&node{queues: n.queues}).consumes(q.Name) {
				out = append(out, name+" "+q.Name)
			}
		}
	}
	return out
}

// notes is the attempt's file; taking back has its own key, made from the action's.
func (p *control) notes(env *check.Env) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{strings.TrimSuffix(env.Key, "/undo"), p.URL, p.Exchange, p.Prefix, p.Do}, "\x00")))
	return filepath.Join(env.DataDir, "celery", hex.EncodeToString(sum[:16])+".json")
}

// recall gives what was written down, nothing when nothing was.
func (p *control) recall(env *check.Env) (standing, error) {
	text, err := os.ReadFile(p.notes(env))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var s standing
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return nil, fmt.Errorf("read what the workers consumed: %w", err)
	}
	return s, nil
}

// remember writes down what is not yet known.
func (p *control) remember(env *check.Env, known, now standing) (standing, error) {
	all := standing{}
	for name, queues := range now {
		all[name] = queues
	}
	for name, queues := range known { // what stood first counts
		all[name] = queues
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	path := p.notes(env)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("write down what the workers consume: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return nil, fmt.Errorf("write down what the workers consume: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return nil, fmt.Errorf("write down what the workers consume: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return all, nil
}

// Probe tells by a look whether the action has been done.
func (p *control) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	l, err := p.measure(ctx, env)
	if err != nil {
		return "", check.Outcome{}, err
	}
	if err := l.silent(p.Answer); err != nil {
		return "", check.Outcome{}, err
	}
	known, err := p.recall(env)
	if err != nil {
		return "", check.Outcome{}, err
	}
	if p.Do == consume {
		want := standing{}
		for name := range l.nodes {
			for _, q := range p.Queues {
				if p.meant(name) {
					want[name] = append(want[name], queue{Name: q})
				}
			}
		}
		if len(want) > 0 && len(want.missing(l)) == 0 {
			return check.Done, check.Passf("%s consume %s", list(sorted(want)), list(p.Queues)), nil
		}
		return check.NotDone, check.Outcome{}, nil
	}
	if len(known) == 0 {
		return check.NotDone, check.Outcome{}, nil // nothing is done before it is noted
	}
	there := 0
	for name := range known {
		if l.nodes[name] != nil {
			there++
		}
	}
	if p.Do != drain {
		switch there {
		case 0:
			return check.Done, check.Passf("%s have left the broker", list(sorted(known))), nil
		case len(known):
			return check.NotDone, check.Outcome{}, nil // what is drained already is found so
		}
		return check.Partly, check.Failf("%d of %d workers have left the broker", len(known)-there, len(known)), nil
	}
	if busy, _ := p.busy(l); busy > 0 {
		return check.Partly, check.Failf("%d tasks and queues are left", busy), nil
	}
	if there < len(known) {
		return check.Partly, check.Failf("%d of %d workers (%s) have left the broker, and perhaps not finished what they had", len(known)-there, len(known), list(sorted(known))), nil
	}
	return check.Done, check.Passf("%s consume no more and have finished what they had", list(sorted(known))), nil
}

// Undo lets the workers consume what they consumed before.
func (p *control) Undo(ctx context.Context, env *check.Env, _ check.Outcome) (check.Outcome, error) {
	known, err := p.recall(env)
	if err != nil {
		return check.Outcome{}, err
	}
	if len(known) == 0 {
		return check.Passf("nothing was done"), ctx.Err()
	}
	l, err := p.measure(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	var gone []string
	for _, name := range sorted(known) {
		if l.nodes[name] == nil {
			gone = append(gone, name)
		}
	}
	if err := l.silent(p.Answer); err != nil {
		return check.Outcome{}, err
	}
	if len(gone) > 0 {
		return check.Failf("%s are not there any more: start them, and they consume their queues", list(gone)), nil
	}
	return p.again(ctx, env, known)
}

// Examine looks at the workers, which needs the broker and its permissions.
func (p *control) Examine(ctx context.Context, env *check.Env) (string, error) {
	l, err := p.measure(ctx, env)
	if err != nil {
		return "", err
	}
	if err := l.silent(p.Answer); err != nil {
		return "", err
	}
	var meant []string
	for _, name := range sorted(l.nodes) {
		if p.meant(name) {
			meant = append(meant, name)
		}
	}
	if len(meant) == 0 {
		return "", fmt.Errorf("no worker that is meant is there (%d answer: %s)", len(l.nodes), list(sorted(l.nodes)))
	}
	return list(meant) + " answer", nil
}
