package file

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"allclear.dev/allclear/internal/check"
)

// remove carries out the list: what is there now and may go must be on it,
// unchanged. What has gone since is no obstacle.
func (w *pruning) remove(ctx context.Context) (check.Outcome, error) {
	m, digest, err := w.order(ctx)
	if err != nil {
		return check.Outcome{}, err
	}
	if len(m.Entries) > w.AtMost {
		return check.Outcome{}, refuse("the list holds %d paths, more than %d", len(m.Entries), w.AtMost)
	}
	if over, err := w.reached(digest, ended); err != nil || over {
		return check.Passf("the list was carried out before: nothing more is removed").With("digest", digest), errors.Join(err, ctx.Err())
	}
	found, err := w.ready(ctx, m, digest)
	if err != nil {
		return check.Outcome{}, err
	}
	facts := map[string]string{"digest": digest, "listed": strconv.Itoa(len(m.Entries))}
	outcome := check.Outcome{Facts: facts}
	archive := ""
	if w.ArchiveTo != "" && len(m.Entries) > 0 {
		archive = w.archiveFile(digest)
		if facts["archive_sha256"], err = w.sum(ctx, archive); err != nil {
			return outcome, err
		}
		facts["archive"] = archive
	}
	for part := range slices.Chunk(found.remove, atOnce) {
		if _, err := w.tool(ctx, append([]string{"rm", "-rf", "--"}, pathsOf(part)...)...); err != nil {
			return outcome, err
		}
	}
	left, err := w.left(ctx, m)
	if err != nil {
		return outcome, err
	}
	if len(left) > 0 {
		return outcome, refuse("%d of %d paths are still there: %s", len(left), len(m.Entries), firstOf(left))
	}
	if err := w.reach(digest, ended); err != nil {
		return outcome, err
	}
	facts["removed"], facts["stay"], facts["bytes"] = strconv.Itoa(len(found.remove)), strconv.Itoa(len(found.kept)), strconv.FormatInt(found.bytes(), 10)
	outcome.Verdict = check.Pass
	outcome.Reason = fmt.Sprintf("%s of %s removed, as listed; %d stay", count(len(found.remove), "path"), bytesText(found.bytes()), len(found.kept))
	if archive != "" {
		outcome.Reason += "; archived in " + archive
	}
	return w.evidence(outcome, "removed.txt", found)
}

// ready gives what is to be removed, archived already. Of a list that an earlier
// attempt began, it is what is left, unless something protects it by now.
func (w *pruning) ready(ctx context.Context, m memo, digest string) (listing, error) {
	midway, err := w.reached(digest, begun)
	if err != nil {
		return listing{}, err
	}
	if midway {
		return w.resume(ctx, m)
	}
	found, err := w.survey(ctx, time.Unix(m.Cutoff, 0))
	if err != nil {
		return listing{}, err
	}
	if err := m.allows(found.remove); err != nil {
		return listing{}, err
	}
	there, err := w.left(ctx, m)
	if err != nil {
		return listing{}, err
	}
	may := pathsOf(found.remove)
	if there = slices.DeleteFunc(there, func(name string) bool { return slices.Contains(may, name) }); len(there) > 0 {
		return listing{}, refuse("nothing was removed: %s may not go any more; list again", firstOf(there))
	}
	if w.ArchiveTo != "" && len(m.Entries) > 0 {
		if err := w.pack(ctx, w.archiveFile(digest), found.remove); err != nil {
			return listing{}, err
		}
	}
	return found, w.reach(digest, begun)
}

// resume gives what is left of a list that was begun.
func (w *pruning) resume(ctx context.Context, m memo) (listing, error) {
	g := &guard{pruning: w}
	if err := g.learn(ctx); err != nil {
		return listing{}, err
	}
	for _, pattern := range w.Paths {
		base, _ := doublestar.SplitPattern(pattern)
		if err := g.beside(ctx, base); err != nil {
			return listing{}, err
		}
	}
	left, err := w.left(ctx, m)
	if err != nil {
		return listing{}, err
	}
	now, err := w.describe(ctx, left)
	if err != nil {
		return listing{}, err
	}
	var found listing
	for _, e := range now {
		was := m.Entries[slices.IndexFunc(m.Entries, func(was entry) bool { return was.Path == e.Path })]
		if why := g.why(e); why != "" {
			return listing{}, refuse("%s, which is listed, stays: %s", e.Path, why)
		}
		if e.Kind != was.Kind || e.Kind == "file" && e != was {
			return listing{}, refuse("%s was made anew since the removal began, and stays", e.Path)
		}
		found.remove = append(found.remove, was)
	}
	return found, nil
}

func pathsOf(entries []entry) []string {
	var names []string
	for _, e := range entries {
		names = append(names, e.Path)
	}
	return names
}

// allows refuses what is not on the list or has changed since.
func (m memo) allows(now []entry) error {
	listed := map[string]entry{}
	for _, e := range m.Entries {
		listed[e.Path] = e
	}
	var news []string
	for _, e := range now {
		was, ok := listed[e.Path]
		switch {
		case !ok:
			news = append(news, e.Path+" is not on the list")
		case was.Kind != e.Kind || was.Time != e.Time || e.Kind == "file" && was.Size != e.Size:
			news = append(news, e.Path+" has changed since it was listed")
		}
	}
	if len(news) > 0 {
		return refuse("nothing was removed: %s; list again", firstOf(news))
	}
	return nil
}

// left gives what of the list is still there.
func (w *pruning) left(ctx context.Context, m memo) ([]string, error) {
	var left []string
	for _, e := range m.Entries {
		_, err := w.host.Lstat(ctx, e.Path)
		switch {
		case err == nil:
			left = append(left, e.Path)
		case !missing(err):
			return nil, err
		}
	}
	return left, nil
}

func (w *pruning) archiveFile(digest string) string {
	end := map[string]string{"gzip": ".tar.gz", "zstd": ".tar.zst", "none": ".tar"}[w.Compress]
	return path.Join(w.ArchiveTo, w.Name+"-"+digest[:16]+end)
}

// tar gives the arguments for tar (GNU's) at work on an archive.
func (w *pruning) tar(do, file string) []string {
	argv := []string{"tar", do, "--file=" + file, "--directory=/"}
	switch w.Compress {
	case "gzip":
		argv = append(argv, "--gzip")
	case "zstd":
		argv = append(argv, "--zstd")
	}
	return argv
}

// sum gives the archive's checksum.
func (w *pruning) sum(ctx context.Context, file string) (string, error) {
	text, err := w.tool(ctx, "sha256sum", "--", file)
	hash, _, _ := strings.Cut(strings.TrimPrefix(text, `\`), " ")
	if err == nil && !isSHA256(hash) {
		err = fmt.Errorf("sha256sum answered %.80q", text)
	}
	return hash, err
}

// pack makes the archive, compares it with the files, and gives it its name only
// then.
func (w *pruning) pack(ctx context.Context, file string, now []entry) error {
	part := path.Join(path.Dir(file), "."+path.Base(file)+".part")
	var names strings.Builder
	for _, e := range now {
		names.WriteString(strings.TrimPrefix(e.Path, "/") + "\x00")
	}
	argv := append(w.tar("--create", part), "--null", "--verbatim-files-from", "--files-from=-")
	result, err := w.host.Exec(ctx, check.Command{Argv: argv, Dir: "/", Env: []string{"LC_ALL=C"}, Stdin: []byte(names.String())})
	if err != nil {
		return fmt.Errorf("tar: %w", err)
	}
	if result.Code != 0 || result.Signal != "" {
		return refuse("nothing was removed: tar ended with exit %d %s: %.300s", result.Code, result.Signal, result.Stderr)
	}
	for _, argv := range [][]string{w.tar("--compare", part), {"sync", "-f", part}, {"mv", "-f", "-T", "--", part, file}} {
		if _, err := w.tool(ctx, argv...); err != nil {
			return err
		}
	}
	return nil
}
