package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	pg "allclear.dev/allclear/internal/postgres"
)

// live puts a restored backup into the database's place. Until the switch nothing
// of the real database is touched; the switch itself is one transaction.
func (p *restore) live(ctx context.Context, env *check.Env, tools pg.Tools, server *pg.Server, s sidecar) (check.Outcome, error) {
	signed, refusal, err := p.signed(ctx, env, s)
	if err != nil {
		return check.Outcome{}, err
	}
	if refusal != "" {
		return check.Failf("%s; database %s is untouched", refusal, server.Database()), nil
	}
	// Milliseconds keep two switches of one second apart; 36 bytes of the name and
	// 27 more are the 63 that PostgreSQL gives a name.
	stamp := strings.Replace(env.Now().UTC().Format("20060102150405.000"), ".", "", 1)
	name := server.Database()
	beside, old := cut(name)+"_restored_"+stamp, cut(name)+"_before_"+stamp
	start := env.Now()
	wrong, err := p.prepare(ctx, env, tools, server, beside, s, signed)
	if err != nil {
		return check.Outcome{}, fmt.Errorf("%w; database %s is untouched, look at %s", err, name, beside)
	}
	if wrong == "" {
		wrong, err = pg.Switch(ctx, server, p.Maintenance, beside, old)
	}
	if err != nil {
		return check.Outcome{}, err
	}
	if wrong != "" {
		return check.Failf("%s; database %s is untouched, the attempt is kept as %s", wrong, name, beside), nil
	}
	return p.switched(ctx, env, server, s, signed, old, env.Now().Sub(start))
}

// prepare restores beside, proves it, and holds what would be lost now against what
// was signed for.
func (p *restore) prepare(ctx context.Context, env *check.Env, tools pg.Tools, server *pg.Server, beside string, s sidecar, signed losses) (string, error) {
	wrong, err := rolesThere(ctx, server, s)
	if wrong == "" && err == nil {
		wrong, err = p.beside(ctx, env, tools, server, beside, s)
	}
	if wrong != "" {
		wrong = s.Path + ": " + wrong
	}
	if err != nil || wrong != "" {
		return wrong, err
	}
	lost, err := p.countLoss(ctx, server, s)
	if err != nil {
		return "", err
	}
	if more := lost.exceeds(signed); more != "" {
		return "more would be lost than was signed for: " + more, nil
	}
	return "", nil
}

// switched tells what was lost, which can be counted to the end now: nobody writes
// to the old database any more.
func (p *restore) switched(ctx context.Context, env *check.Env, server *pg.Server, s sidecar, signed losses, old string, took time.Duration) (check.Outcome, error) {
	lost, err := p.countLoss(ctx, server.In(old), s)
	count := fmt.Sprintf("%d rows and %s of changes are lost", lost.rows(), env.Now().Sub(s.At).Round(time.Second))
	if err != nil { // it is done all the same
		count = "what is lost could not be counted to the end: " + err.Error()
	}
	o := check.Passf("%s is now the backup of %s, in %.3f s; %s, the old database is kept as %s", server.Database(), s.At.Format(time.RFC3339), took.Seconds(), count, old)
	if more := lost.exceeds(signed); more != "" {
		o.Reason += "; written after the last count, beyond what was signed for: " + more
	}
	o.Target, o.Facts = server.Name(), s.facts()
	o.Facts["rows_lost_in"], o.Facts["kept_as"] = lost.String(), old
	o.Sets = map[string]string{
		"restore.live_seconds": strconv.FormatFloat(took.Seconds(), 'f', 3, 64),
		"restore.rows_lost":    strconv.FormatInt(lost.rows(), 10), "restore.kept_as": old,
	}
	return o, nil
}

// cut keeps a name short enough for a suffix: names end at 63 bytes.
func cut(name string) string { return strings.ToValidUTF8(name[:min(len(name), 36)], "") }

// beside restores into a new database and proves it.
func (p *restore) beside(ctx context.Context, env *check.Env, tools pg.Tools, server *pg.Server, name string, s sidecar) (string, error) {
	like, err := localeOf(ctx, server)
	if err != nil {
		return "", err
	}
	if err := server.CreateDatabase(ctx, name, like); err != nil {
		return "", err
	}
	wrong, err := load(ctx, tools, server.In(name), s, levelRestore, p.Jobs, true)
	if err == nil && wrong == "" {
		wrong, err = (&trial{place: p.place, checks: p.Checks}).ask(ctx, server.In(name))
	}
	fmt.Fprintf(env.Log, "restored into %s\n", name)
	return wrong, errors.Join(err, ctx.Err())
}
