package postgres

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// Tools are PostgreSQL's programs on a host, of one major version.
type Tools struct {
	host check.Host
	dir  string
	// Major is their major version.
	Major int
}

// toolPatterns are where packages put the programs of each major version: Debian
// and Ubuntu, the project's RPMs, Homebrew, source.
func toolPatterns() []string {
	return []string{
		"/usr/lib/postgresql/*/bin/pg_dump", "/usr/pgsql-*/bin/pg_dump", "/opt/homebrew/opt/postgresql@*/bin/pg_dump",
		"/usr/local/opt/postgresql@*/bin/pg_dump", "/usr/local/pgsql/bin/pg_dump", "/usr/local/bin/pg_dump", "/usr/bin/pg_dump",
	}
}

// FindTools finds the programs for a server: of its own major version or the next
// newer one, since pg_dump refuses a server newer than itself. A folder given as
// bin is the only place that is looked at.
func FindTools(ctx context.Context, host check.Host, bin string, major int) (Tools, error) {
	patterns := toolPatterns()
	if bin != "" {
		patterns = []string{path.Join(bin, "pg_dump")}
	}
	best, seen := Tools{}, []string{}
	for _, pattern := range patterns {
		found, err := host.Glob(ctx, pattern)
		if err != nil {
			return Tools{}, fmt.Errorf("look for pg_dump: %w", err)
		}
		for _, program := range found {
			version, err := toolVersion(ctx, host, program)
			if err != nil {
				return Tools{}, err
			}
			seen = append(seen, fmt.Sprintf("%d in %s", version, path.Dir(program)))
			if version >= major && (best.Major == 0 || version < best.Major) {
				best = Tools{host: host, dir: path.Dir(program), Major: version}
			}
		}
	}
	if best.Major == 0 {
		return Tools{}, fmt.Errorf("no pg_dump for PostgreSQL %d on host %s (found: %s)", major, host.Name(), Shorten(append(seen, "nothing else"), 10))
	}
	return best, nil
}

func toolVersion(ctx context.Context, host check.Host, program string) (int, error) {
	r, err := host.Exec(ctx, check.Command{Argv: []string{program, "--version"}, Dir: "/"})
	if err != nil {
		return 0, fmt.Errorf("ask %s for its version: %w", program, err)
	}
	// "pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "17beta1", "9.6.24"
	m := regexp.MustCompile(`\(PostgreSQL\) (\d+)`).FindSubmatch(r.Stdout)
	if r.Code != 0 || m == nil {
		return 0, fmt.Errorf("ask %s for its version: code %d, %.100q", program, r.Code, r.Stdout)
	}
	return strconv.Atoi(string(m[1]))
}

// Dump writes a consistent copy of the database into a new file or, with format
// "directory", folder: what the snapshot sees, without our own lease.
func (t Tools) Dump(ctx context.Context, s *Server, snapshot, format, file string, jobs int) (check.Result, error) {
	dbname, env := s.CommandLine()
	argv := []string{path.Join(t.dir, "pg_dump"), "--dbname=" + dbname, "--no-password", "--format=" + format, "--file=" + file,
		"--snapshot=" + snapshot, "--exclude-schema=allclear", "--lock-wait-timeout=10s"}
	if format == "directory" {
		argv = append(argv, "--jobs="+strconv.Itoa(jobs))
	}
	return t.host.Exec(ctx, check.Command{Argv: argv, Env: env})
}

// List reads an archive's table of contents and gives its number of entries. It
// proves little: an archive cut in half still lists.
func (t Tools) List(ctx context.Context, file string) (int, check.Result, error) {
	r, err := t.host.Exec(ctx, check.Command{Argv: []string{path.Join(t.dir, "pg_restore"), "--list", file}, Limit: 16 << 20})
	if err != nil {
		return 0, r, err
	}
	entries := 0
	for line := range bytes.Lines(r.Stdout) {
		if len(line) > 1 && line[0] != ';' {
			entries++
		}
	}
	return entries, r, nil
}

// Decode reads an archive to its end.
func (t Tools) Decode(ctx context.Context, file string) (check.Result, error) {
	return t.host.Exec(ctx, check.Command{Argv: []string{path.Join(t.dir, "pg_restore"), "--file=/dev/null", file}})
}

// Restore loads an archive into a database, which must be empty, and ends at the
// first error. Without owners everything belongs to the session's user.
func (t Tools) Restore(ctx context.Context, s *Server, file string, jobs int, owners bool) (check.Result, error) {
	dbname, env := s.CommandLine()
	argv := []string{path.Join(t.dir, "pg_restore"), "--dbname=" + dbname, "--no-password", "--exit-on-error", "--jobs=" + strconv.Itoa(jobs)}
	if !owners {
		argv = append(argv, "--no-owner", "--no-privileges")
	}
	return t.host.Exec(ctx, check.Command{Argv: append(argv, file), Env: env})
}

// Script loads a dump that is SQL into a database, which must be empty: all of it
// or nothing. That the file is whole has to be known before, psql does not notice.
func (t Tools) Script(ctx context.Context, s *Server, file string) (check.Result, error) {
	dbname, env := s.CommandLine()
	argv := []string{path.Join(t.dir, "psql"), "--dbname=" + dbname, "--no-password", "--no-psqlrc", "--quiet", "--single-transaction",
		"--set=ON_ERROR_STOP=1", "--output=/dev/null", "--file=" + file}
	return t.host.Exec(ctx, check.Command{Argv: argv, Env: env})
}

// Failure says how a program failed: its last lines on standard error. An end by
// a signal is not a failure but unknown.
func Failure(r check.Result) (string, error) {
	if r.Signal != "" {
		return "", fmt.Errorf("ended by signal %s", r.Signal)
	}
	if r.Code == 0 {
		return "", nil
	}
	lines := strings.Split(strings.TrimSpace(string(r.Stderr)), "\n")
	return fmt.Sprintf("code %d: %s", r.Code, strings.Join(lines[max(0, len(lines)-3):], "; ")), nil
}
