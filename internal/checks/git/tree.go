package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// maxListing bounds the list of a commit's files, in bytes.
const maxListing = 64 << 20

// tree is a release's folder on a host, and the commit that it must hold.
type tree struct {
	place
	repo  repo
	dir   string
	stamp string
	want  wanted
}

// content is what a commit holds.
type content struct {
	sha   string // the tree's object name
	files int
	bytes int64
	names map[string]bool
}

// absent is the folder that is not there yet.
type absent struct{ dir string }

// Error names the folder.
func (a *absent) Error() string { return a.dir + " is not there" }

// content lists what the commit holds; what a checkout alone cannot bring is a
// certain failure.
func (t *tree) content(ctx context.Context) (content, error) {
	c := content{names: map[string]bool{}}
	var err error
	if c.sha, err = t.repo.run(ctx, "rev-parse", "--verify", "--end-of-options", t.want.sha+"^{tree}"); err != nil {
		return c, err
	}
	list, err := t.repo.atMost(ctx, maxListing, "ls-tree", "-r", "-l", "-z", "--full-tree", t.want.sha)
	if err != nil {
		return c, err
	}
	if list.Code != 0 {
		return c, fmt.Errorf("git ls-tree: %s", complaint(list))
	}
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(list.Stdout), "\x00"), "\x00") {
		head, name, ok := strings.Cut(entry, "\t")
		fields := strings.Fields(head)
		if !ok || len(fields) != 4 {
			return c, fmt.Errorf("git ls-tree: %.80q is malformed or the commit is empty", entry)
		}
		if fields[1] == "commit" {
			return c, refuse("%s holds the submodule %s, which is not checked out", t.want, cut(name))
		}
		size, err := strconv.ParseInt(fields[3], 10, 64)
		if err != nil {
			return c, fmt.Errorf("git ls-tree: %.80q is malformed", entry)
		}
		c.files, c.bytes, c.names[name] = c.files+1, c.bytes+size, true
	}
	return c, nil
}

// under gives the git that takes dir for its files and a new index in scratch.
func (t *tree) under(ctx context.Context, dir, scratch string) (repo, error) {
	own, err := t.repo.run(ctx, "rev-parse", "--absolute-git-dir")
	if err != nil {
		return repo{}, err
	}
	git := repo{host: t.Host, dir: dir, env: []string{
		"GIT_DIR=" + own, "GIT_WORK_TREE=" + dir, "GIT_INDEX_FILE=" + path.Join(scratch, "index"),
	}}
	_, err = git.run(ctx, "read-tree", t.want.sha)
	return git, err
}

// verify holds that the folder is the commit: its own note says so, and every file
// of the commit has the content that it should have. except names patterns of files
// that may differ. The error is a certain failure when the folder is another's.
func (t *tree) verify(ctx context.Context, except []string) error {
	info, err := t.Lstat(ctx, t.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &absent{t.dir}
	case err != nil:
		return err
	case !info.Mode.IsDir():
		return refuse("%s is no folder", t.dir)
	}
	text, err := t.ReadFile(ctx, path.Join(t.dir, t.stamp), maxNote)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return refuse("%s holds no %s: it is no release that was checked out to its end", t.dir, t.stamp)
	case err != nil:
		return err
	}
	if sha := strings.TrimSpace(string(text)); sha != t.want.sha {
		return refuse("%s holds %s, want %s", t.dir, short(cut(sha)), t.want)
	}
	scratch, err := t.run(ctx, "mktemp", "-d", "-t", "allclear.XXXXXXXX")
	if err != nil {
		return err
	}
	defer t.away(ctx, scratch)
	git, err := t.under(ctx, t.dir, scratch)
	if err != nil {
		return err
	}
	return t.unchanged(ctx, git, except)
}

// unchanged compares the files with the index by their contents: a new index
// knows no times, so that git reads every file again.
func (t *tree) unchanged(ctx context.Context, git repo, except []string) error {
	result, err := git.try(ctx, "update-index", "-q", "--refresh")
	if err == nil && result.Code > 1 { // 1: there are differences, which are listed next
		err = fmt.Errorf("git update-index: %s", complaint(result))
	}
	if err != nil {
		return err
	}
	args := []string{"diff-files", "--name-only", "-z", "--", "."}
	for _, pattern := range except {
		args = append(args, ":(exclude,glob)"+pattern)
	}
	list, err := git.run(ctx, args...)
	if err != nil {
		return err
	}
	var changed []string
	for name := range strings.SplitSeq(list, "\x00") {
		if name == "" {
			continue
		}
		linked, err := t.behindLink(ctx, name)
		if err != nil {
			return err
		}
		if !linked {
			changed = append(changed, name)
		}
	}
	if len(changed) > 0 {
		return refuse("%d files of %s are not as in %s: %s", len(changed), t.dir, t.want, firstNames(changed))
	}
	return nil
}

// behindLink reports whether a file only keeps a folder alive in git, and that
// folder is a shared one now.
func (t *tree) behindLink(ctx context.Context, name string) (bool, error) {
	if !keeps(name) {
		return false, nil
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		info, err := t.Lstat(ctx, path.Join(t.dir, dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || info.Mode&fs.ModeSymlink != 0 {
			return err == nil, err
		}
	}
	return false, nil
}

// keeps reports whether a file is there only because git keeps no empty folders.
func keeps(name string) bool {
	switch path.Base(name) {
	case ".gitkeep", ".keep", ".gitignore":
		return true
	}
	return false
}

func firstNames(names []string) string {
	const shown = 5
	text := cut(strings.Join(names[:min(len(names), shown)], ", "))
	if len(names) > shown {
		text += fmt.Sprintf(" and %d more", len(names)-shown)
	}
	return text
}
