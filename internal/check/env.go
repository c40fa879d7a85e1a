package check

import (
	"context"
	"io"
	"io/fs"
	"net"
	"net/http"
	"time"

	"allclear.dev/allclear/internal/secret"
)

// Env is the world as a type may reach it. Types use nothing else: no clock, no
// network, no program and no file outside it.
type Env struct {
	// Now gives the current time.
	Now func() time.Time
	// Sleep waits for d or until ctx ends, and returns ctx's error then.
	Sleep func(ctx context.Context, d time.Duration) error
	// Dial opens a network connection.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// HTTP sends one request. It follows no redirects, uses no proxy from the
	// environment, and adds the maintenance bypass while maintenance is on.
	HTTP http.RoundTripper
	// HTTPOver gives what HTTP does over another transport, for a request with TLS
	// settings or an address of its own; nil means the transport as it is.
	HTTPOver func(*http.Transport) http.RoundTripper
	// Host gives a machine by its name in the configuration; "" is the one where
	// allclear runs.
	Host func(name string) (Host, error)
	// Secret fetches what a reference names. Its text is redacted everywhere from
	// then on.
	Secret func(ctx context.Context, ref secret.Ref) (secret.Value, error)
	// Store keeps a file as evidence. What it reads is redacted and bounded.
	Store func(name string, content io.Reader) (Artefact, error)
	// Log receives what people may want to see while the item runs, line by line.
	Log io.Writer
	// Dir is the checkout that relative paths start from.
	Dir string
	// DataDir keeps what outlives a run in this environment (backups' records,
	// first-seen fingerprints).
	DataDir string
	// Run says on whose behalf the type works.
	Run RunInfo
	// Ledger answers from this run's and earlier runs' records.
	Ledger Ledger
	// Key identifies this attempt to targets that drop repeats. It is the same for
	// every repetition of one action in one run, and for undoing it, so that a type
	// finds what it did.
	Key string
}

// RunInfo describes the run that an item belongs to.
type RunInfo struct {
	ID          string    `json:"id"`
	Item        string    `json:"item"`
	Project     string    `json:"project"`
	Environment string    `json:"environment"`
	Release     string    `json:"release"`
	Revision    string    `json:"revision"`
	Previous    string    `json:"previous"`
	PreviousRev string    `json:"previous_revision"`
	Starter     string    `json:"starter"`
	StartedAt   time.Time `json:"started_at"`
	Rollback    bool      `json:"rollback"`
	Attempt     int       `json:"attempt"`
}

// Host is a machine or container where files are and programs run.
type Host interface {
	// Name is the host's name in the configuration, "local" for this machine.
	Name() string
	// Exec runs a program to its end. A program that ends with a non-zero code is a
	// Result, not an error; an error means that it is unknown whether or how it ran.
	Exec(ctx context.Context, cmd Command) (Result, error)
	// ReadFile gives a file's content, at most limit bytes; a longer file is an error.
	ReadFile(ctx context.Context, path string, limit int64) ([]byte, error)
	// Lstat describes a file without following a link. A missing file is
	// fs.ErrNotExist.
	Lstat(ctx context.Context, path string) (FileInfo, error)
	// Glob lists the paths that match a pattern ("**" crosses folders), sorted.
	Glob(ctx context.Context, pattern string) ([]string, error)
}

// Command is a program to run, as an argument vector: no shell takes part.
type Command struct {
	Argv []string
	// Dir is the working directory; empty means the checkout.
	Dir string
	// Env adds NAME=value pairs to the minimal environment.
	Env []string
	// User runs the program as another user, where permitted.
	User string
	// Stdin is fed to the program.
	Stdin []byte
	// Stdout and Stderr receive the output while the program runs, beside the copy
	// in the Result.
	Stdout, Stderr io.Writer
	// Limit bounds each stream kept in the Result, in bytes; 0 means 1 MiB.
	Limit int64
}

// Result is how a program ended.
type Result struct {
	// Code is the exit code; Signal names the signal that ended it, if one did.
	Code   int
	Signal string
	// Stdout and Stderr are the output, cut at the limit. They are not redacted:
	// whoever shows or stores them passes them through the Env's Log or Store, or
	// through an Outcome, which redact.
	Stdout, Stderr []byte
	// Truncated tells that more was printed than was kept.
	Truncated bool
	// Took is how long it ran.
	Took time.Duration
}

// FileInfo describes a file on a host.
type FileInfo struct {
	Path    string
	Mode    fs.FileMode
	Owner   string
	Group   string
	Size    int64
	ModTime time.Time
}

// Ledger answers from the records of this run and earlier ones.
type Ledger interface {
	// Fact gives a fact of this run.
	Fact(name string) (string, bool)
	// Items gives the latest results of the items that match any of the patterns,
	// from this run (environment "" or this one) or from the newest finished run
	// of another environment. No such run is a NotSupplied error.
	Items(ctx context.Context, q Query) (Results, error)
	// Rerun runs checks of this run again now and gives their fresh results.
	Rerun(ctx context.Context, patterns []string) (Results, error)
	// History gives the values that a fact had in earlier finished runs of an
	// environment ("" means this one), newest first, at most n.
	History(ctx context.Context, environment, fact string, n int) ([]Recorded, error)
}

// Query selects results.
type Query struct {
	Environment string
	Patterns    []string
	// Release keeps only runs of that release; empty means any.
	Release string
	// MaxAge refuses runs that ended longer ago; 0 means any age.
	MaxAge time.Duration
}

// Results are items of one run.
type Results struct {
	Run         string
	Environment string
	Release     string
	Status      string
	FinishedAt  time.Time
	Items       []ItemResult
}

// ItemResult is how one item stands. Verdict is the run's word for it: pass,
// fail, inconclusive, n/a, waived, done, failed, in doubt, pending.
type ItemResult struct {
	ID, Text, Verdict, Reason string
	At                        time.Time
}

// Recorded is a fact's value in an earlier run.
type Recorded struct {
	Run, Release, Value string
	At                  time.Time
}
