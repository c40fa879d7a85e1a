package journal

import (
	"errors"
	"fmt"
)

// What an operation on a log can end with, for errors.Is. Each but ErrClosed has a
// type of the same name that says more, for errors.As.
var (
	// ErrConflict: the tail is not the expected one; nothing was stored.
	ErrConflict = errors.New("journal conflict")
	// ErrEpoch: a driver with a higher epoch has taken over; nothing was stored, and
	// this driver must stop.
	ErrEpoch = errors.New("journal epoch too low")
	// ErrUncertain: whether the events were stored is unknown and can be told only
	// after a restart. The log takes no more appends. The process ends with exit
	// code 75 so that its supervisor starts it again.
	ErrUncertain = errors.New("journal append uncertain")
	// ErrFull: the disk is full; nothing was stored. The log goes on working, and a
	// small append (run.paused) has the room that the ballast gave back.
	ErrFull = errors.New("journal disk full")
	// ErrCorrupt: what is stored does not fit together. Nothing repairs it by itself.
	ErrCorrupt = errors.New("journal corrupt")
	// ErrTruncated: the log is shorter than its anchor says: acknowledged events are
	// lost. Nothing continues on the short log.
	ErrTruncated = errors.New("journal truncated")
	// ErrLocked: another process writes to this journal.
	ErrLocked = errors.New("journal locked")
	// ErrClosed: the log was closed before; nothing was stored.
	ErrClosed = errors.New("journal closed")
)

// ConflictError is an append that expected another tail.
type ConflictError struct {
	Run string
	// Expected is the number of the last event that the caller knew of.
	Expected uint64
	// Actual is the run's real tail.
	Actual Tail
}

// Error names both numbers.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("run %s ends with event %d, not with event %d", e.Run, e.Actual.Seq, e.Expected)
}

// Is makes the error an ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// EpochError is an append of a driver that was replaced.
type EpochError struct {
	Run string
	// Epoch is the caller's, Current the highest one in the run.
	Epoch, Current uint64
}

// Error names both epochs.
func (e *EpochError) Error() string {
	return fmt.Sprintf("run %s is driven by epoch %d; epoch %d is over", e.Run, e.Current, e.Epoch)
}

// Is makes the error an ErrEpoch.
func (e *EpochError) Is(target error) bool { return target == ErrEpoch }

// UncertainError is an append with an unknown outcome.
type UncertainError struct{ Cause error }

// Error says what failed and what to do.
func (e *UncertainError) Error() string {
	return fmt.Sprintf("whether the event was stored is unknown until a restart: %v", e.Cause)
}

// Is makes the error an ErrUncertain.
func (e *UncertainError) Is(target error) bool { return target == ErrUncertain }

// Unwrap gives the failure of the disk or the database.
func (e *UncertainError) Unwrap() error { return e.Cause }

// FullError is an append that found no room.
type FullError struct {
	Cause error
	// Freed is how many bytes of ballast were given back, 0 if there were none left.
	Freed int64
}

// Error says how much room is left for what must still be said.
func (e *FullError) Error() string {
	return fmt.Sprintf("disk full, %d bytes of ballast freed: %v", e.Freed, e.Cause)
}

// Is makes the error an ErrFull.
func (e *FullError) Is(target error) bool { return target == ErrFull }

// Unwrap gives the database's error.
func (e *FullError) Unwrap() error { return e.Cause }

// CorruptError is content that does not fit together. Run and Seq are empty when
// the damage is not in one event.
type CorruptError struct {
	Run    string
	Seq    uint64
	Reason string
	Cause  error
}

// Error names the position.
func (e *CorruptError) Error() string {
	text := "journal is damaged: " + e.Reason
	if e.Run != "" {
		text = fmt.Sprintf("journal is damaged at run %s event %d: %s", e.Run, e.Seq, e.Reason)
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Is makes the error an ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// Unwrap gives the database's error, if there was one.
func (e *CorruptError) Unwrap() error { return e.Cause }

// TruncatedError is a log that lost its tail. Both numbers count events.
type TruncatedError struct{ Stored, Anchored uint64 }

// Error names both sizes.
func (e *TruncatedError) Error() string {
	return fmt.Sprintf("journal is truncated: it holds %d events, its anchor says %d", e.Stored, e.Anchored)
}

// Is makes the error an ErrTruncated.
func (e *TruncatedError) Is(target error) bool { return target == ErrTruncated }

// LockedError is a journal that another process writes to.
type LockedError struct {
	Dir string
	// PID is the other process's, 0 if its lock file cannot be read.
	PID int
	// BootID and Since say when and in which boot of the machine it took the lock;
	// Since is RFC 3339 in UTC.
	BootID, Since string
}

// Error names the process.
func (e *LockedError) Error() string {
	return fmt.Sprintf("%s is in use by process %d since %s", e.Dir, e.PID, e.Since)
}

// Is makes the error an ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }
