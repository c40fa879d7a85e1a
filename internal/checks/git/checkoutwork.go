package git

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// bring fetches the commit if the repository lacks it.
func (c *checkout) bring(ctx context.Context, env *check.Env, at place, on string) error {
	r := repo{host: at.Host, dir: c.Repo}
	there, err := at.try(ctx, "test", "-d", c.Repo)
	if err == nil && there.Code != 0 {
		err = refuse("%s is no folder", c.Repo)
	}
	if err != nil {
		return err
	}
	readable, err := r.try(ctx, "rev-parse", "--git-dir")
	if err == nil && readable.Code != 0 {
		err = refuse("%s is no repository that can be read: %s", c.Repo, complaint(readable))
	}
	if err != nil {
		return err
	}
	w, known := (&revision{Expect: c.At, Repo: c.Repo}).wanted(ctx, env, on)
	if known == nil {
		if sha, err := r.commit(ctx, w.sha); err != nil || sha != "" {
			return err
		}
	}
	if _, none := errors.AsType[*check.NotSupplied](known); none {
		return known
	}
	if c.Fetch != "" {
		result, err := r.try(ctx, "fetch", "--quiet", "--tags", "--no-recurse-submodules", "--no-write-fetch-head", "--", c.Fetch)
		if err != nil {
			return err
		}
		if result.Code != 0 {
			return refuse("git fetch %s: %s", c.Fetch, complaint(result))
		}
	}
	if known != nil {
		return nil // whether it is known now is seen next
	}
	sha, err := r.commit(ctx, w.sha)
	if err == nil && sha == "" {
		err = refuse("%s does not hold %s", c.Repo, w)
	}
	return err
}

// ready holds that what is shared is there and in nobody's way.
func (c *checkout) ready(ctx context.Context, t *tree, held content) error {
	if held.names[c.Stamp] {
		return refuse("%s is a file of the commit itself: name another revision_file", c.Stamp)
	}
	for _, inside := range slices.Sorted(maps.Keys(c.Shared)) {
		result, err := t.try(ctx, "test", "-e", c.Shared[inside])
		if err != nil {
			return err
		}
		if result.Code != 0 {
			return refuse("%s, which %s is to link to, is not there", c.Shared[inside], inside)
		}
		for name := range held.names {
			below := strings.HasPrefix(name, inside+"/")
			if name == inside || below && !keeps(name) || strings.HasPrefix(inside, name+"/") {
				return refuse("%s is to be shared, but the commit holds %s", inside, cut(name))
			}
		}
	}
	return nil
}

// make fills a folder of another name beside the release's and renames it at the
// end, so that whatever happens there is the whole release or none.
func (c *checkout) make(ctx context.Context, t *tree) error {
	part := path.Join(c.Releases, "."+path.Base(t.dir)+".")
	begun, err := t.run(ctx, "mktemp", "-d", part+"XXXXXXXX")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(begun, part) {
		return fmt.Errorf("mktemp answered %.80q", begun)
	}
	defer t.away(ctx, begun)
	files := path.Join(begun, "files")
	if err := c.fill(ctx, t, files); err != nil {
		return err
	}
	if _, err := t.run(ctx, "sync", "-f", files); err != nil {
		return err
	}
	// Onto a folder that is not empty, rename(2) fails.
	if _, err := t.run(ctx, "mv", "-T", "--", files, t.dir); err != nil {
		return err
	}
	return c.sweep(ctx, t, part)
}

// sweep removes what earlier attempts at this release left when they were killed.
func (c *checkout) sweep(ctx context.Context, t *tree, part string) error {
	left, err := t.Glob(ctx, part+"????????")
	if err != nil {
		return err
	}
	for _, name := range left {
		t.away(ctx, name)
	}
	return nil
}

// fill puts the commit's files, the links and the note about the commit into a
// new folder, and reads every file again.
func (c *checkout) fill(ctx context.Context, t *tree, files string) error {
	if _, err := t.run(ctx, "mkdir", "--", files); err != nil {
		return err
	}
	git, err := t.under(ctx, files, path.Dir(files))
	if err != nil {
		return err
	}
	result, err := git.try(ctx, "checkout-index", "--all", "--quiet")
	if err != nil {
		return err
	}
	if result.Code != 0 {
		return refuse("git checkout-index: %s", complaint(result))
	}
	if err := (&tree{place: t.place, dir: files, want: t.want}).unchanged(ctx, git, nil); err != nil {
		return err
	}
	if err := t.large(ctx, git); err != nil {
		return err
	}
	for _, inside := range slices.Sorted(maps.Keys(c.Shared)) {
		link := path.Join(files, inside)
		for _, argv := range [][]string{
			{"rm", "-rf", "--", link}, {"mkdir", "-p", "--", path.Dir(link)}, {"ln", "-s", "--", c.Shared[inside], link},
		} {
			if _, err := t.run(ctx, argv...); err != nil {
				return err
			}
		}
	}
	return t.write(ctx, path.Join(files, t.stamp), []byte(t.want.sha+"\n"))
}

// large holds that files kept by Git LFS are there themselves: without its
// program on the host, git leaves a pointer of a few lines in their place.
func (t *tree) large(ctx context.Context, git repo) error {
	list, err := git.run(ctx, "ls-files", "-z", "--", ":(attr:filter=lfs)")
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(list, "\x00")
	if first == "" {
		return nil
	}
	head, err := t.run(ctx, "head", "-c", "64", "--", path.Join(git.dir, first))
	if err == nil && strings.HasPrefix(head, "version https://git-lfs.github.com/spec/") {
		err = refuse("%s is only a pointer of Git LFS: install git-lfs on the host and set it up for the user", cut(first))
	}
	return err
}
