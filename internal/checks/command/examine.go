package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// Examine says whether the programs are there; none of them is run. A folder that
// is not there may be made by an item before: what begins in it cannot be looked for.
func (c *command) Examine(ctx context.Context, env *check.Env) (string, error) {
	host, err := env.Host(c.On)
	if err != nil {
		return "", err
	}
	dir, remark := c.Dir, ""
	if dir != "" {
		if _, err := host.Lstat(ctx, dir); errors.Is(err, fs.ErrNotExist) {
			dir, remark = "", fmt.Sprintf("; the folder %s is not there yet, so an item before has to make it", c.Dir)
		}
	}
	programs := []string{"sh"}
	for _, list := range [][]check.Arg{c.Argv, c.ProbeArgv, c.UndoArgv, c.Verify} {
		argv, err := check.Args(list, c.Dash)
		if err != nil {
			return "", err
		}
		if len(argv) > 0 && (remark == "" || path.IsAbs(argv[0]) || !strings.Contains(argv[0], "/")) {
			programs = append(programs, argv[0])
		}
	}
	for _, program := range programs {
		r, err := host.Exec(ctx, check.Command{Argv: []string{"sh", "-c", `command -v -- "$1"`, "sh", program}, Dir: dir, User: c.User})
		if err != nil {
			return "", fmt.Errorf("look for %s: %w", program, err)
		}
		if r.Code != 0 {
			return "", fmt.Errorf("there is no program %s on %s: install it, or write its path", program, host.Name())
		}
	}
	return programs[len(programs)-1] + " is there" + remark, ctx.Err()
}
