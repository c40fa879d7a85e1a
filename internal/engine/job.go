package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/transport"
)

// Job is an action to do in a process of its own. It holds no secrets, only
// references to them.
type Job struct {
	Type   string            `json:"type"`
	Params string            `json:"params"`
	Info   check.RunInfo     `json:"info"`
	Key    string            `json:"key"`
	Facts  map[string]string `json:"facts,omitempty"`
	// Undo takes the action back; Done is what it had returned.
	Undo        bool          `json:"undo,omitempty"`
	Done        check.Outcome `json:"done,omitzero"`
	Maintenance bool          `json:"maintenance,omitempty"`
	// The rest lets the other process build the same world.
	Dir     string      `json:"dir"`
	DataDir string      `json:"data_dir"`
	Bypass  http.Header `json:"bypass,omitempty"`
	// Hosts are the machines and containers that can be reached.
	Hosts map[string]transport.Spec `json:"hosts,omitempty"`
	// BypassToken is a secret reference whose value is the bypass header's.
	BypassToken string `json:"bypass_token,omitempty"`
}

// Execute does a job and gives its outcome as JSON. An error means that it is
// unknown what became of it.
func Execute(ctx context.Context, w *World, text []byte, out io.Writer, ledger check.Ledger) (result []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the type panicked: %v\n%s", p, firstLines(string(debug.Stack()), 12))
		}
	}()
	var job Job
	if err := json.Unmarshal(text, &job); err != nil {
		return nil, fmt.Errorf("read job: %w", err)
	}
	inst, err := w.Instance(job.Type, job.Params, runVars{job.Info, job.Facts})
	if err != nil {
		// Nothing has been begun, so this is a certain failure, not a doubt.
		return json.Marshal(check.Failf("%v", err))
	}
	log := w.Redactor.Writer(out)
	env := w.Env(job.Info, job.Key, ledger, job.Maintenance, log)
	outcome, err := job.run(ctx, inst, env)
	if closeErr := log.Close(); err == nil && closeErr != nil {
		err = closeErr
	}
	if err != nil {
		return nil, errors.New(w.Redactor.String(err.Error()))
	}
	outcome = clean(outcome, w)
	return json.Marshal(outcome)
}

func (j *Job) run(ctx context.Context, inst *check.Instance, env *check.Env) (check.Outcome, error) {
	if !j.Undo {
		return inst.Runner.Run(ctx, env)
	}
	undoer := inst.Undoer()
	if undoer == nil {
		return check.Failf("%s cannot be taken back", j.Type), nil
	}
	// A type knows what it did by the action's key; undoing has one of its own.
	env.Key = strings.TrimSuffix(env.Key, "/undo")
	return undoer.Undo(ctx, env, j.Done)
}

const (
	maxReason = 2000
	maxFact   = 4000
	maxFacts  = 200
)

// clean redacts an outcome and bounds it.
func clean(o check.Outcome, w *World) check.Outcome {
	o.Reason = cut(w.Redactor.String(o.Reason), maxReason)
	o.Target = cut(w.Redactor.String(o.Target), maxReason)
	o.Facts, o.Sets = cleanFacts(o.Facts, w), cleanFacts(o.Sets, w)
	if len(o.Artefacts) > maxFacts {
		o.Artefacts = o.Artefacts[:maxFacts]
	}
	return o
}

func cleanFacts(facts map[string]string, w *World) map[string]string {
	if facts == nil {
		return nil
	}
	out := make(map[string]string, len(facts))
	for name, value := range facts {
		if len(out) < maxFacts {
			out[cut(name, 200)] = cut(w.Redactor.String(value), maxFact)
		}
	}
	return out
}

// cut bounds a text and makes it valid UTF-8.
func cut(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

func firstLines(s string, n int) string {
	lines := strings.SplitN(s, "\n", n+1)
	return strings.Join(lines[:min(n, len(lines))], "\n")
}
