package journaltest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"allclear.dev/allclear/internal/journal"
)

func testRuns(t *testing.T, s *store) {
	for i := range 5 {
		s.append(fmt.Sprintf("r%d", i), 0, 1, fmt.Sprintf(`{"run":%d}`, i))
	}
	s.append("r0", 1, 1, `{"n":2}`, `{"n":3}`) // more events make a run no newer
	all, err := s.log.Runs(t.Context(), journal.Page{})
	if err != nil || len(all) != 5 {
		t.Fatalf("runs: %v, %v", all, err)
	}
	for i, info := range all {
		n := 4 - i
		if info.Run != fmt.Sprintf("r%d", n) || string(info.First) != fmt.Sprintf(`{"run":%d}`, n) || info.Index != uint64(n) {
			t.Errorf("run %d is %+v", i, info)
		}
	}
	if all[4].Events != 3 || all[0].Events != 1 {
		t.Errorf("r0 has %d events, r4 %d", all[4].Events, all[0].Events)
	}
	page, err := s.log.Runs(t.Context(), journal.Page{Before: "r3", Limit: 2})
	if err != nil || len(page) != 2 || page[0].Run != "r2" || page[1].Run != "r1" {
		t.Errorf("two runs before r3: %+v, %v", page, err)
	}
	if _, err := s.log.Runs(t.Context(), journal.Page{Before: "r9"}); err == nil {
		t.Error("a page before a run that is not there has no error")
	}
}

func testReadAfter(t *testing.T, s *store) {
	const events = 600 // more than any store reads at once
	bodies := make([]string, events)
	for i := range bodies {
		bodies[i] = fmt.Sprintf(`{"n":%d}`, i+1)
	}
	s.append("r1", 0, 1, bodies...)
	for _, after := range []uint64{0, 1, 255, 256, 300, 599} {
		if got := s.bodies("r1", after); !slices.Equal(got, bodies[after:]) {
			t.Errorf("after %d: %d events", after, len(got))
		}
	}
	if got := s.bodies("r1", events); got != nil {
		t.Errorf("after the last: %q", got)
	}
	for event, err := range s.log.Read(t.Context(), "r1", 10) {
		if err != nil || event.Seq != 11 {
			t.Errorf("first after 10: %d, %v", event.Seq, err)
		}
		break // must not deadlock
	}
}

func testProofs(t *testing.T, s *store) {
	var heads []journal.Checkpoint
	for i := range uint64(9) {
		heads = append(heads, s.head())
		s.append("r1", i, 1, fmt.Sprintf(`{"n":%d}`, i))
		s.append("r2", 2*i, 1, `{"a":1}`, `{"a":2}`)
	}
	head := s.head()
	for _, run := range []string{"r1", "r2"} {
		for event, err := range s.log.Read(t.Context(), run, 0) {
			if err != nil {
				t.Fatal(err)
			}
			proof, err := s.log.Inclusion(t.Context(), run, event.Seq, head.Size)
			if err != nil {
				t.Fatalf("prove %s/%d: %v", run, event.Seq, err)
			}
			if err := journal.CheckInclusion(event.Hash, proof, head); err != nil {
				t.Errorf("%s/%d: %v", run, event.Seq, err)
			}
			event.Hash[0] ^= 1
			if journal.CheckInclusion(event.Hash, proof, head) == nil {
				t.Errorf("%s/%d: the proof holds for another event", run, event.Seq)
			}
		}
	}
	for _, old := range heads {
		proof, err := s.log.Consistency(t.Context(), old.Size, head.Size)
		if err != nil {
			t.Fatalf("prove %d: %v", old.Size, err)
		}
		if err := journal.CheckConsistency(old, head, proof); err != nil {
			t.Errorf("from %d: %v", old.Size, err)
		}
		old.Root[5] ^= 1
		if journal.CheckConsistency(old, head, proof) == nil {
			t.Errorf("from %d: the proof holds for another root", old.Size)
		}
	}
	if _, err := s.log.Inclusion(t.Context(), "r1", 99, head.Size); err == nil {
		t.Error("there is a proof for an event that is not there")
	}
	if _, err := s.log.Consistency(t.Context(), 1, head.Size+1); err == nil {
		t.Error("there is a proof for a size that was not reached")
	}
}

// verify holds a log against itself.
func verify(t *testing.T, log journal.Log) {
	t.Helper()
	head, err := log.Head(t.Context())
	if err != nil {
		t.Fatalf("head: %v", err)
	}
	findings, err := journal.Verify(log.Entries(t.Context(), 0), head)
	if err != nil || len(findings) != 0 {
		t.Errorf("verify: %v, %v", findings, err)
	}
}

func testVerify(t *testing.T, s *store) {
	for i := range uint64(300) {
		s.append(fmt.Sprintf("r%d", i%3), i/3, 1, fmt.Sprintf(`{"n":%d}`, i))
	}
	verify(t, s.log)
	entries := collect(t, s.log.Entries(t.Context(), 290))
	if len(entries) != 10 {
		t.Fatalf("from 290: %d entries", len(entries))
	}
	if leaf := journal.Leaf(entries[0].Hash); entries[0].Index != 290 || !bytes.Equal(entries[0].Leaf, leaf[:]) {
		t.Errorf("from 290: %+v", entries[0])
	}
	head := s.head()
	head.Size++
	if findings, err := journal.Verify(s.log.Entries(t.Context(), 0), head); err != nil || len(findings) != 1 || findings[0].Kind != journal.CutOff {
		t.Errorf("against a larger head: %v, %v", findings, err)
	}
}
