//go:build v3

package migrations

import "embed"

// Files are the migrations that v3 needs.
//
//go:embed 000[1-8]_*.sql
var Files embed.FS
