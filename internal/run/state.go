package run

import (
	"time"
)

// Status is how an item stands.
type Status string

// The states of an item. Pass, Done and NA are green, and so is any item with a
// waiver that stands; nothing else is.
const (
	Pending      Status = "pending"
	Running      Status = "running"
	Watching     Status = "watching"
	WaitingRetry Status = "retrying"
	Waiting      Status = "waiting"
	Pass         Status = "pass"
	Fail         Status = "fail"
	Inconclusive Status = "inconclusive"
	NA           Status = "n/a"
	Done         Status = "done"
	Failed       Status = "failed"
	InDoubt      Status = "in doubt"
	Undone       Status = "undone"
	Superseded   Status = "superseded"
)

// Settled reports whether nothing more happens to the item by itself.
func (s Status) Settled() bool {
	switch s {
	case Pass, Fail, Inconclusive, NA, Done, Failed, InDoubt, Undone, Superseded:
		return true
	}
	return false
}

// RunStatus is how the whole run stands.
type RunStatus string

// The states of a run. Held means that it needs a person's decision: retry,
// waive, roll back or abort.
const (
	RunActive      RunStatus = "running"
	RunWaiting     RunStatus = "waiting"
	RunHeld        RunStatus = "held"
	RunInDoubt     RunStatus = "in doubt"
	RunPaused      RunStatus = "paused"
	RunRollingBack RunStatus = "rolling back"
	RunDone        RunStatus = "done"
	RunRolledBack  RunStatus = "rolled back"
	RunAborted     RunStatus = "aborted"
)

// ItemState is how one item stands and how it came to that.
type ItemState struct {
	Status  Status
	Verdict string // the latest verdict, kept while a repetition is under way
	Reason  string
	Attempt int
	// Occurrence counts deliberate starts; repetitions of one start share its key.
	Occurrence int
	// Intended tells that an action may be under way or have happened; Probing
	// that a probe has been asked for; Repeats counts starts after a doubt.
	Intended bool
	// IntentFacts are the facts as they stood at the intent, so that a process that
	// takes the attempt up asks for exactly the same.
	IntentFacts map[string]string
	Probing     bool
	// Probed tells that the current attempt has been probed.
	Probed  bool
	Repeats int
	Retries int
	// Refreshes counts how often the item was run again because its evidence had
	// become too old, without its gate being passed.
	Refreshes int
	RetryAt   time.Time
	ReadyAt   time.Time
	StartedAt time.Time
	SettledAt time.Time
	Actor     string
	Target    string
	Facts     map[string]string
	Artefacts []Artefact
	Waiver    *Waiver
	Watch     *WatchState
	Sign      *Signature
	Voided    []Voided
	// Undoing tells that the action is being taken back; UndoAttempt counts.
	Undoing     bool
	UndoAttempt int
	// UndoReason says why taking back failed; UndoneAt when it succeeded.
	UndoReason string
	UndoneAt   time.Time
	// UndoIntended tells that taking back may be under way.
	UndoIntended bool
	// ToldNot tells that a person, not the action itself, has said that the latest
	// attempt was not done.
	ToldNot bool
	// Told is what people have been told last about the item, so that they are told
	// once.
	Told string
}

// Waiver lets an item through although it is not green.
type Waiver struct {
	Person string
	Reason string
	At     time.Time
	Until  time.Time
}

// Signature is a decision that stands for a content.
type Signature struct {
	Person    string
	Role      string
	Approve   bool
	Subject   string
	At        time.Time
	Until     time.Time
	Statement string
	Armored   string
	KeyPrint  string
	Note      string
}

// Voided is a signature that no longer counts, and why.
type Voided struct {
	Person string
	Role   string
	At     time.Time
	Reason string
}

// WatchState is what a watch has seen.
type WatchState struct {
	StartedAt time.Time
	LastAt    time.Time
	Passed    int
	Failed    int
	Errors    int // without an answer, in all
	InARow    int // without an answer, in a row
	FirstOK   bool
	LastOK    bool
	PausedFor time.Duration
	// Asked counts the samples asked for; Due tells that the last of them is still
	// to be answered. Next is when the next one is to be asked for.
	Asked int
	Due   bool
	Next  time.Time
	// StoppedAt is since when the clock stands, because of maintenance.
	StoppedAt time.Time
}

// WindowState is a section's clock. It runs only while maintenance is off.
type WindowState struct {
	Opened  bool
	Ended   bool
	Elapsed time.Duration
	Since   time.Time // zero while the clock stands
}

// State is everything a run knows. It is a value: Step gives a new one and leaves
// the old one as it was, so that nothing that a state points to may be changed.
type State struct {
	Run  string
	Plan *Plan
	// PlanDigest is the plan's digest, computed once.
	PlanDigest string
	Starter    string
	StartedAt  time.Time
	Now        time.Time // the latest event's time, never going back
	Epoch      uint64
	Items      []*ItemState
	// Open is the index of the newest phase that has been opened, -1 before.
	Open    int
	Passed  []bool // by phase: its gate has opened
	GateAt  []time.Time
	Windows map[string]WindowState
	Held    map[string]string // resource → item that took it
	Facts   map[string]string
	Paused  bool
	// PausedBy and PauseReason tell who stopped the run and why.
	PausedBy    string
	PauseReason string
	Rollback    bool
	// RollbackAt is when going back was decided; Emergency marks one without its
	// sign-off, whose review is still owed.
	RollbackAt     time.Time
	RollbackBy     string
	RollbackReason string
	Emergency      bool
	Aborting       bool
	AbortReason    string
	// Closing tells that nothing is left to do but to give back what is held.
	Closing  bool
	Closed   bool
	Result   RunStatus
	ClosedAt time.Time

	// Notices counts what people have been told: the number of a Notify is its
	// Attempt, the same in every replay.
	Notices int

	shape *shape
	// closeAsked tells that Close has been emitted, toldDone that people know.
	closeAsked, toldDone bool
	tally
}

// Of gives the item with this id and how it stands; both are nil when there is
// no such item.
func (s *State) Of(id string) (*Item, *ItemState) {
	i, ok := s.at(id)
	if !ok {
		return nil, nil
	}
	return &s.Plan.Items[i], s.Items[i]
}

func (s *State) at(id string) (int, bool) {
	if s.shape == nil {
		return 0, false
	}
	i, ok := s.shape.index[id]
	return i, ok
}

// Green reports whether an item lets others through: pass, done, n/a or waived.
func (s *State) Green(i int) bool {
	st := s.Items[i]
	switch st.Status {
	case Pass, Done, NA:
		return true
	case InDoubt, Running: // an action whose outcome is open lets nothing through
		return false
	case Waiting: // a statement may be waived before anybody has made it
		return s.shape.spots[i].kind == Attest && s.waiverStands(i)
	}
	return st.Status.Settled() && s.waiverStands(i)
}

// waiverStands reports whether an item has a waiver that counts. A gate counts
// waivers when it is passed: one that ends later ends for what comes after, and
// does not close the gate behind a deployment.
func (s *State) waiverStands(i int) bool {
	w := s.Items[i].Waiver
	if w == nil {
		return false
	}
	at := s.Now
	if k := s.shape.spots[i].gate; s.Passed[k] {
		at = s.GateAt[k]
		if w.At.After(at) {
			at = w.At
		}
	}
	return w.Until.After(at)
}

// Waived reports whether an item is let through by a waiver only.
func (s *State) Waived(i int) bool {
	st := s.Items[i]
	return st.Status != Pass && st.Status != Done && st.Status != NA && s.Green(i)
}

// lets reports whether an item lets what waits for it through: it is green, or
// optional and over. An optional statement need not be made at all.
func (s *State) lets(i int) bool {
	if s.Green(i) {
		return true
	}
	st := s.Items[i].Status
	return s.Plan.Items[i].Optional && st != InDoubt && (st.Settled() || st == Waiting)
}

// phase gives a phase's index, or -1.
func (s *State) phase(id string) int {
	if k, ok := s.shape.phases[id]; ok {
		return k
	}
	return -1
}

// opened reports whether a phase has been opened in the present scope.
func (s *State) opened(k int) bool {
	return s.inScope(k) && (s.Passed[k] || k == s.Open)
}

// inScope tells the phases of a rollback from the ordinary ones.
func (s *State) inScope(k int) bool { return s.Plan.Phases[k].Rollback == s.Rollback }
