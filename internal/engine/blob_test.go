package engine

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"allclear.dev/allclear/internal/secret"
)

// endless is a file without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// TestStoreBlob keeps evidence once, redacted before it is hashed.
func TestStoreBlob(t *testing.T) {
	dir := t.TempDir()
	redactor := secret.NewRedactor(nil)
	if err := redactor.Register(secret.New("hunter22hunter22")); err != nil {
		t.Fatal(err)
	}
	a, err := StoreBlob(dir, "out.txt", strings.NewReader("password hunter22hunter22 ok"), redactor)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(BlobPath(dir, a.SHA256))
	if err != nil || strings.Contains(string(text), "hunter22") || int64(len(text)) != a.Size {
		t.Fatalf("%v: %q, size %d", err, text, a.Size)
	}
	before, err := os.Stat(BlobPath(dir, a.SHA256))
	if err != nil {
		t.Fatal(err)
	}
	again, err := StoreBlob(dir, "other.txt", strings.NewReader("password hunter22hunter22 ok"), redactor)
	if err != nil || again.SHA256 != a.SHA256 || again.Name != "other.txt" {
		t.Fatalf("%v: %+v", err, again)
	}
	after, err := os.Stat(BlobPath(dir, a.SHA256))
	if err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Fatalf("%v: the same bytes were written twice", err)
	}
	digest, err := DigestBlob("out.txt", strings.NewReader("password hunter22hunter22 ok"), redactor)
	if err != nil || digest != a {
		t.Fatalf("%v: %+v, want %+v", err, digest, a)
	}
}

// TestStoreBlobBounds refuses evidence without an end and leaves nothing behind.
func TestStoreBlobBounds(t *testing.T) {
	dir := t.TempDir()
	_, err := StoreBlob(dir, "out.txt", endless{}, secret.NewRedactor(nil))
	if err == nil || !strings.Contains(err.Error(), "is longer than 67108864 bytes") {
		t.Fatalf("got %v", err)
	}
	_, err = StoreBlob(dir, "out.txt", io.MultiReader(strings.NewReader("half"), iotest.ErrReader(errors.New("the disk is gone"))), secret.NewRedactor(nil))
	if err == nil || !strings.Contains(err.Error(), "write blob: the disk is gone") {
		t.Fatalf("got %v", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".new-*"))
	if err != nil || len(left) != 0 {
		t.Fatalf("%v: left behind %v", err, left)
	}
}
