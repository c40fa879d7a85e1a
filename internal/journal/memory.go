package journal

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"slices"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// Memory is a Log without a disk, for tests and dry runs. It keeps every rule of a
// Log but durability; Close keeps its content, so that it can be "opened" again by
// using it again.
type Memory struct {
	mu      sync.Mutex
	entries []Entry
	runs    map[string][]uint64 // indexes of a run's entries
	tree    Tree
	nodes   []tlog.Hash
}

// NewMemory gives an empty log.
func NewMemory() *Memory { return &Memory{runs: map[string][]uint64{}} }

// Append stores the events.
func (m *Memory) Append(ctx context.Context, run string, expected, epoch uint64, bodies ...[]byte) ([]Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := CheckAppend(run, bodies); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	tail := m.tail(run)
	if err := tail.Admit(run, expected, epoch); err != nil {
		return nil, err
	}
	events := Chain(run, tail, epoch, bodies)
	for _, event := range events {
		index := m.tree.Size()
		leaf := Leaf(event.Hash)
		for _, h := range m.tree.Add(leaf) {
			m.nodes = append(m.nodes, h)
		}
		m.entries = append(m.entries, Entry{Index: index, Leaf: leaf[:], Event: event})
		m.runs[run] = append(m.runs[run], index)
	}
	return clone(events), nil
}

// clone keeps a caller's hands off what is stored.
func clone(events []Event) []Event {
	out := slices.Clone(events)
	for i := range out {
		out[i].Body = slices.Clone(out[i].Body)
	}
	return out
}

// tail needs the lock.
func (m *Memory) tail(run string) Tail {
	indexes := m.runs[run]
	if len(indexes) == 0 {
		return Tail{}
	}
	return m.entries[indexes[len(indexes)-1]].Tail()
}

// Tail gives the end of a run.
func (m *Memory) Tail(ctx context.Context, run string) (Tail, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tail(run), ctx.Err()
}

// Read gives the events of a run.
func (m *Memory) Read(ctx context.Context, run string, after uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for seq := after; ; seq++ {
			if err := ctx.Err(); err != nil {
				yield(Event{}, err)
				return
			}
			m.mu.Lock()
			indexes := m.runs[run]
			if seq >= uint64(len(indexes)) {
				m.mu.Unlock()
				return
			}
			event := m.entries[indexes[seq]].Event
			m.mu.Unlock()
			event.Body = slices.Clone(event.Body)
			if !yield(event, nil) {
				return
			}
		}
	}
}

// Entries gives the whole log.
func (m *Memory) Entries(ctx context.Context, from uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for index := from; ; index++ {
			if err := ctx.Err(); err != nil {
				yield(Entry{}, err)
				return
			}
			m.mu.Lock()
			if index >= uint64(len(m.entries)) {
				m.mu.Unlock()
				return
			}
			entry := m.entries[index]
			m.mu.Unlock()
			entry.Body = slices.Clone(entry.Body)
			if !yield(entry, nil) {
				return
			}
		}
	}
}

// Runs lists runs, newest first.
func (m *Memory) Runs(ctx context.Context, page Page) ([]RunInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var before uint64 = Unlogged
	if page.Before != "" {
		indexes := m.runs[page.Before]
		if len(indexes) == 0 {
			return nil, fmt.Errorf("run %s is not in the journal", page.Before)
		}
		before = indexes[0]
	}
	var infos []RunInfo
	for run, indexes := range m.runs {
		if indexes[0] < before {
			first := m.entries[indexes[0]]
			infos = append(infos, RunInfo{Run: run, Events: uint64(len(indexes)), Index: indexes[0], First: slices.Clone(first.Body)})
		}
	}
	slices.SortFunc(infos, func(a, b RunInfo) int { return int(b.Index) - int(a.Index) })
	if page.Limit > 0 && len(infos) > page.Limit {
		infos = infos[:page.Limit]
	}
	return infos, ctx.Err()
}

// Head gives the head of the log, with an empty origin.
func (m *Memory) Head(ctx context.Context) (Checkpoint, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Checkpoint{Size: m.tree.Size(), Root: m.tree.Root()}, ctx.Err()
}

// Inclusion proves that an event is in the log.
func (m *Memory) Inclusion(_ context.Context, run string, seq, size uint64) (Inclusion, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	indexes := m.runs[run]
	if seq == 0 || seq > uint64(len(indexes)) {
		return Inclusion{}, fmt.Errorf("run %s has no event %d", run, seq)
	}
	if size > m.tree.Size() {
		return Inclusion{}, fmt.Errorf("the log has %d entries, not %d", m.tree.Size(), size)
	}
	return ProveInclusion(indexes[seq-1], size, tlog.HashReaderFunc(m.hashes))
}

// Consistency proves that the log only grew.
func (m *Memory) Consistency(_ context.Context, old, new uint64) ([][sha256.Size]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if new > m.tree.Size() {
		return nil, fmt.Errorf("the log has %d entries, not %d", m.tree.Size(), new)
	}
	return ProveConsistency(old, new, tlog.HashReaderFunc(m.hashes))
}

// hashes reads stored hashes; it needs the lock.
func (m *Memory) hashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		out[i] = m.nodes[index]
	}
	return out, nil
}

// Close keeps the content.
func (m *Memory) Close() error { return nil }
