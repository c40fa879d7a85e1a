package journal

import (
	"crypto/sha256"
	"fmt"
	"math"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// Leaf is the leaf hash of an event in the Merkle log: RFC 6962's leaf hash
// (SHA-256 of a zero byte and the data) of the 32 bytes of the event's hash.
func Leaf(hash [sha256.Size]byte) [sha256.Size]byte { return tlog.RecordHash(hash[:]) }

// Tree is the right edge of a Merkle log: enough to add leaves and to know the
// root, in memory that grows with the logarithm of the size. The zero value is the
// empty log.
type Tree struct {
	size uint64
	// peaks are the roots of the complete subtrees, the largest (leftmost) first: one
	// for each bit of size that is set.
	peaks [][sha256.Size]byte
}

// RestoreTree reads the right edge of a log of the given size from its stored
// hashes (see Add).
func RestoreTree(size uint64, stored tlog.HashReader) (*Tree, error) {
	if size > math.MaxInt64/4 {
		return nil, fmt.Errorf("log size %d is impossible", size)
	}
	var indexes []int64
	start := uint64(0)
	for level := 63; level >= 0; level-- {
		if size&(1<<level) != 0 {
			indexes = append(indexes, tlog.StoredHashIndex(level, int64(start>>level)))
			start += 1 << level
		}
	}
	t := &Tree{size: size}
	if len(indexes) == 0 {
		return t, nil
	}
	hashes, err := stored.ReadHashes(indexes)
	if err != nil {
		return nil, fmt.Errorf("read hashes: %w", err)
	}
	for _, h := range hashes {
		t.peaks = append(t.peaks, h)
	}
	return t, nil
}

// Size is the number of leaves.
func (t *Tree) Size() uint64 { return t.size }

// Clone is a tree that grows on its own.
func (t *Tree) Clone() *Tree {
	return &Tree{size: t.size, peaks: append([][sha256.Size]byte(nil), t.peaks...)}
}

// Add appends a leaf hash (see Leaf) and gives the hashes that it completes: the
// leaf and the nodes above it, in the order of tlog.StoredHashes, in which a store
// keeps them one behind the other.
func (t *Tree) Add(leaf [sha256.Size]byte) [][sha256.Size]byte {
	stored := append(make([][sha256.Size]byte, 0, 2), leaf)
	h := leaf
	for range bits.TrailingZeros64(^t.size) {
		last := len(t.peaks) - 1
		h = tlog.NodeHash(t.peaks[last], h)
		t.peaks = t.peaks[:last]
		stored = append(stored, h)
	}
	t.peaks = append(t.peaks, h)
	t.size++
	return stored
}

// Root is the RFC 6962 tree hash; of the empty log, SHA-256 of nothing.
func (t *Tree) Root() [sha256.Size]byte {
	if len(t.peaks) == 0 {
		return sha256.Sum256(nil)
	}
	h := t.peaks[len(t.peaks)-1]
	for i := len(t.peaks) - 2; i >= 0; i-- {
		h = tlog.NodeHash(t.peaks[i], h)
	}
	return h
}

// StoredCount is how many hashes Add gave for a log of the given size.
func StoredCount(size uint64) uint64 { return 2*size - uint64(bits.OnesCount64(size)) }

// Inclusion proves that an event is in the log of a certain size (RFC 6962,
// section 2.1.1).
type Inclusion struct {
	Index, Size uint64
	Path        [][sha256.Size]byte
}

// ProveInclusion makes the proof for the entry with the index from stored hashes.
func ProveInclusion(index, size uint64, stored tlog.HashReader) (Inclusion, error) {
	if size > math.MaxInt64/4 || index >= size {
		return Inclusion{}, fmt.Errorf("a log of %d entries has no entry %d", size, index)
	}
	proof, err := tlog.ProveRecord(int64(size), int64(index), stored)
	if err != nil {
		return Inclusion{}, fmt.Errorf("prove inclusion: %w", err)
	}
	return Inclusion{Index: index, Size: size, Path: plain(proof)}, nil
}

// CheckInclusion tells whether the proof shows that an event with this hash is in
// the log with this head.
func CheckInclusion(hash [sha256.Size]byte, proof Inclusion, head Checkpoint) error {
	if proof.Size != head.Size {
		return fmt.Errorf("the proof is for a log of %d entries, the head has %d", proof.Size, head.Size)
	}
	if head.Size > math.MaxInt64/4 || proof.Index >= head.Size {
		return fmt.Errorf("a log of %d entries has no entry %d", head.Size, proof.Index)
	}
	leaf := tlog.Hash(Leaf(hash))
	if err := tlog.CheckRecord(hashes(proof.Path), int64(head.Size), head.Root, int64(proof.Index), leaf); err != nil {
		return fmt.Errorf("entry %d is not in the log of %d entries: %w", proof.Index, head.Size, err)
	}
	return nil
}

// ProveConsistency makes the proof that the log of the size old is the beginning
// of the log of the size new (RFC 6962, section 2.1.2).
func ProveConsistency(old, new uint64, stored tlog.HashReader) ([][sha256.Size]byte, error) {
	if new > math.MaxInt64/4 || old > new {
		return nil, fmt.Errorf("a log of %d entries does not begin with %d entries", new, old)
	}
	if old == 0 {
		return nil, nil
	}
	proof, err := tlog.ProveTree(int64(new), int64(old), stored)
	if err != nil {
		return nil, fmt.Errorf("prove consistency: %w", err)
	}
	return plain(proof), nil
}

// CheckConsistency tells whether the proof shows that the log with the head old is
// the beginning of the log with the head new. The empty log begins every log and
// needs no proof.
func CheckConsistency(old, new Checkpoint, proof [][sha256.Size]byte) error {
	if new.Size > math.MaxInt64/4 || old.Size > new.Size {
		return fmt.Errorf("a log of %d entries does not begin with %d entries", new.Size, old.Size)
	}
	if old.Size == 0 {
		if len(proof) != 0 || old.Root != (&Tree{}).Root() {
			return fmt.Errorf("the head of the empty log is wrong")
		}
		return nil
	}
	if err := tlog.CheckTree(hashes(proof), int64(new.Size), new.Root, int64(old.Size), old.Root); err != nil {
		return fmt.Errorf("the log of %d entries does not begin with the log of %d entries: %w", new.Size, old.Size, err)
	}
	return nil
}

// plain and hashes turn tlog's type into arrays and back.
func plain(in []tlog.Hash) [][sha256.Size]byte {
	out := make([][sha256.Size]byte, len(in))
	for i, h := range in {
		out[i] = h
	}
	return out
}

func hashes(in [][sha256.Size]byte) []tlog.Hash {
	out := make([]tlog.Hash, len(in))
	for i, h := range in {
		out[i] = h
	}
	return out
}
