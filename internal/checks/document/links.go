package document

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"allclear.dev/allclear/internal/checklist"
)

const (
	// maxWeb bounds how many web addresses are asked, and maxAnswer what is read of
	// each, in bytes.
	maxWeb, maxAnswer = 500, 8 << 20
	// patience bounds one address, so that one that hangs does not hide the others.
	patience = 15 * time.Second
)

// anchors gives what links into a document may name: its headings, as GitHub
// writes them, and ids in HTML. Runs of hyphens are one, because forges differ.
func anchors(o *checklist.Outline) map[string]bool {
	out, count := map[string]bool{}, map[string]int{}
	for _, h := range o.Headings {
		slug := slugOf(h.Text)
		if n := count[slug]; n > 0 {
			out[oneHyphen(slug+"-"+strconv.Itoa(n))] = true
		}
		out[oneHyphen(slug)] = true
		count[slug]++
	}
	for _, id := range o.Anchors {
		out[oneHyphen(id)] = true
	}
	return out
}

func slugOf(heading string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case unicode.IsLetter(c), unicode.IsDigit(c), unicode.IsMark(c), c == '_', c == '-':
			return unicode.ToLower(c)
		case c == ' ':
			return '-'
		}
		return -1
	}, heading)
}

func oneHyphen(text string) string {
	return strings.Trim(regexp.MustCompile(`-+`).ReplaceAllString(text, "-"), "-")
}

// links follows every link of a document: into the checkout at once, into the web
// later.
func (r *reading) links(ctx context.Context, file string, p *page) {
	for _, line := range p.outline.Unread {
		r.doubt("%s, line %d: the paragraph is too long to look for links", file, line)
	}
	count := 0
	for _, l := range p.outline.Links {
		where := fmt.Sprintf("%s, line %d", file, l.Line)
		if r.link(ctx, file, where, l.Destination) {
			count++
		}
	}
	r.details["links."+file] = strconv.Itoa(count)
}

var scheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)

// link follows one link, and tells whether it was one to look at.
func (r *reading) link(ctx context.Context, from, where, destination string) bool {
	switch {
	case strings.Contains(destination, "{{") || strings.Contains(destination, "{%"):
		r.doubt("%s: where %s leads is known only after it was filled in", where, cut(destination))
		return true
	case strings.HasPrefix(destination, "//"):
		destination = "https:" + destination
	}
	if scheme.MatchString(destination) {
		u, err := url.Parse(destination)
		if err != nil {
			r.miss("%s: %s is no address", where, cut(destination))
			return true
		}
		if u.Scheme != "http" && u.Scheme != "https" || r.Links != "all" {
			return false
		}
		r.later(where, u)
		return true
	}
	r.local(ctx, from, where, destination)
	return true
}

// later remembers a web address to ask.
func (r *reading) later(where string, u *url.URL) {
	u.Fragment = ""
	if _, known := r.web[u.String()]; !known {
		r.web[u.String()] = where
	}
}

// local follows a link into the checkout. It gives the file that it leads to, ""
// when there is none.
func (r *reading) local(ctx context.Context, from, where, destination string) string {
	target, fragment, _ := strings.Cut(destination, "#")
	target, _, _ = strings.Cut(target, "?")
	decoded, err := url.PathUnescape(target)
	if err != nil {
		decoded = target
	}
	file := from
	switch {
	case strings.HasPrefix(decoded, "/"):
		file = path.Clean(strings.TrimLeft(decoded, "/") + "/.")
	case decoded != "":
		file = path.Join(path.Dir(from), decoded)
	}
	if file == ".." || strings.HasPrefix(file, "../") {
		r.miss("%s: %s leaves the checkout", where, cut(destination))
		return ""
	}
	there, err := r.exists(ctx, file)
	switch {
	case err != nil:
		r.doubt("%s: %s: %w", where, cut(destination), err)
		return ""
	case !there:
		r.miss("%s: %s leads to no file", where, cut(destination))
		return ""
	case fragment == "" || !isMarkdown(file):
		return file
	}
	p, err := r.read(ctx, file)
	if err != nil {
		r.doubt("%s: %w", where, err)
		return file
	}
	if anchor, err := url.PathUnescape(fragment); err == nil {
		fragment = anchor
	}
	if p == nil || !p.anchors[oneHyphen(strings.TrimPrefix(fragment, "user-content-"))] {
		r.miss("%s: %s has no heading or anchor %s", where, file, cut(fragment))
	}
	return file
}

// exists tells whether a file or folder is there, behind a link too.
func (r *reading) exists(ctx context.Context, file string) (bool, error) {
	info, err := r.host.Lstat(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, ctx.Err()
	}
	if err != nil || info.Mode&fs.ModeSymlink == 0 {
		return err == nil, err
	}
	if found, err := r.host.Glob(ctx, file+"/*"); err == nil && len(found) > 0 {
		return true, nil
	}
	_, err = r.host.ReadFile(ctx, file, maxDocument)
	if errors.Is(err, fs.ErrNotExist) {
		return false, ctx.Err()
	}
	return err == nil, err
}

// askWeb asks for every web address that was met.
func (r *reading) askWeb(ctx context.Context) {
	if len(r.web) > maxWeb {
		r.doubt("more than %d web addresses", maxWeb)
		return
	}
	addresses := slices.Sorted(maps.Keys(r.web))
	for _, address := range addresses {
		if ctx.Err() != nil {
			return
		}
		status, err := r.ask(ctx, address)
		where := r.web[address]
		switch {
		case err != nil:
			r.doubt("%s: %s: %w", where, address, err)
		case status >= 200 && status < 300:
		case status == http.StatusNotFound, status == http.StatusGone:
			r.miss("%s: %s answers %d", where, address, status)
		default:
			r.doubt("%s: %s answers %d: whether there is something is not known", where, address, status)
		}
	}
	if len(addresses) > 0 {
		r.facts["web_addresses"] = strconv.Itoa(len(addresses))
	}
}

// ask follows an address and its redirects to the end.
func (r *reading) ask(ctx context.Context, address string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	const most = 6
	for range most {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
		if err != nil {
			return 0, err
		}
		response, err := r.env.HTTP.RoundTrip(request)
		if err != nil {
			return 0, err
		}
		// An answer that does not come to its end is none.
		_, err = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer))
		if err = errors.Join(err, response.Body.Close()); err != nil {
			return 0, fmt.Errorf("read the answer: %w", err)
		}
		next := response.Header.Get("Location")
		if response.StatusCode < 300 || response.StatusCode >= 400 || next == "" {
			return response.StatusCode, nil
		}
		to, err := request.URL.Parse(next)
		if err != nil || to.Scheme != "http" && to.Scheme != "https" {
			return 0, fmt.Errorf("it redirects to %.100q", next)
		}
		address = to.String()
	}
	return 0, fmt.Errorf("more than %d redirects", most-1)
}
