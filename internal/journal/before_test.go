package journal_test

import (
	"context"
	"fmt"
	"testing"

	"allclear.dev/allclear/internal/journal"
)

// TestTreeBefore grows a log again from every place in it.
func TestTreeBefore(t *testing.T) {
	ctx := context.Background()
	log := journal.NewMemory()
	const size = 21
	for i := range uint64(size) {
		if _, err := log.Append(ctx, "r", i, 1, fmt.Appendf(nil, `{"n":%d}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	head, err := log.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(size) {
		proof, err := log.Inclusion(ctx, "r", i+1, i+1)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := journal.TreeBefore(proof)
		if err != nil {
			t.Fatal(err)
		}
		for entry, err := range log.Entries(ctx, i) {
			if err != nil {
				t.Fatal(err)
			}
			tree.Add(journal.Leaf(entry.Hash))
		}
		if tree.Size() != head.Size || tree.Root() != head.Root {
			t.Errorf("from entry %d: another root", i)
		}
		if proof.Size++; proof.Size > 0 {
			if _, err := journal.TreeBefore(proof); err == nil {
				t.Errorf("entry %d: a proof for another size was taken", i)
			}
		}
	}
}
