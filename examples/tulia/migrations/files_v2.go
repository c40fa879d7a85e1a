//go:build v2 && !v3

package migrations

import "embed"

// Files are the migrations that v2 needs.
//
//go:embed 000[1-6]_*.sql
var Files embed.FS
