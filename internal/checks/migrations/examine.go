package migrations

import (
	"context"
	"fmt"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/rehearse"
)

// Examine says whether the server to rehearse on answers, lets databases be made,
// and does not look like production; nothing is made.
func (p *rehearsal) Examine(ctx context.Context, env *check.Env) (string, error) {
	production, err := p.server(ctx, env)
	if err != nil {
		return "", err
	}
	scratch := production
	if !p.Scratch.IsZero() {
		address, err := env.Secret(ctx, p.Scratch)
		if err != nil {
			return "", err
		}
		if scratch, err = postgres.Parse(address, env.Dial); err != nil {
			return "", err
		}
	}
	signs, err := rehearse.Signs(ctx, scratch, production)
	if err != nil {
		return "", err
	}
	if refusal := rehearse.Refusal(signs, p.Accept); refusal != "" {
		return "", fmt.Errorf("%s", refusal)
	}
	if err := postgres.MayCreateDatabases(ctx, scratch); err != nil {
		return "", err
	}
	return scratch.Name() + " can be used to rehearse", ctx.Err()
}
