package record

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"allclear.dev/allclear/internal/journal"
)

// VerifyDir verifies the bundle in a directory. Links that lead out of it are not
// followed.
func VerifyDir(dir string, trust Trust) (Result, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Result{}, fmt.Errorf("open bundle: %w", err)
	}
	defer root.Close()
	return Verify(root.FS(), trust)
}

// Verify holds a bundle against itself and against what is known from elsewhere.
// Findings say what is wrong; an error means that the bundle could not be read,
// and settles nothing. A bundle alone shows every change that was not made to all
// of it; that all of it was written anew shows only in heads from elsewhere and in
// signatures.
func Verify(bundle fs.FS, trust Trust) (Result, error) {
	v := &verifier{fs: bundle, trust: trust, known: map[string]bool{headerFile: true, eventsFile: true, checklistFile: true, configFile: true}}
	text, err := v.read(headerFile, maxHeader)
	if err != nil {
		return v.result, fmt.Errorf("verify bundle: %w", err)
	}
	if v.head, err = decodeHeader(text); err != nil {
		v.result.add(Finding{Kind: Changed, File: headerFile, Detail: err.Error()})
		return v.result, nil
	}
	v.result.Run, v.result.Events = v.head.Run, v.head.Events
	if err := v.lines(); err != nil {
		return v.result, fmt.Errorf("verify bundle: %w", err)
	}
	if err := v.chain(); err != nil {
		return v.result, fmt.Errorf("verify bundle: %w", err)
	}
	v.merkle()
	v.heads()
	if !v.broken {
		v.replay()
	}
	if err := v.files(); err != nil {
		return v.result, fmt.Errorf("verify bundle: %w", err)
	}
	return v.result, nil
}

type verifier struct {
	fs         fs.FS
	trust      Trust
	head       header
	entries    []journal.Entry
	checkpoint journal.Checkpoint
	// roots are the roots before and behind each entry, by size.
	roots map[uint64][32]byte
	// broken tells that the events are not what was recorded.
	broken bool
	// unread are the numbers of events whose line cannot be read.
	unread []uint64
	// known are the files that something refers to.
	known  map[string]bool
	result Result
}

// read gives a whole file, unless it is too long or no ordinary file.
func (v *verifier) read(name string, most int64) ([]byte, error) {
	file, err := v.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("%s is longer than %d bytes", name, most)
	}
	return text, nil
}

func (v *verifier) open(name string) (fs.File, error) {
	file, err := v.fs.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not an ordinary file")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", name, err), file.Close())
	}
	return file, nil
}

// lines reads the events. A line that cannot be read is named by the number that
// it should have.
func (v *verifier) lines() error {
	file, err := v.open(eventsFile)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			v.broken = true
			v.result.add(Finding{Kind: Missing, File: eventsFile, Detail: "the bundle has no events"})
			return nil
		}
		return err
	}
	defer file.Close()
	limited := &io.LimitedReader{R: file, N: maxEvents + 1}
	in := bufio.NewReaderSize(limited, maxLine)
	var last uint64
	for n := 1; ; n++ {
		text, err := in.ReadSlice('\n')
		if err == io.EOF && len(text) == 0 {
			break
		}
		if err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("read %s: %w", eventsFile, err)
		}
		if err != nil {
			v.unreadable(n, last+1, "the line has no end or is too long")
			break
		}
		e, err := decodeLine(bytes.TrimSuffix(text, []byte("\n")), v.head.Run)
		if err != nil {
			last++
			v.unreadable(n, last, err.Error())
			continue
		}
		if e.Seq > 0 {
			e.Body = bytes.Clone(e.Body)
			last = e.Seq
		}
		v.entries = append(v.entries, e)
	}
	if limited.N == 0 {
		return fmt.Errorf("%s is longer than %d bytes", eventsFile, maxEvents)
	}
	return nil
}

func (v *verifier) unreadable(n int, seq uint64, why string) {
	v.broken = true
	v.unread = append(v.unread, seq)
	v.result.add(Finding{Kind: Changed, Run: v.head.Run, Seq: seq, Through: seq, File: eventsFile, Detail: fmt.Sprintf("line %d: %s", n, why)})
}

// chain holds the run's events against themselves and against the run's end.
func (v *verifier) chain() error {
	events := func(yield func(journal.Event, error) bool) {
		for _, e := range v.entries {
			if e.Seq > 0 && !yield(e.Event, nil) {
				return
			}
		}
	}
	tail, err := decodeHash(v.head.Tail)
	if err != nil || v.head.Events == 0 {
		v.broken = true
		v.result.add(Finding{Kind: Changed, File: headerFile, Detail: "it does not say where the run ends"})
		return nil
	}
	found, err := journal.VerifyRun(v.head.Run, events, journal.Tail{Seq: v.head.Events, Hash: tail})
	if err != nil {
		return err
	}
	count := uint64(0)
	for _, e := range v.entries {
		if e.Seq > 0 {
			count++
		}
	}
	if len(found) == 0 && len(v.unread) == 0 && count != v.head.Events {
		v.broken = true
		v.result.add(Finding{Kind: Changed, File: headerFile, Detail: fmt.Sprintf("it says that the run has %d events; there are %d", v.head.Events, count)})
	}
	for _, f := range found {
		v.broken = true
		if (f.Kind == journal.Removed || f.Kind == journal.CutOff) && f.Seq == f.Through && slices.Contains(v.unread, f.Seq) {
			continue // its line has been named
		}
		v.result.add(Finding{Kind: Kind(f.Kind), Run: f.Run, Seq: f.Seq, Through: f.Through, File: eventsFile, Detail: f.Detail})
	}
	return nil
}

// merkle puts the entries into the log again and compares its head.
func (v *verifier) merkle() {
	header := func(format string, args ...any) {
		v.broken = true
		v.result.add(Finding{Kind: Changed, File: headerFile, Detail: fmt.Sprintf(format, args...)})
	}
	checkpoint, err := journal.ParseCheckpoint(v.head.Checkpoint)
	if err != nil {
		header("%v", err)
		return
	}
	v.checkpoint = checkpoint
	before, err := decodeHashes(v.head.Before)
	if err != nil {
		header("%v", err)
		return
	}
	tree, err := journal.TreeBefore(journal.Inclusion{Index: v.head.First, Size: v.head.First + 1, Path: before})
	if err != nil {
		header("%v", err)
		return
	}
	v.roots = map[uint64][32]byte{tree.Size(): tree.Root()}
	for _, e := range v.entries {
		at := Finding{Kind: Changed, Run: v.head.Run, Seq: e.Seq, Through: e.Seq, File: eventsFile}
		leaf := [32]byte(e.Leaf) // decodeLine made it as long
		switch {
		case e.Index != tree.Size():
			at.Kind, at.Detail = Removed, fmt.Sprintf("it has the log index %d where %d is next", e.Index, tree.Size())
		case e.Seq > 0 && journal.Leaf(e.Hash) != leaf:
			at.Detail = "its leaf is not the hash that the log recorded"
		default:
			tree.Add(leaf)
			v.roots[tree.Size()] = tree.Root()
			continue
		}
		v.broken = true
		v.result.add(at)
		return
	}
	switch {
	case v.broken: // the events have been named
	case tree.Size() != checkpoint.Size:
		header("the log has %d entries behind the run, the checkpoint says %d", tree.Size(), checkpoint.Size)
	case tree.Root() != checkpoint.Root:
		header("the root over the first %d entries is not the checkpoint's: the events or what stands before them were written anew", tree.Size())
	case v.entries[0].Seq != 1 || v.entries[len(v.entries)-1].Seq != v.head.Events:
		header("the log begins or ends with an event of another run")
	}
	v.result.Checkpoint = checkpoint
}

// heads holds the bundle's anchors against its checkpoint, and trusted heads
// against both.
func (v *verifier) heads() {
	proven := map[uint64][32]byte{}
	for i, a := range v.head.Anchors {
		if err := v.anchor(a, proven); err != nil {
			v.broken = true
			v.result.add(Finding{Kind: Changed, File: headerFile, Detail: fmt.Sprintf("anchor %d: %v", i+1, err)})
		}
	}
	if v.broken {
		return
	}
	for _, head := range v.trust.Heads {
		root, ok := v.roots[head.Size]
		if !ok {
			root, ok = proven[head.Size]
		}
		switch {
		case !ok:
			v.result.Apart = append(v.result.Apart, head)
		case root != head.Root:
			v.broken = true
			v.result.add(Finding{Kind: Changed, File: headerFile, Detail: fmt.Sprintf(
				"the log's root over %d entries is %s, but %s is known from elsewhere: the record was written anew",
				head.Size, hex.EncodeToString(root[:8]), hex.EncodeToString(head.Root[:8]))})
		default:
			v.result.Held = append(v.result.Held, head)
		}
	}
	if len(v.trust.Heads) > 0 && len(v.result.Held) == 0 && !v.broken {
		v.result.add(Finding{Kind: Unchecked, File: headerFile, Detail: "the bundle has no proof for any of the heads that are known from elsewhere: export it again, with them as anchors"})
	}
}

func (v *verifier) anchor(a anchor, proven map[uint64][32]byte) error {
	root, err := decodeHash(a.Root)
	if err != nil {
		return err
	}
	proof, err := decodeHashes(a.Proof)
	if err != nil {
		return err
	}
	small, large := journal.Checkpoint{Size: a.Size, Root: root}, v.checkpoint
	if small.Size > large.Size {
		small, large = large, small
	}
	if small.Size == 0 {
		return errors.New("it is the head of an empty log")
	}
	if err := journal.CheckConsistency(small, large, proof); err != nil {
		return err
	}
	proven[a.Size] = root
	return nil
}
