package logs

import (
	"fmt"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

const (
	// leastOffset and mostOffset bound by how much the clocks of two time zones differ,
	// with a minute for what lies between two lines.
	leastOffset, mostOffset = 14 * time.Minute, 26*time.Hour + time.Minute
	// unwritten is how long a program may keep a line before it writes it.
	unwritten = 15 * time.Second
)

// oneClock refuses a file in which a line of the time may stand under another time:
// where gunicorn writes +0000 and the application local time, errors of a minute ago
// look hours old. Such a file goes back in time; or says what has not come yet; or
// was written to in the time without a line of it.
func oneClock(text string, zone *time.Location, now time.Time, info check.FileInfo, s span) error {
	const hint = "lines are in another time zone (zone says in which), or a clock was set"
	var last, newest time.Time
	for text := range strings.Lines(text) {
		at, ok := timeOf(text, zone, now)
		if !ok || at.After(s.end.Add(mostOffset)) {
			continue
		}
		back := last.Sub(at)
		switch {
		case at.Sub(now) > leastOffset && at.Sub(now) < mostOffset:
			return fmt.Errorf("%s is not yet: %s", at.UTC().Format(time.RFC3339), hint)
		case !last.IsZero() && back > leastOffset && back < mostOffset && last.After(s.start.Add(-mostOffset)):
			return fmt.Errorf("after %s comes %s: %s", last.UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339), hint)
		}
		if last = at; at.After(newest) {
			newest = at
		}
	}
	if info.Mode.IsRegular() && !newest.IsZero() && newest.Before(s.start) && info.ModTime.After(s.start.Add(unwritten)) {
		return fmt.Errorf("was written to at %s, but its newest line with a time is of %s: what came since has no time, or %s",
			info.ModTime.UTC().Format(time.RFC3339), newest.UTC().Format(time.RFC3339), hint)
	}
	return nil
}
