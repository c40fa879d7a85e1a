package sql

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"allclear.dev/allclear/internal/postgres"
)

const (
	// fewRows is the size of a range whose rows are compared one by one.
	fewRows = 200
	// maxRanges bounds how many ranges are looked into.
	maxRanges = 100
	// maxKeys bounds how many differing keys are collected.
	maxKeys = 20
)

// locator finds the rows of a table that differ between two databases: it cuts
// the range of keys into parts, sums the hashes of each in both, and looks into
// those that differ, until they are small enough to compare row by row. Only
// sums and small ranges cross the network.
type locator struct {
	here, there *postgres.Conn
	table       table
	method      string
	found       []string
	looked      int
}

// span is a range of keys, from inclusive, to exclusive; nil is no bound.
type span struct{ from, to *string }

// where writes the span as a condition.
func (s span) where(t table) (string, []string) {
	text, args := "true", []string(nil)
	if s.from != nil {
		args = append(args, *s.from)
		text += fmt.Sprintf(" AND %s >= $%d::%s", t.key, len(args), t.keyType)
	}
	if s.to != nil {
		args = append(args, *s.to)
		text += fmt.Sprintf(" AND %s < $%d::%s", t.key, len(args), t.keyType)
	}
	return text, args
}

// locate lists what differs; nothing for a table without a primary key.
func (l *locator) locate(ctx context.Context) ([]string, error) {
	if l.table.key == "" {
		return nil, nil
	}
	if err := l.look(ctx, span{}); err != nil {
		return nil, fmt.Errorf("locate the difference: %w", err)
	}
	return l.found, nil
}

// look goes into one span.
func (l *locator) look(ctx context.Context, s span) error {
	if l.looked++; l.looked > maxRanges || len(l.found) >= maxKeys {
		return nil
	}
	where, args := s.where(l.table)
	bounds, err := cuts(ctx, l.here, l.table, "ONLY "+l.table.from, where, args...)
	if err == nil && len(bounds) == 0 {
		bounds, err = cuts(ctx, l.there, l.table, "ONLY "+l.table.from, where, args...)
	}
	if err != nil {
		return err
	}
	here, err := sums(ctx, l.here, l.table, l.method, bounds, where, args...)
	if err != nil {
		return err
	}
	there, err := sums(ctx, l.there, l.table, l.method, bounds, where, args...)
	if err != nil {
		return err
	}
	for i := range here {
		if here[i] == there[i] {
			continue
		}
		inner := s
		if i > 0 {
			inner.from = &bounds[i-1]
		}
		if i < len(bounds) {
			inner.to = &bounds[i]
		}
		if max(here[i].Rows, there[i].Rows) <= fewRows {
			err = l.compare(ctx, inner)
		} else if inner == s || len(bounds) < 2 { // one key has too many rows to cut further
			l.found = append(l.found, fmt.Sprintf("a range of %d rows here, %d there", here[i].Rows, there[i].Rows))
		} else {
			err = l.look(ctx, inner)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// compare compares a small span key by key.
func (l *locator) compare(ctx context.Context, s span) error {
	here, err := l.keys(ctx, l.here, s)
	if err != nil {
		return err
	}
	there, err := l.keys(ctx, l.there, s)
	if err != nil {
		return err
	}
	all := maps.Clone(here)
	maps.Copy(all, there)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		mine, has := here[key]
		theirs, had := there[key]
		switch {
		case mine == theirs && has == had:
		case !has:
			l.found = append(l.found, l.name(key)+" only there")
		case !had:
			l.found = append(l.found, l.name(key)+" only here")
		default:
			l.found = append(l.found, l.name(key)+" differs")
		}
	}
	return nil
}

// keys gives the digest of the rows of each key.
func (l *locator) keys(ctx context.Context, c *postgres.Conn, s span) (map[string]string, error) {
	hash := "hash_record_extended(t, 0)"
	if l.method == "text" {
		hash = "hashtextextended(t::text, 0)"
	}
	where, args := s.where(l.table)
	rows, err := c.Query(ctx, fewRows+1, fmt.Sprintf("SELECT t.%s::text, sum(%s::numeric) FROM ONLY %s AS t WHERE %s GROUP BY 1", l.table.key, hash, l.table.from, where), args...)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	out := map[string]string{}
	for _, r := range rows.Rows {
		out[r[0].Text] = r[1].Text
	}
	return out, nil
}

// name shows a key; of one that may be anybody's name only what md5() gives for
// it, by which it can be looked up.
func (l *locator) name(key string) string {
	if !l.table.private {
		return l.table.key + " " + key
	}
	sum := md5.Sum([]byte(key))
	return fmt.Sprintf("md5(%s) %s", l.table.key, hex.EncodeToString(sum[:]))
}
