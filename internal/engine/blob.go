package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
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
	hash := sha256.New()
	redacting := redactor.Writer(io.MultiWriter(tmp, hash))
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
	return keepBlob(dir, name, tmp, hex.EncodeToString(hash.Sum(nil)))
}

func keepBlob(dir, name string, tmp *os.File, digest string) (check.Artefact, error) {
	size, err := tmp.Seek(0, io.SeekEnd)
	if err != nil {
		return check.Artefact{}, fmt.Errorf("write blob: %w", err)
	}
	if err := tmp.Sync(); err != nil {
		return check.Artefact{}, fmt.Errorf("sync blob: %w", err)
	}
	path := BlobPath(dir, digest)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return check.Artefact{}, fmt.Errorf("create blob folder: %w", err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return check.Artefact{}, fmt.Errorf("keep blob: %w", err)
	}
	return check.Artefact{Name: name, SHA256: digest, Size: size}, nil
}

// BlobPath is where a blob with this digest is kept.
func BlobPath(dir, digest string) string {
	if len(digest) < 2 {
		return filepath.Join(dir, "sha256", "__", digest)
	}
	return filepath.Join(dir, "sha256", digest[:2], digest)
}
