// Package document holds the types that look at the documents of a repository: its
// changelog, runbooks, plans.
package document

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// maxDocument bounds one document, in bytes.
const maxDocument = 4 << 20

// readDocument reads a file of the checkout. One that is not there is
// fs.ErrNotExist.
func readDocument(ctx context.Context, env *check.Env, path string) ([]byte, error) {
	host, err := env.Host("")
	if err != nil {
		return nil, err
	}
	text, err := host.ReadFile(ctx, path, maxDocument)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return text, err
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// cut shortens what a reason or fact quotes.
func cut(text string) string {
	const most = 2000
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// first joins the beginning of a list for a reason.
func first(list []string) string {
	const most = 10
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
	}
	return strings.Join(list, ", ")
}
