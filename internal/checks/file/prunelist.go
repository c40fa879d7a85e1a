package file

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"allclear.dev/allclear/internal/check"
)

const (
	// atOnce is how many paths are given to one program.
	atOnce = 200
	// maxPruned bounds how many paths are looked at.
	maxPruned = 20_000
	// maxSmall bounds the file of mount points and the like, in bytes.
	maxSmall = 1 << 20
)

// pruning is one item at work on its host.
type pruning struct {
	*prune
	env  *check.Env
	host check.Host
}

// entry is a path that may go, as it was when it was listed.
type entry struct {
	Path string `json:"path"`
	Kind string `json:"kind"` // file or folder
	Size int64  `json:"size"` // bytes; of a folder what is in it, in whole KiB
	Time int64  `json:"time"` // last written, seconds since 1970
}

type stays struct{ path, why string }

// listing is what was found.
type listing struct {
	remove []entry
	kept   []stays
}

func (l listing) bytes() int64 {
	var sum int64
	for _, e := range l.remove {
		sum += e.Size
	}
	return sum
}

// tool runs a program that must succeed; that it did not is certain.
func (w *pruning) tool(ctx context.Context, argv ...string) (string, error) {
	result, err := w.host.Exec(ctx, check.Command{Argv: argv, Dir: "/", Env: []string{"LC_ALL=C"}, Limit: maxSmall})
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", argv[0], err)
	case result.Truncated || result.Signal != "":
		return "", fmt.Errorf("%s: ended early or said too much%s", argv[0], result.Signal)
	case result.Code != 0:
		said := strings.TrimSpace(string(result.Stderr))
		first, _, _ := strings.Cut(said, "\n")
		return "", refuse("%s: exit %d: %s", argv[0], result.Code, first[:min(len(first), 300)])
	}
	return strings.TrimSuffix(string(result.Stdout), "\n"), nil
}

// survey decides about everything that the patterns match.
func (w *pruning) survey(ctx context.Context, cutoff time.Time) (listing, error) {
	g := &guard{pruning: w}
	if err := g.learn(ctx); err != nil {
		return listing{}, err
	}
	var found listing
	seen := map[string]bool{}
	for _, pattern := range w.Paths {
		matches, err := w.matches(ctx, g, pattern, &found)
		if err != nil {
			return listing{}, err
		}
		for i, e := range matches {
			if seen[e.Path] {
				continue
			}
			seen[e.Path] = true
			why := g.why(e)
			switch {
			case why != "":
			case i < w.Keep:
				why = fmt.Sprintf("one of the newest %d", w.Keep)
			case w.Older > 0 && e.Time >= cutoff.Unix():
				why = "younger"
			}
			if why != "" {
				found.kept = append(found.kept, stays{e.Path, why})
			} else {
				found.remove = append(found.remove, e)
			}
		}
		if len(seen) > maxPruned {
			return listing{}, refuse("more than %d paths match: narrow the patterns", maxPruned)
		}
	}
	if err := w.inside(ctx, &found, cutoff); err != nil {
		return listing{}, err
	}
	slices.SortFunc(found.remove, func(a, b entry) int { return strings.Compare(a.Path, b.Path) })
	slices.SortFunc(found.kept, func(a, b stays) int { return strings.Compare(a.path, b.path) })
	return found, nil
}

// matches gives the files and folders that a pattern matches, newest first. What
// is neither stays.
func (w *pruning) matches(ctx context.Context, g *guard, pattern string, found *listing) ([]entry, error) {
	base, _ := doublestar.SplitPattern(pattern)
	if err := g.beside(ctx, base); err != nil {
		return nil, err
	}
	names, err := w.host.Glob(ctx, pattern)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == base })
	if len(names) > maxPruned {
		return nil, refuse("%s matches more than %d paths", pattern, maxPruned)
	}
	all, err := w.describe(ctx, names)
	if err != nil {
		return nil, err
	}
	var matches []entry
	for _, e := range all {
		if e.Kind == "" {
			found.kept = append(found.kept, stays{e.Path, "neither a file nor a folder"})
			continue
		}
		matches = append(matches, e)
	}
	slices.SortStableFunc(matches, func(a, b entry) int { return int(min(max(b.Time-a.Time, -1), 1)) })
	return matches, nil
}

// describe looks at paths without following links. The answers come in the order
// of the paths, whatever their names hold.
func (w *pruning) describe(ctx context.Context, names []string) ([]entry, error) {
	var all []entry
	for part := range slices.Chunk(names, atOnce) {
		text, err := w.tool(ctx, append([]string{"stat", "-c", "%f %Y %s", "--"}, part...)...)
		if err != nil {
			return nil, err
		}
		lines := strings.Split(text, "\n")
		if len(lines) != len(part) {
			return nil, fmt.Errorf("stat described %d of %d paths", len(lines), len(part))
		}
		for i, line := range lines {
			var mode uint32
			e := entry{Path: part[i]}
			if n, err := fmt.Sscanf(line, "%x %d %d", &mode, &e.Time, &e.Size); n != 3 || err != nil {
				return nil, fmt.Errorf("stat answered %.60q", line)
			}
			switch mode & 0xf000 { // inode(7)
			case 0x8000:
				e.Kind = "file"
			case 0x4000:
				e.Kind, e.Size = "folder", 0
			}
			all = append(all, e)
		}
	}
	return all, nil
}

// inside looks into folders: one that holds what stays, stays; what lies in one
// that goes, goes with it; and one in which something was written lately stays.
func (w *pruning) inside(ctx context.Context, found *listing, cutoff time.Time) error {
	keep := func(e entry, why string) { found.kept = append(found.kept, stays{e.Path, why}) }
	var folders, rest []entry
	slices.SortFunc(found.remove, func(a, b entry) int { return strings.Compare(a.Path, b.Path) })
	var gone []string
	for _, e := range found.remove {
		above := slices.ContainsFunc(gone, func(dir string) bool { return below(e.Path, dir) })
		holds := slices.IndexFunc(found.kept, func(s stays) bool { return below(s.path, e.Path) })
		switch {
		case above:
		case holds >= 0:
			keep(e, "holds "+found.kept[holds].path+", which stays")
		case e.Kind == "folder":
			folders, gone = append(folders, e), append(gone, e.Path)
		default:
			rest = append(rest, e)
		}
	}
	for _, e := range folders {
		young, err := w.young(ctx, e.Path, cutoff)
		if err != nil {
			return err
		}
		if young {
			keep(e, "something in it is younger")
			continue
		}
		size, err := w.tool(ctx, "du", "-skx", "--", e.Path)
		if err != nil {
			return err
		}
		kib, _, _ := strings.Cut(size, "\t")
		n, err := strconv.ParseInt(strings.TrimSpace(kib), 10, 64)
		if err != nil {
			return fmt.Errorf("du answered %.60q", size)
		}
		e.Size = n << 10
		rest = append(rest, e)
	}
	found.remove = rest
	return nil
}

// young reports whether something in a folder was written after cutoff. The host's
// clock may be a minute ahead.
func (w *pruning) young(ctx context.Context, dir string, cutoff time.Time) (bool, error) {
	if w.Older == 0 {
		return false, nil
	}
	minutes := int64(w.env.Now().Sub(cutoff)/time.Minute) + 1
	text, err := w.tool(ctx, "find", dir, "-xdev", "-type", "f", "-mmin", "-"+strconv.FormatInt(minutes, 10))
	return text != "", err
}

// below reports whether a path lies in a folder.
func below(name, dir string) bool { return strings.HasPrefix(name, path.Clean(dir)+"/") }
