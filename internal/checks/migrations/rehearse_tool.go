package migrations

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/lint"
	"allclear.dev/allclear/internal/postgres/wire"
	"allclear.dev/allclear/internal/secret"
)

// tool applies migrations to a copy, one step at a time. A failure is what it or
// the server said; an error leaves open what happened.
type tool interface {
	// pending names the steps that a database lacks, in order.
	pending(ctx context.Context, base *postgres.Server) ([]string, error)
	up(ctx context.Context, address, step string) (failure string, err error)
	// down takes a step back; it is not asked for steps without a way back.
	down(ctx context.Context, address, step string) (failure string, err error)
	hasDown(step string) bool
	// plan is the digest of the pending files, or "".
	plan() string
}

func (s *stage) newTool(ctx context.Context) (tool, error) {
	if len(s.Up) > 0 {
		return &program{s}, nil
	}
	files, err := load(ctx, s.env, s.Dir)
	if err != nil {
		return nil, err
	}
	return &ours{stage: s, files: files}, nil
}

// ours applies the files as migrations.apply does.
type ours struct {
	*stage
	files  []migration
	before state
}

func (t *ours) pending(ctx context.Context, base *postgres.Server) ([]string, error) {
	c, err := base.Open(ctx, postgres.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if t.before, err = newTable(t.Tool, t.Table).read(ctx, c); err != nil {
		return nil, err
	}
	diff := compare(t.files, t.before)
	if trouble := diff.trouble(t.before, t.Table); trouble != "" {
		return nil, fmt.Errorf("the copy: %s", trouble)
	}
	return namesOf(diff.pending), nil
}

func (t *ours) plan() string { return digest(compare(t.files, t.before).pending) }

func (t *ours) at(step string) int {
	return slices.IndexFunc(t.files, func(m migration) bool { return m.Name == step })
}

func (t *ours) hasDown(step string) bool { return t.files[t.at(step)].HasDown }

func (t *ours) up(ctx context.Context, address, step string) (string, error) {
	return t.to(ctx, address, t.files[t.at(step)].Version)
}

func (t *ours) down(ctx context.Context, address, step string) (string, error) {
	previous := none
	if i := t.at(step); i > 0 {
		previous = t.files[i-1].Version
	}
	return t.to(ctx, address, previous)
}

// to brings the copy to a version. The run's own notes about the real database are
// kept out of it.
func (t *ours) to(ctx context.Context, address string, version int64) (string, error) {
	server, err := postgres.Parse(secret.New(address), t.env.Dial)
	if err != nil {
		return "", err
	}
	notes, err := os.MkdirTemp("", "allclear-rehearsal-")
	if err != nil {
		return "", fmt.Errorf("make a folder for notes: %w", err)
	}
	defer func() { _ = os.RemoveAll(notes) }()
	env := *t.env
	env.DataDir = filepath.Clean(notes)
	a := &apply{source: t.source, To: versionText(version), PlanDigest: "any", LockTimeout: rehearsedLockTimeout, Retries: rehearsedRetries, Pause: rehearsedPause}
	o, err := a.run(ctx, &env, server, nil, t.files, version)
	if err != nil || o.Verdict == check.Pass {
		return "", err
	}
	return o.Reason, nil
}

// How a rehearsal waits for locks: as migrations.apply does unless it is told
// otherwise, with shorter pauses.
const (
	rehearsedLockTimeout = 500 * time.Millisecond
	rehearsedRetries     = 60
	rehearsedPause       = 100 * time.Millisecond
)

// program has another tool's own program apply everything in one step.
type program struct{ *stage }

func (t *program) pending(context.Context, *postgres.Server) ([]string, error) {
	return []string{t.Up[0]}, nil
}

func (t *program) plan() string { return "" }

func (t *program) hasDown(string) bool { return len(t.Down) > 0 }

func (t *program) up(ctx context.Context, address, _ string) (string, error) {
	return t.execute(ctx, address, t.Up)
}

func (t *program) down(ctx context.Context, address, _ string) (string, error) {
	return t.execute(ctx, address, t.Down)
}

// execute runs a program here, where the proxy is.
func (s *stage) execute(ctx context.Context, address string, argv []string) (string, error) {
	host, err := s.env.Host("")
	if err != nil {
		return "", err
	}
	r, err := host.Exec(ctx, check.Command{Argv: argv, Env: []string{s.AddressIn + "=" + address}, Stdout: s.env.Log, Stderr: s.env.Log})
	if err != nil {
		return "", err
	}
	failure, err := postgres.Failure(r)
	if failure != "" {
		failure = argv[0] + ": " + failure
	}
	return failure, err
}

// program runs one of the team's programs on a copy.
func (s *stage) program(ctx context.Context, server *postgres.Server, argv []string) (failure string, err error) {
	proxy, err := wire.Listen(ctx, server, blind{}, pieces, nil)
	if err != nil {
		return "", err
	}
	failure, err = s.execute(ctx, proxy.Address(), argv)
	return failure, closed(proxy, err)
}

// closed ends a proxy; what went wrong with it counts first.
func closed(proxy *wire.Proxy, err error) error {
	if watching := proxy.Close(); watching != nil {
		return watching
	}
	return err
}

// pieces takes a text of SQL apart.
func pieces(sql string) []wire.Piece {
	list, err := lint.Pieces(sql)
	if err != nil {
		return nil
	}
	var out []wire.Piece
	for _, p := range list {
		out = append(out, wire.Piece(p))
	}
	return out
}

// blind is a watcher that is not interested.
type blind struct{}

func (blind) Begin(context.Context, int, wire.Ask) error            { return nil }
func (blind) Starts(context.Context, *wire.Statement) error         { return nil }
func (blind) Held(context.Context, *wire.Statement, wire.Ask) error { return nil }
func (blind) Ended(context.Context, int, int, bool) error           { return nil }
