package journal

import (
	"fmt"
	"math/bits"
	"slices"
)

// TreeBefore gives the right edge of the log in front of an entry, with as many
// leaves as the entry's index. proof shows that the entry ends the log of the size
// index+1: then its path are the complete subtrees in front of it, the smallest
// first (RFC 6962, section 2.1.1). Whether they are the right ones shows in the
// roots of the tree as it grows.
func TreeBefore(proof Inclusion) (*Tree, error) {
	if proof.Size != proof.Index+1 || len(proof.Path) != bits.OnesCount64(proof.Index) {
		return nil, fmt.Errorf("a proof of %d hashes for entry %d of %d does not give the log before it", len(proof.Path), proof.Index, proof.Size)
	}
	peaks := slices.Clone(proof.Path)
	slices.Reverse(peaks)
	return &Tree{size: proof.Index, peaks: peaks}, nil
}
