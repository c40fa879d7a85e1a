package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"allclear.dev/allclear/internal/checklist"
	"allclear.dev/allclear/internal/metrics"
	"allclear.dev/allclear/internal/run"
)

// ErrOtherChecklist tells that the checklist is not the one that the run was
// started with.
var ErrOtherChecklist = errors.New("this is not the checklist that the run was started with")

// check tells whether the documents can be made.
func check(src []byte, s *run.State) error {
	if s == nil || s.Plan == nil {
		return errors.New("the run has not been started")
	}
	sum := sha256.Sum256(src)
	if hex.EncodeToString(sum[:]) != s.Plan.Checklist {
		return ErrOtherChecklist
	}
	return nil
}

// Markdown is the team's own checklist, filled in. A box is ticked only when its
// item passed or was done, and each item's line says how it stands, since when,
// by whom, why, and with what evidence (the first 12 digits of its SHA-256). The
// fields of a notes form, the sign-off lines and the metrics are filled. Every
// other byte is the checklist's. src is the checklist that the run was started
// with and list what was read from it; nil reads it.
func Markdown(src []byte, list *checklist.Checklist, s *run.State, events []run.Event) ([]byte, error) {
	if err := check(src, s); err != nil {
		return nil, err
	}
	if list == nil || !bytes.Equal(list.Source, src) {
		list, _ = checklist.Parse("checklist", src)
	}
	m := metrics.Of(events)
	f := &filler{src: src, list: list, s: s, m: &m}
	f.items()
	f.form()
	f.metrics()
	if f.err != nil {
		return nil, fmt.Errorf("fill in the checklist: %w", f.err)
	}
	out, err := checklist.Apply(src, f.edits...)
	if err != nil {
		return nil, fmt.Errorf("fill in the checklist: %w", err)
	}
	return out, nil
}

// filler gathers the edits.
type filler struct {
	src   []byte
	list  *checklist.Checklist
	s     *run.State
	m     *metrics.Metrics
	edits []checklist.Edit
	err   error
}

func (f *filler) add(edit checklist.Edit, err error) {
	if err != nil {
		f.err = errors.Join(f.err, err)
		return
	}
	f.edits = append(f.edits, edit)
}

// items ticks the boxes and says behind each item how it stands.
func (f *filler) items() {
	all := entries(f.s)
	byID := make(map[string]*entry, len(all))
	for i := range all {
		byID[all[i].Item.ID] = &all[i]
	}
	for item := range f.list.Items() {
		e := byID[item.ID]
		f.tick(item, e != nil && e.Ticked)
		if e == nil {
			f.add(checklist.AppendEdit(f.src, item, "— not part of this run"))
			continue
		}
		f.sign(item, e)
		f.add(checklist.AppendEdit(f.src, item, f.line(e)))
	}
}

func (f *filler) tick(item *checklist.Item, ticked bool) {
	mark := " "
	if ticked {
		mark = "x"
	}
	if item.Ticked != ticked {
		f.edits = append(f.edits, checklist.Edit{Start: item.Box, End: item.Box + 1, Text: mark})
	}
}

// line is what stands behind an item.
func (f *filler) line(e *entry) string {
	var b strings.Builder
	fmt.Fprintf(&b, "— %s %s", e.Glyph, e.Word)
	if !e.At.IsZero() {
		b.WriteString(" " + clock(e.At, f.s.StartedAt))
	}
	if e.By != "" {
		b.WriteString(" by " + e.By)
	}
	if e.Reason != "" && e.Item.Kind != run.Group {
		b.WriteString(": " + e.Reason)
	}
	const shown = 2
	for i, digest := range e.Evidence {
		switch {
		case i == 0:
			b.WriteString(" (evidence sha256:" + short(digest))
		case i < shown:
			b.WriteString(", sha256:" + short(digest))
		}
	}
	if more := len(e.Evidence) - shown; more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	if len(e.Evidence) > 0 {
		b.WriteByte(')')
	}
	return b.String()
}

// sign fills the blanks of a sign-off line: the first one that is no date takes
// the name, the first date the day. A no-go fills nothing.
func (f *filler) sign(item *checklist.Item, e *entry) {
	person, day := "", e.At
	switch {
	case e.Item.Kind == run.Signoff && e.St.Sign != nil && e.St.Sign.Approve:
		person, day = e.St.Sign.Person, e.St.Sign.At
	case e.Item.Kind == run.Attest && e.St.Status == run.Pass:
		person = e.St.Actor
	}
	if person = clean(person); person == "" {
		return
	}
	named, dated := false, false
	for _, blank := range item.Blanks {
		switch date := isDate(blank.Label); {
		case date && !dated:
			f.add(checklist.FillEdit(f.src, blank, day.UTC().Format("2006-01-02")))
			dated = true
		case !date && !named:
			f.add(checklist.FillEdit(f.src, blank, person))
			named = true
		}
	}
}

func isDate(label string) bool {
	label = strings.ToLower(strings.TrimSpace(label))
	return label == "date" || strings.HasSuffix(label, " date") || label == "on"
}
