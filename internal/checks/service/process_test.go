package service_test

import (
	"testing"
)

func TestProcessConforms(t *testing.T) {
	t.Parallel()
	conform(t, func(t *testing.T) *place {
		s := newSite(t)
		p := &place{
			env: s.env, params: "driver: process",
			one: s.unit("web", "idle", ""), two: s.unit("worker", "idle", ""), bad: "{name: bad, run: ['false', '" + unique() + "'], pid_file: bad.pid}",
		}
		p.crash = func(t *testing.T) {
			for _, do := range []string{"do: stop", "do: start"} {
				p.do(t, "pass: ...", "behind the back "+do+t.Name()+unique(), do+", stable: 0s", p.one)
			}
		}
		return p
	})
}
