// Package run is the decision core: what a run may do next, given everything
// that has happened. It is pure: no clock, no network, no files, no randomness.
// Every event carries its time, and replaying the same events gives the same
// state and the same effects on any machine.
package run

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// Kind says what resolving an item means; see the checklist's words.
type Kind string

// The kinds. A group is an item that only holds others; it follows from them.
const (
	Check   Kind = "check"
	Action  Kind = "action"
	Watch   Kind = "watch"
	Attest  Kind = "attest"
	Signoff Kind = "sign-off"
	Group   Kind = "group"
)

// Class says what may be done when an action's outcome is unknown.
type Class string

// The classes of reliability: see Item.Class.
const (
	Pure       Class = "pure"
	Idempotent Class = "idempotent"
	Keyed      Class = "keyed"
	Probed     Class = "probed"
	Unsafe     Class = "unsafe"
)

// Maintenance is the resource that is held while users see the maintenance page.
const Maintenance = "maintenance"

// Plan is everything a run will do, frozen before it starts. People sign its
// digest.
type Plan struct {
	Project     string  `json:"project"`
	Environment string  `json:"environment"`
	Release     Release `json:"release"`
	Previous    Release `json:"previous"`
	// Checklist, Config and Policy are digests of the files the plan was made from;
	// Migrations is the digest of the migrations that are still to be applied.
	Checklist  string  `json:"checklist"`
	Config     string  `json:"config"`
	Policy     string  `json:"policy"`
	Migrations string  `json:"migrations,omitempty"`
	Phases     []Phase `json:"phases"`
	Items      []Item  `json:"items"`
	Rules      Rules   `json:"rules"`
}

// Release names what is deployed.
type Release struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
}

// Rules are the parts of the policy that the core itself applies.
type Rules struct {
	// StarterRoles may be signed by the person who started the run.
	StarterRoles []string `json:"starter_roles,omitempty"`
	// Distinct demands different people for the sign-offs of one gate.
	Distinct bool `json:"distinct"`
}

// Phase is an H2 of the checklist. Its end is a gate.
type Phase struct {
	ID       string `json:"id"`
	Title    string `json:"title"`
	Line     int    `json:"line"`
	Parallel bool   `json:"parallel,omitempty"`
	// Rollback phases run only when a rollback has been started.
	Rollback bool `json:"rollback,omitempty"`
	// Sections are the headings of the phase that hold items.
	Sections []Section `json:"sections,omitempty"`
}

// Section is an H3 of the checklist, or what stands directly below a phase; its
// id is the phase's then.
type Section struct {
	ID    string `json:"id"`
	Title string `json:"title"`
}

// Item is one line to be resolved.
type Item struct {
	ID      string `json:"id"`
	Text    string `json:"text"`
	Line    int    `json:"line"`
	Phase   string `json:"phase"`
	Section string `json:"section"`
	// Gate is the phase whose end waits for this item: its own unless moved.
	Gate string `json:"gate"`
	Kind Kind   `json:"kind"`
	Type string `json:"type"`
	// Params is the type's parameters as JSON, with what the plan knew put in.
	Params string `json:"params,omitempty"`
	Class  Class  `json:"class"`
	Effect string `json:"effect,omitempty"`
	Pool   string `json:"pool,omitempty"`
	Does   string `json:"does,omitempty"`
	Target string `json:"target,omitempty"`
	Undo   string `json:"undo,omitempty"`
	// UndoType and UndoParams are set when another type takes the action back.
	UndoType   string `json:"undo_type,omitempty"`
	UndoParams string `json:"undo_params,omitempty"`
	// Deferred names variables that only the run knows.
	Deferred []string `json:"deferred,omitempty"`
	// UndoWhen names items: once they are green, what the action holds is given back.
	UndoWhen []string `json:"undo_when,omitempty"`
	// Irreversible says why an action cannot be taken back.
	Irreversible string `json:"irreversible,omitempty"`
	Holds        string `json:"holds,omitempty"`
	Releases     string `json:"releases,omitempty"`
	Optional     bool   `json:"optional,omitempty"`
	// When is the condition as written; Applies is what became of it.
	When    string      `json:"when,omitempty"`
	Applies Application `json:"applies"`
	Because string      `json:"because,omitempty"`
	// Needs are ids that the item waits for beyond the order of the document; After
	// is every id that it waits for, filled by Order.
	Needs    []string      `json:"needs,omitempty"`
	After    []string      `json:"after,omitempty"`
	Children []string      `json:"children,omitempty"`
	Timeout  time.Duration `json:"timeout,omitempty"`
	Retry    Retry         `json:"retry"`
	Watch    *WatchRule    `json:"watch,omitempty"`
	// Window names the section's window that the item belongs to; WindowFor is its
	// length.
	Window    string        `json:"window,omitempty"`
	WindowFor time.Duration `json:"window_for,omitempty"`
	FreshFor  time.Duration `json:"fresh_for,omitempty"`
	Person    *Person       `json:"person,omitempty"`
	// Missing names targets that the configuration does not set; a plan with
	// missing targets does not run.
	Missing []string `json:"missing,omitempty"`
	// Host is the host that an item is about which stands for one of several, as
	// what a rollout holds does.
	Host string `json:"host,omitempty"`
	// Rollout says how an item goes from host to host; its children are the hosts'
	// items, in their order.
	Rollout *Rollout `json:"rollout,omitempty"`
	// NoReturn marks the point of no return: after it a rollback needs more than code.
	NoReturn bool `json:"no_return,omitempty"`
}

// Application says whether an item's condition holds.
type Application string

// The answers: it applies, it does not, or a fact to decide it is missing.
const (
	Applies       Application = "yes"
	NotApplicable Application = "no"
	Undecided     Application = "unknown"
)

// Rollout says how an item that is spread over hosts goes on from one to the next.
type Rollout struct {
	// Kind is what the hosts' items are.
	Kind Kind `json:"kind"`
	// Batch is how many hosts are worked on at once, at least 1. The next ones are
	// begun when all of these are over.
	Batch int `json:"batch"`
	// MaxFailures is how many hosts may be over without success: with one more
	// nothing further is begun. It opens no gate: each host's item is still to be
	// green or waived.
	MaxFailures int `json:"max_failures"`
}

// Retry says how often a failed or inconclusive item is tried again by itself.
type Retry struct {
	Times int           `json:"times"`
	Every time.Duration `json:"every"`
}

// WatchRule turns a check into a watch.
type WatchRule struct {
	For   time.Duration `json:"for"`
	Every time.Duration `json:"every"`
	// Delay is waited before the first sample.
	Delay time.Duration `json:"delay,omitempty"`
	// MaxFailures is how many failing samples are tolerated; the next one fails the
	// watch.
	MaxFailures int `json:"max_failures"`
	// MaxErrors is how many samples in a row may be without an answer; the next one
	// makes the watch inconclusive.
	MaxErrors int `json:"max_errors"`
	// MinSamples is the least number of answers that a pass needs.
	MinSamples int `json:"min_samples"`
	// Coverage is the least share of expected samples that must have answered, in
	// percent.
	Coverage int `json:"coverage"`
}

// Person says who may resolve an item and with what evidence.
type Person struct {
	Roles     []string      `json:"roles,omitempty"`
	Evidence  []string      `json:"evidence,omitempty"`
	MinText   int           `json:"min_text,omitempty"`
	NotSameAs []string      `json:"not_same_as,omitempty"`
	Expires   time.Duration `json:"expires,omitempty"`
	Choice    []string      `json:"choice,omitempty"`
	// Fact is the fact that the person's text becomes, Match what it must look like.
	Fact  string `json:"fact,omitempty"`
	Match string `json:"match,omitempty"`
}

// Digest is the SHA-256 of the plan's JSON, in hex.
func (p *Plan) Digest() string {
	text, err := json.Marshal(p)
	if err != nil { // a plan holds only strings, numbers and lists
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Item gives the item with this id, or nil.
func (p *Plan) Item(id string) *Item {
	for i := range p.Items {
		if p.Items[i].ID == id {
			return &p.Items[i]
		}
	}
	return nil
}

// SectionTitle is the heading that an item's section has in the checklist, or its
// id where there is none.
func (p *Plan) SectionTitle(id string) string {
	for _, ph := range p.Phases {
		for _, section := range ph.Sections {
			if section.ID == id && section.Title != "" {
				return section.Title
			}
		}
		if ph.ID == id && ph.Title != "" {
			return ph.Title
		}
	}
	return id
}

// Missing lists the targets that must be set before the plan can run.
func (p *Plan) Missing() []string {
	var out []string
	seen := map[string]bool{}
	for _, it := range p.Items {
		for _, m := range it.Missing {
			if it.Applies != NotApplicable && !seen[m] {
				seen[m] = true
				out = append(out, m)
			}
		}
	}
	return out
}

// InRollback reports whether an item belongs to a rollback phase.
func (p *Plan) InRollback(it *Item) bool {
	for _, ph := range p.Phases {
		if ph.ID == it.Gate {
			return ph.Rollback
		}
	}
	return false
}
