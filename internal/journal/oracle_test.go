package journal_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"allclear.dev/allclear/internal/journal"
)

// sound is the oracle: a second verifier that shares no code with the first, says
// only yes or no, and takes its time.
func sound(entries []journal.Entry, head journal.Checkpoint) bool {
	var leaves [][]byte
	last := map[string]journal.Entry{}
	for i, e := range entries {
		prev := sha256.Sum256([]byte("allclear.genesis.v1\n" + e.Run + "\n"))
		if strings.Contains(string(e.Body), `"plan_digest":"`) {
			digest := strings.Split(strings.Split(string(e.Body), `"plan_digest":"`)[1], `"`)[0]
			prev = sha256.Sum256([]byte("allclear.genesis.v1\n" + e.Run + "\n" + digest))
		}
		before := last[e.Run]
		if before.Seq > 0 {
			prev = before.Hash
		}
		text := fmt.Sprintf("allclear.event.v1\n%s\n%d\n%s\n%s", e.Run, e.Seq, hex.EncodeToString(e.Prev[:]), e.Body)
		if e.Index != uint64(i) || e.Seq != before.Seq+1 || e.Prev != prev || e.Hash != sha256.Sum256([]byte(text)) || e.Epoch < before.Epoch {
			return false
		}
		last[e.Run] = e
		leaves = append(leaves, e.Hash[:])
	}
	return head.Size <= uint64(len(leaves)) && string(merkle(leaves[:head.Size])) == string(head.Root[:])
}

// merkle is MTH as RFC 6962, section 2.1, defines it.
func merkle(leaves [][]byte) []byte {
	var sum [32]byte
	switch n := len(leaves); n {
	case 0:
		sum = sha256.Sum256(nil)
	case 1:
		sum = sha256.Sum256(append([]byte{0}, leaves[0]...))
	default:
		k := 1
		for 2*k < n {
			k *= 2
		}
		sum = sha256.Sum256(slices.Concat([]byte{1}, merkle(leaves[:k]), merkle(leaves[k:])))
	}
	return sum[:]
}

// TestVerifyAgainstOracle damages a log at random, up to three times.
func TestVerifyAgainstOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries, head := sample(t)
		for range rapid.IntRange(0, 3).Draw(t, "mutations") {
			if len(entries) < 2 {
				break
			}
			i := rapid.IntRange(0, len(entries)-1).Draw(t, "row")
			j := rapid.IntRange(0, len(entries)-1).Draw(t, "other row")
			e := &entries[i]
			switch rapid.IntRange(0, 11).Draw(t, "mutation") {
			case 0:
				e.Body[rapid.IntRange(0, len(e.Body)-1).Draw(t, "byte")] ^= 1
			case 1:
				e.Hash[3] ^= 4
			case 2:
				e.Prev[3] ^= 4
			case 3:
				e.Seq = rapid.Uint64().Draw(t, "seq")
			case 4:
				e.Run = entries[j].Run
			case 5:
				entries = slices.Delete(entries, i, i+1)
			case 6:
				entries = remove(entries, i)
			case 7:
				entries[i], entries[j] = entries[j], entries[i]
			case 8:
				entries[i].Event, entries[j].Event = entries[j].Event, entries[i].Event
			case 9:
				entries = slices.Insert(entries, i, entries[j])
			case 10:
				entries = entries[:i]
			case 11:
				e.Body = []byte(`{"n":1}`)
				rehash(e)
			}
			for i := range entries {
				entries[i].Body = slices.Clone(entries[i].Body)
			}
		}
		findings, err := journal.Verify(sequence(entries), head)
		if err != nil {
			t.Fatal(err)
		}
		if sound(entries, head) != (len(findings) == 0) {
			t.Fatalf("the oracle says %v, verify found %v", sound(entries, head), findings)
		}
	})
}
