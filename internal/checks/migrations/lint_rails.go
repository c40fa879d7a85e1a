package migrations

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/postgres/lint"
)

// rails reads logs of a run. What is pending and not in them is a program that cannot
// be seen into.
func (p *linting) rails(ctx context.Context, host check.Host, done *applied) (reading, error) {
	logs, logged, err := p.logs(ctx, host)
	if err != nil {
		return reading{}, err
	}
	programs, err := list(ctx, host, []string{path.Join(p.dir(), "*.rb")})
	if err != nil {
		return reading{}, err
	}
	var r reading
	var hidden []lint.Source
	for _, name := range programs {
		text, err := host.ReadFile(ctx, name, maxFile)
		if err != nil {
			return r, fmt.Errorf("read migration: %w", err)
		}
		src, err := p.source(ctx, host, name, string(text))
		if err != nil {
			return r, err
		}
		version := regexp.MustCompile(`^0*([0-9]{1,18})_`).FindStringSubmatch(path.Base(name))
		if len(src.Unseen) == 0 || version == nil {
			return r, fmt.Errorf("%s is not a migration of Rails", name)
		}
		r.all++
		if done != nil && done.has(version[1]) {
			continue
		}
		if r.pending++; !logged[version[1]] {
			hidden = append(hidden, src)
		}
	}
	if r.pending > 0 {
		r.sources = append(logs, hidden...)
	}
	return r, nil
}

// logs reads the logs and which versions they show.
func (p *linting) logs(ctx context.Context, host check.Host) ([]lint.Source, map[string]bool, error) {
	names, err := list(ctx, host, p.Files)
	if err != nil {
		return nil, nil, err
	}
	if len(p.Files) > 0 && len(names) == 0 {
		return nil, nil, fmt.Errorf("no log is there: %s", strings.Join(p.Files, " "))
	}
	var sources []lint.Source
	logged := map[string]bool{}
	for _, name := range names {
		text, err := host.ReadFile(ctx, name, maxFile)
		if err != nil {
			return nil, nil, fmt.Errorf("read the log: %w", err)
		}
		src, err := p.source(ctx, host, name, string(text))
		if err != nil {
			return nil, nil, err
		}
		versions := lint.RailsVersions(string(text))
		if len(versions) == 0 {
			return nil, nil, fmt.Errorf("%s is not the log of a migration: it notes no version", name)
		}
		for _, version := range versions {
			logged[strings.TrimLeft(version, "0")] = true
		}
		sources = append(sources, src)
	}
	return sources, logged, nil
}
