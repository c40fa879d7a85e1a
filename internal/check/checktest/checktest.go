// Package checktest runs a type's test cases and holds the laws that every type
// keeps: cancelled means error, unknown parameters are problems, the same world
// gives the same answer, and no secret shows.
package checktest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/diag"
	"allclear.dev/allclear/internal/secret"
	"allclear.dev/allclear/internal/transport"
)

// Case is one situation of a type.
type Case struct {
	Name string
	// Params is the YAML under the type's key.
	Params string
	// Env changes the world made by NewEnv; may be nil.
	Env func(*check.Env)
	// Timeout ends the run's context; 0 means 10 seconds. It is how a hang is tested.
	Timeout time.Duration
	// Want is "pass: reason", "fail: reason", "error: text" or "problem: text".
	// "..." stands for any text, at either end or within.
	Want string
	// Check looks at the outcome further; may be nil.
	Check func(t *testing.T, o check.Outcome)
	// Once leaves out running the case a second time (for actions with an effect).
	Once bool
	// NetworkIsAnswer leaves out the laws of a broken network and host, for a case
	// where just that is what the type reports (a port scan).
	NetworkIsAnswer bool
}

// Run runs the cases and the laws. The laws of a broken network or host are held
// on the first case that passes and uses it.
func Run(t *testing.T, typ *check.Type, cases []Case) {
	t.Helper()
	var broken laws
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) { runCase(t, typ, c, &broken) })
	}
	t.Run("law: unknown parameter", func(t *testing.T) {
		_, problems := Decode(typ, "no_such_parameter_: 1", nil)
		if !strings.Contains(problems.Error(), "no_such_parameter_") {
			t.Errorf("an unknown parameter is not a problem: %v", problems)
		}
	})
}

// laws remembers which laws a type has been held to.
type laws struct{ network, host bool }

// due tells whether a passing case brings something that was not yet broken.
func (l *laws) due(u *use) bool {
	network, host := u.network.Load() > 0, u.host.Load() > 0
	due := (network && !l.network) || (host && !l.host)
	l.network, l.host = l.network || network, l.host || host
	return due
}

func runCase(t *testing.T, typ *check.Type, c Case, broken *laws) {
	env := NewEnv(t)
	if c.Env != nil {
		c.Env(env)
	}
	inst, problems := Decode(typ, c.Params, nil)
	if inst == nil {
		Match(t, c.Want, "problem: "+strings.TrimSpace(problems.Error()))
		return
	}
	counted, u := watched(env)
	got, outcome, err := once(counted, inst, c.Timeout)
	Match(t, c.Want, got)
	noSecret(t, env, outcome, err)
	if c.Check != nil {
		c.Check(t, outcome)
	}
	if strings.HasPrefix(c.Want, "problem:") {
		return
	}
	if !c.Once && inst.Traits.Kind == check.Check {
		again, _, _ := once(env, inst, c.Timeout)
		Match(t, c.Want, again)
	}
	cancelled(t, env, inst)
	if outcome.Verdict == check.Pass && err == nil && inst.Traits.Kind == check.Check && !c.NetworkIsAnswer && broken.due(u) {
		faults(t, env, inst, u)
	}
}

func once(env *check.Env, inst *check.Instance, timeout time.Duration) (string, check.Outcome, error) {
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	outcome, err := inst.Runner.Run(ctx, env)
	if err != nil {
		return "error: " + err.Error(), outcome, err
	}
	return string(outcome.Verdict) + ": " + outcome.Reason, outcome, nil
}

// Decode reads params as they would stand under the type's key.
func Decode(typ *check.Type, params string, vars check.Vars) (*check.Instance, diag.Problems) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(params), &doc); err != nil {
		return nil, diag.Problems{{Message: err.Error()}}
	}
	var node *yaml.Node
	if len(doc.Content) > 0 {
		node = doc.Content[0]
	}
	lines := strings.Split(params, "\n")
	return typ.Decode(node, check.Source{File: "list.md", Vars: vars, Lines: func(n int) string {
		if n < 1 || n > len(lines) {
			return ""
		}
		return lines[n-1]
	}})
}

// Secrets is a table of secret texts by reference ("env:DB"), for Env.
type Secrets map[string]string

// NewEnv gives a real local world in a temporary folder: the real clock, network
// and programs, no secrets and an empty ledger.
func NewEnv(t testing.TB) *check.Env {
	t.Helper()
	dir := t.TempDir()
	dialer := &net.Dialer{}
	local := &transport.Local{Dir: dir}
	env := &check.Env{
		Now: time.Now, Dial: dialer.DialContext, HTTP: &http.Transport{DialContext: dialer.DialContext},
		Host: func(name string) (check.Host, error) {
			if name == "" || name == "local" {
				return local, nil
			}
			return nil, fmt.Errorf("unknown host %q", name)
		},
		Log: io.Discard, Dir: dir, DataDir: t.TempDir(), Ledger: &Ledger{},
		Run: check.RunInfo{ID: "r-1", Item: "an.item", Project: "tulia", Environment: "test", Release: "1.2.3", Previous: "1.2.2", Starter: "eve", StartedAt: time.Now(), Attempt: 1},
		Key: "allclear/r-1/an.item/1",
		Sleep: func(ctx context.Context, d time.Duration) error {
			timer := time.NewTimer(d)
			defer timer.Stop()
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-timer.C:
				return ctx.Err()
			}
		},
	}
	SetSecrets(env, nil)
	env.Store = func(name string, content io.Reader) (check.Artefact, error) {
		h := sha256.New()
		n, err := io.Copy(h, content)
		return check.Artefact{Name: name, SHA256: hex.EncodeToString(h.Sum(nil)), Size: n}, err
	}
	return env
}

// SetSecrets gives the env these secrets and no others.
func SetSecrets(env *check.Env, s Secrets) {
	env.Secret = func(ctx context.Context, ref secret.Ref) (secret.Value, error) {
		if v, ok := s[ref.String()]; ok {
			return secret.New(v), nil
		}
		if ref.String() == allSecrets {
			return secret.Value{}, secretTable(s)
		}
		return secret.Value{}, fmt.Errorf("secret %s: not set", ref)
	}
}

// allSecrets asks the table set by SetSecrets for everything in it.
const allSecrets = "cmd:all-secrets"

type secretTable Secrets

func (secretTable) Error() string { return "all secrets" }

func secretsOf(env *check.Env) []string {
	_, err := env.Secret(context.Background(), secret.Ref{Scheme: "cmd", Name: "all-secrets"})
	table, ok := errors.AsType[secretTable](err)
	if !ok {
		return nil
	}
	var out []string
	for _, s := range table {
		if len(s) >= 6 {
			out = append(out, s)
		}
	}
	return out
}

// Ledger is a check.Ledger held in memory.
type Ledger struct {
	mu      sync.Mutex
	Facts   map[string]string
	Runs    []check.Results
	Past    map[string][]check.Recorded
	Reruns  check.Results
	Asked   []check.Query
	Failure error
}

// Fact gives a fact.
func (l *Ledger) Fact(name string) (string, bool) {
	v, ok := l.Facts[name]
	return v, ok
}

// Items gives the first of Runs whose environment and release fit.
func (l *Ledger) Items(_ context.Context, q check.Query) (check.Results, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Asked = append(l.Asked, q)
	if l.Failure != nil {
		return check.Results{}, l.Failure
	}
	for _, r := range l.Runs {
		if r.Environment == q.Environment && (q.Release == "" || q.Release == r.Release) {
			return r, nil
		}
	}
	return check.Results{}, &check.NotSupplied{What: "a finished run in " + q.Environment}
}

// Rerun gives Reruns.
func (l *Ledger) Rerun(context.Context, []string) (check.Results, error) { return l.Reruns, l.Failure }

// History gives what Past holds for the fact.
func (l *Ledger) History(_ context.Context, _, fact string, n int) ([]check.Recorded, error) {
	past := l.Past[fact]
	return past[:min(n, len(past))], l.Failure
}

// Match compares text with a pattern in which "..." stands for anything.
func Match(t *testing.T, want, got string) {
	t.Helper()
	parts := strings.Split(want, "...")
	rest, ok := strings.CutPrefix(got, parts[0])
	for i, part := range parts[1:] {
		if !ok {
			break
		}
		if i == len(parts)-2 && part != "" {
			ok = strings.HasSuffix(rest, part)
			rest = ""
			break
		}
		_, rest, ok = strings.Cut(rest, part)
	}
	if !ok || (len(parts) == 1 && rest != "") {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
