// Package report turns a run into documents: the team's own checklist filled in,
// a printable page, JSON for programs and JUnit XML for build servers. It is
// pure: a state, its events and the checklist in, bytes out. A box is ticked, a
// test passes and a line is green only for what was found or done; what was let
// through by a waiver, did not apply or never ran is shown as that.
//
// The texts of a run were redacted before they were stored; here they are made
// harmless for the document that they go into.
package report

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"allclear.dev/allclear/internal/results"
	"allclear.dev/allclear/internal/run"
)

// tone is the role of a colour; a state is never told by colour alone.
type tone string

const (
	toneGood  tone = "pass"
	toneBad   tone = "fail"
	toneNone  tone = "inconclusive"
	toneRun   tone = "running"
	toneWait  tone = "waiting"
	toneMuted tone = "muted"
	toneOver  tone = "override"
)

// mark is how a state is shown.
type mark struct {
	Glyph, Word string
	Tone        tone
}

// entry is an item with everything that the documents say about it.
type entry struct {
	Item *run.Item
	St   *run.ItemState
	mark
	// Ticked tells that the item's box is ticked: it passed or was done.
	Ticked bool
	By     string
	At     time.Time
	Reason string
	// Evidence are digests: those of the artefacts, or that of the facts when there
	// is no artefact.
	Evidence []string
}

// entries gives every item of the plan in its order.
func entries(s *run.State) []entry {
	out := make([]entry, len(s.Plan.Items))
	for i := range s.Plan.Items {
		out[i] = entryOf(s, i)
	}
	tickGroups(s, out)
	return out
}

func entryOf(s *run.State, i int) entry {
	it, st := &s.Plan.Items[i], s.Items[i]
	e := entry{Item: it, St: st, mark: markOf(st.Status), By: "allclear", At: st.SettledAt, Reason: clean(st.Reason), Evidence: digests(st)}
	if st.Actor != "" {
		e.By = clean(st.Actor)
	}
	switch {
	case s.Waived(i):
		e.mark = mark{"⊘", "waived", toneOver}
		e.By = clean(st.Waiver.Person)
		e.At = time.Time{} // what is known is when it failed, not when it was waived
		e.Reason = fmt.Sprintf("%s (until %s; %s %s: %s)", clean(st.Waiver.Reason), stamp(st.Waiver.Until), st.Status, stamp(st.SettledAt), clean(st.Reason))
	case st.Status == run.NA && st.Actor == "":
		e.By = "the plan"
	case st.Status == run.Pass || st.Status == run.Done:
		e.Ticked = true
	case st.Status == run.Waiting && it.Person != nil && len(it.Person.Roles) > 0:
		e.Word = "needs " + clean(strings.Join(it.Person.Roles, " or "))
	}
	if st.Sign != nil && st.Sign.Role != "" {
		e.By += " as " + clean(st.Sign.Role)
	}
	if !st.Status.Settled() {
		e.At, e.By, e.Evidence = time.Time{}, "", nil
	}
	if !st.UndoneAt.IsZero() {
		e.Reason = strings.TrimPrefix(e.Reason+"; taken back "+stamp(st.UndoneAt), "; ")
	}
	if st.UndoReason != "" {
		e.Reason = strings.TrimPrefix(e.Reason+"; "+clean(st.UndoReason), "; ")
	}
	return e
}

// tickGroups unticks the groups that hold something that was neither found nor
// done, unless it does not apply.
func tickGroups(s *run.State, out []entry) {
	index := map[string]int{}
	for i := range out {
		index[out[i].Item.ID] = i
	}
	// Children stand behind their parents, so that going backwards meets them first.
	for i := len(out) - 1; i >= 0; i-- {
		if out[i].Item.Kind != run.Group {
			continue
		}
		out[i].Evidence = nil
		some := false
		for _, id := range out[i].Item.Children {
			j, ok := index[id]
			if !ok {
				continue
			}
			some = some || out[j].Ticked
			if !out[j].Ticked && s.Items[j].Status != run.NA {
				out[i].Ticked = false
			}
		}
		out[i].Ticked = out[i].Ticked && some
	}
}

func markOf(s run.Status) mark {
	switch s {
	case run.Pass, run.Done:
		return mark{"✔", string(s), toneGood}
	case run.Fail, run.Failed:
		return mark{"✖", string(s), toneBad}
	case run.Inconclusive:
		return mark{"?", "inconclusive", toneNone}
	case run.InDoubt:
		return mark{"◆", "in doubt", toneBad}
	case run.NA:
		return mark{"–", "n/a", toneMuted}
	case run.Running, run.WaitingRetry:
		return mark{"◐", string(s), toneRun}
	case run.Watching:
		return mark{"◷", "watching", toneRun}
	case run.Waiting:
		return mark{"▲", "waiting for a person", toneWait}
	case run.Undone, run.Superseded:
		return mark{"↶", string(s), toneOver}
	}
	return mark{"·", "not run", toneMuted}
}

// digests gives the SHA-256 of every artefact, or, when there are only facts,
// that of the facts as a JSON object with sorted names.
func digests(st *run.ItemState) []string {
	var out []string
	for _, a := range st.Artefacts {
		out = append(out, clean(a.SHA256))
	}
	if len(out) > 0 || len(st.Facts) == 0 {
		return out
	}
	text, err := json.Marshal(st.Facts)
	if err != nil { // a map of texts always encodes
		return nil
	}
	sum := sha256.Sum256(text)
	return []string{hex.EncodeToString(sum[:])}
}

// clean makes a text one line that shows what it says.
func clean(text string) string { return results.OneLine(text) }

func short(digest string) string { return digest[:min(len(digest), 12)] }

// stamp is a time with its day, in UTC.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// clock is a time of the day on which the run began, and more on other days.
func clock(t, start time.Time) string {
	if t.UTC().Format(time.DateOnly) == start.UTC().Format(time.DateOnly) {
		return t.UTC().Format("15:04:05Z")
	}
	return stamp(t)
}
