package check_test

import (
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
)

func TestWindow(t *testing.T) {
	env := checktest.NewEnv(t)
	env.Now = func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }
	env.Ledger = &checktest.Ledger{Facts: map[string]string{
		"plan.window": "2026-03-01T22:00:00+01:00/2h", "plan.backwards": "2026-03-02T00:00:00Z/2026-03-01T00:00:00Z", "plan.text": "tonight",
	}}
	for text, want := range map[string]string{
		"4h": "2026-03-01T12:00:00Z/2026-03-01T16:00:00Z",
		"2026-03-01T22:00:00Z/2026-03-02T00:00:00Z": "2026-03-01T22:00:00Z/2026-03-02T00:00:00Z",
		"2026-03-01T22:00:00+02:00/90m":             "2026-03-01T20:00:00Z/2026-03-01T21:30:00Z",
		"plan.window":                               "2026-03-01T21:00:00Z/2026-03-01T23:00:00Z",
		"plan.backwards":                            "error: the fact plan.backwards is no interval",
		"plan.text":                                 "error: the fact plan.text is no interval",
		"plan.nothing":                              "error: plan.nothing was not supplied",
		"-4h":                                       "error: want a duration",
		"0s":                                        "error: want a duration",
		"tonight":                                   "error: want a duration",
		"2026-03-01T22:00:00Z":                      "error: want a duration",
		"2026-03-01T22:00:00Z/-1h":                  "error: the window ends before it begins",
		"2026-03-01 22:00/2h":                       "error: want a duration",
	} {
		var w check.Window
		err := w.UnmarshalText([]byte(text))
		got := ""
		if err == nil {
			var start, end time.Time
			if start, end, err = w.In(env); err == nil {
				got = check.Interval(start, end)
			}
		}
		if err != nil {
			got = "error: " + err.Error()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
		if w.Relative() != (text == "4h") {
			t.Errorf("%s: relative %t", text, w.Relative())
		}
	}
}
