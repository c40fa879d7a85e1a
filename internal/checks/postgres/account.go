package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"allclear.dev/allclear/internal/check"
	pg "allclear.dev/allclear/internal/postgres"
)

// maxAccount bounds how many tables an account names; the rest is summed up.
const maxAccount = 60

// otherTables is the sum of the tables that an account does not name.
const otherTables = "(other tables)"

// tableLoss is what going back would lose of a table, at least: Rows are those that
// it has more than the backup. Changed tells that it has no more rows, and others.
type tableLoss struct {
	Table   string `json:"table"`
	Rows    int64  `json:"rows"`
	Changed bool   `json:"changed,omitempty"`
}

// losses are the tables that would lose something, the most first.
type losses []tableLoss

// accountOf compares a backup's record with the database as it is. Without digests
// it does not see rows that were changed, or replaced by as many others.
func accountOf(backup, now []pg.TableDigest) losses {
	had := map[string]pg.TableDigest{}
	for _, t := range backup {
		had[t.Table] = t
	}
	var out losses
	for _, t := range now {
		was := had[t.Table]
		more := t.Rows - was.Rows
		changed := t.Digest != "" && was.Digest != "" && t.Method == was.Method && t.Digest != was.Digest
		if more > 0 || changed {
			out = append(out, tableLoss{t.Table, max(more, 0), changed && more <= 0})
		}
	}
	slices.SortFunc(out, func(a, b tableLoss) int { return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Table, b.Table)) })
	if len(out) <= maxAccount {
		return out
	}
	rest := tableLoss{Table: otherTables}
	for _, l := range out[maxAccount:] {
		rest.Rows += l.Rows
		rest.Changed = rest.Changed || l.Changed
	}
	return append(out[:maxAccount:maxAccount], rest)
}

func (l losses) rows() int64 {
	var sum int64
	for _, t := range l {
		sum += t.Rows
	}
	return sum
}

// String names the tables for people.
func (l losses) String() string {
	var out []string
	for _, t := range l {
		if t.Changed {
			out = append(out, t.Table+" changed")
			continue
		}
		out = append(out, fmt.Sprintf("%s %d", t.Table, t.Rows))
	}
	return pg.Shorten(out, 10)
}

// sets are the facts that a sign-off shows and that going back is held against.
func (l losses) sets(s sidecar) (map[string]string, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("write the account: %w", err)
	}
	return map[string]string{
		"restore.rows_lost": strconv.FormatInt(l.rows(), 10), "restore.loss": cmp.Or(l.String(), "nothing"),
		"restore.loss.tables": string(text), "restore.loss.of": s.SHA256,
	}, nil
}

// exceeds says what is lost beyond an account that was signed for; a table that
// has changed counts as well.
func (l losses) exceeds(signed losses) string {
	known := map[string]tableLoss{}
	for _, t := range signed {
		known[t.Table] = t
	}
	var out []string
	for _, t := range l {
		was, named := known[t.Table]
		switch {
		case t.Rows > was.Rows:
			out = append(out, fmt.Sprintf("%s %d instead of %d", t.Table, t.Rows, was.Rows))
		case !named:
			out = append(out, t.Table+" changed")
		}
	}
	return pg.Shorten(out, 10)
}

// account says what going back to the backup would lose now, and changes nothing.
func (p *restore) account(ctx context.Context, env *check.Env, server *pg.Server, s sidecar) (check.Outcome, error) {
	lost, err := p.countLoss(ctx, server, s)
	if err != nil {
		return check.Outcome{}, err
	}
	o := check.Passf("going back to the backup of %s would lose %d rows and %s of changes: %s",
		s.At.Format(time.RFC3339), lost.rows(), env.Now().Sub(s.At).Round(time.Second), cmp.Or(lost.String(), "no table has others"))
	o.Target, o.Facts = server.Name(), s.facts()
	o.Facts["rows_lost_in"] = lost.String()
	o.Sets, err = lost.sets(s)
	return o, err
}

// countLoss compares rows and, as far as the backup has them, contents.
func (p *restore) countLoss(ctx context.Context, server *pg.Server, s sidecar) (losses, error) {
	c, err := server.Open(ctx, pg.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	digests := slices.ContainsFunc(s.Tables, func(t pg.TableDigest) bool { return t.Digest != "" })
	now, err := c.Digests(ctx, digests)
	if err != nil {
		return nil, err
	}
	return accountOf(s.Tables, now), nil
}

// signed gives the account that was signed for. The text says why there is none.
func (p *restore) signed(ctx context.Context, env *check.Env, s sidecar) (losses, string, error) {
	results, err := env.Ledger.Items(ctx, check.Query{Patterns: []string{p.ApprovedBy}})
	if err != nil {
		return nil, "", fmt.Errorf("look up the sign-off %s: %w", p.ApprovedBy, err)
	}
	if len(results.Items) != 1 {
		return nil, "", fmt.Errorf("approved_by: %s names %d items, want one sign-off", p.ApprovedBy, len(results.Items))
	}
	if it := results.Items[0]; it.Verdict != "pass" && it.Verdict != "waived" {
		return nil, fmt.Sprintf("%s is %s: nobody has signed for what would be lost", it.ID, it.Verdict), nil
	}
	of, told := env.Ledger.Fact("restore.loss.of")
	text, listed := env.Ledger.Fact("restore.loss.tables")
	if !told || !listed {
		return nil, "", &check.NotSupplied{What: "restore.loss: what would be lost; an item postgres.restore with into: account or scratch before the sign-off"}
	}
	if of != s.SHA256 {
		return nil, "what was signed for was the loss against another backup", nil
	}
	var account losses
	if err := json.Unmarshal([]byte(text), &account); err != nil {
		return nil, "", errors.New("the fact restore.loss.tables cannot be read")
	}
	return account, "", nil
}
