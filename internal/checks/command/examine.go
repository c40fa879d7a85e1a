package command

import (
	"context"
	"fmt"

	"allclear.dev/allclear/internal/check"
)

// Examine says whether the programs are there; none of them is run.
func (c *command) Examine(ctx context.Context, env *check.Env) (string, error) {
	host, err := env.Host(c.On)
	if err != nil {
		return "", err
	}
	programs := []string{"sh"}
	for _, list := range [][]check.Arg{c.Argv, c.ProbeArgv, c.UndoArgv, c.Verify} {
		argv, err := check.Args(list, c.Dash)
		if err != nil {
			return "", err
		}
		if len(argv) > 0 {
			programs = append(programs, argv[0])
		}
	}
	for _, program := range programs {
		r, err := host.Exec(ctx, check.Command{Argv: []string{"sh", "-c", `command -v -- "$1"`, "sh", program}, Dir: c.Dir, User: c.User})
		if err != nil {
			return "", fmt.Errorf("look for %s: %w", program, err)
		}
		if r.Code != 0 {
			return "", fmt.Errorf("there is no program %s on %s: install it, or write its path", program, host.Name())
		}
	}
	return programs[len(programs)-1] + " is there", ctx.Err()
}
