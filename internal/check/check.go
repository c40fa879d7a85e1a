// Package check defines what a type is: a built-in way to resolve an item of a
// checklist. A type's parameter struct is its implementation; the struct's tags
// drive strict decoding with positions, help, documentation and JSON Schema.
package check

import (
	"context"
	"fmt"
	"maps"
	"time"
)

// Kind says what resolving an item means.
type Kind string

// The kinds. A check reads and decides; an action changes something; a watch
// samples a check over a window; an attestation is stated by a named person with
// evidence; a sign-off is a named role's decision to go or not to go.
const (
	Check   Kind = "check"
	Action  Kind = "action"
	Watch   Kind = "watch"
	Attest  Kind = "attest"
	Signoff Kind = "sign-off"
)

// Class says what may be done when an action's outcome is unknown.
type Class string

// The classes, from harmless to repeat to dangerous. Pure only reads. Idempotent
// may be repeated. Keyed may be repeated with the same key, because the target
// drops the second one. Probed has a read-only probe that tells done from not
// done. Unsafe needs a person; it is the default of everything that changes
// something.
const (
	Pure       Class = "pure"
	Idempotent Class = "idempotent"
	Keyed      Class = "keyed"
	Probed     Class = "probed"
	Unsafe     Class = "unsafe"
)

// Effect says what running a type does to the world, for the plan and for
// deciding where it may run.
type Effect string

// The effects: reading only, something disposable, a message to people, traffic,
// a change of the target, a person's statement, a note in the record.
const (
	Reads   Effect = "read"
	Scratch Effect = "scratch"
	Message Effect = "message"
	Traffic Effect = "traffic"
	Changes Effect = "change"
	Human   Effect = "human"
	Record  Effect = "record"
)

// Pool names the limit that a type's work is counted against.
type Pool string

// The pools: network requests, programs on this machine, database connections.
const (
	Network  Pool = "network"
	Exec     Pool = "exec"
	Database Pool = "database"
)

// Traits are a type's answers for one set of decoded parameters. They are frozen
// in the plan.
type Traits struct {
	Kind   Kind
	Class  Class
	Effect Effect
	Pool   Pool
	// Does says in one sentence what will happen, for the plan.
	Does string
	// Target names what is looked at or changed: an address, a host, a database.
	Target string
	// Undo says how an action is taken back; empty when it is not.
	Undo string
	// Irreversible says why an action cannot be taken back; empty when it can.
	Irreversible string
	// Holds names the resource that an action takes ("maintenance"), which must be
	// given back before the run closes; Releases names the one it gives back.
	Holds, Releases string
	// ReleaseAfter names items: once they are green, what is held is given back.
	ReleaseAfter []string
	// Supervises says that the host must be a Supervisor; only this machine is.
	Supervises bool
	// Person is set for attestations and sign-offs.
	Person *Person
}

// Person says who may resolve an item and with what.
type Person struct {
	// Roles may each resolve it; empty means anyone listed.
	Roles []string
	// Evidence lists what an attestation accepts: url, file, ticket, text.
	Evidence []string
	// MinText is the least number of characters of a text given as evidence.
	MinText int
	// NotSameAs lists roles or item ids whose person may not sign here.
	NotSameAs []string
	// Expires is how long the statement stands; zero means for the run.
	Expires time.Duration
	// Choice lists the decisions offered; empty means approve and reject.
	Choice []string
	// Fact is the fact of the run that the text given becomes; empty for none. Match
	// is the regular expression (RE2) that the whole text must match, if any.
	Fact, Match string
}

// Verdict is what a type found out. Not having found out is an error, not a
// verdict.
type Verdict string

// The verdicts of a type. For an action Pass means done and Fail means that it
// failed for certain and nothing of it is still going on.
const (
	Pass Verdict = "pass"
	Fail Verdict = "fail"
)

// Outcome is what running a type gave.
type Outcome struct {
	Verdict Verdict `json:"verdict"`
	// Reason says in one sentence what was found, with the numbers.
	Reason string `json:"reason"`
	// Target names what was looked at, if it differs from the plan's.
	Target string `json:"target,omitempty"`
	// Facts are what was seen: short texts and numbers by name.
	Facts map[string]string `json:"facts,omitempty"`
	// Sets are facts that the run remembers for later items, by full name
	// ("migration.seconds").
	Sets map[string]string `json:"sets,omitempty"`
	// Artefacts are files kept as evidence.
	Artefacts []Artefact `json:"artefacts,omitempty"`
}

// Artefact is a file kept as evidence, addressed by its content.
type Artefact struct {
	Name      string `json:"name"`
	SHA256    string `json:"sha256"`
	Size      int64  `json:"size"`
	MediaType string `json:"media_type,omitempty"`
}

// Passf makes a passing outcome with a formatted reason.
func Passf(format string, args ...any) Outcome {
	return Outcome{Verdict: Pass, Reason: fmt.Sprintf(format, args...)}
}

// Failf makes a failing outcome with a formatted reason.
func Failf(format string, args ...any) Outcome {
	return Outcome{Verdict: Fail, Reason: fmt.Sprintf(format, args...)}
}

// With returns the outcome with one more fact.
func (o Outcome) With(name, value string) Outcome {
	facts := maps.Clone(o.Facts)
	if facts == nil {
		facts = map[string]string{}
	}
	facts[name] = value
	o.Facts = facts
	return o
}

// Runner is a type at work: the decoded parameters. Run of a check reads and
// decides; Run of an action acts; Run of an attestation or sign-off gathers what
// is shown beside the question. An error means that the outcome could not be
// found out: of a check it makes the item inconclusive, of an action it leaves
// the item in doubt.
type Runner interface {
	Run(ctx context.Context, env *Env) (Outcome, error)
}

// Traiter answers for one set of parameters. A type without it is a pure check
// that reads over the network.
type Traiter interface {
	Traits() Traits
}

// Validator holds rules between parameters. The error names the parameters.
type Validator interface {
	Validate() error
}

// Progress is what a probe found: whether the action has already been done.
type Progress string

// What a probe can answer. Partly means that something was done but not all.
const (
	Done    Progress = "done"
	NotDone Progress = "not_done"
	Partly  Progress = "partly"
)

// Prober tells, by reading only, whether an action has been done. An error means
// that it could not be found out.
type Prober interface {
	Probe(ctx context.Context, env *Env) (Progress, Outcome, error)
}

// Undoer takes an action back. It is given what Run returned and is safe to call
// when the action was done in part.
type Undoer interface {
	Undo(ctx context.Context, env *Env, done Outcome) (Outcome, error)
}

// RetryLater is an error that says when asking again makes sense, as a server
// does with Retry-After.
type RetryLater struct {
	After time.Duration
	Err   error
}

// Error describes the cause and the delay.
func (e *RetryLater) Error() string { return fmt.Sprintf("%v (try again in %s)", e.Err, e.After) }

// Unwrap gives the cause.
func (e *RetryLater) Unwrap() error { return e.Err }

// NotSupplied is an error for a fact or target that nobody has given.
type NotSupplied struct{ What string }

// Error names what is missing.
func (e *NotSupplied) Error() string { return e.What + " was not supplied" }
