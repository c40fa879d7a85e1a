package journal

import (
	"context"
	"crypto/sha256"
	"iter"
	"math"
)

// Reader is a journal that can be looked at.
//
// Every method may be called from several goroutines at once, and none holds the
// store while its caller thinks: a slow reader never stops a writer.
type Reader interface {
	// Read gives the events of a run after the one with the number given, in order.
	// Each is checked as it is read: what does not continue the chain ends the
	// sequence with a *CorruptError that names it. A run that does not exist has no
	// events.
	Read(ctx context.Context, run string, after uint64) iter.Seq2[Event, error]
	// Tail gives the end of a run.
	Tail(ctx context.Context, run string) (Tail, error)
	// Runs lists runs, newest first, without reading all events.
	Runs(ctx context.Context, page Page) ([]RunInfo, error)
	// Head gives the size and root of the Merkle log.
	Head(ctx context.Context) (Checkpoint, error)
	// Entries gives everything from an index on, in the order of the log, as it is
	// stored and unchecked: the input of Verify. Each range over it starts anew.
	Entries(ctx context.Context, from uint64) iter.Seq2[Entry, error]
	// Inclusion proves that an event is in the log of the given size.
	Inclusion(ctx context.Context, run string, seq, size uint64) (Inclusion, error)
	// Consistency proves that the log of the size old is the beginning of the log of
	// the size new.
	Consistency(ctx context.Context, old, new uint64) ([][sha256.Size]byte, error)
	// Close gives back what the reader holds. A second Close does nothing.
	Close() error
}

// Log is a journal that can be appended to.
type Log interface {
	Reader
	// Append stores the bodies (canonical JSON) as the next events of a run, all or
	// none in one commit, and returns when they and the head outside the store are
	// durable. expected is the number of the run's last event, 0 for a new run; epoch
	// is the driver's fencing token. The errors are ErrConflict, ErrEpoch,
	// ErrUncertain, ErrFull, ErrCorrupt, ErrClosed, the context's error if the append
	// was given up before it began, and for anything else an error that means nothing
	// was stored.
	Append(ctx context.Context, run string, expected, epoch uint64, bodies ...[]byte) ([]Event, error)
}

// Page says which runs to list.
type Page struct {
	// Before leaves out the runs from this one on; empty starts with the newest.
	Before string
	// Limit is the most runs to list; 0 means all.
	Limit int
}

// RunInfo is a run in a list.
type RunInfo struct {
	Run string
	// Events is how many events the run has.
	Events uint64
	// Index is the place of its first event in the log.
	Index uint64
	// First is the body of its first event.
	First []byte
}

// Unlogged is the index of an event that the Merkle log does not know.
const Unlogged = math.MaxUint64

// Entry is an event with its place in the log, as it is stored or exported. A
// store that lost the event but still has its place gives an Entry with Run and
// Seq and no Body.
type Entry struct {
	// Index counts the entries of the log from 0, or is Unlogged.
	Index uint64
	// Leaf is the log's own record of the event's leaf hash; nil if the source keeps
	// none.
	Leaf []byte
	Event
}

// Admit tells whether an append may follow the tail: a *EpochError or a
// *ConflictError if not. The epoch counts first: a driver that was replaced must
// stop, not read on.
func (t Tail) Admit(run string, expected, epoch uint64) error {
	if epoch < t.Epoch {
		return &EpochError{Run: run, Epoch: epoch, Current: t.Epoch}
	}
	if expected != t.Seq {
		return &ConflictError{Run: run, Expected: expected, Actual: t}
	}
	return nil
}
