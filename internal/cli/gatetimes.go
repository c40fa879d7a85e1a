package cli

import (
	"context"
	"slices"
	"time"

	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/run"
)

// gateTimes knows from when to when each gate was worked on, by its phase's id.
type gateTimes map[string]gateTime

type gateTime struct{ from, to time.Time }

// tell takes note of an event.
func (g gateTimes) tell(before, after *run.State, e run.Event) {
	for k := range after.Plan.Phases {
		id := after.Plan.Phases[k].ID
		at := g[id]
		if k == after.Open && at.from.IsZero() {
			at.from = e.At
		}
		if after.Passed[k] && (before.Plan == nil || !before.Passed[k]) {
			at.to = e.At
			if at.from.IsZero() {
				at.from = e.At
			}
		}
		if at != g[id] {
			g[id] = at
		}
	}
}

// took is how long a gate was worked on so far; zero when it was not yet.
func (g gateTimes) took(id string, now time.Time) time.Duration {
	at := g[id]
	switch {
	case at.from.IsZero():
		return 0
	case at.to.IsZero():
		return now.Sub(at.from)
	}
	return at.to.Sub(at.from)
}

// normalRuns is how many earlier runs are looked at for what is normal.
const normalRuns = 10

// normalTimes gives how long each gate took in the median of the newest earlier
// runs of the environment that were done.
func normalTimes(ctx context.Context, log journal.Reader, id string) (map[string]time.Duration, error) {
	runs, err := log.Runs(ctx, journal.Page{Limit: 5 * normalRuns})
	if err != nil {
		return nil, err
	}
	all, used := map[string][]time.Duration{}, 0
	for _, info := range runs {
		if info.Run == id || used == normalRuns {
			continue
		}
		times := gateTimes{}
		f := follower{log: log, id: info.Run}
		if err := f.advance(ctx, times.tell); err != nil {
			return nil, err
		}
		if f.state.Plan == nil || f.state.Status() != run.RunDone {
			continue
		}
		used++
		for gate, at := range times {
			if !at.to.IsZero() {
				all[gate] = append(all[gate], at.to.Sub(at.from))
			}
		}
	}
	normal := map[string]time.Duration{}
	for gate, list := range all {
		slices.Sort(list)
		normal[gate] = list[len(list)/2]
	}
	return normal, nil
}
