package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// notebook keeps a look for a later item of the same run: a file in the data
// folder, and its digest as a fact.
type notebook struct {
	env  *check.Env
	fact string
}

func (n notebook) path(sum string) string {
	return filepath.Join(n.env.DataDir, "postgres", "statements-"+sum+".json")
}

// write keeps a look and gives the fact that stands for it.
func (n notebook) write(l look) (map[string]string, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(text)
	sum := hex.EncodeToString(digest[:])
	path := n.path(sum)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("take down the counters: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return nil, fmt.Errorf("take down the counters: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("take down the counters: %w", err), os.Remove(f.Name()))
	}
	return map[string]string{n.fact: sum}, nil
}

// read gives what was taken down in this run. What is not there, or not as it was
// written, is an error.
func (n notebook) read() (look, error) {
	var l look
	sum, ok := n.env.Ledger.Fact(n.fact)
	if !ok {
		return l, &check.NotSupplied{What: "what the counters were before (fact " + n.fact + ", set by look: before)"}
	}
	if len(sum) != 2*sha256.Size || strings.Trim(sum, "0123456789abcdef") != "" {
		return l, fmt.Errorf("read fact %s: %.80q is not a digest", n.fact, sum)
	}
	text, err := os.ReadFile(n.path(sum))
	if err != nil {
		return l, fmt.Errorf("read what fact %s stands for: %w", n.fact, err)
	}
	if got := sha256.Sum256(text); hex.EncodeToString(got[:]) != sum {
		return l, fmt.Errorf("read what fact %s stands for: the file has been changed", n.fact)
	}
	if err := json.Unmarshal(text, &l); err != nil || l.Statements == nil {
		return l, fmt.Errorf("read what fact %s stands for: it cannot be read", n.fact)
	}
	return l, nil
}
