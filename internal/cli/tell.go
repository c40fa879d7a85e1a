package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"allclear.dev/allclear/internal/catalog"
	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/config"
	"allclear.dev/allclear/internal/engine"
)

// noticeParams are the parameters of the type notify for one target.
type noticeParams struct {
	To        string      `json:"to"`
	Text      string      `json:"text"`
	Slack     check.Value `json:"slack,omitempty"`
	Email     check.Value `json:"email,omitempty"`
	PagerDuty check.Value `json:"pagerduty,omitempty"`
}

// messenger is the type notify for one target of the configuration.
func (s *site) messenger(types map[string]*check.Type, to, text string) (*check.Instance, error) {
	n := s.cfg.Notifications
	params, err := json.Marshal(noticeParams{to, text, n.Slack, n.Email, n.PagerDuty})
	if err != nil {
		return nil, fmt.Errorf("encode notice: %w", err)
	}
	w := engine.World{Types: types}
	return w.Instance("notify", string(params), config.Vars{Project: s.cfg.Project, Env: s.env})
}

// noticesWork holds that the type notify can make something of every target.
func (s *site) noticesWork() error {
	types := catalog.ByName()
	for _, to := range s.cfg.Notifications.To {
		if kind, _, _ := strings.Cut(to, ":"); kind == "file" || kind == "webhook" {
			continue
		}
		if _, err := s.messenger(types, to, "a message"); err != nil {
			return fail(ExitUsage, "allclear types notify tells what the targets need", "notifications: %s: %v", to, err)
		}
	}
	return nil
}

// tell sends a notice as the type notify does. It is tried again only as long as
// it is certain that nobody has it.
func (s *site) tell(ctx context.Context, w *engine.World, to string, message notice) error {
	text := fmt.Sprintf("%s %s to %s, %s: %s (run %s)", message.Project, message.Release, message.Environment, message.Status, message.Text, message.Run)
	inst, err := s.messenger(w.Types, to, text)
	if err != nil {
		return err
	}
	env := w.Env(check.RunInfo{
		ID: message.Run, Item: message.ID + " " + to, Project: message.Project, Environment: message.Environment, Release: message.Release,
	}, message.ID, nil, false, io.Discard)
	for try := 1; ; try++ {
		outcome, err := runNotice(ctx, inst, env)
		if err == nil && outcome.Verdict != check.Pass {
			return errors.New(outcome.Reason)
		}
		if err == nil || try == noticeTries {
			return err
		}
		if progress, _, unclear := inst.Prober().Probe(ctx, env); unclear != nil || progress != check.NotDone {
			return err
		}
		if slept := env.Sleep(ctx, time.Duration(try)*time.Second); slept != nil {
			return err
		}
	}
}

func runNotice(ctx context.Context, inst *check.Instance, env *check.Env) (check.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, noticeTime)
	defer cancel()
	return inst.Runner.Run(ctx, env)
}
