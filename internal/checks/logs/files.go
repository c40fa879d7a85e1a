package logs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

// maxFiles bounds how many files are read.
const maxFiles = 100

// files are plain files: JSON lines, access and error logs of web servers, and
// whatever else begins its lines with the time.
type files struct {
	Paths []string `param:"paths,short" doc:"files or patterns: /var/log/nginx/access.log"`
	Zone  string   `param:"zone" doc:"time zone of times without one" default:"UTC"`
}

func (f *files) String() string { return "the files " + strings.Join(f.Paths, ", ") }

func (f *files) validate() error {
	if len(f.Paths) == 0 {
		return errors.New("files: name at least one")
	}
	for _, p := range f.Paths {
		if p == "" || strings.HasPrefix(p, "-") {
			return fmt.Errorf("files: %q is no path", p)
		}
	}
	if _, err := time.LoadLocation(f.Zone); err != nil {
		return fmt.Errorf("files: zone: %q is no time zone; write one such as Europe/Berlin", f.Zone)
	}
	return nil
}

func (f *files) read(ctx context.Context, env *check.Env, h check.Host, s span) ([]line, error) {
	zone, err := time.LoadLocation(f.Zone)
	if err != nil {
		return nil, err
	}
	paths, err := f.find(ctx, h, s)
	if err != nil {
		return nil, err
	}
	out, err := f.readAll(ctx, env, h, paths, zone, s)
	if err != nil {
		return nil, err
	}
	after, err := f.find(ctx, h, s)
	if err == nil && !slices.Equal(paths, after) {
		err = errors.New("files were rotated while they were read: look again")
	}
	return out, err
}

func (f *files) readAll(ctx context.Context, env *check.Env, h check.Host, paths []string, zone *time.Location, s span) ([]line, error) {
	var out []line
	for _, path := range paths {
		found, err := readFile(ctx, env, h, path, zone, s)
		if err != nil {
			return nil, err
		}
		if out = append(out, found...); len(out) > maxLines {
			return nil, tooMany(s)
		}
	}
	return out, nil
}

// rotated is what logrotate and its kind put after the name of an older file.
var rotated = regexp.MustCompile(`^[.-]\d[\d.T:-]*(\.(gz|xz|bz2|zst))?$`)

// find lists the files, and the older ones beside them into which something of
// the time was written before they were put aside.
func (f *files) find(ctx context.Context, h check.Host, s span) ([]string, error) {
	var out []string
	for _, pattern := range f.Paths {
		found, err := h.Glob(ctx, pattern)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("there is no file %s", pattern)
		}
		for _, path := range found {
			beside, err := h.Glob(ctx, path+"*")
			if err != nil {
				return nil, err
			}
			out = append(out, path)
			for _, old := range beside {
				suffix := strings.TrimPrefix(old, path)
				if !rotated.MatchString(suffix) || slices.Contains(out, old) {
					continue
				}
				info, err := h.Lstat(ctx, old)
				if errors.Is(err, fs.ErrNotExist) || err == nil && info.ModTime.Before(s.start) {
					continue
				}
				if err != nil {
					return nil, err
				}
				if !strings.ContainsAny(suffix[len(suffix)-1:], "0123456789") {
					return nil, fmt.Errorf("a part of the time since %s is in %s, which is compressed: take a shorter time", s.start.UTC().Format(time.RFC3339), old)
				}
				out = append(out, old)
			}
		}
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) > maxFiles {
		return nil, fmt.Errorf("more than %d files", maxFiles)
	}
	return out, nil
}

// readFile reads the end of a file. That must reach back to before the time, or
// to the file's beginning.
func readFile(ctx context.Context, env *check.Env, h check.Host, path string, zone *time.Location, s span) ([]line, error) {
	info, err := h.Lstat(ctx, path)
	if err != nil {
		return nil, err
	}
	r, err := output(ctx, h, []string{"tail", "-c", strconv.Itoa(maxOutput - 1), "--", path}, "")
	if err != nil {
		return nil, err
	}
	entries, first, some := split(string(r.Stdout), zone, env.Now(), s)
	if err := oneClock(string(r.Stdout), zone, env.Now(), info, s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case len(strings.TrimSpace(string(r.Stdout))) > 0 && !some:
		return nil, fmt.Errorf("%s: no line has a time that is known: JSON with time or timestamp, ISO 8601, an access log, syslog", path)
	case info.Size >= maxOutput && !first.Before(s.start):
		return nil, fmt.Errorf("%s: the last %d MiB reach back to %s only: take a shorter time", path, maxOutput>>20, first.UTC().Format(time.RFC3339))
	}
	for i := range entries {
		entries[i].fields["file"] = path
	}
	return entries, nil
}

// split makes entries of lines: a line without a time continues the one before,
// as a traceback does. Only entries of the time are read further. first is the
// time of the first entry, if there is some.
func split(text string, zone *time.Location, now time.Time, s span) (out []line, first time.Time, some bool) {
	var begun time.Time
	var kept strings.Builder
	flush := func() {
		if kept.Len() > 0 {
			out = append(out, newLine(begun, kept.String(), nil))
			kept.Reset()
		}
	}
	for text := range strings.Lines(text) {
		at, ok := timeOf(text, zone, now)
		if ok {
			flush()
			if !some {
				first, some = at, true
			}
			begun = at
		}
		if some && s.holds(begun) && kept.Len() < maxLine {
			kept.WriteString(text[:min(len(text), maxLine)])
		}
	}
	flush()
	return out, first, some
}
