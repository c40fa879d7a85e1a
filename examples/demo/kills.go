package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// killsPerRun bounds how often one run is killed: a watch that never has its process for a whole window never passes.
const killsPerRun = 12

// crash deploys and rolls back, kills the process that drives the run at random moments, and takes the run up again each
// time, until there were kills enough. Then it counts, in the world outside, how often each effect has happened.
func (d *demo) crash(ctx context.Context, kills int) error {
	before, err := d.load()
	if err != nil {
		return err
	}
	killed, runs := 0, 0
	for version := "2.0.0"; killed < kills; version = "3.0.0" {
		back := version == "3.0.0" // so that there is something to deploy again
		n, err := d.deployKilled(ctx, version, back, min(killsPerRun, kills-killed))
		if err != nil {
			return err
		}
		killed, runs = killed+n, runs+1
		d.say("%d of %d kills over %d runs", killed, kills, runs)
	}
	if _, err := d.cli(ctx, "dan", "verify", "demo"); err != nil {
		return err
	}
	after, err := d.load()
	if err != nil {
		return err
	}
	counts, err := d.effects()
	if err != nil {
		return err
	}
	l := after.since(before)
	fmt.Printf("\n%d kills over %d runs: effects %s; none twice, none in doubt; record verified\nsent %d, dropped %d\n", killed, runs, counts, l.Sent, l.Dropped)
	return nil
}

// deployKilled takes one run to its end and gives how often it was killed.
func (d *demo) deployKilled(ctx context.Context, version string, back bool, most int) (int, error) {
	items, err := d.begin(ctx, version)
	if err != nil {
		return 0, err
	}
	killed, asked := 0, false
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); {
		st, err := d.status(ctx)
		if err != nil {
			return killed, err
		}
		d.progress(st)
		switch {
		case st.Status == "done" || st.Status == "rolled back":
			return killed, d.wantEnd(st, back)
		case st.Status == "in doubt" || st.Status == "aborted":
			return killed, fmt.Errorf("the run is %s: %s", st.Status, st.sentence())
		case back && !asked && st.settled("deploy.verify.health-200"):
			_, err := d.cli(ctx, "dan", "rollback", "demo", "--reason", "to deploy it again")
			if asked = err == nil; err != nil && ctx.Err() != nil {
				return killed, err
			}
		case st.Status == "held":
			d.again(ctx, st)
		}
		if err := d.chores(st); err != nil {
			return killed, err
		}
		if _, err := d.act(ctx, st, items); err != nil {
			return killed, err
		}
		if killed < most && d.kill(ctx) {
			killed++
		}
		if _, err := d.cli(ctx, "dan", "run", "demo", "--detach"); err != nil && ctx.Err() != nil {
			return killed, err
		}
	}
	return killed, errors.New("the run does not end")
}

func (d *demo) wantEnd(st status, back bool) error {
	want := "done"
	if back {
		want = "rolled back"
	}
	if st.Status != want {
		return fmt.Errorf("the run is %s, not %s: %s", st.Status, want, st.sentence())
	}
	return nil
}

// settled tells whether an item is green.
func (s status) settled(id string) bool {
	return slices.ContainsFunc(s.Items, func(it itemStatus) bool { return it.ID == id && (it.Status == "pass" || it.Status == "done") })
}

// again tries once more what is not green: a watch whose process was dead for a while has seen too little.
func (d *demo) again(ctx context.Context, st status) {
	for _, it := range st.Items {
		switch it.Status {
		case "fail", "failed", "inconclusive":
			_, _ = d.cli(ctx, "dan", "retry", "demo", it.ID) // it may have gone on meanwhile: the next look shows
		}
	}
}

// kill waits a random moment and kills the process that drives the run, if there is one.
func (d *demo) kill(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Duration(rand.IntN(1500)) * time.Millisecond):
	}
	text, err := os.ReadFile(d.path("data/lock"))
	var holder struct {
		PID int `json:"pid"`
	}
	if err != nil || json.Unmarshal(text, &holder) != nil {
		return false
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", holder.PID))
	return err == nil && bytes.Contains(line, []byte("__drive")) && syscall.Kill(holder.PID, syscall.SIGKILL) == nil
}

// effects counts what has happened outside of allclear by key, and wants nothing twice: switches of the web servers,
// messages, backups, and steps of the schema.
func (d *demo) effects() (string, error) {
	var keys []string
	for _, file := range []struct{ path, field string }{{"run/switches.jsonl", "key"}, {"notices.jsonl", "id"}} {
		found, err := keysOf(d.path(file.path), file.field)
		if err != nil {
			return "", err
		}
		keys = append(keys, found...)
	}
	records, err := filepath.Glob(d.path("backups/*.dump.json"))
	if err != nil {
		return "", fmt.Errorf("list the backups: %w", err)
	}
	for _, record := range records {
		found, err := keysOf(record, "key")
		if err != nil {
			return "", err
		}
		keys = append(keys, found...)
	}
	slices.Sort(keys)
	if once := slices.Compact(slices.Clone(keys)); len(once) != len(keys) || len(once) == 0 {
		return "", fmt.Errorf("%d effects for %d keys: %s", len(keys), len(once), strings.Join(keys, "\n"))
	}
	return fmt.Sprint(len(keys)), nil
}

// keysOf reads a field of every JSON value in a file.
func keysOf(path, field string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("count effects: %w", err)
	}
	var keys []string
	for decoder := json.NewDecoder(bytes.NewReader(text)); decoder.More(); {
		var line map[string]any
		if err := decoder.Decode(&line); err != nil {
			return nil, fmt.Errorf("count effects in %s: %w", path, err)
		}
		key, ok := line[field].(string)
		if !ok || key == "" {
			return nil, fmt.Errorf("count effects in %s: a line without %s", path, field)
		}
		keys = append(keys, filepath.Base(path)+" "+key)
	}
	return keys, nil
}
