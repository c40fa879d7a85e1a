package record

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/run"
)

// Sources are what a bundle holds beside the events.
type Sources struct {
	// Checklist and Config are the files that the run was started with.
	Checklist, Config []byte
	// Blob opens an artefact by its SHA-256 in hexadecimal.
	Blob func(digest string) (io.ReadCloser, error)
	// Anchors are heads of the log that are known elsewhere. The log's present head
	// is always one of them.
	Anchors []journal.Checkpoint
}

// Export writes a run as a bundle into a directory that must not exist yet. The
// directory appears complete or not at all, except for artefacts that could not
// be read or are not what their digest says: these are left out, the bundle is
// kept, and the error names them all. Verify names them, too.
func Export(ctx context.Context, log journal.Reader, runID, dir string, src Sources) (err error) {
	if _, err := os.Lstat(dir); err == nil {
		return fmt.Errorf("export run %s: %s exists already", runID, dir)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".record-*")
	if err != nil {
		return fmt.Errorf("export run %s: %w", runID, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	x := &exporter{log: log, run: runID, dir: tmp, src: src}
	if err := x.all(ctx); err != nil {
		return fmt.Errorf("export run %s: %w", runID, err)
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return fmt.Errorf("export run %s: %w", runID, err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("export run %s: %w", runID, err)
	}
	return errors.Join(x.lost...)
}

type exporter struct {
	log  journal.Reader
	run  string
	dir  string
	src  Sources
	head header
	tree *journal.Tree
	last uint64 // index of the run's last event
	plan *run.Plan
	kept map[string]bool
	lost []error
}

func (x *exporter) all(ctx context.Context) error {
	x.kept = map[string]bool{}
	for _, sub := range []string{evidenceDir, signatureDir} {
		if err := os.MkdirAll(filepath.Join(x.dir, sub), 0o755); err != nil {
			return fmt.Errorf("create bundle: %w", err)
		}
	}
	if err := x.begin(ctx); err != nil {
		return err
	}
	if err := x.events(ctx); err != nil {
		return err
	}
	if err := x.heads(ctx); err != nil {
		return err
	}
	text, err := x.head.encode()
	if err != nil {
		return err
	}
	err = x.write(headerFile, text)
	if x.plan.Checklist != "" { // an adopted release has none
		err = errors.Join(err, x.write(checklistFile, x.src.Checklist))
	}
	if x.plan.Config != "" {
		err = errors.Join(err, x.write(configFile, x.src.Config))
	}
	return err
}

func (x *exporter) write(name string, content []byte) error {
	if err := os.WriteFile(filepath.Join(x.dir, name), content, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// begin finds the run in the log.
func (x *exporter) begin(ctx context.Context) error {
	tail, err := x.log.Tail(ctx, x.run)
	if err != nil {
		return fmt.Errorf("find its end: %w", err)
	}
	if tail.Seq == 0 {
		return errors.New("there is no such run")
	}
	head, err := x.log.Head(ctx)
	if err != nil {
		return fmt.Errorf("read the log's head: %w", err)
	}
	x.src.Anchors = append([]journal.Checkpoint{head}, x.src.Anchors...)
	first, err := x.log.Inclusion(ctx, x.run, 1, head.Size)
	if err != nil {
		return fmt.Errorf("find its first event: %w", err)
	}
	before, err := x.log.Inclusion(ctx, x.run, 1, first.Index+1)
	if err != nil {
		return fmt.Errorf("find its first event: %w", err)
	}
	end, err := x.log.Inclusion(ctx, x.run, tail.Seq, head.Size)
	if err != nil {
		return fmt.Errorf("find its last event: %w", err)
	}
	if x.tree, err = journal.TreeBefore(before); err != nil {
		return err
	}
	x.last = end.Index
	x.head = header{
		Schema: Schema, Run: x.run, Events: tail.Seq, Tail: hex.EncodeToString(tail.Hash[:]),
		First: first.Index, Before: encodeHashes(before.Path), Anchors: []anchor{},
	}
	return nil
}

// events writes the log from the run's first event to its last.
func (x *exporter) events(ctx context.Context) error {
	file, err := os.Create(filepath.Join(x.dir, eventsFile))
	if err != nil {
		return fmt.Errorf("create events: %w", err)
	}
	defer file.Close()
	out := bufio.NewWriter(file)
	var tail journal.Tail
	for e, err := range x.log.Entries(ctx, x.head.First) {
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if e.Index > x.last {
			break
		}
		own := e.Run == x.run
		if own {
			if err := e.Event.Check(tail); err != nil {
				return err
			}
			tail = e.Tail()
			if err := x.event(e.Event); err != nil {
				return err
			}
		}
		x.tree.Add(journal.Leaf(e.Hash))
		l := lineOf(e, own)
		if _, err := out.Write(l.encode()); err != nil {
			return fmt.Errorf("write events: %w", err)
		}
	}
	if tail.Seq != x.head.Events {
		return fmt.Errorf("the log gave %d events of %d", tail.Seq, x.head.Events)
	}
	return errors.Join(out.Flush(), file.Close())
}

// event keeps what an event refers to.
func (x *exporter) event(stored journal.Event) error {
	e, err := decodeEvent(stored.Body)
	if err != nil {
		return fmt.Errorf("event %d: %w", stored.Seq, err)
	}
	if e.Plan != nil && x.plan == nil {
		x.plan, x.head.Plan = e.Plan, e.Plan.Digest()
	}
	for _, a := range evidence(&e) {
		if err := x.blob(a); err != nil {
			x.lost = append(x.lost, fmt.Errorf("evidence %q of %s: %w", a.Name, e.Item, err))
		}
	}
	for _, f := range signatureFiles(stored.Seq, &e) {
		if err := x.write(f.name, []byte(f.text)); err != nil {
			return err
		}
	}
	return nil
}

// evidence lists the artefacts of an event but the frozen files, which a bundle
// holds under their own names.
func evidence(e *run.Event) []run.Artefact {
	if e.Plan == nil {
		return e.Artefacts
	}
	return slices.DeleteFunc(slices.Clone(e.Artefacts), func(a run.Artefact) bool {
		return a.SHA256 == e.Plan.Checklist || a.SHA256 == e.Plan.Config
	})
}

type signatureFile struct{ name, text string }

// signatureFiles are the files in which an event's signature is given to be
// looked at with other tools.
func signatureFiles(seq uint64, e *run.Event) []signatureFile {
	if e.Statement == "" && e.Signature == "" {
		return nil
	}
	base := fmt.Sprintf("%s%06d", signatureDir, seq)
	return []signatureFile{{base + ".statement", e.Statement}, {base + ".sig", e.Signature}}
}

// blob copies an artefact and checks its digest on the way.
func (x *exporter) blob(a run.Artefact) error {
	if _, err := decodeHash(a.SHA256); err != nil {
		return err
	}
	if x.kept[a.SHA256] {
		return nil
	}
	if x.src.Blob == nil {
		return errors.New("no artefacts are kept here")
	}
	in, err := x.src.Blob(a.SHA256)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer in.Close()
	path := filepath.Join(x.dir, evidenceDir, a.SHA256)
	out, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	defer out.Close()
	hash := sha256.New()
	if _, err := io.Copy(io.MultiWriter(out, hash), io.LimitReader(in, maxFile+1)); err != nil {
		return errors.Join(fmt.Errorf("copy: %w", err), os.Remove(path))
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != a.SHA256 {
		return errors.Join(fmt.Errorf("its content has the SHA-256 %s, not %s", got, a.SHA256), os.Remove(path))
	}
	x.kept[a.SHA256] = true
	return out.Close()
}

// heads writes the log's head behind the run and proves the anchors.
func (x *exporter) heads(ctx context.Context) error {
	if x.plan == nil {
		return errors.New("the run has no plan")
	}
	checkpoint := journal.Checkpoint{Origin: Origin(x.plan), Size: x.tree.Size(), Root: x.tree.Root()}
	x.head.Checkpoint = checkpoint.Text()
	seen := map[journal.Checkpoint]bool{}
	for _, a := range x.src.Anchors {
		a.Origin = ""
		if seen[a] || a.Size == 0 {
			continue
		}
		seen[a] = true
		small, large := a, checkpoint
		if small.Size > large.Size {
			small, large = large, small
		}
		proof, err := x.log.Consistency(ctx, small.Size, large.Size)
		if err != nil {
			return fmt.Errorf("prove the anchor %s: %w", a, err)
		}
		if err := journal.CheckConsistency(small, large, proof); err != nil {
			return fmt.Errorf("the anchor %s: %w", a, err)
		}
		x.head.Anchors = append(x.head.Anchors, anchor{Size: a.Size, Root: hex.EncodeToString(a.Root[:]), Proof: encodeHashes(proof)})
	}
	return nil
}
