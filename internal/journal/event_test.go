package journal_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"allclear.dev/allclear/internal/journal"
)

// The vectors were made with printf and sha256sum, not with this package:
//
//	printf 'allclear.genesis.v1\nr1\nsha256:ab' | sha256sum
//	printf 'allclear.event.v1\nr1\n1\n%s\n{"plan_digest":"sha256:ab"}' $GENESIS | sha256sum
func TestVectors(t *testing.T) {
	genesis := journal.Genesis("r1", "sha256:ab")
	if got := hex.EncodeToString(genesis[:]); got != genesisVector {
		t.Errorf("genesis is %s", got)
	}
	hash := journal.Hash("r1", 1, genesis, []byte(`{"plan_digest":"sha256:ab"}`))
	if got := hex.EncodeToString(hash[:]); got != hashVector {
		t.Errorf("hash is %s", got)
	}
	leaf := journal.Leaf(hash)
	if want := sha256.Sum256(append([]byte{0}, hash[:]...)); leaf != want {
		t.Errorf("leaf is %x", leaf)
	}
}

func TestPlanDigest(t *testing.T) {
	for body, want := range map[string]string{
		`{"plan_digest":"sha256:ab"}`:       "sha256:ab",
		`{"PLAN_DIGEST":"sha256:ab"}`:       "",
		`{"a":{"plan_digest":"sha256:ab"}}`: "",
		`{"plan_digest":1}`:                 "",
		`["plan_digest"]`:                   "",
		`{"plan_digest"`:                    "",
		`{}`:                                "",
	} {
		if got := journal.PlanDigest([]byte(body)); got != want {
			t.Errorf("%s: %q", body, got)
		}
	}
}

// TestTree compares the right edge with tlog's own algorithms at every size.
func TestTree(t *testing.T) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range indexes {
			out = append(out, stored[i])
		}
		return out, nil
	})
	tree := &journal.Tree{}
	for n := range int64(300) {
		want, err := tlog.TreeHash(n, reader)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 && tree.Root() != want {
			t.Fatalf("root of %d is not tlog's", n)
		}
		restored, err := journal.RestoreTree(uint64(n), reader)
		if err != nil || restored.Root() != tree.Root() || restored.Size() != tree.Size() {
			t.Fatalf("restored tree of %d differs: %v", n, err)
		}
		if got := journal.StoredCount(uint64(n)); got != uint64(len(stored)) {
			t.Fatalf("count for %d is %d, %d are stored", n, got, len(stored))
		}
		event := sha256.Sum256([]byte{byte(n), byte(n >> 8)})
		hashes, err := tlog.StoredHashes(n, event[:], reader)
		if err != nil {
			t.Fatal(err)
		}
		got := tree.Add(journal.Leaf(event))
		for i := range hashes {
			if i >= len(got) || got[i] != hashes[i] {
				t.Fatalf("hashes of leaf %d are not tlog's", n)
			}
		}
		stored = append(stored, hashes...)
	}
}

func TestProofsNeverPanic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Uint64()
		path := make([][32]byte, rapid.IntRange(0, 70).Draw(t, "path"))
		head := journal.Checkpoint{Size: size.Draw(t, "size")}
		proof := journal.Inclusion{Index: size.Draw(t, "index"), Size: head.Size, Path: path}
		if journal.CheckInclusion([32]byte{1}, proof, head) == nil {
			t.Fatal("a made-up proof holds")
		}
		old := journal.Checkpoint{Size: size.Draw(t, "old"), Root: [32]byte{1}}
		if journal.CheckConsistency(old, head, path) == nil {
			t.Fatal("a made-up proof holds")
		}
	})
}

func TestCheckpoint(t *testing.T) {
	head := journal.Checkpoint{Origin: "allclear.example.com/prod", Size: 20852163, Root: sha256.Sum256(nil)}
	const text = "allclear.example.com/prod\n20852163\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
	if got := head.Text(); got != text {
		t.Errorf("text is %q", got)
	}
	if got := head.String(); got != "log=20852163 root=e3b0c44298fc1c14" {
		t.Errorf("short form is %q", got)
	}
	if got, err := journal.ParseCheckpoint(text); err != nil || got != head {
		t.Errorf("parsed %v, %v", got, err)
	}
	for _, bad := range []string{
		"", "a\n1\n", "\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", strings.Replace(text, "20852163", "020852163", 1),
		strings.Replace(text, "20852163", "-1", 1), strings.Replace(text, "20852163", "18446744073709551616", 1),
		text + "extension\n", strings.TrimSuffix(text, "\n"), strings.Replace(text, "47DE", "47D", 1), strings.Repeat("x", 2000) + text,
	} {
		if got, err := journal.ParseCheckpoint(bad); err == nil {
			t.Errorf("%q parses as %v", bad, got)
		}
	}
}

func TestEventCheckNamesThePosition(t *testing.T) {
	events := journal.Chain("r1", journal.Tail{}, 3, [][]byte{[]byte(`{"n":1}`), []byte(`{"n":2}`)})
	if err := events[0].Check(journal.Tail{}); err != nil {
		t.Fatal(err)
	}
	if err := events[1].Check(events[0].Tail()); err != nil {
		t.Fatal(err)
	}
	bad := events[1]
	bad.Body = []byte(`{"n":3}`)
	var corrupt *journal.CorruptError
	if err := bad.Check(events[0].Tail()); !errors.As(err, &corrupt) || corrupt.Run != "r1" || corrupt.Seq != 2 {
		t.Errorf("a changed body: %v", err)
	}
	late := events[1]
	late.Epoch = 2
	if err := late.Check(events[0].Tail()); !errors.Is(err, journal.ErrCorrupt) {
		t.Errorf("an epoch that falls: %v", err)
	}
}

const (
	genesisVector = "5d3b55284bfb3920b74765b232fff654584f4bd940a81fa1f79f5339857dcbc3"
	hashVector    = "a62967430a551bff23c76a678dbd2bbe060bd870d1ef86417625c1ae2a4e9465"
)
