package rest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// MaxPages bounds how many pages of a list are read. A longer list is an error,
// because what was not read may hold the one entry that matters.
const MaxPages = 100

// List reads all pages of a list that links them by the header Link with
// rel="next" (RFC 8288), as GitHub, GitLab and Sentry do. T is one page.
func List[T any](ctx context.Context, c *Client, path string, query url.Values, each func(T) error) error {
	address := c.Base + path
	for range MaxPages {
		a, err := c.Do(ctx, http.MethodGet, address, query, nil)
		if err != nil {
			return err
		}
		var page T
		if err := Decode(c, path, a.Body, &page); err != nil {
			return err
		}
		if err := each(page); err != nil {
			return err
		}
		next := Next(a.Header)
		if next == "" {
			return nil
		}
		// The link is whole: it carries the query of its page.
		if address, query = next, nil; strings.HasPrefix(next, "/") {
			address = origin(c.Base) + next
		}
	}
	return fmt.Errorf("%s: %s has more than %d pages; narrow what is asked for", c.Service, path, MaxPages)
}

// Cursor reads all pages of a list whose answers carry the next page's token.
// each is given a page and returns the query of the next one, or nil at the end.
func Cursor[T any](ctx context.Context, c *Client, path string, query url.Values, each func(T) (url.Values, error)) error {
	for range MaxPages {
		page, err := Get[T](ctx, c, path, query)
		if err != nil {
			return err
		}
		if query, err = each(page); err != nil || query == nil {
			return err
		}
	}
	return fmt.Errorf("%s: %s has more than %d pages; narrow what is asked for", c.Service, path, MaxPages)
}

// Next gives the address of the next page from the Link header, or "". Sentry
// links a page even when it is empty and then says results="false".
func Next(h http.Header) string {
	for _, line := range h.Values("Link") {
		for _, link := range strings.Split(line, ",") {
			target, params, ok := strings.Cut(strings.TrimSpace(link), ">")
			if !ok || !strings.HasPrefix(target, "<") {
				continue
			}
			params = strings.ReplaceAll(params, " ", "")
			next := strings.Contains(params, `;rel="next"`) || strings.Contains(params, ";rel=next")
			if next && !strings.Contains(params, `;results="false"`) {
				return strings.TrimPrefix(target, "<")
			}
		}
	}
	return ""
}

func origin(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return base
	}
	return u.Scheme + "://" + u.Host
}
