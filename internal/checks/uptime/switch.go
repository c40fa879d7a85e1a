package uptime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/receipt"
	"allclear.dev/allclear/internal/rest"
)

// factPaused holds the ids of the monitors that the run has paused, so that one
// that somebody else had paused before is left as it is.
const factPaused = "monitors.paused"

// ownItem is the fact of a receipt that names the item which paused the monitor.
const ownItem = "item"

// once is the key of the receipts: what the run has paused, in all of its items
// and however often they were started.
func once(env *check.Env) string { return "allclear/" + env.Run.ID + "/monitors" }

// receiptOf names a monitor among the receipts of all providers.
func (w *watcher) receiptOf(id string) string { return w.Provider + " " + id }

// pause pauses what is not paused. That it will is written down first, so that
// after a crash the same monitors are known to be ours.
func (w *watcher) pause(ctx context.Context, env *check.Env, s service, found []monitor) (out check.Outcome, err error) {
	book, err := receipt.Open(ctx, env, once(env))
	if err != nil {
		return check.Outcome{}, err
	}
	defer func() { err = errors.Join(err, book.Close()) }()
	for _, m := range found {
		if m.State == paused {
			continue
		}
		own := map[string]string{ownItem: env.Run.Item}
		if err := book.Put(w.receiptOf(m.ID), receipt.Sending, own); err != nil {
			return check.Outcome{}, err
		}
		err := s.set(ctx, m.ID, true)
		if refused, ok := errors.AsType[*rest.Refused](err); ok {
			err = book.Put(w.receiptOf(m.ID), receipt.Refused, own)
			return w.sets(check.Failf("%s was not paused: %v", m.title(), refused), w.ours(book.All(), "")), err
		}
		if err != nil {
			return check.Outcome{}, fmt.Errorf("pause %s: %w", m.title(), err)
		}
		if err := book.Put(w.receiptOf(m.ID), receipt.Taken, own); err != nil {
			return check.Outcome{}, err
		}
	}
	if err := w.seen(ctx, s, ids(found), true); err != nil {
		return check.Outcome{}, err
	}
	mine := w.ours(book.All(), "")
	o := check.Passf("%s paused: %s", are(len(found)), names(found))
	if others := len(slices.DeleteFunc(ids(found), func(id string) bool { return slices.Contains(mine, id) })); others > 0 {
		o.Reason += fmt.Sprintf("; %d of them before this run, and %s not resumed by it", others, map[bool]string{true: "is", false: "are"}[others == 1])
	}
	return w.sets(o, mine), nil
}

// sets notes which monitors are ours to resume.
func (w *watcher) sets(o check.Outcome, mine []string) check.Outcome {
	text := strings.Join(mine, ",")
	o = o.With("paused", text)
	o.Sets = map[string]string{factPaused: text}
	return o
}

// ours gives the monitors that an item of this run has paused or may have; an
// empty item means any.
func (w *watcher) ours(entries map[string]receipt.Entry, item string) []string {
	var out []string
	for name, e := range entries {
		id, here := strings.CutPrefix(name, w.receiptOf(""))
		if here && e.State != receipt.Refused && (item == "" || e.Facts[ownItem] == item) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// wanted tells which monitors the run has paused; all when it says nothing. The
// fact alone does not do: it is what the last of several pauses left.
func (w *watcher) wanted(env *check.Env) (func(monitor) bool, error) {
	entries, err := receipt.Read(env, once(env))
	if err != nil {
		return nil, err
	}
	text, known := env.Ledger.Fact(factPaused)
	mine := append(w.ours(entries, ""), strings.Split(text, ",")...)
	known = known || len(entries) > 0
	return func(m monitor) bool { return !known || slices.Contains(mine, m.ID) }, nil
}

// resume starts the monitors that are paused and wanted.
func (w *watcher) resume(ctx context.Context, s service, found []monitor, wanted func(monitor) bool) (check.Outcome, error) {
	var mine, left []monitor
	for _, m := range found {
		if wanted(m) {
			mine = append(mine, m)
		} else if m.State == paused {
			left = append(left, m)
		}
	}
	for _, m := range mine {
		if m.State != paused {
			continue
		}
		err := s.set(ctx, m.ID, false)
		if refused, ok := errors.AsType[*rest.Refused](err); ok {
			return check.Failf("%s was not resumed: %v", m.title(), refused), nil
		}
		if err != nil {
			return check.Outcome{}, fmt.Errorf("resume %s: %w", m.title(), err)
		}
	}
	if err := w.seen(ctx, s, ids(mine), false); err != nil {
		return check.Outcome{}, err
	}
	o := check.Passf("%s watching again: %s", are(len(mine)), names(mine))
	if len(mine) == 0 {
		o = check.Passf("nothing was paused by this run")
	}
	if len(left) > 0 {
		o.Reason += fmt.Sprintf("; paused before this run, and left so: %s", names(left))
	}
	return o.With("resumed", strings.Join(ids(mine), ",")), nil
}

// seen asks again whether the monitors are switched: the answer to a change is not
// yet the change.
func (w *watcher) seen(ctx context.Context, s service, ids []string, wantPaused bool) error {
	if len(ids) == 0 {
		return nil
	}
	now, _, err := s.find(ctx)
	if err != nil {
		return fmt.Errorf("ask whether the monitors are switched: %w", err)
	}
	for _, id := range ids {
		i := slices.IndexFunc(now, func(m monitor) bool { return m.ID == id })
		if i < 0 || (now[i].State == paused) != wantPaused {
			return fmt.Errorf("monitor %s was switched, but is not seen to be", id)
		}
	}
	return nil
}

func ids(found []monitor) []string {
	var out []string
	for _, m := range found {
		out = append(out, m.ID)
	}
	return out
}

func are(n int) string {
	if n == 1 {
		return "1 monitor is"
	}
	return fmt.Sprintf("%d monitors are", n)
}

// Probe tells whether the monitors are switched.
func (w *watcher) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	s, err := w.service(ctx, env)
	if err != nil {
		return "", check.Outcome{}, err
	}
	found, miss, err := w.matching(ctx, s)
	if err != nil {
		return "", check.Outcome{}, err
	}
	if miss != "" {
		return check.NotDone, check.Failf("%s", miss), nil
	}
	mine, err := w.wanted(env)
	if err != nil {
		return "", check.Outcome{}, err
	}
	of, done := 0, 0
	for _, m := range found {
		if w.Do == resume && !mine(m) {
			continue
		}
		of++
		if (m.State == paused) == (w.Do == pause) {
			done++
		}
	}
	said := fmt.Sprintf("%d of %s as %s leaves them: %s", done, plural(of, "monitor"), w.Do, names(found))
	switch {
	case done == of:
		return check.Done, check.Passf("%s", said), nil
	case done == 0:
		return check.NotDone, check.Failf("%s", said), nil
	}
	return check.Partly, check.Failf("%s", said), nil
}

// Undo resumes what this item has paused, and nothing else.
func (w *watcher) Undo(ctx context.Context, env *check.Env, _ check.Outcome) (check.Outcome, error) {
	if w.Do != pause {
		return check.Outcome{}, errors.New("only pausing is taken back")
	}
	entries, err := receipt.Read(env, once(env))
	if err != nil {
		return check.Outcome{}, err
	}
	mine := w.ours(entries, env.Run.Item)
	if len(mine) == 0 {
		return check.Passf("nothing was paused here, so nothing is resumed"), ctx.Err()
	}
	s, err := w.service(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	found, _, err := w.matching(ctx, s)
	if err != nil {
		return check.Outcome{}, err
	}
	for _, id := range mine {
		if !slices.Contains(ids(found), id) {
			return check.Failf("monitor %s was paused here and does not watch %s any more: look whether it is to be resumed", id, w.URL), nil
		}
	}
	return w.resume(ctx, s, found, func(m monitor) bool { return slices.Contains(mine, m.ID) })
}
