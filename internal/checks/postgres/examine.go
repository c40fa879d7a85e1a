package postgres

import (
	"context"
	"fmt"

	"allclear.dev/allclear/internal/check"
	pg "allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/secret"
)

// Examine says whether the database answers, PostgreSQL's programs are there, and
// the folder of the backups is one; nothing is written.
func (p *backup) Examine(ctx context.Context, env *check.Env) (string, error) {
	return p.place.examine(ctx, env, secret.Ref{}, p.Mode == "create")
}

// Examine says besides whether a database may be made to restore into.
func (p *restore) Examine(ctx context.Context, env *check.Env) (string, error) {
	scratch := p.Scratch
	if scratch.IsZero() {
		scratch = p.DB
	}
	return p.place.examine(ctx, env, scratch, false)
}

func (p *place) examine(ctx context.Context, env *check.Env, scratch secret.Ref, makes bool) (string, error) {
	host, err := env.Host(p.On)
	if err != nil {
		return "", err
	}
	server, err := p.server(ctx, env, p.DB)
	if err != nil {
		return "", err
	}
	c, err := server.Open(ctx, pg.Options{ReadOnly: true})
	if err != nil {
		return "", err
	}
	defer c.Close()
	major, err := c.Major(ctx)
	if err != nil {
		return "", err
	}
	if _, err := pg.FindTools(ctx, host, p.Bin, major); err != nil {
		return "", err
	}
	folder, err := host.Lstat(ctx, p.Dest)
	if err != nil && !makes {
		return "", fmt.Errorf("look at the folder of the backups: %w", err)
	}
	if err == nil && !folder.Mode.IsDir() {
		return "", fmt.Errorf("%s is no folder: write where backups are kept in dest", p.Dest)
	}
	if !scratch.IsZero() {
		if err := p.mayCreate(ctx, env, scratch); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%s answers (PostgreSQL %d), and its programs are on %s", server.Name(), major, host.Name()), ctx.Err()
}

// mayCreate tells a role that may not make databases.
func (p *place) mayCreate(ctx context.Context, env *check.Env, ref secret.Ref) error {
	server, err := p.server(ctx, env, ref)
	if err != nil {
		return err
	}
	return pg.MayCreateDatabases(ctx, server)
}
