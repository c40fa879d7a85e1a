package journal_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/journal"
)

// rehash gives an event the hash that fits it, as a careful forger would.
func rehash(e *journal.Entry) { e.Hash = journal.Hash(e.Run, e.Seq, e.Prev, e.Body) }

// sample is a log of three runs, a, b and c, with ten events each, in turn: event
// a/1 has index 0, b/1 index 1, c/1 index 2, a/2 index 3.
func sample(t interface{ Fatal(...any) }) ([]journal.Entry, journal.Checkpoint) {
	log := journal.NewMemory()
	ctx := noContext{}
	for i := range uint64(30) {
		run := string("abc"[i%3])
		if _, err := log.Append(ctx, run, i/3, 1, fmt.Appendf(nil, `{"n":%d,"plan_digest":"p"}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	var entries []journal.Entry
	for e, err := range log.Entries(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		e.Leaf = nil
		entries = append(entries, e)
	}
	head, err := log.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return entries, head
}

// at is the position of an event in the sample.
func at(run string, seq int) int { return (seq-1)*3 + strings.Index("abc", run) }

// sequence turns a list into what Verify reads.
func sequence[T any](list []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, v := range list {
			if !yield(v, nil) {
				return
			}
		}
	}
}

// brief writes findings as "kind run/first-last".
func brief(findings []journal.Finding) []string {
	out := []string{}
	for _, f := range findings {
		text := string(f.Kind)
		if f.Run != "" {
			text += fmt.Sprintf(" %s/%d", f.Run, f.Seq)
		}
		if f.Through > f.Seq {
			text += fmt.Sprintf("-%d", f.Through)
		}
		if f.Run == "" {
			text += fmt.Sprintf(" @%d", f.Index)
		}
		out = append(out, text)
	}
	return out
}

// mutant is one way to damage the sample.
type mutant struct {
	name string
	do   func([]journal.Entry) []journal.Entry
	want []string
}

func change(run string, seq int, do func(*journal.Entry)) func([]journal.Entry) []journal.Entry {
	return func(e []journal.Entry) []journal.Entry {
		do(&e[at(run, seq)])
		return e
	}
}

// remove takes an entry out and numbers the others anew, as one who hides it would.
func remove(e []journal.Entry, i int) []journal.Entry {
	e = slices.Delete(e, i, i+1)
	for i := range e {
		e[i].Index = uint64(i)
	}
	return e
}

// relabel gives the events of a run from a position on another number.
func relabel(e []journal.Entry, run string, from, by int) {
	for i := range e {
		if e[i].Run == run && int(e[i].Seq) >= from {
			e[i].Seq = uint64(int(e[i].Seq) + by)
		}
	}
}

func mutants() []mutant {
	return []mutant{
		{"nothing", func(e []journal.Entry) []journal.Entry { return e }, []string{}},
		{"one byte of a body", change("b", 5, func(e *journal.Entry) { e.Body[5] ^= 1 }), []string{"changed b/5"}},
		{"one bit of a hash", change("b", 5, func(e *journal.Entry) { e.Hash[31] ^= 1 }), []string{"changed b/5"}},
		{"one bit of a link", change("b", 5, func(e *journal.Entry) { e.Prev[0] ^= 1 }), []string{"changed b/5"}},
		{"the first event", change("a", 1, func(e *journal.Entry) { e.Body[5] ^= 1 }), []string{"changed a/1"}},
		{"the last event", change("c", 10, func(e *journal.Entry) { e.Body[5] ^= 1 }), []string{"changed c/10"}},
		{"the plan of the first event", change("a", 1, func(e *journal.Entry) {
			e.Body = []byte(`{"n":0,"plan_digest":"q"}`)
			rehash(e)
		}), []string{"changed a/1"}},
		{"a body and its hash", change("b", 5, func(e *journal.Entry) { e.Body[5] ^= 1; rehash(e) }), []string{"changed b/5"}},
		{"an epoch that falls", change("b", 5, func(e *journal.Entry) { e.Epoch = 0 }), []string{"changed b/5"}},
		{"a number", change("b", 10, func(e *journal.Entry) { e.Seq = 12 }), []string{"changed b/12"}},
		{"two events of one run", func(e []journal.Entry) []journal.Entry {
			e[at("a", 2)].Body[5] ^= 1
			e[at("a", 8)].Hash[0] ^= 1
			return e
		}, []string{"changed a/2", "changed a/8"}},
		{"a whole event written over", change("b", 5, func(e *journal.Entry) {
			e.Body, e.Prev, e.Hash = []byte(`{}`), [32]byte{1}, [32]byte{2}
		}), []string{"changed b/5"}},
		{"a row removed", func(e []journal.Entry) []journal.Entry { return slices.Delete(e, at("b", 5), at("b", 5)+1) }, []string{"removed b/5"}},
		{"a row removed, the log closed up", func(e []journal.Entry) []journal.Entry { return remove(e, at("b", 5)) }, []string{"removed b/5", "cut off @29"}},
		{"a row removed, log and run closed up", func(e []journal.Entry) []journal.Entry {
			e = remove(e, at("b", 5))
			relabel(e, "b", 6, -1)
			return e
		}, []string{"removed b/5", "cut off @29"}},
		{"the first row removed", func(e []journal.Entry) []journal.Entry { return remove(e, at("a", 1)) }, []string{"removed a/1", "cut off @29"}},
		{"three rows removed", func(e []journal.Entry) []journal.Entry {
			return slices.DeleteFunc(e, func(e journal.Entry) bool { return e.Run == "c" && e.Seq >= 4 && e.Seq <= 6 })
		}, []string{"removed c/4-6"}},
		{"a run's last row removed", func(e []journal.Entry) []journal.Entry { return slices.Delete(e, at("a", 10), at("a", 10)+1) }, []string{"removed @27"}},
		{"numbers swapped", func(e []journal.Entry) []journal.Entry {
			e[at("a", 5)].Seq, e[at("a", 6)].Seq = 6, 5
			return e
		}, []string{"reordered a/5", "reordered a/6"}},
		{"contents swapped", func(e []journal.Entry) []journal.Entry {
			x, y := &e[at("a", 5)], &e[at("a", 8)]
			x.Event, y.Event = y.Event, x.Event
			x.Seq, y.Seq = 5, 8
			return e
		}, []string{"reordered a/8", "reordered a/5"}},
		{"rows swapped between runs", func(e []journal.Entry) []journal.Entry {
			x, y := at("a", 5), at("b", 5)
			e[x], e[y] = e[y], e[x]
			return e
		}, []string{"reordered a/5"}},
		{"rows swapped, the log numbered anew", func(e []journal.Entry) []journal.Entry {
			x, y := at("a", 5), at("a", 6)
			e[x].Event, e[y].Event = e[y].Event, e[x].Event
			return e
		}, []string{"reordered a/6", "reordered a/5"}},
		{"an event put in", func(e []journal.Entry) []journal.Entry {
			extra := journal.Entry{Index: 30, Event: journal.Event{Run: "b", Seq: 6, Epoch: 1, Prev: e[at("b", 5)].Hash, Body: []byte(`{"n":99}`)}}
			rehash(&extra)
			relabel(e, "b", 6, 1)
			e = slices.Insert(e, at("b", 6), extra)
			for i := range e {
				e[i].Index = uint64(i)
			}
			return e
		}, []string{"inserted b/6"}},
		{"an event twice", func(e []journal.Entry) []journal.Entry {
			e = append(e, e[at("b", 5)])
			e[30].Index = 30
			return e
		}, []string{"inserted b/5"}},
		{"the tail cut", func(e []journal.Entry) []journal.Entry { return e[:12] }, []string{"cut off @12"}},
		{"everything cut", func(e []journal.Entry) []journal.Entry { return nil }, []string{"cut off @0"}},
		{"two runs merged", func(e []journal.Entry) []journal.Entry {
			for i := range e {
				if e[i].Run == "c" {
					e[i].Run, e[i].Seq = "a", e[i].Seq+10
				}
			}
			return e
		}, []string{"inserted a/11", "inserted a/12", "inserted a/13", "inserted a/14", "inserted a/15", "inserted a/16", "inserted a/17", "inserted a/18", "inserted a/19", "inserted a/20"}},
		{"the history from one event on written anew", func(e []journal.Entry) []journal.Entry {
			e[at("b", 5)].Body = []byte(`{"n":99}`)
			rehash(&e[at("b", 5)])
			for seq := 6; seq <= 10; seq++ {
				e[at("b", seq)].Prev = e[at("b", seq-1)].Hash
				rehash(&e[at("b", seq)])
			}
			return e
		}, []string{"changed @12"}},
	}
}

func TestVerifyNamesEachMutant(t *testing.T) {
	for _, m := range mutants() {
		t.Run(m.name, func(t *testing.T) {
			entries, head := sample(t)
			early := journal.Checkpoint{Size: 12}
			tree := &journal.Tree{}
			for _, e := range entries[:12] {
				tree.Add(journal.Leaf(e.Hash))
			}
			early.Root = tree.Root()
			entries = m.do(entries)
			findings, err := journal.Verify(sequence(entries), head, early)
			if err != nil {
				t.Fatal(err)
			}
			got, want := brief(findings), slices.Clone(m.want)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("found %q, want %q", got, want)
				for _, f := range findings {
					t.Log(f)
				}
			}
			if sound(entries, head) != (len(findings) == 0) {
				t.Errorf("the oracle says %v", sound(entries, head))
			}
		})
	}
}

func TestVerifyStoreWithOwnLeaves(t *testing.T) {
	withLeaves := func() ([]journal.Entry, journal.Checkpoint) {
		entries, head := sample(t)
		for i := range entries {
			leaf := journal.Leaf(entries[i].Hash)
			entries[i].Leaf = leaf[:]
		}
		return entries, head
	}
	for _, m := range []mutant{
		{"one event is gone from the journal", change("b", 5, lose), []string{"removed b/5"}},
		{"a run's tail is gone from the journal", func(e []journal.Entry) []journal.Entry {
			lose(&e[at("c", 9)])
			lose(&e[at("c", 10)])
			return e
		}, []string{"cut off c/9-10"}},
		{"a run is gone from the journal", func(e []journal.Entry) []journal.Entry {
			for i := range e {
				if e[i].Run == "c" {
					lose(&e[i])
				}
			}
			return e
		}, []string{"removed c/1-10"}},
		{"an event that the log does not know", func(e []journal.Entry) []journal.Entry {
			extra := journal.Entry{Index: journal.Unlogged, Event: journal.Event{Run: "b", Seq: 11, Epoch: 1, Prev: e[at("b", 10)].Hash, Body: []byte(`{"n":99}`)}}
			rehash(&extra)
			return append(e, extra)
		}, []string{"changed b/11"}},
		{"a leaf", change("b", 5, func(e *journal.Entry) { e.Leaf[7] ^= 1 }), []string{"changed b/5"}},
		{"two leaves swapped", func(e []journal.Entry) []journal.Entry {
			e[at("a", 5)].Leaf, e[at("b", 5)].Leaf = e[at("b", 5)].Leaf, e[at("a", 5)].Leaf
			return e
		}, []string{"reordered a/5", "reordered b/5"}},
		{"the history from one event on written anew", func(e []journal.Entry) []journal.Entry {
			for seq := 9; seq <= 10; seq++ {
				e[at("b", seq)].Prev = e[at("b", seq-1)].Hash
				e[at("b", seq)].Body = []byte(`{"n":99}`)
				rehash(&e[at("b", seq)])
			}
			return e
		}, []string{"changed b/9", "changed b/10"}},
	} {
		entries, head := withLeaves()
		findings, err := journal.Verify(sequence(m.do(entries)), head)
		if got := brief(findings); err != nil || !slices.Equal(got, m.want) {
			t.Errorf("%s: found %q (%v), want %q", m.name, got, findings, m.want)
		}
	}
}

// lose makes an entry one whose event is not in the journal.
func lose(e *journal.Entry) {
	e.Event = journal.Event{Run: e.Run, Seq: e.Seq}
}

func TestVerifyRun(t *testing.T) {
	entries, _ := sample(t)
	var events []journal.Event
	for _, e := range entries {
		if e.Run == "b" {
			events = append(events, e.Event)
		}
	}
	known := events[9].Tail()
	clean := func() []journal.Event { return slices.Clone(events) }
	for _, test := range []struct {
		name   string
		events []journal.Event
		want   []string
	}{
		{"whole", clean(), []string{}},
		{"cut", clean()[:7], []string{"cut off b/8-10"}},
		{"empty", nil, []string{"cut off b/1-10"}},
		{"removed", slices.Delete(clean(), 3, 4), []string{"removed b/4"}},
		{"longer than known", append(clean(), journal.Chain("b", known, 1, [][]byte{[]byte(`{}`)})...), []string{}},
		{"of another run", journal.Chain("c", journal.Tail{}, 1, [][]byte{[]byte(`{}`)}), []string{"inserted b/1", "cut off b/2-10"}},
		{"written anew", journal.Chain("b", journal.Tail{}, 1, slices.Repeat([][]byte{[]byte(`{}`)}, 10)), []string{"changed b/10"}},
	} {
		findings, err := journal.VerifyRun("b", sequence(test.events), known)
		if got := brief(findings); err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: found %q, %v, want %q", test.name, got, err, test.want)
		}
	}
}

func TestVerifyUnreadableIsNoFinding(t *testing.T) {
	broken := errors.New("disk")
	entries := func(yield func(journal.Entry, error) bool) { yield(journal.Entry{}, broken) }
	if findings, err := journal.Verify(entries); !errors.Is(err, broken) || findings != nil {
		t.Errorf("verify: %v, %v", findings, err)
	}
	events := func(yield func(journal.Event, error) bool) { yield(journal.Event{}, broken) }
	if findings, err := journal.VerifyRun("r", events, journal.Tail{}); !errors.Is(err, broken) || findings != nil {
		t.Errorf("verify run: %v, %v", findings, err)
	}
}

// FuzzVerify builds entries from bytes, most of them nonsense that partly links up.
func FuzzVerify(f *testing.F) {
	f.Add([]byte("aaaaaaaaaaaaaaaaaaaaaaaa"), uint64(3))
	f.Add([]byte("\x00\x01\x02\x03\xff\xfe\xfd\x10\x20\x30\x40\x50\x60\x70\x80"), uint64(1<<63))
	f.Fuzz(func(t *testing.T, raw []byte, size uint64) {
		var entries []journal.Entry
		for len(raw) >= 8 && len(entries) < 64 {
			c := raw[:8]
			raw = raw[8:]
			e := journal.Entry{Index: uint64(len(entries))}
			e.Run, e.Seq, e.Epoch = string('a'+c[0]%2), uint64(c[1]), uint64(c[2])
			e.Body = []byte{'{', '}', c[3]}[:2+c[3]%2]
			e.Prev[0], e.Hash[0] = c[4]%8, c[5]%8
			if c[6]&1 != 0 && len(entries) > 0 {
				e.Prev = entries[int(c[4])%len(entries)].Hash
			}
			if c[6]&2 != 0 {
				rehash(&e)
			}
			if c[6]&4 != 0 {
				e.Seq = ^uint64(0) - e.Seq
			}
			if c[6]&8 != 0 {
				e.Index = uint64(c[7]) * size
			}
			if c[6]&16 != 0 {
				lose(&e)
			}
			if c[7]&1 != 0 {
				e.Leaf = c[:c[7]%9]
			}
			entries = append(entries, e)
		}
		head := journal.Checkpoint{Size: size}
		findings, err := journal.Verify(sequence(entries), head)
		if err != nil {
			t.Fatal(err)
		}
		if len(findings) == 0 && !sound(entries, journal.Checkpoint{Root: (&journal.Tree{}).Root()}) {
			t.Fatal("an unsound log has no findings")
		}
	})
}
