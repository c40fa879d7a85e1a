// Package maintenance holds the type that switches maintenance on and off and
// sees from outside that it is.
package maintenance

import (
	"context"
	_ "embed" // the type's page
	"errors"
	"fmt"
	"math"
	"time"

	"allclear.dev/allclear/internal/check"
)

//go:embed maintenance.md
var maintenanceDoc string

// Maintenance is the type maintenance.
var Maintenance = check.Define[maintenance](check.Desc{
	Name: "maintenance", Summary: "maintenance is switched, and the world outside sees it", Doc: maintenanceDoc,
})

const (
	// resource is what switching on takes and switching off gives back.
	resource = "maintenance"
	// factOn and factOff are the facts that the downtime is reckoned from.
	factOn, factOff, factSeconds = "maintenance.on_at", "maintenance.off_at", "maintenance.seconds"
)

// maintenance switches and then looks from outside.
type maintenance struct {
	Do      string        `param:"do,short" doc:"what to do" enum:"on,off"`
	File    string        `param:"file" doc:"a flag file that is there while maintenance is on" default:""`
	Command switchProgram `param:"command" doc:"programs that switch on and off" default:""`
	HAProxy haproxy       `param:"haproxy" doc:"commands for HAProxy's admin socket" default:""`
	Hosts   []string      `param:"hosts" doc:"hosts of the file or command; this machine when left out" default:""`
	Verify  outside       `param:"verify" doc:"how the world outside sees it"`
	Max     time.Duration `param:"max" doc:"longest time that maintenance may be on" default:"0s"`
	// ReleaseAfter lets a rollback give maintenance back as soon as it is healthy,
	// although statements that take days still follow.
	ReleaseAfter []string `param:"release_after" doc:"items: once they are green, maintenance is switched off" default:""`
}

// Validate holds the rules between parameters.
func (m *maintenance) Validate() error {
	given := 0
	for _, is := range []bool{m.File != "", len(m.Command.On)+len(m.Command.Off) > 0, m.HAProxy.Socket != ""} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return errors.New("needs one of file, command and haproxy")
	case m.Do == "off" && len(m.ReleaseAfter) > 0:
		return errors.New("release_after is for do: on")
	case m.HAProxy.Socket != "" && len(m.Hosts) > 0:
		return errors.New("hosts is for file and command")
	}
	return errors.Join(m.Command.validate(), m.HAProxy.validate(), m.Verify.validate())
}

// Traits says what is taken or given back.
func (m *maintenance) Traits() check.Traits {
	t := check.Traits{
		Kind: check.Action, Class: check.Probed, Effect: check.Changes, Pool: check.Network,
		Does: "switches maintenance " + m.Do, Target: m.Verify.first(),
	}
	if m.Do == "on" {
		t.Holds, t.Undo, t.ReleaseAfter = resource, "switches maintenance off", m.ReleaseAfter
	} else {
		t.Releases = resource
	}
	return t
}

// Run switches and then waits until the world outside sees it. Switching on that
// fails midway, or that the outside does not see, is taken back, so that nothing
// is left half closed.
func (m *maintenance) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	outcome, switched, err := m.turn(ctx, env, m.Do == "on")
	if err != nil || outcome.Verdict == check.Pass || m.Do != "on" || switched == 0 {
		return outcome, err
	}
	_, miss, err := m.set(ctx, env, false, switched)
	switch {
	case err != nil:
		return outcome, fmt.Errorf("%s; taking that back: %w", outcome.Reason, err)
	case miss != "":
		return outcome, fmt.Errorf("%s; taking that back: %s", outcome.Reason, miss)
	}
	outcome.Reason += "; it was taken back"
	return outcome, nil
}

// turn switches and waits for the view from outside. It gives how many hosts or
// commands were switched.
func (m *maintenance) turn(ctx context.Context, env *check.Env, on bool) (check.Outcome, int, error) {
	if err := ctx.Err(); err != nil {
		return check.Outcome{}, 0, err
	}
	start := env.Now()
	switched, miss, err := m.set(ctx, env, on, math.MaxInt)
	if err != nil {
		return check.Outcome{}, switched, err
	}
	if miss != "" {
		return check.Failf("%s", miss), switched, nil
	}
	view, err := m.Verify.settle(ctx, env, on)
	if err != nil {
		return check.Outcome{Facts: view.facts}, switched, err
	}
	if view.miss != "" {
		outcome := check.Failf("it was switched %s, but %s after %s", word(on), view.miss, m.Verify.Within)
		outcome.Facts = view.facts
		return outcome, switched, nil
	}
	outcome := check.Passf("maintenance is %s: %s%s", word(on), view.seen, m.over(env, on))
	outcome.Facts = view.facts
	outcome.Sets = m.marks(env, on, start)
	return outcome, switched, nil
}

// marks gives the times that the downtime is reckoned from: from just before it
// was switched on until the outside saw it off. A repetition keeps the first.
func (m *maintenance) marks(env *check.Env, on bool, start time.Time) map[string]string {
	if on {
		if _, already := since(env); already {
			return nil
		}
		return map[string]string{factOn: stamp(start)}
	}
	end := env.Now()
	sets := map[string]string{factOff: stamp(end)}
	if began, ok := since(env); ok {
		sets[factSeconds] = fmt.Sprintf("%.3f", end.Sub(began).Seconds())
	}
	return sets
}

// over says when maintenance was on for longer than allowed. It is off now, which
// is what the item is about; the number stays in the record.
func (m *maintenance) over(env *check.Env, on bool) string {
	began, ok := since(env)
	if on || !ok || m.Max == 0 || env.Now().Sub(began) <= m.Max {
		return ""
	}
	return fmt.Sprintf("; it was on for %s, longer than %s", env.Now().Sub(began).Round(time.Second), m.Max)
}

// since gives the time at which maintenance that is not over was switched on.
func since(env *check.Env) (time.Time, bool) {
	began, ok := moment(env, factOn)
	if ended, off := moment(env, factOff); off && !ended.Before(began) {
		return began, false
	}
	return began, ok
}

func moment(env *check.Env, fact string) (time.Time, bool) {
	text, ok := env.Ledger.Fact(fact)
	if !ok {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	return at, err == nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func word(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// Probe looks from outside only.
func (m *maintenance) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	on := m.Do == "on"
	wanted, err := m.Verify.look(ctx, env, on)
	if err != nil {
		return "", check.Outcome{}, err
	}
	outcome := check.Passf("%s", wanted.seen)
	outcome.Facts = wanted.facts
	if wanted.miss == "" {
		return check.Done, outcome, nil
	}
	other, err := m.Verify.look(ctx, env, !on)
	if err != nil {
		return "", check.Outcome{}, err
	}
	outcome.Reason = wanted.miss
	if other.miss == "" {
		return check.NotDone, outcome, nil
	}
	return check.Partly, outcome, nil
}

// Undo of switching on is switching off.
func (m *maintenance) Undo(ctx context.Context, env *check.Env, _ check.Outcome) (check.Outcome, error) {
	if m.Do != "on" {
		return check.Outcome{}, errors.New("switching maintenance off is not taken back")
	}
	outcome, _, err := m.turn(ctx, env, false)
	return outcome, err
}
