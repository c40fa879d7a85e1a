package record_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/journal/sqlite"
	"allclear.dev/allclear/internal/record"
	"allclear.dev/allclear/internal/run"
)

// TestPAE is the test vector of DSSE v1.0.
func TestPAE(t *testing.T) {
	got := string(record.PAE("http://example.com/HelloWorld", []byte("hello world")))
	if want := "DSSEv1 29 http://example.com/HelloWorld 11 hello world"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

type edKey ed25519.PrivateKey

func (k edKey) Sign(message []byte) ([]byte, string, error) {
	return ed25519.Sign(ed25519.PrivateKey(k), message), "demo", nil
}

func TestStatement(t *testing.T) {
	x := export(t)
	r, err := record.VerifyDir(x.dir, x.trust())
	if err != nil {
		t.Fatal(err)
	}
	payload, err := record.Statement(&r.State, r.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	var st struct {
		Type    string `json:"_type"`
		Subject []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
		PredicateType string `json:"predicateType"`
		Predicate     struct {
			Result     string           `json:"result"`
			Items      []map[string]any `json:"items"`
			Checkpoint string           `json:"checkpoint"`
		} `json:"predicate"`
	}
	if err := json.Unmarshal(payload, &st); err != nil {
		t.Fatal(err)
	}
	if st.Type != record.StatementType || st.PredicateType != record.PredicateType || st.Predicate.Result != "done" || len(st.Predicate.Items) != 3 ||
		st.Predicate.Checkpoint != r.Checkpoint.Text() || st.Subject[0].Digest["sha256"] != r.State.PlanDigest || st.Subject[3].Digest["sha256"] != digest(proofText) {
		t.Errorf("%s", payload)
	}
	seed := make([]byte, ed25519.SeedSize)
	key := ed25519.NewKeyFromSeed(seed)
	text, err := record.Envelope(payload, edKey(key))
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		PayloadType, Payload string
		Signatures           []struct{ KeyID, Sig string }
	}
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	body, err := base64.StdEncoding.DecodeString(e.Payload)
	if err != nil || !bytes.Equal(body, payload) || e.PayloadType != record.PayloadType || len(e.Signatures) != 1 {
		t.Fatalf("%v %s", err, text)
	}
	sig, err := base64.StdEncoding.DecodeString(e.Signatures[0].Sig)
	if err != nil || !ed25519.Verify(key.Public().(ed25519.PublicKey), record.PAE(record.PayloadType, body), sig) {
		t.Errorf("the signature does not hold: %v", err)
	}
	if text, err = record.Envelope(payload); err != nil || !bytes.Contains(text, []byte(`"signatures": []`)) {
		t.Errorf("unsigned: %v %s", err, text)
	}
	if _, err := record.Statement(&run.State{}, r.Checkpoint); err == nil {
		t.Error("a statement about nothing")
	}
}

// TestFromSQLite exports from the journal that runs are kept in.
func TestFromSQLite(t *testing.T) {
	ctx := context.Background()
	log, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "journal"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	fill(t, log, "r-1", history(t, "r-1"), false)
	fill(t, log, "r-2", history(t, "r-2"), true)
	dir := filepath.Join(t.TempDir(), "bundle")
	if err := record.Export(ctx, log, "r-2", dir, sources()); err != nil {
		t.Fatal(err)
	}
	head, err := log.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r, err := record.VerifyDir(dir, record.Trust{Heads: []journal.Checkpoint{head}, Signature: checkSig})
	if err != nil || len(r.Findings) > 0 || len(r.Held) != 1 || r.Events != 6 {
		t.Errorf("%+v %v", r, err)
	}
}

// TestHostileTar: a tar file leads nowhere outside and makes nothing but files.
func TestHostileTar(t *testing.T) {
	for name, head := range map[string]tar.Header{
		"parent":   {Typeflag: tar.TypeReg, Name: "../out", Size: 1},
		"absolute": {Typeflag: tar.TypeReg, Name: "/out", Size: 1},
		"inner":    {Typeflag: tar.TypeReg, Name: "a/../../out", Size: 1},
		"link":     {Typeflag: tar.TypeSymlink, Name: "out", Linkname: "/etc"},
		"hard":     {Typeflag: tar.TypeLink, Name: "out", Linkname: "/etc/passwd"},
		"device":   {Typeflag: tar.TypeChar, Name: "out"},
		"empty":    {Typeflag: tar.TypeReg, Name: "", Size: 1},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&head); err != nil {
			t.Fatal(err)
		}
		if head.Size > 0 {
			if _, err := w.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		parent := t.TempDir()
		if err := record.Unpack(&b, filepath.Join(parent, "in")); err == nil {
			t.Errorf("%s was unpacked", name)
		}
		if _, err := os.Lstat(filepath.Join(parent, "out")); err == nil {
			t.Errorf("%s got out", name)
		}
	}
}

// TestLinksAreNotFollowed: a bundle's files may not be links to elsewhere.
func TestLinksAreNotFollowed(t *testing.T) {
	x := export(t)
	outside := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(outside, []byte(listText), 0o600); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(x.dir, "checklist.md")
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, name); err != nil {
		t.Fatal(err)
	}
	if r, err := record.VerifyDir(x.dir, x.trust()); err == nil && len(r.Findings) == 0 {
		t.Error("the link was followed")
	}
}

// FuzzVerify reads bundles that come from anybody: no panic, no hang.
func FuzzVerify(f *testing.F) {
	f.Add([]byte("{}"), []byte("{}\n"))
	f.Add([]byte(`{"schema":"allclear.bundle.v1"}`), []byte(`{"index":0,"leaf":""}`))
	f.Fuzz(func(t *testing.T, header, events []byte) {
		bundle := fstest.MapFS{"bundle.json": {Data: header}, "events.jsonl": {Data: events}}
		r, err := record.Verify(bundle, record.Trust{})
		if err == nil && len(r.Findings) == 0 {
			t.Errorf("taken for good: %s\n%s", header, events)
		}
	})
}

// TestHostileEvents: events in a chain that holds may still be nonsense.
func TestHostileEvents(t *testing.T) {
	ctx := context.Background()
	for _, bodies := range [][]string{
		{`{"plan":{"items":[{"applies":"yes","gate":"p","id":"a","kind":"watch"}],"phases":[{"id":"p"}]},"run":"r","type":"run.started"}`},
		{`{"plan":{},"run":"r","type":"run.started"}`, `{"reason":"x","type":"rollback.started"}`},
		{`{"plan":{},"run":"other","type":"run.started"}`},
		{`{"plan":{},"plan_digest":"00","run":"r","type":"run.started"}`},
		{`{"future":1,"plan":{},"run":"r","type":"run.started"}`},
	} {
		log := journal.NewMemory()
		for i, body := range bodies {
			canonical, err := journal.Canonical(json.RawMessage(body))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := log.Append(ctx, "r", uint64(i), 1, canonical); err != nil {
				t.Fatal(err)
			}
		}
		dir := filepath.Join(t.TempDir(), "b")
		if err := record.Export(ctx, log, "r", dir, sources()); err != nil {
			continue // refused already
		}
		r, err := record.VerifyDir(dir, record.Trust{})
		if err != nil || len(r.Findings) == 0 {
			t.Errorf("%v: %v %v", bodies, r.Findings, err)
		}
	}
	if _, err := record.Verify(fstest.MapFS{}, record.Trust{}); err == nil {
		t.Error("nothing is a bundle")
	}
	if _, err := record.Verify(fstest.MapFS{"bundle.json": {Mode: fs.ModeNamedPipe}}, record.Trust{}); err == nil {
		t.Error("a pipe is a bundle")
	}
}

// TestAdopted: a release that was recorded as live without a run has no checklist.
func TestAdopted(t *testing.T) {
	log := journal.NewMemory()
	p := &run.Plan{Project: "tulia", Environment: "production", Config: digest(configText)}
	fill(t, log, "r", []run.Event{{Type: run.RunStarted, Run: "r", Plan: p, PlanDigest: p.Digest(), Actor: "eve"}, {Type: run.RunClosed}}, false)
	dir := filepath.Join(t.TempDir(), "adopted")
	src := sources()
	src.Checklist = nil
	if err := record.Export(context.Background(), log, "r", dir, src); err != nil {
		t.Fatal(err)
	}
	if r, err := record.VerifyDir(dir, record.Trust{}); err != nil || len(r.Findings) > 0 {
		t.Errorf("%v %v", r.Findings, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "checklist.md"), []byte(listText), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := record.VerifyDir(dir, record.Trust{}); err != nil || len(r.Findings) != 1 || r.Findings[0].Kind != record.Extra {
		t.Errorf("%v %v", r.Findings, err)
	}
}
