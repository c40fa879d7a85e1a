// Package migrations holds the SQL migrations of the version that is being built, in golang-migrate's layout
// (NNNN_name.up.sql, NNNN_name.down.sql). The build tags v2 and v3 add the later ones; the application never
// applies them itself.
package migrations

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Needed returns the number of the newest migration of this build: the lowest schema version it can run on.
func Needed() (int64, error) {
	names, err := fs.Glob(Files, "*.up.sql")
	if err != nil {
		return 0, fmt.Errorf("list migrations: %w", err)
	}
	var newest int64
	for _, name := range names {
		digits, _, _ := strings.Cut(name, "_")
		number, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read number of migration %s: %w", name, err)
		}
		newest = max(newest, number)
	}
	return newest, nil
}
