package record_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/record"
	"allclear.dev/allclear/internal/run"
)

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

const (
	listText   = "## Pre\n- [ ] tests\n"
	configText = "project: tulia\n"
	proofText  = "214 of 214"
)

// fakeSig is a signature of the tests: the digest of who and what.
func fakeSig(e run.Event) string { return digest(e.Actor + e.Statement) }

func checkSig(e run.Event, _ *run.State) error {
	if e.Signature != fakeSig(e) {
		return errors.New("the key of " + e.Actor + " did not make it")
	}
	return nil
}

// history gives the events of a small run in their order.
func history(t *testing.T, id string) []run.Event {
	t.Helper()
	p := &run.Plan{
		Project: "tulia", Environment: "production", Checklist: digest(listText), Config: digest(configText),
		Release: run.Release{Version: "1.42.0", Revision: "0123abc"}, Rules: run.Rules{Distinct: true},
		Phases: []run.Phase{{ID: "pre", Title: "Pre", Parallel: true}},
		Items: []run.Item{
			{ID: "tests", Phase: "pre", Gate: "pre", Kind: run.Check, Applies: run.Applies},
			{ID: "migrate", Phase: "pre", Gate: "pre", Kind: run.Action, Class: run.Unsafe, Applies: run.Applies},
			{ID: "lead", Phase: "pre", Gate: "pre", Kind: run.Signoff, Applies: run.Applies, Person: &run.Person{Roles: []string{"Tech Lead"}}},
		},
	}
	if err := run.Order(p); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 22, 15, 28, 0, 0, time.UTC)
	var s run.State
	var out []run.Event
	step := func(e run.Event) {
		now = now.Add(time.Second)
		e.At = now
		s, _ = run.Step(s, e)
		out = append(out, e)
	}
	step(run.Event{Type: run.RunStarted, Run: id, Plan: p, PlanDigest: p.Digest(), Actor: "eve", Epoch: 1,
		Artefacts: []run.Artefact{{Name: "DEPLOYMENT_CHECKLIST.md", SHA256: p.Checklist}, {Name: "allclear.yaml", SHA256: p.Config}}})
	step(run.Event{Type: run.CheckFinished, Item: "tests", Attempt: 1, Verdict: "pass", Reason: "<214> of 214 & \u2028 é",
		Artefacts: []run.Artefact{{Name: "junit.xml", SHA256: digest(proofText), Size: int64(len(proofText))}}})
	step(run.Event{Type: run.ActionIntended, Item: "migrate", Attempt: 1})
	step(run.Event{Type: run.ActionFinished, Item: "migrate", Attempt: 1, Verdict: "done", Sets: map[string]string{"migration.seconds": "1.2"}})
	signed := run.Event{Type: run.Signed, Item: "lead", Actor: "ana", Role: "Tech Lead", Verdict: "approve", Subject: s.SubjectOf("lead"), Statement: `{"go":true}`}
	signed.Signature = fakeSig(signed)
	step(signed)
	step(run.Event{Type: run.RunClosed})
	if !s.Closed {
		t.Fatalf("the run is %s: %s", s.Status(), s.Advise())
	}
	return out
}

// fill appends a run, one event at a time, with events of others between them.
func fill(t *testing.T, log journal.Log, id string, events []run.Event, between bool) {
	t.Helper()
	ctx := context.Background()
	for i, e := range events {
		body, err := journal.Canonical(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Append(ctx, id, uint64(i), 1, body); err != nil {
			t.Fatal(err)
		}
		if between {
			tail, err := log.Tail(ctx, "other")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := log.Append(ctx, "other", tail.Seq, 1, []byte(`{"type":"x"}`)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func sources() record.Sources {
	return record.Sources{
		Checklist: []byte(listText), Config: []byte(configText),
		Blob: func(d string) (io.ReadCloser, error) {
			if d != digest(proofText) {
				return nil, fs.ErrNotExist
			}
			return io.NopCloser(strings.NewReader(proofText)), nil
		},
	}
}

// exported is a log with three runs and the bundle of the middle one.
type exported struct {
	log  *journal.Memory
	dir  string
	head journal.Checkpoint
}

func export(t *testing.T) exported {
	t.Helper()
	x := exported{log: journal.NewMemory(), dir: filepath.Join(t.TempDir(), "r-2")}
	fill(t, x.log, "r-1", history(t, "r-1"), true)
	early, err := x.log.Head(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	fill(t, x.log, "r-2", history(t, "r-2"), true)
	fill(t, x.log, "r-3", history(t, "r-3"), false)
	if x.head, err = x.log.Head(context.Background()); err != nil {
		t.Fatal(err)
	}
	src := sources()
	src.Anchors = []journal.Checkpoint{early}
	if err := record.Export(context.Background(), x.log, "r-2", x.dir, src); err != nil {
		t.Fatal(err)
	}
	return x
}

func (x exported) trust() record.Trust {
	return record.Trust{Heads: []journal.Checkpoint{x.head}, Signature: checkSig}
}

// files reads a directory into memory, to be changed.
func files(t *testing.T, dir string) fstest.MapFS {
	t.Helper()
	out := fstest.MapFS{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		out[name] = &fstest.MapFile{Data: data, Mode: 0o644}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWholeBundle(t *testing.T) {
	x := export(t)
	r, err := record.VerifyDir(x.dir, x.trust())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Findings) > 0 {
		t.Fatalf("findings: %v", r.Findings)
	}
	if r.Run != "r-2" || r.Events != 6 || r.Signatures != 1 || r.Evidence != 1 || len(r.Held) != 1 || len(r.Journal) != 6 || r.State.Status() != run.RunDone {
		t.Errorf("%+v", r)
	}
}

// TestHeadsFromElsewhere: any head that was the log's while the run went on is
// held against the bundle, and a head of another log is found.
func TestHeadsFromElsewhere(t *testing.T) {
	x := export(t)
	tree := &journal.Tree{}
	for e, err := range x.log.Entries(context.Background(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		tree.Add(journal.Leaf(e.Hash))
		head := journal.Checkpoint{Size: tree.Size(), Root: tree.Root()}
		r, err := record.VerifyDir(x.dir, record.Trust{Heads: []journal.Checkpoint{head, x.head}, Signature: checkSig})
		if err != nil || len(r.Findings) > 0 || len(r.Held)+len(r.Apart) != 2 {
			t.Errorf("size %d: %v %v", head.Size, r.Findings, err)
		}
		if inside := head.Size >= 12 && head.Size <= 23; inside && len(r.Apart) > 0 {
			t.Errorf("size %d was not held against the bundle", head.Size)
		}
		if len(r.Apart) > 0 {
			continue
		}
		head.Root[3]++
		r, err = record.VerifyDir(x.dir, record.Trust{Heads: []journal.Checkpoint{head}, Signature: checkSig})
		if err != nil || len(r.Findings) == 0 {
			t.Errorf("size %d: another root was not found: %v", head.Size, err)
		}
	}
	unknown := journal.Checkpoint{Size: 1000, Root: x.head.Root}
	r, err := record.VerifyDir(x.dir, record.Trust{Heads: []journal.Checkpoint{unknown}, Signature: checkSig})
	if err != nil || len(r.Findings) != 1 || r.Findings[0].Kind != record.Unchecked {
		t.Errorf("a head without proof: %v %v", r.Findings, err)
	}
}

// TestEveryByte changes every byte of every file and removes every file.
func TestEveryByte(t *testing.T) {
	x := export(t)
	whole := files(t, x.dir)
	for name, file := range whole {
		for at := range file.Data {
			changed := bytes.Clone(file.Data)
			changed[at] ^= 1 << (at % 7)
			whole[name] = &fstest.MapFile{Data: changed, Mode: 0o644}
			if r, err := record.Verify(whole, x.trust()); err != nil || len(r.Findings) == 0 {
				t.Fatalf("%s byte %d (%q → %q): findings %v, error %v", name, at, file.Data[at], changed[at], r.Findings, err)
			}
		}
		for _, other := range [][]byte{file.Data[:len(file.Data)-1], append(bytes.Clone(file.Data), '\n'), append(bytes.Clone(file.Data), file.Data...), {}} {
			whole[name] = &fstest.MapFile{Data: other, Mode: 0o644}
			if r, err := record.Verify(whole, x.trust()); err != nil || len(r.Findings) == 0 {
				t.Errorf("%s cut or grown: findings %v, error %v", name, r.Findings, err)
			}
		}
		delete(whole, name)
		if r, err := record.Verify(whole, x.trust()); err == nil && len(r.Findings) == 0 {
			t.Errorf("%s removed: not found", name)
		}
		whole[name] = file
	}
	whole["evidence/sha256/new"] = &fstest.MapFile{Data: []byte("x")}
	if r, err := record.Verify(whole, x.trust()); err != nil || len(r.Findings) != 1 || r.Findings[0].Kind != record.Extra {
		t.Errorf("an extra file: %v %v", r.Findings, err)
	}
}

// TestNames: what was done to which event is named.
func TestNames(t *testing.T) {
	x := export(t)
	whole := files(t, x.dir)
	lines := strings.SplitAfter(string(whole["events.jsonl"].Data), "\n")
	lines = lines[:len(lines)-1]
	own := func(seq int) int {
		return slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, fmt.Sprintf(`{"seq":%d,`, seq)) })
	}
	for name, c := range map[string]struct {
		change func([]string) []string
		kind   record.Kind
		seq    uint64
	}{
		"changed": {func(l []string) []string {
			l[own(3)] = strings.Replace(l[own(3)], "migrate", "migrat3", 1)
			return l
		}, record.Changed, 3},
		"broken line": {func(l []string) []string { l[own(3)] = "{}}\n"; return l }, record.Changed, 3},
		"removed":     {func(l []string) []string { return slices.Delete(l, own(3), own(3)+1) }, record.Removed, 3},
		"reordered": {func(l []string) []string {
			a, b := own(3), own(4)
			l[a], l[b] = l[b], l[a]
			return l
		}, record.Reordered, 4},
		"cut off": {func(l []string) []string { return l[:own(6)] }, record.CutOff, 6},
		"twice":   {func(l []string) []string { return slices.Insert(l, own(4)+1, l[own(4)]) }, record.Inserted, 4},
	} {
		t.Run(name, func(t *testing.T) {
			changed := files(t, x.dir)
			changed["events.jsonl"] = &fstest.MapFile{Data: []byte(strings.Join(c.change(slices.Clone(lines)), ""))}
			r, err := record.Verify(changed, x.trust())
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(r.Findings, func(f record.Finding) bool { return f.Kind == c.kind && f.Seq == c.seq && f.Run == "r-2" }) {
				t.Errorf("want %s event %d, got %v", c.kind, c.seq, r.Findings)
			}
		})
	}
	evidence := "evidence/sha256/" + digest(proofText)
	whole[evidence] = &fstest.MapFile{Data: []byte("215 of 215")}
	r, err := record.Verify(whole, x.trust())
	if err != nil || len(r.Findings) != 1 || r.Findings[0].Item != "tests" || r.Findings[0].Kind != record.Changed || r.Findings[0].Seq != 2 {
		t.Errorf("altered evidence: %v %v", r.Findings, err)
	}
	delete(whole, evidence)
	r, err = record.Verify(whole, x.trust())
	if err != nil || len(r.Findings) != 1 || r.Findings[0].Item != "tests" || r.Findings[0].Kind != record.Missing {
		t.Errorf("missing evidence: %v %v", r.Findings, err)
	}
}

// TestWrittenAnew: whoever writes the whole record anew is found by a head from
// elsewhere, by a signature, or by the rules of a run.
func TestWrittenAnew(t *testing.T) {
	x := export(t)
	anew := func(change func([]run.Event) []run.Event, trust record.Trust) record.Result {
		t.Helper()
		log := journal.NewMemory()
		fill(t, log, "r-2", change(history(t, "r-2")), false)
		dir := filepath.Join(t.TempDir(), "forged")
		if err := record.Export(context.Background(), log, "r-2", dir, sources()); err != nil {
			t.Fatal(err)
		}
		r, err := record.VerifyDir(dir, trust)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	same := func(e []run.Event) []run.Event { return e }
	if r := anew(same, record.Trust{Signature: checkSig}); len(r.Findings) > 0 {
		t.Fatalf("the forger's tools do not work: %v", r.Findings)
	}
	if r := anew(same, x.trust()); len(r.Findings) == 0 {
		t.Error("another log was not found")
	}
	if r := anew(func(e []run.Event) []run.Event { e[4].Actor = "mallory"; return e }, record.Trust{Signature: checkSig}); len(r.Findings) != 1 || r.Findings[0].Kind != record.Forged || r.Findings[0].Item != "lead" {
		t.Errorf("another signer: %v", r.Findings)
	}
	if r := anew(func(e []run.Event) []run.Event { e[1].Verdict = "fail"; return e }, record.Trust{Signature: checkSig}); len(r.Findings) == 0 || r.Findings[0].Kind != record.Refused {
		t.Errorf("another verdict below a signature: %v", r.Findings)
	}
}

// TestNoKeysIsNotGood: a signature that nobody checked is reported.
func TestNoKeysIsNotGood(t *testing.T) {
	x := export(t)
	r, err := record.VerifyDir(x.dir, record.Trust{Heads: []journal.Checkpoint{x.head}})
	if err != nil || len(r.Findings) != 1 || r.Findings[0].Kind != record.Unchecked || r.Findings[0].Seq != 5 {
		t.Errorf("%v %v", r.Findings, err)
	}
}

func TestExportNamesLostEvidence(t *testing.T) {
	x := export(t)
	dir := filepath.Join(t.TempDir(), "lost")
	src := sources()
	src.Blob = func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("other")), nil }
	err := record.Export(context.Background(), x.log, "r-2", dir, src)
	if err == nil || !strings.Contains(err.Error(), "tests") || !strings.Contains(err.Error(), "junit.xml") {
		t.Errorf("got %v", err)
	}
	r, err := record.VerifyDir(dir, x.trust())
	if err != nil || len(r.Findings) != 1 || r.Findings[0].Kind != record.Missing {
		t.Errorf("%v %v", r.Findings, err)
	}
	if err := record.Export(context.Background(), x.log, "r-2", dir, src); err == nil {
		t.Error("an export over another one")
	}
	if err := record.Export(context.Background(), x.log, "r-9", dir+"9", src); err == nil {
		t.Error("an export of no run")
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(dir), ".record-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestTar(t *testing.T) {
	x := export(t)
	var one, two bytes.Buffer
	if err := errors.Join(record.Pack(&one, os.DirFS(x.dir)), record.Pack(&two, os.DirFS(x.dir))); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("the same bundle gives other bytes")
	}
	dir := filepath.Join(t.TempDir(), "again")
	if err := record.Unpack(&one, dir); err != nil {
		t.Fatal(err)
	}
	if r, err := record.VerifyDir(dir, x.trust()); err != nil || len(r.Findings) > 0 {
		t.Errorf("%v %v", r.Findings, err)
	}
	if err := record.Unpack(&two, dir); err == nil {
		t.Error("unpacked over another bundle")
	}
}
