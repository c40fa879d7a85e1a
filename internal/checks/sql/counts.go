package sql

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/postgres"
)

// atLeast compares tables with the least number of rows wanted.
func (p *questions) atLeast(ctx context.Context, c *postgres.Conn, a *answers) error {
	for _, table := range slices.Sorted(maps.Keys(p.AtLeast)) {
		schema, name, found := strings.Cut(table, ".")
		from := postgres.Quote(schema)
		if found {
			from += "." + postgres.Quote(name)
		}
		n, err := c.Int(ctx, "SELECT count(*) FROM "+from)
		if err != nil {
			return fmt.Errorf("count %s: %w", table, err)
		}
		a.facts["rows of "+table] = strconv.FormatInt(n, 10)
		a.note(n >= int64(p.AtLeast[table]), "%s has %d rows, want at least %d", table, n, p.AtLeast[table])
	}
	return nil
}

// compare counts every table's rows and keeps the numbers, or compares with those
// that were kept.
func (p *questions) compare(ctx context.Context, env *check.Env, c *postgres.Conn, a *answers) (map[string]string, error) {
	if p.Compare == "" {
		return nil, nil
	}
	if err := a.read(ctx, c); err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	now := map[string]int64{}
	for _, t := range a.counts {
		now[t.Table] = t.Rows
	}
	a.facts["rows"] = strconv.FormatInt(postgres.TotalRows(a.counts), 10)
	a.facts["tables"] = strconv.Itoa(len(now))
	if p.Compare == "before" {
		text, err := json.Marshal(now)
		if err != nil {
			return nil, fmt.Errorf("compare: %w", err)
		}
		a.note(len(now) > 0, "there are no tables")
		return map[string]string{a.countsFact(): string(text)}, nil
	}
	text, ok := env.Ledger.Fact(a.countsFact())
	if !ok {
		return nil, &check.NotSupplied{What: "the rows before (fact " + a.countsFact() + ", set by compare: before)"}
	}
	before := map[string]int64{}
	if err := json.Unmarshal([]byte(text), &before); err != nil {
		return nil, fmt.Errorf("read fact %s: %w", a.countsFact(), err)
	}
	if len(before) == 0 {
		return nil, fmt.Errorf("read fact %s: it holds no table", a.countsFact())
	}
	return nil, p.each(before, now, a)
}

// each decides table by table.
func (p *questions) each(before, now map[string]int64, a *answers) error {
	for _, table := range slices.Sorted(maps.Keys(before)) {
		if slices.Contains(p.Ignore, table) {
			continue
		}
		after, found := now[table]
		if !found {
			a.note(false, "%s is gone (%d rows)", table, before[table])
			continue
		}
		ok, err := p.Counts.Eval(map[string]any{"table": table, "before": int(before[table]), "after": int(after)})
		if err != nil {
			return err
		}
		a.note(ok, "%s had %d rows, has %d, want %s", table, before[table], after, p.Counts)
	}
	return nil
}
