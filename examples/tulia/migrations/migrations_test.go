package migrations

import (
	"io/fs"
	"strings"
	"testing"
)

// TestFiles holds the layout: every migration has both directions, numbers have no gaps, and CONCURRENTLY stands
// alone in its file.
func TestFiles(t *testing.T) {
	names, err := fs.Glob(Files, "*")
	if err != nil {
		t.Fatal(err)
	}
	needed, err := Needed()
	if err != nil || len(names) != 2*int(needed) || needed < 3 {
		t.Errorf("%d files for %d migrations, %v", len(names), needed, err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(Files, name)
		if err != nil {
			t.Fatal(err)
		}
		if base, up := strings.CutSuffix(name, ".up.sql"); up {
			if _, err := fs.Stat(Files, base+".down.sql"); err != nil {
				t.Error(err)
			}
		}
		if statements := strings.Count(string(text), ";\n"); strings.Contains(string(text), "INDEX CONCURRENTLY") && statements != 1 {
			t.Errorf("%s has %d statements", name, statements)
		}
	}
}
