package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/secret"
)

// StoreBlob keeps content under dir/sha256/ab/abcd…, redacted before it is
// hashed. Content over 64 MiB is an error. Storing the same bytes twice keeps
// one file.
func StoreBlob(dir, name string, content io.Reader, redactor *secret.Redactor) (check.Artefact, error) {
	if err := os.MkdirAll(filepath.Join(dir, "sha256"), 0o700); err != nil {
		return check.Artefact{}, fmt.Errorf("create blob folder: %w", err)
	}
	tmp, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return check.Artefact{}, fmt.Errorf("create blob: %w", err)
	}
	defer removeQuietly(tmp.Name())
	defer tmp.Close()
	a, err := digestTo(tmp, name, content, redactor)
	if err != nil {
		return check.Artefact{}, err
	}
	if info, err := os.Stat(BlobPath(dir, a.SHA256)); err == nil && info.Size() == a.Size {
		return a, nil // the same bytes, durable since they were kept
	}
	return a, keepBlob(dir, tmp, a.SHA256)
}

// DigestBlob is StoreBlob without keeping the content.
func DigestBlob(name string, content io.Reader, redactor *secret.Redactor) (check.Artefact, error) {
	return digestTo(io.Discard, name, content, redactor)
}

// digestTo writes content, redacted, and gives its name, digest and size.
func digestTo(w io.Writer, name string, content io.Reader, redactor *secret.Redactor) (check.Artefact, error) {
	hash := sha256.New()
	size := counter(0)
	redacting := redactor.Writer(io.MultiWriter(w, hash, &size))
	n, err := io.Copy(redacting, io.LimitReader(content, maxArtefact+1))
	if err != nil {
		return check.Artefact{}, fmt.Errorf("write blob: %w", err)
	}
	if n > maxArtefact {
		return check.Artefact{}, fmt.Errorf("%s is longer than %d bytes", name, maxArtefact)
	}
	if err := redacting.Close(); err != nil {
		return check.Artefact{}, fmt.Errorf("write blob: %w", err)
	}
	return check.Artefact{Name: name, SHA256: hex.EncodeToString(hash.Sum(nil)), Size: int64(size)}, nil
}

// counter counts bytes.
type counter int64

// Write counts.
func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// keepBlob gives a synced file its place. The names are synced too: a journal
// must not name evidence that a power cut takes away.
func keepBlob(dir string, tmp *os.File, digest string) error {
	if err := tmp.Sync(); err != nil {
		return fmt.Errorf("sync blob: %w", err)
	}
	path := BlobPath(dir, digest)
	folder := filepath.Dir(path)
	made := os.Mkdir(folder, 0o700)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return fmt.Errorf("create blob folder: %w", made)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("keep blob: %w", err)
	}
	if err := syncFolder(folder); err != nil {
		return err
	}
	if made == nil {
		return syncFolder(filepath.Dir(folder))
	}
	return nil
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync blob folder: %w", err)
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil {
		return fmt.Errorf("sync blob folder: %w", err)
	}
	return nil
}

// BlobPath is where a blob with this digest is kept.
func BlobPath(dir, digest string) string {
	if len(digest) < 2 {
		return filepath.Join(dir, "sha256", "__", digest)
	}
	return filepath.Join(dir, "sha256", digest[:2], digest)
}
