//go:build !v2 && !v3

package migrations

import "embed"

// Files are the migrations that v1 needs.
//
//go:embed 000[1-3]_*.sql
var Files embed.FS
