package check_test

import (
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
)

func TestMoment(t *testing.T) {
	env := checktest.NewEnv(t)
	now := time.Date(2026, 3, 1, 14, 30, 0, 0, time.UTC)
	env.Now, env.Run.StartedAt = func() time.Time { return now }, now.Add(-time.Hour)
	env.Ledger = &checktest.Ledger{Facts: map[string]string{"deploy.started_at": "2026-03-01T14:10:00Z", "deploy.odd": "yesterday"}}
	for text, want := range map[string]string{
		"15m":                  "2026-03-01T14:15:00Z",
		"2026-02-28T00:00:00Z": "2026-02-28T00:00:00Z",
		"run.started_at":       "2026-03-01T13:30:00Z",
		"deploy.started_at":    "2026-03-01T14:10:00Z",
		"deploy.ended_at":      "deploy.ended_at was not supplied",
		"deploy.odd":           `the fact deploy.odd is no time ("yesterday")`,
		"2026-03-01T14:30:00Z": "since: 2026-03-01T14:30:00Z is not in the past",
		"-5m":                  "want a duration...",
		"yesterday":            "want a duration...",
		"":                     "want a duration...",
	} {
		var m check.Moment
		err := m.UnmarshalText([]byte(text))
		var at time.Time
		if err == nil {
			at, err = m.In(env)
		}
		got := at.Format(time.RFC3339)
		if err != nil {
			got = err.Error()
		}
		checktest.Match(t, want, got)
	}
	if _, err := (check.Moment{}).In(env); err == nil || !(check.Moment{}).IsZero() {
		t.Error("no moment is a moment")
	}
}
