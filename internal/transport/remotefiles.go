package transport

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"allclear.dev/allclear/internal/check"
)

// maxList bounds what find may print, in bytes.
const maxList = 32 << 20

// tool runs a fixed script with arguments in the C locale, and turns what POSIX
// tools say about a path into the errors that Go has for it (the texts are those
// of strerror in every C library).
func (r *Remote) tool(ctx context.Context, what, script string, limit int64, args ...string) ([]byte, error) {
	dir := "" // paths are relative to where the login starts
	if r.dir != "" {
		dir = "/" // and whole otherwise: that dir is missing says nothing about them
	}
	result, err := r.Exec(ctx, check.Command{
		Argv: append([]string{"sh", "-c", script, "sh"}, args...), Dir: dir, Env: []string{"LC_ALL=C"}, Limit: max(limit, maxBefore),
	})
	if err != nil {
		return nil, err
	}
	if result.Code == 0 && result.Truncated {
		return nil, fmt.Errorf("%s on %s: the answer was cut", what, r.name)
	}
	if result.Code == 0 {
		return result.Stdout, nil
	}
	said := strings.TrimSpace(strings.ToValidUTF8(string(result.Stderr), "\uFFFD"))
	for text, known := range map[string]error{
		"No such file or directory": fs.ErrNotExist, "Not a directory": syscall.ENOTDIR, "Permission denied": fs.ErrPermission,
	} {
		if strings.HasSuffix(said, text) {
			return nil, fmt.Errorf("%s on %s: %w", what, r.name, known)
		}
	}
	return nil, fmt.Errorf("%s on %s: exit code %d: %s", what, r.name, result.Code, said[:min(len(said), maxSaid)])
}

// ReadFile gives a regular file's content, at most limit bytes.
func (r *Remote) ReadFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	// ls tells why a path cannot be looked at; the tests do not.
	const script = `[ -e "$1" ] || { ls -dL "$1" >/dev/null; exit 1; }
[ -f "$1" ] || { echo "not a regular file" >&2; exit 1; }
exec head -c "$2" <"$1"`
	text, err := r.tool(ctx, "read "+name, script, limit+1, r.path(name), strconv.FormatInt(limit+1, 10))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("read %s on %s: longer than %d bytes", name, r.name, limit)
	}
	if err != nil {
		return nil, err
	}
	return text, nil
}

// Lstat describes a file without following a link, by stat -c, which GNU and
// busybox share. Times are whole seconds.
func (r *Remote) Lstat(ctx context.Context, name string) (check.FileInfo, error) {
	text, err := r.tool(ctx, "look at "+name, `exec stat -c "%f %s %Y %u %g %U %G" "$1"`, maxBefore, r.path(name))
	if err != nil {
		return check.FileInfo{}, err
	}
	fields := strings.Fields(string(text))
	if len(fields) != 7 {
		return check.FileInfo{}, fmt.Errorf("look at %s on %s: stat answered %.80q", name, r.name, text)
	}
	mode, err1 := strconv.ParseUint(fields[0], 16, 32)
	size, err2 := strconv.ParseInt(fields[1], 10, 64)
	written, err3 := strconv.ParseInt(fields[2], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return check.FileInfo{}, fmt.Errorf("look at %s on %s: stat answered %.80q", name, r.name, text)
	}
	info := check.FileInfo{Path: name, Mode: fileMode(uint32(mode)), Size: size, ModTime: time.Unix(written, 0)}
	info.Owner, info.Group = known(fields[5], fields[3]), known(fields[6], fields[4])
	return info, nil
}

// known gives the number of a user or group that has no name.
func known(name, number string) string {
	if name == "UNKNOWN" || name == "?" {
		return number
	}
	return name
}

// fileMode turns st_mode of Linux (inode(7)) into Go's.
func fileMode(st uint32) fs.FileMode {
	mode := fs.FileMode(st & 0o777)
	for bit, m := range map[uint32]fs.FileMode{syscall.S_ISUID: fs.ModeSetuid, syscall.S_ISGID: fs.ModeSetgid, syscall.S_ISVTX: fs.ModeSticky} {
		if st&bit != 0 {
			mode |= m
		}
	}
	switch st & syscall.S_IFMT {
	case syscall.S_IFREG:
	case syscall.S_IFDIR:
		mode |= fs.ModeDir
	case syscall.S_IFLNK:
		mode |= fs.ModeSymlink
	case syscall.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case syscall.S_IFSOCK:
		mode |= fs.ModeSocket
	case syscall.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case syscall.S_IFBLK:
		mode |= fs.ModeDevice
	default:
		mode |= fs.ModeIrregular
	}
	return mode
}

// Glob lists the paths that match a pattern: find lists what is below the part
// without wildcards, and the pattern is held against it here. Links are not
// followed, and a folder that cannot be read is an error.
func (r *Remote) Glob(ctx context.Context, pattern string) ([]string, error) {
	clean := path.Clean(pattern)
	switch {
	case !doublestar.ValidatePattern(pattern):
		return nil, fmt.Errorf("pattern %q: %w", pattern, doublestar.ErrBadPattern)
	case clean == ".." || strings.HasPrefix(clean, "../"):
		return nil, fmt.Errorf("pattern %q: leaves the host's directory: write the whole path", pattern)
	}
	base, rest := doublestar.SplitPattern(clean)
	// A name without wildcards is found as itself; one below a folder that is not
	// there is not found, which is no error.
	const script = `[ -e "$1" ] || [ -L "$1" ] || { ls -d "$1" >/dev/null; exit 1; }
[ -d "$1" ] || { echo "Not a directory" >&2; exit 1; }
cd "$1" && exec find . $2 -print0`
	depth := ""
	if !strings.Contains(rest, "**") {
		depth = fmt.Sprintf("-mindepth 1 -maxdepth %d", strings.Count(rest, "/")+1)
	}
	text, err := r.tool(ctx, "list "+pattern, script, maxList, r.path(base), depth)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return matching(pattern, clean, base, rest, string(text))
}

// matching keeps the found paths, which begin at base, that fit the pattern.
func matching(pattern, clean, base, rest, text string) ([]string, error) {
	var found []string
	for name := range strings.SplitSeq(strings.TrimSuffix(text, "\x00"), "\x00") {
		name = strings.TrimPrefix(name, "./")
		ok, err := doublestar.Match(rest, name)
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
		if name == "" || !ok {
			continue
		}
		if len(found) == maxGlob {
			return nil, fmt.Errorf("pattern %q: matches more than %d paths", pattern, maxGlob)
		}
		if base != "." || strings.HasPrefix(clean, "./") {
			name = path.Join(base, name)
		}
		found = append(found, name)
	}
	slices.Sort(found)
	return found, nil
}
