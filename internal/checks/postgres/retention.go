package postgres

import (
	"context"
	"fmt"
	"path"
	"slices"

	"allclear.dev/allclear/internal/check"
)

// prune removes this database's old backups once the new one is complete and
// proven: those beyond the newest keep, if they are older than keep_for. Only
// archives with a record of ours are counted and removed, and never the new one,
// this run's or the last deployment's, which going back would need.
func (p *backup) prune(ctx context.Context, env *check.Env, host check.Host, newest sidecar) (int, error) {
	if p.Keep == 0 && p.KeepFor == 0 {
		return 0, nil
	}
	spared, err := p.spared(ctx, env)
	if err != nil {
		return 0, err
	}
	all, err := p.list(ctx, host, newest.Database)
	if err != nil {
		return 0, err
	}
	older := slices.DeleteFunc(all, func(s sidecar) bool { return s.Path == newest.Path })
	removed := 0
	for _, s := range older[min(max(p.Keep, 1)-1, len(older)):] {
		young := p.KeepFor > 0 && env.Now().Sub(s.At) < p.KeepFor
		if young || slices.Contains(spared, path.Base(s.Path)) {
			continue
		}
		// The record first: an archive without one is not taken for complete.
		for _, file := range []string{sidecarOf(s.Path), s.Path, globalsOf(s.Path)} {
			if err := run(ctx, host, nil, "rm", "-rf", "--", file); err != nil {
				return removed, err
			}
		}
		removed++
	}
	return removed, nil
}

// spared are the names of the backups that this run and the last one made.
func (p *backup) spared(ctx context.Context, env *check.Env) ([]string, error) {
	var out []string
	if file, ok := env.Ledger.Fact("backup.path"); ok {
		out = append(out, path.Base(file))
	}
	past, err := env.Ledger.History(ctx, "", "backup.path", 1)
	if err != nil {
		return nil, fmt.Errorf("look up the last deployment's backup: %w", err)
	}
	for _, r := range past {
		out = append(out, path.Base(r.Value))
	}
	return out, nil
}
