package checklist

import (
	"time"

	"go.yaml.in/yaml/v4"

	"allclear.dev/allclear/internal/diag"
)

// Setting is a value with the place where it is written. The zero Setting is one
// that is not written.
type Setting[T any] struct {
	Value T
	// Pos is the value, Width its length in bytes.
	Pos   diag.Pos
	Width int
}

// IsSet reports whether the setting is written in the file.
func (s Setting[T]) IsSet() bool { return s.Pos.Line > 0 }

// Block is a fenced `yaml allclear` block.
type Block struct {
	// Node is the mapping. The Line and Column of each of its nodes are those of
	// the Markdown file; columns count bytes from 1.
	Node *yaml.Node
	// Settings are the item's or heading's own keys.
	Settings Settings
	// Type is the type that the block names, or nil: a person attests.
	Type *Type
	// Pos is the opening fence; Start and End are the byte offsets of the whole
	// block, from the opening fence to the end of the closing one, without the
	// first line's indentation and the last line's end.
	Pos        diag.Pos
	Start, End int
	// Source is the YAML without the block's indentation.
	Source string
}

// Type is the type a block names.
type Type struct {
	// Name is the type's name, such as "postgres.backup".
	Name string
	// Pos is the name in the file.
	Pos diag.Pos
	// Params is the value under the name; it may be a null scalar.
	Params *yaml.Node
}

// Settings are the keys of a block that are not the type. An item's block has the
// keys of ItemKeys, a heading's those of HeadingKeys.
type Settings struct {
	// ID is the item's id, of the shape [a-z0-9]+([.-][a-z0-9]+)*.
	ID Setting[string]
	// When is an expression; the item is n/a when it is false.
	When Setting[string]
	// Required says whether the gate needs the item.
	Required Setting[bool]
	// Timeout bounds one attempt; more than 0.
	Timeout Setting[time.Duration]
	// Retry repeats an attempt that could not find out or failed.
	Retry Setting[Retry]
	// Watch turns a check into a watch.
	Watch Setting[Watch]
	// By names the people or roles who may resolve the item.
	By Setting[[]Word]
	// Needs names ids, globs or sections that the item waits for.
	Needs Setting[[]Word]
	// Gate names the phase whose gate the item belongs to.
	Gate Setting[string]
	// On says on which hosts the item runs.
	On Setting[On]
	// Evidence says what an attestation must bring; see EvidenceKinds.
	Evidence Setting[[]Word]
	// FreshFor is how long a verdict holds; more than 0. A day may be written d.
	FreshFor Setting[time.Duration]
	// Undo is the type that takes an action back, or nil.
	Undo *Type

	// Phase is the phase's role, such as "rollback".
	Phase Setting[string]
	// Order is "sequential" or "parallel".
	Order Setting[string]
	// Window is how long a section's watches run; more than 0. WindowVar is the
	// variable (${env.windows.m15}) that gives it instead.
	Window    Setting[time.Duration]
	WindowVar Word
}

// Word is one entry of a list with its place.
type Word = Setting[string]

// On says on which hosts an item runs, and how it goes from one to the next.
type On struct {
	// Hosts are names of hosts and of groups of them.
	Hosts []Word
	// Batch is how many hosts are worked on at once: a number of at least 1, or a
	// share of all of them such as 25%. Not written, it is one for an action and
	// all of them for anything else.
	Batch Word
	// MaxFailures is how many hosts may be without success before no further one is
	// begun; 0 when not written.
	MaxFailures int
}

// Retry says how a failed attempt is repeated.
type Retry struct {
	// Times is how many attempts follow the first one, at least 1.
	Times int
	// Every is the wait between two attempts; 0 when not written.
	Every time.Duration
}

// Watch says how a check is sampled over a window.
type Watch struct {
	// For is the length of the window, Every the time between two samples. Both
	// are more than 0, and Every is at most For.
	For, Every time.Duration
	// ForVar and EveryVar are the variables (${env.windows.m15}) that give them
	// instead.
	ForVar, EveryVar Word
	// InitialDelay is the wait before the window begins.
	InitialDelay time.Duration
	// MaxFailures is how many failed samples are tolerated: the watch fails on
	// the next one. It is less than Samples.
	MaxFailures int
	// MinSamples is how many samples a pass needs, at most Samples; 0 when not
	// written.
	MinSamples int
}

// Samples is the number of samples that the window holds: one at the end of each
// full interval.
func (w Watch) Samples() int {
	if w.Every <= 0 {
		return 0
	}
	return int(w.For / w.Every)
}

// ItemKeys are the keys of an item's own settings; the one other key of its block
// is the type.
func ItemKeys() []string {
	return []string{"id", "when", "required", "timeout", "retry", "watch", "by", "needs", "gate", "on", "evidence",
		"fresh_for", "undo"}
}

// HeadingKeys are the keys that a block under a heading may have.
func HeadingKeys() []string {
	return []string{"phase", "order", "window", "gate", "when", "needs"}
}

// EvidenceKinds are the values of evidence:.
func EvidenceKinds() []string { return []string{"url", "file", "ticket", "text"} }

// Orders are the values of order:.
func Orders() []string { return []string{"sequential", "parallel"} }
