package run

import "time"

// EventType names what happened.
type EventType string

// The events. Each is appended to the journal before anything follows from it.
const (
	// RunStarted carries the plan; Actor is the starter.
	RunStarted EventType = "run.started"
	// RunResumed says that a new process has taken the run up; Epoch is its token.
	RunResumed EventType = "run.resumed"
	// CheckFinished answers RunCheck: Verdict is pass, fail or inconclusive.
	CheckFinished EventType = "check.finished"
	// SampleTaken answers Sample: Verdict is pass, fail or inconclusive.
	SampleTaken EventType = "watch.sampled"
	// ActionIntended answers Intend: from here on the action may have happened.
	ActionIntended EventType = "action.intended"
	// ActionFinished answers Perform: Verdict is done, failed or in doubt.
	ActionFinished EventType = "action.finished"
	// ActionProbed answers Probe: Verdict is done, not_done, partly or inconclusive.
	ActionProbed EventType = "action.probed"
	// UndoIntended and UndoFinished are the same two for taking an action back.
	UndoIntended EventType = "undo.intended"
	UndoFinished EventType = "undo.finished"
	// TimerFired answers SetTimer; Timer is its id.
	TimerFired EventType = "timer.fired"
	// The rest is done by people; Actor is the person.
	Attested        EventType = "item.attested"
	Signed          EventType = "item.signed"
	SignRevoked     EventType = "sign.revoked"
	Waived          EventType = "item.waived"
	MarkedNA        EventType = "item.na"
	Retried         EventType = "item.retried"
	Resolved        EventType = "item.resolved"
	Paused          EventType = "run.paused"
	Unpaused        EventType = "run.unpaused"
	Aborted         EventType = "run.aborted"
	RollbackStarted EventType = "rollback.started"
	// RunClosed answers Close: nothing follows it.
	RunClosed EventType = "run.closed"
)

// Event is one thing that happened. Which fields are set follows from Type.
type Event struct {
	Type  EventType `json:"type"`
	At    time.Time `json:"at"`
	Actor string    `json:"actor,omitempty"`
	// Run and Plan are set by RunStarted.
	Run  string `json:"run,omitempty"`
	Plan *Plan  `json:"plan,omitempty"`
	// PlanDigest is the plan's; the journal binds the run's chain to it.
	PlanDigest string `json:"plan_digest,omitempty"`
	// Epoch is the lease's token, set by RunStarted and RunResumed.
	Epoch   uint64 `json:"epoch,omitempty"`
	Item    string `json:"item,omitempty"`
	Attempt int    `json:"attempt,omitempty"`
	Key     string `json:"key,omitempty"`
	Timer   string `json:"timer,omitempty"`
	Verdict string `json:"verdict,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Target  string `json:"target,omitempty"`
	// Started is when the work began, if that differs from At.
	Started   time.Time         `json:"started,omitzero"`
	Facts     map[string]string `json:"facts,omitempty"`
	Sets      map[string]string `json:"sets,omitempty"`
	Artefacts []Artefact        `json:"artefacts,omitempty"`
	// The rest belongs to what people do.
	Role      string `json:"role,omitempty"`
	Subject   string `json:"subject,omitempty"`
	Statement string `json:"statement,omitempty"`
	Signature string `json:"signature,omitempty"`
	KeyPrint  string `json:"key_fingerprint,omitempty"`
	// Until is when a waiver or a signature ends.
	Until     time.Time `json:"until,omitzero"`
	Emergency bool      `json:"emergency,omitempty"`
	// Request identifies the client's call, so that a repeat is not a second event.
	Request string `json:"request,omitempty"`
}

// Artefact is a file kept as evidence, addressed by its content.
type Artefact struct {
	Name      string `json:"name"`
	SHA256    string `json:"sha256"`
	Size      int64  `json:"size"`
	MediaType string `json:"media_type,omitempty"`
}

// EffectType names what the shell must do.
type EffectType string

// The effects. Intend and IntendUndo ask for a durable event first; Perform and
// PerformUndo follow from that event only, so that nothing happens without intent.
const (
	RunCheck    EffectType = "run check"
	Sample      EffectType = "take sample"
	Intend      EffectType = "intend"
	Perform     EffectType = "perform"
	Probe       EffectType = "probe"
	Recover     EffectType = "recover"
	IntendUndo  EffectType = "intend undo"
	PerformUndo EffectType = "perform undo"
	RecoverUndo EffectType = "recover undo"
	SetTimer    EffectType = "set timer"
	Notify      EffectType = "notify"
	Close       EffectType = "close"
)

// Effect is one duty of the shell.
type Effect struct {
	Type EffectType `json:"type"`
	Item string     `json:"item,omitempty"`
	// Attempt counts an item's attempts; of a Notify it is the run's number of it.
	Attempt int `json:"attempt,omitempty"`
	// Key identifies the action to targets that drop repeats: the same for every
	// repetition that must not act twice.
	Key   string    `json:"key,omitempty"`
	Timer string    `json:"timer,omitempty"`
	At    time.Time `json:"at,omitzero"`
	// Reason says why, for Notify (held, in_doubt, your_turn, done) and Close.
	Reason string `json:"reason,omitempty"`
	Text   string `json:"text,omitempty"`
}
