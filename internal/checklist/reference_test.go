//go:build reference

package checklist

import (
	"os"
	"testing"
)

// TestReference reads the document that $ALLCLEAR_REFERENCE names: a checklist
// that is not ours to keep here. Run it with -tags reference.
func TestReference(t *testing.T) {
	file := os.Getenv("ALLCLEAR_REFERENCE")
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	list, problems := Parse(file, src)
	items := 0
	for range list.Items() {
		items++
	}
	if items != 183 || len(list.byID) != 183 || problems.HasErrors() {
		t.Errorf("%d items, %d ids, problems:\n%v", items, len(list.byID), problems)
	}
	if first := list.Phases[0].Sections[0].Items[0]; first.Box-1 != 143 {
		t.Errorf("first box at byte %d, want 143", first.Box-1)
	}
}
