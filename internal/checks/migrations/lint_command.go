package migrations

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/postgres/lint"
)

// program is how the tool is called.
func (p *linting) program() ([]string, error) {
	if len(p.Command) == 0 {
		return map[string][]string{"alembic": {"alembic"}, "django": {"python3", "manage.py"}}[p.Tool], nil
	}
	return check.Args(p.Command, false)
}

// shown is a call as people read it.
func (p *linting) shown(args []string) string {
	argv, err := p.program()
	if err != nil {
		return p.Tool
	}
	return strings.Join(append(slices.Clone(argv), args...), " ")
}

// output gives what the program prints. One that does not end well is an error.
func (p *linting) output(ctx context.Context, env *check.Env, host check.Host, args ...string) (string, error) {
	argv, err := p.program()
	if err != nil {
		return "", err
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		pairs = append(pairs, name+"="+p.Env[name])
	}
	for _, name := range slices.Sorted(maps.Keys(p.SecretEnv)) {
		value, err := env.Secret(ctx, p.SecretEnv[name])
		if err != nil {
			return "", err
		}
		pairs = append(pairs, name+"="+value.Reveal())
	}
	dir := ""
	if p.prints() {
		dir = p.dir()
	}
	result, err := host.Exec(ctx, check.Command{Argv: append(slices.Clone(argv), args...), Dir: dir, Env: pairs, Limit: maxFile})
	if err != nil {
		return "", err
	}
	switch {
	case result.Signal != "":
		return "", fmt.Errorf("%s was ended by signal: %s", p.shown(args), result.Signal)
	case result.Code != 0:
		return "", fmt.Errorf("%s ended with exit %d: %s", p.shown(args), result.Code, lastLine(result))
	case result.Truncated:
		return "", fmt.Errorf("%s printed more than %d bytes", p.shown(args), maxFile)
	}
	return string(result.Stdout), nil
}

// lastLine is the last thing that a program said.
func lastLine(r check.Result) string {
	for _, text := range []string{string(r.Stderr), string(r.Stdout)} {
		if lines := strings.Split(strings.TrimSpace(text), "\n"); lines[len(lines)-1] != "" {
			return fmt.Sprintf("%.300s", lines[len(lines)-1])
		}
	}
	return "it said nothing"
}

// alembic prints what an upgrade from the database's revision would send.
func (p *linting) alembic(ctx context.Context, env *check.Env, host check.Host, done *applied) (reading, error) {
	to := "head"
	if done != nil && done.last != "" {
		to = done.last + ":head"
	}
	args := []string{"upgrade", to, "--sql"}
	text, err := p.output(ctx, env, host, args...)
	if err != nil {
		return reading{}, err
	}
	steps := len(regexp.MustCompile(`(?m)^-- Running upgrade `).FindAllString(text, -1))
	if steps == 0 {
		if done != nil && done.last != "" {
			return reading{all: 1}, nil // it is at the head
		}
		return reading{}, fmt.Errorf("%s printed no upgrade", p.shown(args))
	}
	src, err := p.source(ctx, host, p.shown(args), text)
	return reading{[]lint.Source{src}, steps, steps}, err
}

// django prints what each pending migration would send. Where the database is asked
// too, both must tell the same.
func (p *linting) django(ctx context.Context, env *check.Env, host check.Host, done *applied) (reading, error) {
	var r reading
	plan, err := p.output(ctx, env, host, "showmigrations", "--plan")
	if err != nil {
		return r, err
	}
	form := regexp.MustCompile(`^\[( |X)\] {2}([A-Za-z_][A-Za-z0-9_]*)\.([A-Za-z0-9_]+)$`)
	for line := range strings.Lines(plan) {
		line = strings.TrimRight(line, "\r\n")
		found := form.FindStringSubmatch(line)
		if found == nil {
			return r, fmt.Errorf("%s printed %q, which is no migration", p.shown([]string{"showmigrations"}), line)
		}
		r.all++
		name := found[2] + "." + found[3]
		if in := found[1] == "X"; done != nil && in != done.has(name) {
			return r, fmt.Errorf("table %s and %s disagree on %s: the program asks another database", done.table, p.shown([]string{"showmigrations"}), name)
		} else if in {
			continue
		}
		text, err := p.output(ctx, env, host, "sqlmigrate", found[2], found[3])
		if err != nil {
			return r, err
		}
		src, err := p.source(ctx, host, name, text)
		if err != nil {
			return r, err
		}
		r.sources = append(r.sources, src)
		r.pending++
	}
	return r, nil
}
