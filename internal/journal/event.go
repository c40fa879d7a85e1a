// Package journal is the record that a run is driven by and judged by: events in
// a hash chain per run, and over all runs a Merkle log whose head can be kept
// outside the journal.
//
// A chain shows a change, a removal in the middle, a new order and an insertion.
// It does not show a lost tail, because the beginning of a valid chain is a valid
// chain. So every event is also a leaf of one RFC 6962 Merkle log, whose head (a
// [Checkpoint]) is anchored outside the database at every commit and goes into
// sign-offs, notifications and exports. [Verify] takes events and any such heads
// and names what does not fit; it needs neither a database nor a network.
//
// The package is pure: no clock, no file, no driver. A store is a [Log]; the tests
// that every store must pass are in journaltest.
package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
)

const (
	// MaxBody is the length of the longest body, in bytes. Output and artefacts do
	// not belong in a body: their digest does.
	MaxBody = 1 << 20
	// MaxRun is the length of the longest run id, in bytes.
	MaxRun = 200
	// MaxAppend is how many bytes of bodies one Append may carry.
	MaxAppend = 8 << 20
)

// Event is one link of a run's chain.
type Event struct {
	// Run names the chain.
	Run string
	// Seq counts the events of the run, from 1.
	Seq uint64
	// Epoch is the fencing token of the driver that appended the event. It is a
	// lock, not evidence: the hash does not cover it.
	Epoch uint64
	// Prev is the Hash of the event before, or for Seq 1 what Genesis gives.
	Prev [sha256.Size]byte
	// Hash is what Hash gives for Run, Seq, Prev and Body.
	Hash [sha256.Size]byte
	// Body is canonical JSON (see Canonical). It is kept as it was given and never
	// encoded again.
	Body []byte
}

// Tail is the end of a run's chain; the zero value is the tail of a run without
// events.
type Tail struct {
	Seq, Epoch uint64
	Hash       [sha256.Size]byte
}

// Hash links an event to the one before it: SHA-256 of "allclear.event.v1", the
// run, the sequence number in decimal and the previous hash in lower-case
// hexadecimal, each followed by a line feed, then the body.
func Hash(run string, seq uint64, prev [sha256.Size]byte, body []byte) [sha256.Size]byte {
	head := make([]byte, 0, 128+len(run))
	head = append(head, "allclear.event.v1\n"...)
	head = append(append(head, run...), '\n')
	head = append(strconv.AppendUint(head, seq, 10), '\n')
	head = append(hex.AppendEncode(head, prev[:]), '\n')
	h := sha256.New()
	h.Write(head)
	h.Write(body)
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return sum
}

// Genesis is the Prev of a run's first event: SHA-256 of "allclear.genesis.v1" and
// the run, each followed by a line feed, then the digest of the plan as PlanDigest
// reads it. It binds a chain to its run and its plan.
func Genesis(run, planDigest string) [sha256.Size]byte {
	return sha256.Sum256([]byte("allclear.genesis.v1\n" + run + "\n" + planDigest))
}

// PlanDigest reads the member plan_digest of a run's first body. It is empty when
// the body has no such member or the member is not a string.
func PlanDigest(first []byte) string {
	if !bytes.Contains(first, []byte(`"plan_digest"`)) {
		return ""
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(first, &members) != nil {
		return ""
	}
	var digest string
	if json.Unmarshal(members["plan_digest"], &digest) != nil {
		return ""
	}
	return digest
}

// CheckRun tells what is wrong with a run id: it has 1 to MaxRun bytes of
// printable ASCII without spaces, so that it can neither break a hashed line nor
// a terminal.
func CheckRun(run string) error {
	if run == "" || len(run) > MaxRun {
		return fmt.Errorf("run id has %d bytes, want 1 to %d", len(run), MaxRun)
	}
	for i := range len(run) {
		if run[i] <= ' ' || run[i] > '~' {
			return fmt.Errorf("run id %q has a byte at %d that is not printable ASCII", run, i)
		}
	}
	return nil
}

// CheckAppend refuses a run id, a body or an amount of bodies that no store may
// keep.
func CheckAppend(run string, bodies [][]byte) error {
	if err := CheckRun(run); err != nil {
		return err
	}
	if len(bodies) == 0 {
		return fmt.Errorf("an append needs at least one body")
	}
	total := 0
	for i, body := range bodies {
		if len(body) > MaxBody {
			return fmt.Errorf("body %d has %d bytes, the most is %d", i+1, len(body), MaxBody)
		}
		if err := CheckCanonical(body); err != nil {
			return fmt.Errorf("body %d: %w", i+1, err)
		}
		total += len(body)
	}
	if total > MaxAppend {
		return fmt.Errorf("bodies have %d bytes together, the most is %d", total, MaxAppend)
	}
	return nil
}

// Chain makes the events that continue a run at its tail, one for each body. The
// bodies have passed CheckAppend; they are copied, so the caller may use its
// buffers again.
func Chain(run string, tail Tail, epoch uint64, bodies [][]byte) []Event {
	prev := tail.Hash
	if tail.Seq == 0 {
		prev = Genesis(run, PlanDigest(bodies[0]))
	}
	events := make([]Event, len(bodies))
	for i, body := range bodies {
		seq := tail.Seq + uint64(i) + 1
		hash := Hash(run, seq, prev, body)
		events[i] = Event{Run: run, Seq: seq, Epoch: epoch, Prev: prev, Hash: hash, Body: bytes.Clone(body)}
		prev = hash
	}
	return events
}

// Check tells whether the event continues the tail: its number, its link, its
// hash, and its epoch, which never falls. The error is a *CorruptError.
func (e Event) Check(tail Tail) error {
	prev := tail.Hash
	if tail.Seq == 0 {
		prev = Genesis(e.Run, PlanDigest(e.Body))
	}
	var reason string
	switch {
	case e.Seq != tail.Seq+1:
		reason = fmt.Sprintf("event %d follows event %d", e.Seq, tail.Seq)
	case e.Prev != prev:
		reason = "its link is not the hash of the event before"
	case Hash(e.Run, e.Seq, e.Prev, e.Body) != e.Hash:
		reason = "its hash is not the hash of its content"
	case e.Epoch < tail.Epoch:
		reason = fmt.Sprintf("epoch %d follows epoch %d", e.Epoch, tail.Epoch)
	default:
		return nil
	}
	return &CorruptError{Run: e.Run, Seq: e.Seq, Reason: reason}
}

// Tail is the tail of a run that ends with the event.
func (e Event) Tail() Tail { return Tail{Seq: e.Seq, Epoch: e.Epoch, Hash: e.Hash} }
