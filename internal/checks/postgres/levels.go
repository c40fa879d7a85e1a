package postgres

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/check"
	pg "allclear.dev/allclear/internal/postgres"
)

// The levels of proof that the code decides by; levels lists all.
const (
	levelChecksum = "checksum"
	levelList     = "list"
	levelDecode   = "decode"
	levelLoad     = "load"
	levelSchema   = "schema"
	levelCounts   = "counts"
	levelRestore  = "restore"
	levelAmcheck  = "amcheck"
)

// levels are the rungs of proof, each with all before it.
func levels() []string {
	return []string{levelChecksum, levelList, levelDecode, levelLoad, levelSchema, levelCounts, levelRestore, levelAmcheck}
}

// reaches tells whether a level includes another.
func reaches(level, other string) bool {
	return slices.Index(levels(), level) >= slices.Index(levels(), other)
}

// The formats of an archive, as pg_dump names them.
const (
	formatCustom    = "custom"
	formatDirectory = "directory"
	formatPlain     = "plain"
)

// edge is how much of a plain dump's beginning and end is read, in bytes.
const edge = "8192"

// formatOf recognises a dump by what it begins with.
func formatOf(ctx context.Context, host check.Host, file string) (string, error) {
	info, err := host.Lstat(ctx, file)
	if err != nil {
		return "", fmt.Errorf("look at backup: %w", err)
	}
	if info.Mode.IsDir() {
		return formatDirectory, nil
	}
	head, err := slice(ctx, host, "head", file)
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(head, "PGDMP") {
		return formatCustom, nil
	}
	return formatPlain, nil
}

func slice(ctx context.Context, host check.Host, program, file string) (string, error) {
	r, err := host.Exec(ctx, check.Command{Argv: []string{program, "-c", edge, "--", file}})
	if err != nil {
		return "", fmt.Errorf("read backup: %w", err)
	}
	if failure, err := pg.Failure(r); failure != "" || err != nil {
		return "", fmt.Errorf("read backup: %s ended with %s %w", program, failure, err)
	}
	return string(r.Stdout), nil
}

// plainReadable looks at a dump that is SQL: it must begin as one does, and end
// with the line that pg_dump writes last. psql itself does not mind a file that was
// cut: it loads what there is and ends with 0.
func plainReadable(ctx context.Context, host check.Host, file, level string) (string, error) {
	head, err := slice(ctx, host, "head", file)
	if err != nil {
		return "", err
	}
	if !strings.Contains(head, "-- PostgreSQL database dump") {
		return "it does not begin like a dump of one database", nil
	}
	if !reaches(level, levelDecode) {
		return "", nil
	}
	tail, err := slice(ctx, host, "tail", file)
	if err != nil {
		return "", err
	}
	if !strings.Contains(tail, "-- PostgreSQL database dump complete") {
		return "it does not end with the line that pg_dump writes last: it was cut", nil
	}
	return plainHarmless(ctx, host, file)
}

// plainHarmless refuses a dump that would do more than fill the database that it
// is loaded into: psql's commands that connect elsewhere, run programs or read
// files, and statements about whole databases. What COPY writes never begins so.
func plainHarmless(ctx context.Context, host check.Host, file string) (string, error) {
	r, err := host.Exec(ctx, check.Command{Argv: []string{"grep", "-a", "-m", "1", "-n", "-E", `^\\[acdeghilopqswz!]|^(CREATE|DROP|ALTER) (DATABASE|ROLE|USER|TABLESPACE) `, "--", file}})
	if err != nil {
		return "", fmt.Errorf("read backup: %w", err)
	}
	switch {
	case r.Signal != "" || r.Code > 1:
		return "", fmt.Errorf("read backup: grep ended with %d %s: %.200s", r.Code, r.Signal, r.Stderr)
	case r.Code == 0:
		return fmt.Sprintf("it reaches beyond its own database and is not loaded: line %s", regexp.MustCompile(`\s+`).ReplaceAllString(string(r.Stdout[:min(len(r.Stdout), 120)]), " ")), nil
	}
	return "", nil
}

// foreign is what can be known of an archive that something else made.
func (p *place) foreign(ctx context.Context, host check.Host, file, database string, major int) (sidecar, error) {
	s := sidecar{Path: file, Database: database, Server: major, Tool: major}
	info, err := host.Lstat(ctx, file)
	if err != nil {
		return s, fmt.Errorf("look at backup: %w", err)
	}
	s.At = info.ModTime
	if s.Bytes, s.SHA256, err = measure(ctx, host, file); err != nil {
		return s, err
	}
	s.Format, err = formatOf(ctx, host, file)
	return s, err
}

// sound checks every table and B-tree index of a restored database with amcheck:
// each row must be readable, and each must be in each index.
func sound(ctx context.Context, server *pg.Server) (string, error) {
	c, err := server.Open(ctx, pg.Options{})
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := c.Exec(ctx, "CREATE EXTENSION IF NOT EXISTS amcheck"); err != nil {
		return "", fmt.Errorf("install amcheck (package postgresql-contrib, and a role that may) in the restored database: %w", err)
	}
	major, err := c.Major(ctx)
	if err != nil {
		return "", err
	}
	if major >= verifyHeapMajor {
		broken, err := c.Query(ctx, 5, `SELECT k.oid::regclass::text || ': ' || v.msg FROM pg_class k JOIN pg_namespace n ON n.oid = k.relnamespace, LATERAL verify_heapam(k.oid) AS v
			WHERE k.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'`)
		if err != nil {
			return "", fmt.Errorf("check tables: %w", err)
		}
		if len(broken.Rows) > 0 {
			return "a table is damaged: " + broken.Rows[0][0].Text, nil
		}
	}
	indexes, err := c.Query(ctx, 1_000_000, `SELECT i.indexrelid, i.indexrelid::regclass::text FROM pg_index i JOIN pg_class k ON k.oid = i.indexrelid JOIN pg_am a ON a.oid = k.relam
		JOIN pg_namespace n ON n.oid = k.relnamespace WHERE a.amname = 'btree' AND k.relkind = 'i' AND i.indisvalid AND n.nspname !~ '^pg_'`)
	if err != nil {
		return "", fmt.Errorf("list indexes: %w", err)
	}
	for _, row := range indexes.Rows {
		_, err := c.Exec(ctx, "SELECT bt_index_check($1::oid::regclass, true)", row[0].Text)
		switch code := pg.Code(err); {
		case code == "XX002" || code == "XX001": // index_corrupted, data_corrupted
			return fmt.Sprintf("index %s is damaged: %v", row[1].Text, err), nil
		case err != nil:
			return "", fmt.Errorf("check index %s: %w", row[1].Text, err)
		}
	}
	return "", nil
}

// verifyHeapMajor is the version that brought verify_heapam.
const verifyHeapMajor = 14
