package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/secret"
)

const (
	// probeTimeout bounds one health probe.
	probeTimeout = 10 * time.Second
	// tailLines and tailWidth bound what of a log is put into a reason.
	tailLines, mostLines, tailWidth = "5", 10, 300
)

// healthyNow wants so many good answers in a row of every unit that can be asked.
func (w *work) healthyNow(ctx context.Context, units []unit) (string, error) {
	for i := range units {
		for n := range w.Consecutive {
			if !units[i].Healthy.given() {
				break
			}
			if n > 0 {
				if err := w.env.Sleep(ctx, w.Every); err != nil {
					return "", err
				}
			}
			miss, err := w.probe(ctx, &units[i])
			if err != nil {
				return "", fmt.Errorf("%s: %w", units[i].Name, err)
			}
			if miss != "" {
				return fmt.Sprintf("%s is not healthy: %s", units[i].Name, miss), nil
			}
		}
	}
	return "", nil
}

// probe asks once whether a unit works. What it answers decides; that nothing
// listens is an answer too. Anything else is not knowing.
func (w *work) probe(ctx context.Context, u *unit) (string, error) {
	if !u.Healthy.given() {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if len(u.Healthy.Argv) > 0 {
		return w.probeProgram(ctx, u)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.Healthy.URL, nil)
	if err != nil {
		return "", err
	}
	resp, err := w.env.HTTP.RoundTrip(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "nothing listens at " + u.Healthy.URL, nil
	}
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	if !slices.Contains(u.Healthy.Status, resp.StatusCode) {
		return fmt.Sprintf("%s answers %d", u.Healthy.URL, resp.StatusCode), nil
	}
	return "", nil
}

func (w *work) probeProgram(ctx context.Context, u *unit) (string, error) {
	argv, err := check.Args(u.Healthy.Argv, false)
	if err != nil {
		return "", err
	}
	env, err := w.environ(ctx, u)
	if err != nil {
		return "", err
	}
	result, err := w.host.Exec(ctx, check.Command{Argv: argv, Dir: u.Dir, Env: env, User: u.User})
	switch {
	case err != nil:
		return "", err
	case result.Signal != "":
		return "", fmt.Errorf("%s was ended by signal: %s", argv[0], result.Signal)
	case result.Code != 0:
		return fmt.Sprintf("%s ended with exit %d", argv[0], result.Code), nil
	}
	return "", nil
}

// tail gives the end of a unit's log for a reason, with its own secrets taken
// out before it is shortened.
func (w *work) tail(ctx context.Context, u *unit, st status) string {
	text := bytes.TrimSpace(w.driver.tail(ctx, u, st))
	for _, s := range w.secrets {
		text = bytes.ReplaceAll(text, []byte(s.Reveal()), []byte(secret.Redacted))
	}
	if len(text) == 0 {
		return ""
	}
	lines := strings.Split(strings.ToValidUTF8(string(text), "\uFFFD"), "\n")
	lines = lines[max(0, len(lines)-mostLines):]
	for i, line := range lines {
		if len(line) > tailWidth {
			lines[i] = strings.ToValidUTF8(line[:tailWidth], "") + "…"
		}
	}
	return "; its log ends: " + strings.Join(lines, " / ")
}
