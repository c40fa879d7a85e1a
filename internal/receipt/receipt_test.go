package receipt_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/receipt"
)

const key = "allclear/r-1/an.item"

func world(t *testing.T) *check.Env {
	t.Helper()
	return &check.Env{Now: time.Now, DataDir: t.TempDir(), Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
}

func open(t *testing.T, e *check.Env) *receipt.Book {
	t.Helper()
	b, err := receipt.Open(t.Context(), e, key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func file(t *testing.T, e *check.Env) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(e.DataDir, "receipts", "*.jsonl"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	return found[0]
}

func TestBook(t *testing.T) {
	e := world(t)
	if none, err := receipt.Read(e, key); err != nil || len(none) != 0 {
		t.Fatal(none, err)
	}
	b := open(t, e)
	for _, err := range []error{b.Put("a", receipt.Sending, nil), b.Put("a", receipt.Taken, map[string]string{"id": "7"}), b.Put("b", receipt.Sending, nil)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	waiting, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := receipt.Open(waiting, e, key); err == nil || !strings.Contains(err.Error(), "wait for another process") {
		t.Errorf("two processes have one book: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := receipt.Read(e, key)
	if err != nil || entries["a"].State != receipt.Taken || entries["a"].Facts["id"] != "7" || entries["b"].State != receipt.Sending {
		t.Errorf("read %v, %v", entries, err)
	}
	if none, err := receipt.Read(e, "allclear/r-2/an.item"); err != nil || len(none) != 0 {
		t.Errorf("another run has %v, %v", none, err)
	}
	if _, err := receipt.Open(t.Context(), e, ""); err == nil {
		t.Error("a book without a key")
	}
}

// TestCut proves that a line that was cut off does not hide what stood before it,
// and that other damage is never taken for "nothing was sent".
func TestCut(t *testing.T) {
	e := world(t)
	b := open(t, e)
	if err := b.Put("a", receipt.Sending, nil); err != nil {
		t.Fatal(err)
	}
	_ = b.Close()
	whole, err := os.ReadFile(file(t, e))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file(t, e), append(whole, `{"to":"a","state":"tak`...), 0o600); err != nil {
		t.Fatal(err)
	}
	b = open(t, e)
	if got, _ := b.Get("a"); got.State != receipt.Sending {
		t.Errorf("got %v", got)
	}
	if err := b.Put("a", receipt.Refused, nil); err != nil {
		t.Fatal(err)
	}
	_ = b.Close()
	if entries, err := receipt.Read(e, key); err != nil || entries["a"].State != receipt.Refused {
		t.Errorf("after a cut line: %v, %v", entries, err)
	}
	if err := os.WriteFile(file(t, e), append([]byte("junk\n"), whole...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := receipt.Read(e, key); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("damage is read as %v", err)
	}
	if _, err := receipt.Open(t.Context(), e, key); err == nil {
		t.Error("a damaged book is opened")
	}
}
