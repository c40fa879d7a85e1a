package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/run"
	"allclear.dev/allclear/internal/secret"
)

// examineTimeout bounds looking at one item.
const examineTimeout = 20 * time.Second

// Examination is what was found about an item before a run.
type Examination struct {
	// Found says what is there; Later names what only the run will know.
	Found, Later string
	// Secret is a reference that leads to nothing; Err says what is missing.
	Secret secret.Ref
	Err    error
}

// Examine looks, without any effect, whether an item could be resolved: its
// secrets, its target, its credential. Checks that only read are tried.
func (e *Engine) Examine(ctx context.Context, s *run.State, item *run.Item) Examination {
	info := e.info(s, item, 1)
	inst, err := e.World.Instance(item.Type, item.Params, runVars{info, s.Facts})
	if err != nil {
		return e.examination("", err)
	}
	notes, err := os.MkdirTemp("", "allclear-doctor-")
	if err != nil {
		return Examination{Err: fmt.Errorf("make a folder for notes: %w", err)}
	}
	defer func() { _ = os.RemoveAll(notes) }()
	env := e.World.Env(info, "examine", e.ledger(s), false, io.Discard)
	env.DataDir = notes // what a type remembers is the run's business
	for _, ref := range inst.Secrets() {
		if _, err := env.Secret(ctx, ref); err != nil {
			x := e.examination("", err)
			x.Secret, x.Later = ref, ""
			return x
		}
	}
	f := within(ctx, examineTimeout, "the type", func(ctx context.Context) found { return examine(ctx, env, inst) })
	return e.examination(f.outcome.Reason, f.err)
}

func (e *Engine) examination(text string, err error) Examination {
	if missing, ok := errors.AsType[*check.NotSupplied](err); ok {
		return Examination{Later: missing.What}
	}
	if err != nil {
		return Examination{Err: errors.New(cut(e.World.Redactor.String(err.Error()), maxReason))}
	}
	return Examination{Found: cut(e.World.Redactor.String(text), maxReason)}
}

// examine asks the type itself, tries what only reads, asks an action's probe, or
// at least knocks at the addresses among its parameters.
func examine(ctx context.Context, env *check.Env, inst *check.Instance) (f found) {
	if x, ok := inst.Runner.(check.Examiner); ok {
		f.outcome.Reason, f.err = x.Examine(ctx, env)
		return f
	}
	if inst.Traits.Effect == check.Reads && inst.Traits.Class == check.Pure {
		f.outcome, f.err = inst.Runner.Run(ctx, env)
		f.outcome.Reason = map[check.Verdict]string{check.Pass: "would pass now: ", check.Fail: "answers; would fail now: "}[f.outcome.Verdict] + f.outcome.Reason
		return f
	}
	if p := inst.Prober(); p != nil {
		var progress check.Progress
		progress, f.outcome, f.err = p.Probe(ctx, env)
		f.outcome.Reason = map[check.Progress]string{check.Done: "is done already", check.NotDone: "is to be done", check.Partly: "is done in part"}[progress]
		return f
	}
	f.outcome.Reason, f.err = knock(ctx, env, inst)
	return f
}

// knock opens a connection to each address among the parameters, and closes it.
func knock(ctx context.Context, env *check.Env, inst *check.Instance) (string, error) {
	var reached []string
	for _, word := range strings.FieldsFunc(string(inst.Params), func(r rune) bool { return strings.ContainsRune("\"' ,[]{}\\", r) }) {
		u, err := url.Parse(word[max(0, strings.Index(word, "http")):])
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			continue
		}
		address := u.Host
		if u.Port() == "" {
			address = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
		}
		if slices.Contains(reached, address) {
			continue
		}
		conn, err := env.Dial(ctx, "tcp", address)
		if err != nil {
			return "", fmt.Errorf("reach %s: %w", address, err)
		}
		_ = conn.Close()
		reached = append(reached, address)
	}
	if len(reached) == 0 {
		return "nothing to look at before it is done", ctx.Err()
	}
	return strings.Join(reached, ", ") + " can be reached", ctx.Err()
}
