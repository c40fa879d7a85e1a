package secret

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Ref names where a secret is kept; it never holds the value itself.
type Ref struct {
	// Scheme is one of Schemes.
	Scheme string
	// Name is the variable, the file path or the command line.
	Name string
}

// Schemes lists what a reference may begin with: an environment variable, a
// file, or a program whose standard output is the secret.
func Schemes() []string { return []string{"env", "file", "cmd"} }

// ParseRef reads "env:NAME", "file:PATH" or "cmd:PROGRAM ARG…".
func ParseRef(text string) (Ref, error) {
	scheme, name, found := strings.Cut(text, ":")
	if !found || !slices.Contains(Schemes(), scheme) { // the text may be the secret: no part of it is repeated
		return Ref{}, errors.New("a secret is a reference, never a value: want env:NAME, file:PATH or cmd:PROGRAM")
	}
	name = strings.TrimSpace(name)
	if name == "" {
		return Ref{}, fmt.Errorf("secret reference %q names nothing", scheme+":")
	}
	return Ref{Scheme: scheme, Name: name}, nil
}

// String gives the reference back as written; it is safe to print.
func (r Ref) String() string {
	if r == (Ref{}) {
		return ""
	}
	return r.Scheme + ":" + r.Name
}

// IsZero reports whether nothing is referred to.
func (r Ref) IsZero() bool { return r == Ref{} }
