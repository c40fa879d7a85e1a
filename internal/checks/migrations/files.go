// Package migrations holds the types about schema migrations kept as pairs of
// SQL files: migrations.status compares the files with the database's version
// table, migrations.apply brings the database to a version.
package migrations

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/check"
)

const (
	// maxFile bounds one migration file, in bytes.
	maxFile = 32 << 20
	// none is the version of a database without migrations (golang-migrate's
	// NilVersion).
	none = int64(-1)
)

// migration is one step: the file that goes up and, if there is one, the file
// that goes back down.
type migration struct {
	Version  int64
	Name     string // 0004_orders_channel
	Up, Down string // the files' text
	HasDown  bool
}

// sum is the digest of a step's files.
func (m migration) sum() string {
	down := "none"
	if m.HasDown {
		down = hash(m.Down)
	}
	return hash(m.Up) + " " + down
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// digest is the digest of a plan: its steps in order, each with its name and the
// digests of its files.
func digest(plan []migration) string {
	var b strings.Builder
	for _, m := range plan {
		fmt.Fprintf(&b, "%s %s\n", m.Name, m.sum())
	}
	return hash(b.String())
}

// load reads a folder of migrations in golang-migrate's layout, VERSION_name.up.sql
// and VERSION_name.down.sql (its source/parse.go), sorted by version. Unlike that
// tool it refuses an .sql file that does not fit, a version given twice and a
// down file without its up file.
func load(ctx context.Context, env *check.Env, dir string) ([]migration, error) {
	host, err := env.Host("")
	if err != nil {
		return nil, err
	}
	paths, err := host.Glob(ctx, path.Join(dir, "*.sql"))
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	layout := regexp.MustCompile(`^([0-9]{1,18})_(.+)\.(up|down)\.sql$`)
	byVersion := map[int64]*migration{}
	ups := map[int64]bool{}
	for _, p := range paths {
		parts := layout.FindStringSubmatch(path.Base(p))
		if parts == nil {
			return nil, fmt.Errorf("%s is not named like 0001_name.up.sql", p)
		}
		version, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read version of %s: %w", p, err)
		}
		text, err := host.ReadFile(ctx, p, maxFile)
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		name := parts[1] + "_" + parts[2]
		m := byVersion[version]
		if m == nil {
			m = &migration{Version: version, Name: name}
			byVersion[version] = m
		}
		if m.Name != name || (parts[3] == "up" && ups[version]) || (parts[3] == "down" && m.HasDown) {
			return nil, fmt.Errorf("version %d is given twice: %s and %s", version, m.Name, path.Base(p))
		}
		if parts[3] == "up" {
			m.Up, ups[version] = string(text), true
		} else {
			m.Down, m.HasDown = string(text), true
		}
	}
	return ordered(byVersion, ups, dir)
}

func ordered(byVersion map[int64]*migration, ups map[int64]bool, dir string) ([]migration, error) {
	var out []migration
	for _, m := range byVersion {
		if !ups[m.Version] {
			return nil, fmt.Errorf("%s.down.sql has no %s.up.sql", m.Name, m.Name)
		}
		out = append(out, *m)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no migrations in %s", dir)
	}
	slices.SortFunc(out, func(a, b migration) int { return cmp.Compare(a.Version, b.Version) })
	return out, nil
}

// versionText writes a version for people and facts.
func versionText(v int64) string {
	if v == none {
		return "none"
	}
	return strconv.FormatInt(v, 10)
}

func parseVersion(text string) (int64, error) {
	if text == "none" {
		return none, nil
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || v < 0 {
		return 0, fmt.Errorf("%q is not a version", text)
	}
	return v, nil
}

func namesOf(list []migration) []string {
	var out []string
	for _, m := range list {
		out = append(out, m.Name)
	}
	return out
}
