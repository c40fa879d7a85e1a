package migrations

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/postgres/lint"
)

// reading is what is to be looked at.
type reading struct {
	sources []lint.Source
	// all counts the migrations that there are, pending those to be read.
	all, pending int
}

// gather reads the migrations that are pending, or all when nobody tells.
func (p *linting) gather(ctx context.Context, env *check.Env, done *applied) (reading, error) {
	host, err := env.Host("")
	if err != nil {
		return reading{}, err
	}
	switch {
	case p.Tool == "alembic":
		return p.alembic(ctx, env, host, done)
	case p.Tool == "django":
		return p.django(ctx, env, host, done)
	case len(p.Command) > 0:
		text, err := p.output(ctx, env, host)
		if err != nil {
			return reading{}, err
		}
		src, err := p.source(ctx, host, p.shown(nil), text)
		return reading{[]lint.Source{src}, 1, 1}, err
	}
	return p.files(ctx, host, done)
}

// files reads the tool's files, or those that are named.
func (p *linting) files(ctx context.Context, host check.Host, done *applied) (reading, error) {
	if p.Tool == "rails" {
		return p.rails(ctx, host, done)
	}
	paths, err := list(ctx, host, p.patterns())
	if err != nil {
		return reading{}, err
	}
	var r reading
	for _, name := range paths {
		if lint.IsDown(name) && !slices.Contains(p.Files, name) {
			continue
		}
		text, err := host.ReadFile(ctx, name, maxFile)
		if err != nil {
			return r, fmt.Errorf("read migration: %w", err)
		}
		if strings.HasSuffix(name, ".go") && lint.Recognise(name, string(text)) != lint.Goose {
			continue
		}
		r.all++
		if in, err := p.isIn(done, name, string(text)); err != nil {
			return r, err
		} else if in {
			continue
		}
		src, err := p.source(ctx, host, name, string(text))
		if err != nil {
			return r, err
		}
		r.sources = append(r.sources, src)
		r.pending++
	}
	return r, nil
}

// patterns are where the tool's files are.
func (p *linting) patterns() []string {
	switch {
	case len(p.Files) > 0:
		return p.Files
	case p.Tool == "flyway":
		return []string{path.Join(p.dir(), "**", "*.sql")}
	case p.Tool == "goose":
		return []string{path.Join(p.dir(), "*.sql"), path.Join(p.dir(), "*.go")}
	}
	return []string{path.Join(p.dir(), "*.sql")}
}

// list gives the files of patterns, in the tools' order, each once.
func list(ctx context.Context, host check.Host, patterns []string) ([]string, error) {
	var paths []string
	for _, pattern := range patterns {
		found, err := host.Glob(ctx, pattern)
		if err != nil {
			return nil, fmt.Errorf("list migrations: %w", err)
		}
		for _, name := range found {
			if !slices.Contains(paths, name) {
				paths = append(paths, name)
			}
		}
	}
	lint.InOrder(paths)
	return paths, nil
}

// isIn tells whether a file is applied. One whose name does not tell its version is an
// error: it can be neither.
func (p *linting) isIn(done *applied, name, text string) (bool, error) {
	if done == nil {
		return false, nil
	}
	base := path.Base(name)
	if p.Tool == "flyway" {
		kind, version, ok := lint.FlywayName(base)
		if !ok {
			return false, fmt.Errorf("%s is not named like V1__name.sql or R__name.sql", name)
		}
		if kind == "R" {
			sum, there := done.sums[strings.TrimPrefix(name, p.dir()+"/")]
			return there && sum == flywayChecksum(text), nil
		}
		return done.has(version), nil
	}
	found := regexp.MustCompile(`^0*([0-9]{1,18})_`).FindStringSubmatch(base)
	if found == nil {
		return false, fmt.Errorf("%s is not named like 0001_name", name)
	}
	return done.has(found[1]), nil
}

// flywayChecksum is what Flyway notes of a file: the CRC-32 of its lines without
// their ends, as a signed number (ChecksumCalculator of its source).
func flywayChecksum(text string) string {
	sum := crc32.NewIEEE()
	text = strings.TrimPrefix(text, "\ufeff")
	for _, line := range regexp.MustCompile(`\r\n|\r|\n`).Split(text, -1) {
		_, _ = sum.Write([]byte(line)) // a hash takes everything
	}
	return fmt.Sprint(int32(sum.Sum32()))
}

// source reads a text as the tool would run it.
func (p *linting) source(ctx context.Context, host check.Host, name, text string) (lint.Source, error) {
	beside := func(name string) (string, bool, error) {
		found, err := host.ReadFile(ctx, name, maxFile)
		if errors.Is(err, fs.ErrNotExist) {
			return "", false, nil
		}
		return string(found), err == nil, err
	}
	src, err := lint.Framework(p.Tool).Read(name, text, lint.Surroundings{Values: p.Values, Beside: beside})
	if p.Tool == toolSQL && err == nil {
		// As migrations.apply runs it.
		src.OneTransaction = modeOf(split(text), text) == atomic
	}
	return src, err
}
