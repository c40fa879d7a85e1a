package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/secret"
)

const (
	// maxStream bounds each output stream kept, in bytes.
	maxStream = 8 << 20
	// maxOutput bounds the file of facts, in bytes; maxFact one value of it.
	maxOutput, maxFact = 64 << 10, 1000
	// tailLines and tailWidth bound what of the output is put into a reason.
	tailLines, tailWidth = 5, 300
	// cleanup bounds removing the file of facts after the item was cancelled.
	cleanup = 5 * time.Second
)

// runner runs the programs of one command item.
type runner struct {
	host      check.Host
	dir, user string
	env       []string
	secrets   []secret.Value
	log       io.Writer
}

// ending is how a program ended, with its own secrets taken out of the output,
// so that a shortened line cannot hold half of one.
type ending struct {
	check.Result
	argv []string
}

func (r *runner) exec(ctx context.Context, argv []string, output string) (ending, error) {
	env := slices.Clone(r.env)
	if output != "" {
		env = append(env, "ALLCLEAR_OUTPUT="+output)
	}
	result, err := r.host.Exec(ctx, check.Command{
		Argv: argv, Dir: r.dir, Env: env, User: r.user, Stdout: r.log, Stderr: r.log, Limit: maxStream,
	})
	for _, s := range r.secrets {
		result.Stdout = bytes.ReplaceAll(result.Stdout, []byte(s.Reveal()), []byte(secret.Redacted))
		result.Stderr = bytes.ReplaceAll(result.Stderr, []byte(s.Reveal()), []byte(secret.Redacted))
	}
	return ending{Result: result, argv: argv}, err
}

// outputFile makes an empty file for facts on the host, if any are wanted.
func (r *runner) outputFile(ctx context.Context, names []string) (string, error) {
	if len(names) == 0 {
		return "", nil
	}
	result, err := r.host.Exec(ctx, check.Command{Argv: []string{"mktemp", "-t", "allclear.XXXXXXXX"}, User: r.user})
	if err != nil {
		return "", fmt.Errorf("make the output file: %w", err)
	}
	path := strings.TrimSuffix(string(result.Stdout), "\n")
	if result.Code != 0 || !strings.HasPrefix(path, "/") || strings.Contains(path, "\n") {
		return "", fmt.Errorf("make the output file: mktemp ended with exit %d", result.Code)
	}
	return path, nil
}

func (r *runner) remove(ctx context.Context, path string) {
	if path == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	_, _ = r.host.Exec(ctx, check.Command{Argv: []string{"rm", "-f", "--", path}, User: r.user})
}

// output reads the facts that the program wrote: exactly the ones declared.
func (r *runner) output(ctx context.Context, path string, names []string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	text, err := r.host.ReadFile(ctx, path, maxOutput)
	if err != nil {
		return nil, fmt.Errorf("read $ALLCLEAR_OUTPUT: %w", err)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, &check.NotSupplied{What: strings.Join(names, ", ") + " (the program wrote nothing to $ALLCLEAR_OUTPUT)"}
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(text, &given); err != nil {
		return nil, fmt.Errorf("read $ALLCLEAR_OUTPUT: %w", err)
	}
	sets := map[string]string{}
	for name, raw := range given {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("$ALLCLEAR_OUTPUT holds %.100q, which output does not list", name)
		}
		if sets[name], err = factText(raw); err != nil {
			return nil, fmt.Errorf("$ALLCLEAR_OUTPUT: %s: %w", name, err)
		}
	}
	for _, name := range names {
		if _, ok := sets[name]; !ok {
			return nil, &check.NotSupplied{What: name + " (in $ALLCLEAR_OUTPUT)"}
		}
	}
	return sets, nil
}

func factText(raw json.RawMessage) (string, error) {
	var s string
	switch err := json.Unmarshal(raw, &s); {
	case string(raw) == "null", bytes.HasPrefix(raw, []byte("{")), bytes.HasPrefix(raw, []byte("[")):
		return "", fmt.Errorf("want a text, a number or true or false, got %.40s", raw)
	case err != nil:
		s = string(raw)
	}
	if len(s) > maxFact {
		return "", fmt.Errorf("longer than %d bytes", maxFact)
	}
	return s, nil
}

// store keeps what was printed as evidence.
func (e ending) store(env *check.Env) ([]check.Artefact, error) {
	var kept []check.Artefact
	for _, s := range []struct {
		name string
		text []byte
	}{{"stdout.txt", e.Stdout}, {"stderr.txt", e.Stderr}} {
		if len(s.text) == 0 {
			continue
		}
		a, err := env.Store(s.name, bytes.NewReader(s.text))
		if err != nil {
			return nil, fmt.Errorf("keep %s: %w", s.name, err)
		}
		kept = append(kept, a)
	}
	return kept, nil
}

// name is the program's name without its arguments, which may be long.
func (e ending) name() string {
	if e.argv[0] == "sh" && len(e.argv) > 3 && e.argv[3] == "script" {
		return "the script"
	}
	return e.argv[0]
}

func (e ending) shortTook() string { return e.Took.Round(time.Millisecond).String() }

func (e ending) signal() string {
	if e.Signal == "" {
		return ""
	}
	return " (" + e.Signal + ")"
}

// tail is the end of what was printed, as it is put behind a reason: standard
// error, or standard output where that is empty.
func (e ending) tail() string {
	text := bytes.TrimSpace(e.Stderr)
	if len(text) == 0 {
		text = bytes.TrimSpace(e.Stdout)
	}
	if len(text) == 0 {
		return ""
	}
	lines := strings.Split(strings.ToValidUTF8(string(text), "\uFFFD"), "\n")
	lines = lines[max(0, len(lines)-tailLines):]
	for i, line := range lines {
		lines[i] = shorten(strings.TrimRight(line, "\r \t"))
	}
	return ": " + strings.Join(lines, " / ")
}

func shorten(line string) string {
	if len(line) <= tailWidth {
		return line
	}
	cut := tailWidth
	for cut > 0 && !utf8.RuneStart(line[cut]) {
		cut--
	}
	return line[:cut] + "…"
}
