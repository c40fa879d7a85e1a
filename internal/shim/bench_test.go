package shim

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// BenchmarkAction compares one durable action, start to result, with its floor:
// three times starting a program plus three times syncing 200 bytes, measured in
// turn with it. The bar is ratio ≤ 1.
func BenchmarkAction(b *testing.B) {
	const steps = 200
	for range b.N {
		root := b.TempDir()
		file, err := os.Create(filepath.Join(root, "floor"))
		if err != nil {
			b.Fatal(err)
		}
		var action, execution, sync []time.Duration
		for n := range steps {
			action = append(action, timed(b, func() error { return oneAction(b.Context(), root, n+1) }))
			execution = append(execution, timed(b, func() error { return exec.Command("/bin/true").Run() }))
			sync = append(sync, timed(b, func() error { return oneSync(file) }))
		}
		file.Close()
		floor := 3*median(execution) + 3*median(sync)
		b.ReportMetric(milliseconds(median(action)), "ms/action")
		b.ReportMetric(milliseconds(median(execution)), "ms/exec")
		b.ReportMetric(milliseconds(median(sync)), "ms/sync")
		b.ReportMetric(float64(median(action))/float64(floor), "ratio")
	}
}

func oneAction(ctx context.Context, root string, n int) error {
	a, err := Start(ctx, root, number(n), job{Do: "nothing"}.bytes(), Options{})
	if err != nil {
		return err
	}
	if result, state, err := a.Wait(ctx); err != nil || state != Finished || result.Error != "" {
		return fmt.Errorf("%s, %w, %s", state, err, result.Error)
	}
	return nil
}

func oneSync(file *os.File) error {
	if _, err := file.Write(make([]byte, 200)); err != nil {
		return err
	}
	return syncData(file)
}

func timed(b *testing.B, do func() error) time.Duration {
	b.Helper()
	from := time.Now()
	if err := do(); err != nil {
		b.Fatal(err)
	}
	return time.Since(from)
}

func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
