package celery_test

import (
	"context"
	"time"
)

// clock gives a Sleep that only moves the time on and lets something happen.
func clock(now *time.Time, meanwhile func()) func(context.Context, time.Duration) error {
	return func(ctx context.Context, d time.Duration) error {
		*now = now.Add(d)
		meanwhile()
		return ctx.Err()
	}
}
