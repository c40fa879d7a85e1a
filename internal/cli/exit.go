package cli

import (
	"errors"
	"fmt"

	"allclear.dev/allclear/internal/diag"
)

// The exit codes, the same for every verb. docs/exit-codes.md explains them.
const (
	ExitOK           = 0   // done, the gate passed, or nothing to do
	ExitFailed       = 1   // a check failed, a gate is closed
	ExitUsage        = 2   // usage, configuration or plan error
	ExitWaiting      = 3   // waiting for a person
	ExitInconclusive = 4   // could not look, or too little data
	ExitRolledBack   = 5   // failed and rolled back cleanly
	ExitInDoubt      = 6   // a step is in doubt or the rollback failed: a person is needed now
	ExitLocked       = 7   // another run holds the environment
	ExitChanged      = 8   // the world or the list changed since the plan or the signature
	ExitNotAllowed   = 9   // policy or role forbids it
	ExitWork         = 10  // plan --detailed-exitcode: there is work
	ExitStorage      = 75  // storage error: start again
	ExitInterrupted  = 130 // the view was interrupted; the run goes on
)

// failure is an error with its exit code and what to do next.
type failure struct {
	code int
	err  error
	hint string
}

// Error describes the cause.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap gives the cause.
func (f *failure) Unwrap() error { return f.err }

// fail makes an error that ends the program with code.
func fail(code int, hint, format string, args ...any) error {
	return &failure{code: code, err: fmt.Errorf(format, args...), hint: hint}
}

// quiet ends the program with code and says nothing more.
func quiet(code int) error {
	if code == ExitOK {
		return nil
	}
	return &failure{code: code, err: errSaid}
}

// errSaid marks what has been said already.
var errSaid = errors.New("said already")

// conclude prints an error the one way and gives its exit code.
func (s Streams) conclude(err error) int {
	if err == nil {
		return ExitOK
	}
	if problems, ok := errors.AsType[diag.Problems](err); ok {
		_ = problems.Write(s.Err)
		count := 0
		for _, p := range problems {
			if p.IsError() {
				count++
			}
		}
		fmt.Fprintf(s.Err, "allclear: error: %s; nothing was started\n", plural(count, "mistake"))
		return ExitUsage
	}
	f, ok := errors.AsType[*failure](err)
	if !ok {
		f = &failure{code: ExitUsage, err: err}
	}
	if !errors.Is(f.err, errSaid) {
		fmt.Fprintf(s.Err, "allclear: error: %v\n", f.err)
	}
	if f.hint != "" {
		fmt.Fprintf(s.Err, "allclear: hint: %s\n", f.hint)
	}
	return f.code
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
