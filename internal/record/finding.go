package record

import (
	"fmt"

	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/run"
)

// Kind is what is wrong with a bundle.
type Kind string

// The kinds of findings. The first five are the journal's.
const (
	Changed   = Kind(journal.Changed)
	Removed   = Kind(journal.Removed)
	Reordered = Kind(journal.Reordered)
	Inserted  = Kind(journal.Inserted)
	CutOff    = Kind(journal.CutOff)
	// Missing: a file that the events refer to is not there.
	Missing Kind = "missing"
	// Extra: a file is there that nothing refers to.
	Extra Kind = "extra"
	// Forged: a signature does not hold.
	Forged Kind = "signature does not hold"
	// Refused: an event that the rules of a run do not allow.
	Refused Kind = "refused"
	// Unreadable: an event that this version does not understand.
	Unreadable Kind = "unreadable"
	// Unchecked: what could not be found out. It is never taken for good.
	Unchecked Kind = "not checked"
)

// Finding is one place that is wrong.
type Finding struct {
	Kind Kind   `json:"kind"`
	Run  string `json:"run,omitempty"`
	// Seq and Through are the first and the last event meant; 0 when it is no event.
	Seq     uint64 `json:"seq,omitempty"`
	Through uint64 `json:"through,omitempty"`
	// Item is the item that the event or the evidence belongs to.
	Item string `json:"item,omitempty"`
	// File is the file of the bundle.
	File   string `json:"file,omitempty"`
	Detail string `json:"detail"`
}

// String is one line for people.
func (f Finding) String() string {
	place := f.File
	switch {
	case f.Through > f.Seq:
		place = fmt.Sprintf("run %s events %d to %d", f.Run, f.Seq, f.Through)
	case f.Seq > 0:
		place = fmt.Sprintf("run %s event %d", f.Run, f.Seq)
	case f.Item != "" && f.File != "":
		place += " of"
	case place == "":
		place = "the record"
	}
	if f.Item != "" {
		place += " (" + f.Item + ")"
	}
	return fmt.Sprintf("%s: %s: %s", place, f.Kind, f.Detail)
}

// SignatureChecker tells whether the signature of a sign-off or statement holds,
// given the state right before the event. It is asked for every event that
// carries a signature, and for every sign-off and attestation, which may need one.
type SignatureChecker func(event run.Event, state *run.State) error

// Trust is what the verifier knows from elsewhere.
type Trust struct {
	// Heads are heads of the log: from anchors, notifications, other exports. Their
	// origins are not compared.
	Heads []journal.Checkpoint
	// Signature checks signatures; without it they are reported as not checked.
	Signature SignatureChecker
}

// Result is what a verification found out.
type Result struct {
	Run    string `json:"run"`
	Events uint64 `json:"events"`
	// Checkpoint is the head that the bundle ends with, recomputed.
	Checkpoint journal.Checkpoint `json:"-"`
	// Signatures counts those that hold, Evidence the artefacts that are as they
	// were.
	Signatures int `json:"signatures"`
	Evidence   int `json:"evidence"`
	// Held are the trusted heads that the bundle was held against; Apart are those
	// that it has no proof for.
	Held  []journal.Checkpoint `json:"-"`
	Apart []journal.Checkpoint `json:"-"`
	// State is the run's state derived from the events, and Journal the events, when
	// the chain is whole.
	State   run.State   `json:"-"`
	Journal []run.Event `json:"-"`
	// Findings is everything that is wrong; a bundle without findings is as it was
	// exported, and as far as Held says as it was recorded.
	Findings []Finding `json:"findings"`
}

func (r *Result) add(f Finding) {
	const most = 1000
	if len(r.Findings) < most {
		r.Findings = append(r.Findings, f)
	}
}
