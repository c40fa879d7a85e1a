package transport

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/bmatcuk/doublestar/v4"

	"allclear.dev/allclear/internal/check"
)

// maxGlob bounds how many paths a pattern may match.
const maxGlob = 100_000

// ReadFile gives a regular file's content, at most limit bytes.
func (l *Local) ReadFile(ctx context.Context, path string, limit int64) ([]byte, error) {
	return await(ctx, "read "+path, func() ([]byte, error) { return readFile(l.path(path), path, limit) })
}

func readFile(full, path string, limit int64) ([]byte, error) {
	// Without O_NONBLOCK, opening a named pipe waits for somebody to write to it.
	f, err := os.OpenFile(full, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s: longer than %d bytes", path, limit)
	}
	return data, nil
}

// Lstat describes a file without following a link.
func (l *Local) Lstat(ctx context.Context, path string) (check.FileInfo, error) {
	return await(ctx, "look at "+path, func() (check.FileInfo, error) { return lstat(l.path(path), path) })
}

func lstat(full, path string) (check.FileInfo, error) {
	info, err := os.Lstat(full)
	if err != nil {
		return check.FileInfo{}, err
	}
	out := check.FileInfo{Path: path, Mode: info.Mode(), Size: info.Size(), ModTime: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		out.Owner, out.Group = strconv.FormatUint(uint64(st.Uid), 10), strconv.FormatUint(uint64(st.Gid), 10)
		if u, err := user.LookupId(out.Owner); err == nil {
			out.Owner = u.Username
		}
		if g, err := user.LookupGroupId(out.Group); err == nil {
			out.Group = g.Name
		}
	}
	return out, nil
}

// Glob lists the paths that match a pattern, relative to Dir unless the pattern
// is absolute. Links are not followed, and a folder that cannot be read is an
// error: the list would otherwise be short without anybody noticing.
func (l *Local) Glob(ctx context.Context, pattern string) ([]string, error) {
	return await(ctx, "list "+pattern, func() ([]string, error) { return glob(ctx, l.Dir, pattern) })
}

func glob(ctx context.Context, dir, pattern string) ([]string, error) {
	if !doublestar.ValidatePathPattern(pattern) {
		return nil, fmt.Errorf("pattern %q: %w", pattern, doublestar.ErrBadPattern)
	}
	base, prefix := dir, ""
	if filepath.IsAbs(pattern) {
		base, prefix = "/", "/"
	}
	inside := strings.TrimPrefix(filepath.Clean(pattern), "/")
	if inside == ".." || strings.HasPrefix(inside, "../") {
		return nil, fmt.Errorf("pattern %q: leaves the checkout: write the whole path", pattern)
	}
	var found []string
	err := doublestar.GlobWalk(os.DirFS(base), inside, func(path string, _ fs.DirEntry) error {
		if len(found) == maxGlob {
			return fmt.Errorf("matches more than %d paths", maxGlob)
		}
		found = append(found, prefix+path)
		return ctx.Err()
	}, doublestar.WithNoFollow(), doublestar.WithFailOnIOErrors())
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	slices.Sort(found)
	return found, nil
}

// await gives up when ctx ends, even where the kernel does not answer (a network
// file system whose server is gone).
func await[T any](ctx context.Context, what string, do func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	done := make(chan answer, 1)
	go func() {
		value, err := do()
		done <- answer{value, err}
	}()
	select {
	case a := <-done:
		return a.value, a.err
	case <-ctx.Done():
		return none, fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
}
