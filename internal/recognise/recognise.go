// Package recognise knows what items of a checklist usually mean. init uses it,
// and nothing else does: at run time nothing is guessed.
package recognise

import _ "embed"

//go:embed standard.md
var standard string

// Standard is the standard checklist: 183 items, each bound to the type that
// resolves it, or left to a person.
func Standard() []byte { return []byte(standard) }
