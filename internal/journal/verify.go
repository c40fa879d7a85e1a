package journal

import (
	"bytes"
	"cmp"
	"fmt"
	"iter"
	"slices"
)

// Kind is what is wrong with a journal.
type Kind string

// The kinds of damage.
const (
	// Changed: an event is not what was stored, in its content or its place's label.
	Changed Kind = "changed"
	// Removed: events are missing before others.
	Removed Kind = "removed"
	// Reordered: an event stands where another one stood.
	Reordered Kind = "reordered"
	// Inserted: an event was not part of the chain, or is there twice.
	Inserted Kind = "inserted"
	// CutOff: the end is missing.
	CutOff Kind = "cut off"
)

// Finding is one place that is wrong.
type Finding struct {
	Kind Kind
	// Run and Seq name the event: for Removed and CutOff the first that is missing
	// (Seq 0 if its number is not known: then Index counts), for Inserted the number
	// it pretends to have.
	Run string
	Seq uint64
	// Through is the last event of a row of them; Seq if it is one.
	Through uint64
	// Index is the place in the log, Unlogged if the source does not know it.
	Index uint64
	// Detail says what does not fit.
	Detail string
}

// String is one line for people.
func (f Finding) String() string {
	place := "the log"
	switch {
	case f.Run != "" && f.Through > f.Seq:
		place = fmt.Sprintf("run %s events %d to %d", f.Run, f.Seq, f.Through)
	case f.Run != "" && f.Seq > 0:
		place = fmt.Sprintf("run %s event %d", f.Run, f.Seq)
	case f.Run != "":
		place = "run " + f.Run
	}
	if f.Index != Unlogged {
		place += fmt.Sprintf(" (log index %d)", f.Index)
	}
	return fmt.Sprintf("%s: %s: %s", place, f.Kind, f.Detail)
}

// Verify holds a whole log, from its first entry on and in its order, against
// itself and against heads that are known from elsewhere: anchors, and checkpoints
// from sign-offs, notifications and exports. No findings and no error mean that
// nothing was changed, removed, reordered, inserted or, up to the largest head,
// cut off. An error means that the entries could not be read to the end, and
// settles nothing.
//
// The first range over the entries takes memory for each run, not for each event.
// Where something is wrong Verify ranges a second time and keeps the events of the
// damaged runs. Findings are in the order of the log.
func Verify(entries iter.Seq2[Entry, error], heads ...Checkpoint) ([]Finding, error) {
	v := &verifier{runs: map[string]*runState{}, intact: true}
	v.heads = slices.SortedFunc(slices.Values(heads), func(a, b Checkpoint) int { return cmp.Compare(a.Size, b.Size) })
	v.checkHeads()
	for entry, err := range entries {
		if err != nil {
			return nil, fmt.Errorf("read entry %d: %w", v.tree.Size(), err)
		}
		v.entry(entry)
	}
	if err := v.diagnoseRuns(entries); err != nil {
		return nil, err
	}
	v.checkGaps()
	v.checkLeaves()
	v.checkEnd()
	return inOrder(v.findings), nil
}

// inOrder sorts findings by their place in the log and drops those that name the
// same thing twice.
func inOrder(findings []Finding) []Finding {
	type name struct {
		kind Kind
		run  string
		seq  uint64
	}
	seen := map[name]bool{}
	findings = slices.DeleteFunc(findings, func(f Finding) bool {
		n := name{f.Kind, f.Run, f.Seq}
		twice := f.Run != "" && seen[n]
		seen[n] = true
		return twice
	})
	slices.SortStableFunc(findings, func(a, b Finding) int { return cmp.Compare(a.Index, b.Index) })
	return findings
}

// runState is what the first range keeps of a run.
type runState struct {
	tail Tail
	// suspect is the first entry that does not continue the chain.
	suspect *Entry
	reason  string
}

// verifier is the state of one Verify.
type verifier struct {
	heads    []Checkpoint
	matched  uint64 // the size of the largest head whose root was right
	wrong    []Checkpoint
	tree     Tree
	intact   bool // no entry was missing or out of order: roots mean something
	last     Entry
	runs     map[string]*runState
	order    []string // suspect runs
	leaves   []Entry  // whose event is not what the log recorded
	gaps     []span   // indexes that were passed over
	late     []uint64 // indexes that came after higher ones
	findings []Finding
}

// entry takes the next entry.
func (v *verifier) entry(e Entry) {
	run := v.runs[e.Run]
	if run == nil {
		run = &runState{}
		v.runs[e.Run] = run
	}
	if e.Index != Unlogged {
		v.place(e)
	}
	if run.suspect != nil {
		return
	}
	err := error(nil)
	switch {
	case e.Body == nil:
		err = fmt.Errorf("the log has the event, the journal has not")
	case e.Index == Unlogged:
		err = fmt.Errorf("the journal has the event, the log has not")
	default:
		err = e.Event.Check(run.tail)
	}
	if err != nil {
		e.Body = slices.Clone(e.Body)
		run.suspect, run.reason = &e, err.Error()
		v.order = append(v.order, e.Run)
		return
	}
	run.tail = e.Event.Tail()
}

// place puts an entry into the log.
func (v *verifier) place(e Entry) {
	switch next := v.tree.Size(); {
	case e.Index < next:
		v.add(Reordered, e, "it stands behind entries with a higher index")
		v.late = append(v.late, e.Index)
		v.intact = false
		return
	case e.Index > next:
		v.gaps = append(v.gaps, span{next, e.Index - 1})
		v.intact = false
		v.tree = Tree{size: e.Index}
	}
	leaf := Leaf(e.Hash)
	if e.Leaf != nil && e.Body != nil && !bytes.Equal(leaf[:], e.Leaf) {
		v.leaves = append(v.leaves, e)
	}
	if len(e.Leaf) == len(leaf) {
		copy(leaf[:], e.Leaf) // what the root was made of
	}
	v.last = e
	if !v.intact {
		v.tree.size++
		return
	}
	v.tree.Add(leaf)
	v.checkHeads()
}

// checkHeads compares the root with the heads of the size that is reached.
func (v *verifier) checkHeads() {
	for v.intact && len(v.heads) > 0 && v.heads[0].Size == v.tree.Size() {
		if v.heads[0].Root == v.tree.Root() {
			v.matched = v.heads[0].Size
		} else {
			v.wrong = append(v.wrong, v.heads[0])
		}
		v.heads = v.heads[1:]
	}
}

// add notes a finding for an entry.
func (v *verifier) add(kind Kind, e Entry, detail string) {
	v.findings = append(v.findings, Finding{Kind: kind, Run: e.Run, Seq: e.Seq, Through: e.Seq, Index: e.Index, Detail: detail})
}

// diagnoseRuns reads the suspect runs again and says what happened to them.
func (v *verifier) diagnoseRuns(entries iter.Seq2[Entry, error]) error {
	if len(v.order) == 0 {
		return nil
	}
	rows := map[string][]Entry{}
	for e, err := range entries {
		if err != nil {
			return fmt.Errorf("read entries again: %w", err)
		}
		if v.runs[e.Run] != nil && v.runs[e.Run].suspect != nil {
			e.Body = slices.Clone(e.Body)
			rows[e.Run] = append(rows[e.Run], e)
		}
	}
	for _, name := range v.order {
		found := diagnose(name, rows[name])
		if len(found) == 0 {
			v.add(Changed, *v.runs[name].suspect, v.runs[name].reason)
		}
		v.findings = append(v.findings, found...)
	}
	return nil
}

// checkGaps names places of the log that have no entry, unless the runs have already
// named as many events that are missing.
func (v *verifier) checkGaps() {
	var named uint64
	for _, f := range v.findings {
		if f.Kind == Removed || f.Kind == CutOff {
			named += f.Through - f.Seq + 1
		}
	}
	var gaps []Finding
	var empty uint64
	for _, gap := range v.gaps {
		size := gap.last - gap.first + 1
		for _, index := range v.late {
			if index >= gap.first && index <= gap.last && size > 0 {
				size--
			}
		}
		if empty += size; size > 0 {
			gaps = append(gaps, Finding{Kind: Removed, Index: gap.first, Detail: fmt.Sprintf(
				"%d entries are missing between %d and %d", size, gap.first, gap.last)})
		}
	}
	if empty > named {
		v.findings = append(v.findings, gaps...)
	}
}

// checkLeaves names entries whose event is not what the log recorded, where their
// chain has not named them already.
func (v *verifier) checkLeaves() {
	type place struct {
		run string
		seq uint64
	}
	named := map[place]bool{}
	for _, f := range v.findings {
		if f.Kind != Removed && f.Kind != CutOff {
			named[place{f.Run, f.Seq}] = true
		}
	}
	recorded := map[string]bool{}
	for _, e := range v.leaves {
		recorded[string(e.Leaf)] = true
	}
	for _, e := range v.leaves {
		leaf := Leaf(e.Hash)
		switch {
		case named[place{e.Run, e.Seq}]:
		case recorded[string(leaf[:])]:
			v.add(Reordered, e, "the log recorded the event at another index")
		default:
			v.add(Changed, e, "its hash is not the one that the log recorded")
		}
	}
}

// checkEnd judges the heads: one that is larger than the log shows a lost tail, one
// with another root a log that was rewritten, unless single events explain it.
func (v *verifier) checkEnd() {
	if n := len(v.heads); n > 0 && v.heads[n-1].Size > v.tree.Size() {
		head := v.heads[n-1]
		detail := fmt.Sprintf("the log holds %d events, a head says %d", v.tree.Size(), head.Size)
		if v.tree.Size() > 0 {
			detail += fmt.Sprintf("; the last that is there is run %s event %d", v.last.Run, v.last.Seq)
		}
		v.findings = append(v.findings, Finding{Kind: CutOff, Index: v.tree.Size(), Detail: detail})
	}
	if len(v.wrong) > 0 && len(v.findings) == 0 {
		size := v.wrong[0].Size
		v.findings = append(v.findings, Finding{Kind: Changed, Index: v.matched, Detail: fmt.Sprintf(
			"the root over the first %d events is not the one that was anchored; the first %d are as they were", size, v.matched)})
	}
}

// VerifyRun holds the events of one run, in their order, against themselves and
// against its tail as known from elsewhere, for example from a signed record; the
// zero Tail is not known, and then a lost tail cannot be seen. Whether the events
// are in a log is what CheckInclusion tells.
func VerifyRun(run string, events iter.Seq2[Event, error], known Tail) ([]Finding, error) {
	var rows []Entry
	var tail Tail
	damaged := false
	for e, err := range events {
		if err != nil {
			return nil, fmt.Errorf("read event %d: %w", len(rows)+1, err)
		}
		if e.Body == nil {
			e.Body = []byte{}
		}
		if damaged = damaged || e.Run != run || e.Check(tail) != nil; !damaged {
			tail = e.Tail()
		}
		rows = append(rows, Entry{Index: Unlogged, Event: e})
	}
	var findings []Finding
	if damaged {
		findings = diagnose(run, rows)
	}
	if damaged && len(findings) == 0 {
		findings = []Finding{{Kind: Changed, Run: run, Seq: tail.Seq + 1, Through: tail.Seq + 1, Index: Unlogged, Detail: "it does not continue the chain"}}
	}
	last := tail.Seq
	for _, row := range rows {
		last = max(last, row.Seq)
	}
	switch {
	case known.Seq > last:
		findings = append(findings, Finding{Kind: CutOff, Run: run, Seq: last + 1, Through: known.Seq, Index: Unlogged,
			Detail: fmt.Sprintf("the run ends with event %d, it had %d", last, known.Seq)})
	case known.Seq > 0 && len(findings) == 0 && rows[known.Seq-1].Hash != known.Hash:
		findings = append(findings, Finding{Kind: Changed, Run: run, Seq: known.Seq, Through: known.Seq, Index: Unlogged,
			Detail: "its hash is not the known one: it or an event before it was written anew"})
	}
	return findings, nil
}
