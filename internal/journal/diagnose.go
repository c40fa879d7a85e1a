package journal

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
)

const (
	// maxShift is how far beyond the number of a run's rows an event's true number is
	// searched for.
	maxShift = 256
	// maxTried is how many bytes are hashed at most in such searches, so that input
	// made for it cannot keep a verifier busy for hours.
	maxTried = 256 << 20
)

// segment is a row of events of which each names the one before it. In a whole run
// there is one segment; where something was removed, written anew or put in, there
// are several.
type segment struct {
	rows []int
	// base is the true number of its first event, 0 if none can be found.
	base uint64
}

// diagnosis is the work on one damaged run.
type diagnosis struct {
	run  string
	rows []Entry // the events that are there, as they stand
	// known is the highest number of which anything remains.
	known uint64
	// place is the row at each true number, and home its inverse.
	place    map[uint64]int
	home     []uint64
	segment  []int // of each row
	tried    int   // bytes hashed in searches
	findings []Finding
}

// diagnose says what was done to the rows of a run, which are in the order of the
// log and of which at least one does not fit. It trusts the links more than the
// numbers: a hash names the run, the number and the event before, so that an event
// that was moved still says where it belongs.
func diagnose(run string, entries []Entry) []Finding {
	d := &diagnosis{run: run, place: map[uint64]int{}}
	for _, e := range entries {
		if e.Body == nil {
			d.known = max(d.known, e.Seq)
			continue
		}
		d.rows = append(d.rows, e)
	}
	d.home = make([]uint64, len(d.rows))
	d.segment = make([]int, len(d.rows))
	d.put(d.segments())
	d.walk()
	d.strangers()
	d.order()
	return d.findings
}

// hashAs is what an event's hash would be with another number.
func (d *diagnosis) hashAs(row int, seq uint64) [32]byte {
	return Hash(d.run, seq, d.rows[row].Prev, d.rows[row].Body)
}

// intactAs tells whether an event's hash fits its content with a number.
func (d *diagnosis) intactAs(row int, seq uint64) bool {
	return d.rows[row].Run == d.run && d.hashAs(row, seq) == d.rows[row].Hash
}

// segments follows the links. Where two events name the same one before them, the
// longer line goes on and the other starts a segment of its own.
func (d *diagnosis) segments() []segment {
	byHash := map[[32]byte]int{}
	for i := len(d.rows) - 1; i >= 0; i-- {
		// The stored hash may be what was changed, so the true one counts as well.
		byHash[d.hashAs(i, d.rows[i].Seq)] = i
		byHash[d.rows[i].Hash] = i
	}
	before := make([]int, len(d.rows))
	after := make([][]int, len(d.rows))
	for i, row := range d.rows {
		before[i] = -1
		if p, ok := byHash[row.Prev]; ok && p != i {
			before[i] = p
			after[p] = append(after[p], i)
		}
	}
	lengths := d.lengths(before, after)
	var segments []segment
	seen := make([]bool, len(d.rows))
	var heads []int
	for i := range d.rows {
		if before[i] < 0 {
			heads = append(heads, i)
		}
	}
	follow := func(i int) {
		var s segment
		for i >= 0 && !seen[i] {
			seen[i] = true
			s.rows = append(s.rows, i)
			next := -1
			for _, c := range after[i] {
				if next < 0 || lengths[c] > lengths[next] {
					next = c
				}
			}
			for _, c := range after[i] {
				if c != next {
					heads = append(heads, c)
				}
			}
			i = next
		}
		if len(s.rows) > 0 {
			segments = append(segments, s)
		}
	}
	for n := 0; n < len(heads); n++ {
		follow(heads[n])
	}
	for i := range d.rows { // links that were forged into a ring have no head
		follow(i)
	}
	return segments
}

// lengths is how many events follow each one, itself included, along its longest
// line. Events in a forged ring keep 0.
func (d *diagnosis) lengths(before []int, after [][]int) []int {
	lengths := make([]int, len(before))
	open := make([]int, len(before))
	var ends []int
	for i := range before {
		if open[i] = len(after[i]); open[i] == 0 {
			lengths[i] = 1
			ends = append(ends, i)
		}
	}
	for n := 0; n < len(ends); n++ {
		p := before[ends[n]]
		if p < 0 {
			continue
		}
		lengths[p] = max(lengths[p], lengths[ends[n]]+1)
		if open[p]--; open[p] == 0 {
			ends = append(ends, p)
		}
	}
	return lengths
}

// locate finds the true number of a segment's first event: from an event whose hash
// fits its number, from the run's genesis, or by trying numbers.
func (d *diagnosis) locate(s segment) uint64 {
	for i, row := range s.rows {
		if seq := d.rows[row].Seq; seq > uint64(i) && d.intactAs(row, seq) {
			return seq - uint64(i)
		}
	}
	first := d.rows[s.rows[0]]
	if first.Prev == Genesis(d.run, PlanDigest(first.Body)) {
		return 1
	}
	limit := uint64(len(d.rows) + maxShift)
	for i, row := range s.rows[:min(len(s.rows), 4)] {
		for seq := uint64(i) + 1; seq <= limit && d.tried < maxTried; seq++ {
			d.tried += len(d.rows[row].Body) + 100
			if d.intactAs(row, seq) {
				return seq - uint64(i)
			}
		}
	}
	return 0
}

// put gives the segments their places, the longest first: of two that want the same
// place the shorter one is a stranger.
func (d *diagnosis) put(segments []segment) {
	for i := range segments {
		segments[i].base = d.locate(segments[i])
	}
	slices.SortStableFunc(segments, func(a, b segment) int { return cmp.Compare(len(b.rows), len(a.rows)) })
	for n, s := range segments {
		free := s.base > 0 && s.base < math.MaxInt64
		for i := range s.rows {
			_, taken := d.place[s.base+uint64(i)]
			free = free && !taken
		}
		if !free {
			continue
		}
		for i, row := range s.rows {
			seq := s.base + uint64(i)
			d.place[seq], d.home[row], d.segment[row] = row, seq, n
			d.known = max(d.known, seq)
		}
	}
}

// walk goes through the true numbers and names what is changed or missing.
func (d *diagnosis) walk() {
	for _, seq := range d.numbers() {
		row, here := d.place[seq.first]
		if !here {
			d.missing(seq.first, seq.last)
			continue
		}
		if !d.intactAs(row, seq.first) {
			d.add(Changed, seq.first, seq.first, d.rows[row].Index, "its hash is not the hash of its content")
			continue
		}
		d.checkLink(row, seq.first)
	}
}

// span is a row of numbers.
type span struct{ first, last uint64 }

// numbers gives each number that has a row by itself and each gap as a whole, in
// order, up to the highest known one.
func (d *diagnosis) numbers() []span {
	var taken []uint64
	for seq := range d.place {
		taken = append(taken, seq)
	}
	slices.Sort(taken)
	var spans []span
	next := uint64(1)
	for _, seq := range taken {
		if seq > next {
			spans = append(spans, span{next, seq - 1})
		}
		spans = append(spans, span{seq, seq})
		next = seq + 1
	}
	if d.known >= next {
		spans = append(spans, span{next, d.known})
	}
	return spans
}

// checkLink holds an intact event against the one before it. If that one is intact
// too and yet not the one it names, that one was written anew, hash and all.
func (d *diagnosis) checkLink(row int, seq uint64) {
	if seq == 1 {
		if d.rows[row].Prev != Genesis(d.run, PlanDigest(d.rows[row].Body)) {
			d.add(Changed, 1, 1, d.rows[row].Index, "its link is not the genesis of the run and its plan")
		}
		return
	}
	prev, ok := d.place[seq-1]
	if ok && d.segment[prev] != d.segment[row] && d.intactAs(prev, seq-1) {
		d.add(Changed, seq-1, seq-1, d.rows[prev].Index, "it was written anew: the event after it names another hash")
	}
}

// missing names a gap: an unlocated event with a number in it was written over the
// one that belongs there.
func (d *diagnosis) missing(first, last uint64) {
	written := map[uint64]int{}
	for row, e := range d.rows {
		if _, twice := written[e.Seq]; d.home[row] == 0 && e.Seq >= first && e.Seq <= last && !twice {
			written[e.Seq] = row
		}
	}
	for _, seq := range slices.Sorted(maps.Keys(written)) {
		if seq > first {
			d.gap(first, seq-1)
		}
		row := written[seq]
		d.home[row] = seq
		d.add(Changed, seq, seq, d.rows[row].Index, "neither its content nor its link is what was stored")
		first = seq + 1
	}
	if first <= last {
		d.gap(first, last)
	}
}

// gap names events that are not there: at the end of a run they are cut off.
func (d *diagnosis) gap(first, last uint64) {
	kind, detail := Removed, "the events around it do not follow each other"
	if last == d.known && len(d.rows) > 0 {
		kind, detail = CutOff, "the log has the end of the run, the journal has not"
	} else if len(d.rows) == 0 {
		detail = "the log has the run, the journal has not"
	}
	d.add(kind, first, last, Unlogged, detail)
}

// strangers names the rows that have no place in the chain.
func (d *diagnosis) strangers() {
	for row, seq := range d.home {
		if seq == 0 {
			d.add(Inserted, d.rows[row].Seq, d.rows[row].Seq, d.rows[row].Index, "it is not part of the run's chain")
		}
	}
}

// order names rows that stand, or are numbered, where another one was. That all
// numbers behind a gap or a stranger are shifted is no new order.
func (d *diagnosis) order() {
	var rows []int
	for row, seq := range d.home {
		if seq != 0 {
			rows = append(rows, row)
		}
	}
	d.misplaced(rows)
	slices.SortStableFunc(rows, func(a, b int) int { return cmp.Compare(d.rows[a].Seq, d.rows[b].Seq) })
	d.misplaced(rows)
}

// misplaced names the rows of a list that are not in the order of their true
// numbers.
func (d *diagnosis) misplaced(rows []int) {
	sorted := slices.SortedFunc(slices.Values(rows), func(a, b int) int { return cmp.Compare(d.home[a], d.home[b]) })
	for i, row := range rows {
		if row != sorted[i] {
			d.add(Reordered, d.home[row], d.home[row], d.rows[row].Index, fmt.Sprintf("it stands where event %d stood", d.home[sorted[i]]))
		}
	}
}

// add notes a finding.
func (d *diagnosis) add(kind Kind, first, last, index uint64, detail string) {
	d.findings = append(d.findings, Finding{Kind: kind, Run: d.run, Seq: first, Through: last, Index: index, Detail: detail})
}
