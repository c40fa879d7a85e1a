// Package report holds the types that read the reports of other tools: tests,
// coverage.
package report

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

const (
	// maxFile bounds one report and maxFiles how many a pattern may match.
	maxFile, maxFiles = 64 << 20, 2000
)

// file is a report as it was read.
type file struct {
	path string
	text []byte
	at   time.Time
}

// read gives the files that match the patterns, sorted, each once. A pattern
// without a match is an error: a report that is not there proves nothing.
func read(ctx context.Context, host check.Host, patterns []string) ([]file, error) {
	var paths []string
	for _, pattern := range patterns {
		found, err := host.Glob(ctx, pattern)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("no file matches %s", pattern)
		}
		paths = append(paths, found...)
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	if len(paths) > maxFiles {
		return nil, fmt.Errorf("more than %d files match", maxFiles)
	}
	var out []file
	for _, path := range paths {
		info, err := host.Lstat(ctx, path)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		if info.Mode&fs.ModeSymlink != 0 {
			return nil, fmt.Errorf("read %s: it is a link, whose age is not that of the report", path)
		}
		text, err := host.ReadFile(ctx, path, maxFile)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		out = append(out, file{path: path, text: text, at: info.ModTime})
	}
	return out, nil
}

// digests notes the sha256 of every file, and one over all when there are many.
func digests(files []file, facts map[string]string) {
	const most = 20
	all := sha256.New()
	for i, f := range files {
		sum := sha256.Sum256(f.text)
		_, _ = io.WriteString(all, f.path+" "+hex.EncodeToString(sum[:])+"\n")
		if i < most {
			facts["sha256."+f.path] = hex.EncodeToString(sum[:])
		}
	}
	if len(files) > most {
		facts["sha256.all"] = hex.EncodeToString(all.Sum(nil))
	}
	facts["files"] = strconv.Itoa(len(files))
}

// stale describes the first file that is too old; empty when none is. A file with
// a date in the future has no age that could be judged.
func stale(files []file, age time.Duration, now time.Time) (string, error) {
	for _, f := range files {
		switch old := now.Sub(f.at); {
		case age == 0:
		case old < -time.Minute: // clocks differ a little
			return "", fmt.Errorf("%s was written %s in the future: a clock is wrong", f.path, (-old).Round(time.Second))
		case old > age:
			return fmt.Sprintf("%s is %s old, want at most %s", f.path, old.Round(time.Minute), age), nil
		}
	}
	return "", nil
}

// sameCommit tells whether two names of a commit agree; one may be shortened to
// no fewer than 7 characters.
func sameCommit(a, b string) bool {
	a, b = strings.ToLower(strings.TrimSpace(a)), strings.ToLower(strings.TrimSpace(b))
	if len(a) > len(b) {
		a, b = b, a
	}
	return len(a) >= 7 && strings.HasPrefix(b, a)
}

// sidecar reads the commit that stands in a file beside the report.
func sidecar(ctx context.Context, host check.Host, path string) (string, error) {
	text, err := host.ReadFile(ctx, path+".commit", 1000)
	if err != nil {
		return "", fmt.Errorf("the commit of %s is not known: no property names it, and %s.commit cannot be read: %w", path, path, err)
	}
	return strings.TrimSpace(string(text)), nil
}
