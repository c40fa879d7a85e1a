package sqlite

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"allclear.dev/allclear/internal/journal"
)

// anchorSize is the length of an anchor: size, root, hash of the last event and a
// CRC-32C of them, big-endian.
const anchorSize = 8 + sha256.Size + sha256.Size + 4

// anchor is the head of the log as kept outside the database.
type anchor struct {
	size       uint64
	root, head [sha256.Size]byte
}

// encode gives the bytes of the file.
func (a anchor) encode() []byte {
	out := make([]byte, 0, anchorSize)
	out = binary.BigEndian.AppendUint64(out, a.size)
	out = append(append(out, a.root[:]...), a.head[:]...)
	return binary.BigEndian.AppendUint32(out, crc32.Checksum(out, crc32.MakeTable(crc32.Castagnoli)))
}

// decodeAnchor reads the bytes of a file; false if they are not an anchor, for
// example because a crash cut the write.
func decodeAnchor(in []byte) (anchor, bool) {
	if len(in) != anchorSize {
		return anchor{}, false
	}
	sum := binary.BigEndian.Uint32(in[anchorSize-4:])
	if crc32.Checksum(in[:anchorSize-4], crc32.MakeTable(crc32.Castagnoli)) != sum {
		return anchor{}, false
	}
	a := anchor{size: binary.BigEndian.Uint64(in)}
	copy(a.root[:], in[8:])
	copy(a.head[:], in[8+sha256.Size:])
	return a, true
}

// anchors are the two open files. The one that does not hold the newest anchor is
// written next, so that a cut write never costs both.
type anchors struct {
	files [2]*os.File
	// newest is the anchor that counts, in files[at].
	newest anchor
	at     int
}

// openAnchors opens the files and finds the newest anchor. For a new journal (no
// database yet) whose files are new or empty, it writes the anchor of the empty log.
// That neither can be read is otherwise a *journal.CorruptError.
func openAnchors(dir string, fresh bool) (*anchors, error) {
	set := &anchors{at: -1}
	empty := 0
	for i, name := range anchorNames(dir) {
		file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open anchor: %w", err), set.close())
		}
		set.files[i] = file
		if a, ok := readAnchor(file); ok && (set.at < 0 || a.size > set.newest.size) {
			set.newest, set.at = a, i
		}
		if info, err := file.Stat(); err == nil && info.Size() == 0 {
			empty++
		}
	}
	if set.at >= 0 {
		return set, nil
	}
	if !fresh || empty != len(set.files) {
		return nil, errors.Join(&journal.CorruptError{Reason: "neither anchor.a nor anchor.b can be read"}, set.close())
	}
	if err := set.create(dir); err != nil {
		return nil, errors.Join(err, set.close())
	}
	return set, nil
}

// create writes the anchor of the empty log to both files and makes their names
// durable.
func (s *anchors) create(dir string) error {
	empty := anchor{root: (&journal.Tree{}).Root()}
	for range s.files {
		if err := s.write(empty); err != nil {
			return err
		}
	}
	parent, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open data directory: %w", err)
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// write makes the anchor durable.
func (s *anchors) write(a anchor) error {
	next := 1 - max(s.at, 0)
	if _, err := s.files[next].WriteAt(a.encode(), 0); err != nil {
		return fmt.Errorf("write anchor: %w", err)
	}
	if err := syncData(s.files[next]); err != nil {
		return fmt.Errorf("sync anchor: %w", err)
	}
	s.newest, s.at = a, next
	return nil
}

// close closes the files that are open.
func (s *anchors) close() error {
	var errs []error
	for _, file := range s.files {
		if file != nil {
			errs = append(errs, file.Close())
		}
	}
	return errors.Join(errs...)
}

// readAnchor reads one file.
func readAnchor(file *os.File) (anchor, bool) {
	in := make([]byte, anchorSize+1)
	n, _ := file.ReadAt(in, 0) // a short file is no anchor
	return decodeAnchor(in[:n])
}

// anchorNames are the two files.
func anchorNames(dir string) [2]string {
	return [2]string{filepath.Join(dir, "anchor.a"), filepath.Join(dir, "anchor.b")}
}

// anchorTries is how often a reader looks at the anchors before it believes that
// neither is whole: the writer may be at work on them.
const anchorTries = 5

// findAnchors reads the whole anchors of a directory, without opening them for
// writing; the newest is first.
func findAnchors(dir string) ([]anchor, error) {
	var found []anchor
	for range anchorTries {
		for _, name := range anchorNames(dir) {
			file, err := os.Open(name)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("open anchor: %w", err)
			}
			a, ok := readAnchor(file)
			if err := file.Close(); err != nil {
				return nil, fmt.Errorf("close anchor: %w", err)
			}
			if ok {
				found = append(found, a)
			}
		}
		if len(found) > 0 {
			break
		}
	}
	if len(found) == 2 && found[1].size > found[0].size {
		found[0], found[1] = found[1], found[0]
	}
	return found, nil
}

// stored is what the database says about the end of its log.
type stored struct {
	size uint64
	// batch is the size before the last commit.
	batch uint64
}

// check holds the start-up rule: the database has at least what the anchor says,
// with the same root there, and at most one commit more (the one between whose
// commit and anchor the process died). rootAt gives the database's root at a size.
// A reader that runs beside a writer cannot know the last point: live leaves it out.
func (a anchor) check(db stored, live bool, rootAt func(uint64) ([sha256.Size]byte, error)) error {
	if db.size < a.size {
		return &journal.TruncatedError{Stored: db.size, Anchored: a.size}
	}
	root, err := rootAt(a.size)
	if err != nil {
		return err
	}
	if root != a.root {
		return &journal.CorruptError{Reason: fmt.Sprintf("the first %d events are not those that were anchored", a.size)}
	}
	if !live && db.size > a.size && a.size < db.batch {
		return &journal.CorruptError{Reason: fmt.Sprintf("the anchor says %d events, the database holds %d: more than one commit without an anchor", a.size, db.size)}
	}
	return nil
}
