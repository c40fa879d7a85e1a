// Package tulia holds the files of the application that its commands need at run time.
package tulia

import _ "embed"

// EnvExample describes every setting, as lines NAME=VALUE with comments.
//
//go:embed .env.example
var EnvExample string
