package file

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// guard knows what stays, whatever the patterns say.
type guard struct {
	*pruning
	// targets are what is live or protected, mounts where other file systems begin.
	targets, mounts []string
	// versions are names under which the releases of this run are known.
	versions []string
	// revisions are theirs by the file REVISION in them.
	revisions map[string]string
}

// learn finds what stays before anything is listed.
func (g *guard) learn(ctx context.Context) error {
	for _, name := range g.Protect {
		real, err := g.tool(ctx, "readlink", "-f", "--", name)
		if err != nil {
			return err
		}
		if _, err := g.host.Lstat(ctx, real); err != nil {
			return errors.Join(errors.New("what is to be protected is not found"), err)
		}
		g.targets = append(g.targets, name, real)
	}
	text, err := g.host.ReadFile(ctx, "/proc/self/mountinfo", maxSmall)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			return errors.New("/proc/self/mountinfo is malformed")
		}
		g.mounts = append(g.mounts, unescape(fields[4]))
	}
	for _, version := range []string{g.env.Run.Release, g.env.Run.Previous} {
		if bare := strings.TrimPrefix(version, "v"); bare != "" {
			g.versions = append(g.versions, bare, "v"+bare)
		}
	}
	g.revisions = map[string]string{}
	return nil
}

// unescape reads the octal numbers that stand for blanks and the like in
// /proc/self/mountinfo (proc_pid_mountinfo(5)).
func unescape(text string) string {
	parts := strings.Split(text, `\`)
	for i, part := range parts[1:] {
		if len(part) >= 3 {
			if n, err := strconv.ParseUint(part[:3], 8, 8); err == nil {
				parts[i+1] = string(rune(n)) + part[3:]
				continue
			}
		}
		parts[i+1] = `\` + part
	}
	return strings.Join(parts, "")
}

// real refuses a folder that is not there or is reached through a link, where the
// paths in it would not be what they seem.
func (g *guard) real(ctx context.Context, base string) error {
	real, err := g.tool(ctx, "readlink", "-f", "--", base)
	if err == nil && real != base {
		err = refuse("%s goes through a link to %s: write the real path", base, real)
	}
	if err != nil {
		return err
	}
	_, err = g.tool(ctx, "test", "-d", base) // readlink does not ask for the last part
	if _, certain := errors.AsType[*refused](err); certain {
		err = refuse("%s is no folder", base)
	}
	return err
}

// beside finds the links in a folder and in the one above it: "current" lies in
// either, and what it leads to is live. It reads the revisions of releases, too.
func (g *guard) beside(ctx context.Context, base string) error {
	if err := g.real(ctx, base); err != nil {
		return err
	}
	for _, dir := range []string{base, path.Dir(base)} {
		text, err := g.tool(ctx, "find", dir, "-maxdepth", "1", "-type", "l", "-exec", "readlink", "-f", "{}", ";")
		if err != nil {
			return err
		}
		for line := range strings.SplitSeq(text, "\n") {
			if line != "" && line != base && !below(base, line) { // a link to all of it tells nothing apart
				g.targets = append(g.targets, line)
			}
		}
	}
	if g.env.Run.Revision == "" && g.env.Run.PreviousRev == "" {
		return nil
	}
	notes, err := g.host.Glob(ctx, quoteGlob(base)+"/*/REVISION")
	if err != nil {
		return err
	}
	for _, note := range notes {
		text, err := g.host.ReadFile(ctx, note, maxSmall)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		g.revisions[path.Dir(note)] = strings.TrimSpace(string(text))
	}
	return nil
}

// quoteGlob makes a pattern that only a path itself matches.
func quoteGlob(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "{", `\{`).Replace(name)
}

// why says why a path stays; "" when nothing protects it.
func (g *guard) why(e entry) string {
	for _, target := range g.targets {
		if e.Path == target || below(target, e.Path) || below(e.Path, target) {
			return "protected by " + target
		}
	}
	if a := g.ArchiveTo; a != "" && (e.Path == a || below(a, e.Path) || path.Dir(e.Path) == a && strings.HasPrefix(path.Base(e.Path), g.Name+"-")) {
		return "an archive, or the folder of archives"
	}
	for _, mount := range g.mounts {
		if e.Path == mount || below(mount, e.Path) {
			return "another file system is mounted at " + mount
		}
	}
	for _, pattern := range g.Exclude {
		if ok, err := doublestar.Match(pattern, e.Path); ok || err != nil {
			return "excluded by " + pattern
		}
	}
	if e.Kind != "folder" {
		return ""
	}
	if slices.Contains(g.versions, path.Base(e.Path)) {
		return "a release of this run"
	}
	if sha := g.revisions[e.Path]; sha != "" && (sha == g.env.Run.Revision || sha == g.env.Run.PreviousRev) {
		return "a release of this run, by its REVISION"
	}
	return ""
}
