// Package record exports a run as one directory, the bundle, and verifies bundles
// offline: with nothing but the bundle, the heads of the log that are known from
// elsewhere, and the keys of the people.
//
// A bundle holds
//
//	bundle.json              what it is: run, plan, end of the run, heads of the log
//	events.jsonl             the run's events and, between them, the bare leaves of others
//	checklist.md             the checklist that the run was started with
//	allclear.yaml            the configuration that it was started with
//	evidence/sha256/DIGEST   the artefacts
//	signatures/SEQ.statement what was signed by the event with this number
//	signatures/SEQ.sig       the signature, as ssh-keygen -Y verify takes it
//
// Nothing in it is trusted: the events are in a hash chain and are leaves of a
// Merkle log, the log's heads are recomputed, the state is derived again from the
// events, and everything else is held against digests in the events. Both JSON
// files have one form only, so that no byte of a bundle can change unseen.
//
// The package is pure but for the files of the bundle.
package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/run"
)

// Schema names the form of a bundle.
const Schema = "allclear.bundle.v1"

// The files of a bundle.
const (
	headerFile    = "bundle.json"
	eventsFile    = "events.jsonl"
	checklistFile = "checklist.md"
	configFile    = "allclear.yaml"
	evidenceDir   = "evidence/sha256/"
	signatureDir  = "signatures/"
)

const (
	maxHeader = 4 << 20
	maxEvents = 512 << 20
	maxFile   = 64 << 20
	maxLine   = journal.MaxBody + 2048
)

// header is bundle.json.
type header struct {
	Schema string `json:"schema"`
	Run    string `json:"run"`
	Plan   string `json:"plan_sha256"`
	// Events and Tail are the number and the hash of the run's last event.
	Events uint64 `json:"events"`
	Tail   string `json:"tail"`
	// First is the index of the run's first event in the log, and Before the right
	// edge of the log in front of it: the complete subtrees, the smallest first.
	First  uint64   `json:"first_index"`
	Before []string `json:"before"`
	// Checkpoint is the log's head behind the run's last event, in the text form of
	// C2SP tlog-checkpoint.
	Checkpoint string `json:"checkpoint"`
	// Anchors are heads that were known elsewhere, each with the proof that it and
	// the checkpoint are heads of one log.
	Anchors []anchor `json:"anchors"`
}

type anchor struct {
	Size  uint64   `json:"size"`
	Root  string   `json:"root"`
	Proof []string `json:"consistency"`
}

func (h *header) encode() ([]byte, error) {
	text, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode header: %w", err)
	}
	return append(text, '\n'), nil
}

func decodeHeader(text []byte) (header, error) {
	var h header
	if err := json.Unmarshal(text, &h); err != nil {
		return h, fmt.Errorf("read %s: %w", headerFile, err)
	}
	again, err := h.encode()
	if err != nil {
		return h, err
	}
	if !bytes.Equal(again, text) {
		return h, fmt.Errorf("%s is not written as allclear writes it", headerFile)
	}
	if h.Schema != Schema {
		return h, fmt.Errorf("%s has the schema %q, want %q", headerFile, h.Schema, Schema)
	}
	return h, journal.CheckRun(h.Run)
}

// line is one line of events.jsonl: an event of the run, or the leaf of another
// run's event.
type line struct {
	Seq   uint64          `json:"seq,omitempty"`
	Index uint64          `json:"index"`
	Prev  string          `json:"prev,omitempty"`
	Hash  string          `json:"hash,omitempty"`
	Leaf  string          `json:"leaf"`
	Body  json.RawMessage `json:"body,omitempty"`
}

// encode writes the body as it is, byte for byte: it is canonical JSON.
func (l *line) encode() []byte {
	if l.Seq == 0 {
		return fmt.Appendf(nil, `{"index":%d,"leaf":"%s"}`+"\n", l.Index, l.Leaf)
	}
	out := fmt.Appendf(nil, `{"seq":%d,"index":%d,"prev":"%s","hash":"%s","leaf":"%s","body":`, l.Seq, l.Index, l.Prev, l.Hash, l.Leaf)
	return append(append(out, l.Body...), "}\n"...)
}

func lineOf(e journal.Entry, own bool) line {
	leaf := journal.Leaf(e.Hash)
	if !own {
		return line{Index: e.Index, Leaf: hex.EncodeToString(leaf[:])}
	}
	return line{
		Seq: e.Seq, Index: e.Index, Prev: hex.EncodeToString(e.Prev[:]), Hash: hex.EncodeToString(e.Hash[:]),
		Leaf: hex.EncodeToString(leaf[:]), Body: e.Body,
	}
}

// decodeLine reads a line. It must be written exactly as encode writes it.
func decodeLine(text []byte, runID string) (journal.Entry, error) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return journal.Entry{}, fmt.Errorf("read line: %w", err)
	}
	if !bytes.Equal(l.encode(), append(bytes.Clone(text), '\n')) {
		return journal.Entry{}, errors.New("the line is not written as allclear writes it")
	}
	leaf, err := decodeHash(l.Leaf)
	e := journal.Entry{Index: l.Index, Leaf: leaf[:]}
	if err != nil || l.Seq == 0 {
		return e, err
	}
	e.Run, e.Seq, e.Body = runID, l.Seq, l.Body
	if e.Prev, err = decodeHash(l.Prev); err != nil {
		return e, err
	}
	if e.Hash, err = decodeHash(l.Hash); err != nil {
		return e, err
	}
	return e, journal.CheckCanonical(e.Body)
}

func decodeHash(text string) ([sha256.Size]byte, error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != sha256.Size || hex.EncodeToString(raw) != text {
		return [sha256.Size]byte{}, fmt.Errorf("%.80q is not a SHA-256 in lower-case hexadecimal", text)
	}
	return [sha256.Size]byte(raw), nil
}

func decodeHashes(texts []string) ([][sha256.Size]byte, error) {
	out := make([][sha256.Size]byte, len(texts))
	for i, text := range texts {
		var err error
		if out[i], err = decodeHash(text); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func encodeHashes(in [][sha256.Size]byte) []string {
	out := make([]string, len(in))
	for i := range in {
		out[i] = hex.EncodeToString(in[i][:])
	}
	return out
}

// decodeEvent reads an event's body. A member that this version does not know is
// an error: what is not understood is not verified.
func decodeEvent(body []byte) (run.Event, error) {
	var e run.Event
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil {
		return e, fmt.Errorf("decode event: %w", err)
	}
	return e, nil
}

// Origin is the name of an environment's log in its checkpoints.
func Origin(p *run.Plan) string {
	return "allclear/" + url.PathEscape(p.Project) + "/" + url.PathEscape(p.Environment)
}
