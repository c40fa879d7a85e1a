package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/engine"
	"allclear.dev/allclear/internal/run"
	"allclear.dev/allclear/internal/secret"
)

// notice is what people are told: the same sentence as on every screen, with the
// identity of the record.
type notice struct {
	About       string `json:"about"`
	Project     string `json:"project"`
	Environment string `json:"environment"`
	Release     string `json:"release"`
	Run         string `json:"run"`
	ID          string `json:"id"`
	Item        string `json:"item,omitempty"`
	Status      string `json:"status"`
	Text        string `json:"text"`
	At          string `json:"at"`
}

const (
	noticeTime  = 10 * time.Second
	noticeTries = 3
)

// notifier tells people what the configuration asks for. A message that cannot
// be delivered never holds a run up; it is noted in the run's log.
func (s *site) notifier(w *engine.World, sent string) func(context.Context, run.Effect, *run.State) {
	n := s.cfg.Notifications
	if len(n.On) == 0 || len(n.To) == 0 {
		return nil
	}
	return func(ctx context.Context, effect run.Effect, state *run.State) {
		if !slices.Contains(n.On, effect.Reason) {
			return
		}
		if before, err := os.ReadFile(sent); err == nil && slices.Contains(strings.Fields(string(before)), strconv.Itoa(effect.Attempt)) {
			return
		}
		message := notice{
			About: effect.Reason, Project: state.Plan.Project, Environment: state.Plan.Environment,
			Release: state.Plan.Release.Version, Run: state.Run, ID: fmt.Sprintf("%s/notice/%d", state.Run, effect.Attempt), Item: effect.Item, Status: string(state.Status()),
			Text: w.Redactor.String(state.Advise().String()), At: time.Now().UTC().Format(time.RFC3339),
		}
		for _, to := range n.To {
			if err := s.deliver(ctx, w, to, message); err != nil {
				fmt.Fprintf(os.Stderr, "%s notify %s: %s\n", message.At, message.About, w.Redactor.String(err.Error()))
			}
		}
		// A crash before this line sends the message again, with the same id.
		if err := appendLine(sent, []byte(strconv.Itoa(effect.Attempt))); err != nil {
			fmt.Fprintf(os.Stderr, "%s notify %s: %s\n", message.At, message.About, err)
		}
	}
}

func (s *site) deliver(ctx context.Context, w *engine.World, to string, message notice) error {
	text, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode notice: %w", err)
	}
	if path, ok := strings.CutPrefix(to, "file:"); ok {
		if !filepath.IsAbs(path) {
			path = filepath.Join(s.root, path)
		}
		return appendLine(path, text)
	}
	address, isHook := strings.CutPrefix(to, "webhook:")
	if !isHook {
		return s.tell(ctx, w, to, message)
	}
	if ref, err := secret.ParseRef(address); err == nil {
		value, err := w.Secrets.Resolve(ctx, ref)
		if err != nil {
			return err
		}
		address = value.Reveal()
	}
	for try := 1; ; try++ {
		if err = post(ctx, address, text, message.ID); err == nil || try == noticeTries {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(try) * time.Second):
		}
	}
}

func post(ctx context.Context, address string, text []byte, key string) error {
	ctx, cancel := context.WithTimeout(ctx, noticeTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the webhook answered %s", resp.Status)
	}
	return nil
}

func appendLine(path string, text []byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer file.Close()
	_, err = file.Write(append(text, '\n'))
	return err
}
