package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// planItem and itemStatus are what the demo reads of `plan --json` and `status --json`.
type planItem struct {
	ID, Kind, Applies string
	Roles             []string
}

type itemStatus struct{ ID, Status, Reason string }

type status struct {
	Run, Status, Stops, Turn, Next string
	Items                          []itemStatus
}

// roles says who of the demo has which role.
func roles() map[string]string {
	return map[string]string{"Tech Lead": "ana", "DevOps Lead": "ben", "Product Owner": "chloe", "Deployment Engineer": "dan", "QA Lead": "eli"}
}

// cli runs the real command line as one person.
func (d *demo) cli(ctx context.Context, who string, args ...string) (string, error) {
	return d.run(ctx, d.path("site"), append([]string{d.allclear(), "-C", d.path("site"), "--no-input", "--color", "never", "--as", who}, args...)...)
}

// deploy plans and runs a release, with everybody stating and signing what is theirs, until the run stands as wanted.
func (d *demo) deploy(ctx context.Context, version, want string) error {
	items, err := d.begin(ctx, version)
	if err != nil {
		return err
	}
	return d.accompany(ctx, items, want)
}

// begin plans a release and starts its run.
func (d *demo) begin(ctx context.Context, version string) (map[string]planItem, error) {
	revision, err := d.revision(ctx, version)
	if err != nil {
		return nil, err
	}
	// The release's own checkout is where its checklist runs. A second try has its date before the first.
	if _, err := d.run(ctx, d.path("site"), "git", "checkout", "--quiet", "--detach", "v"+version); err != nil {
		return nil, err
	}
	again := time.Now().AddDate(0, 0, 7).UTC().Format(time.RFC3339)
	flags := []string{"--release", version, "--revision", revision, "--set", "redeploy.at=" + again}
	text, err := d.cli(ctx, "dan", append([]string{"plan", "demo", "--json"}, flags...)...)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(d.plan(version), []byte(text), 0o644); err != nil {
		return nil, fmt.Errorf("keep the plan: %w", err)
	}
	items, err := planItems(text)
	if err != nil {
		return nil, err
	}
	d.say("deploy %s: %d items", version, len(items))
	d.deploying = version
	id, err := d.cli(ctx, "dan", append([]string{"run", "demo", "--detach"}, flags...)...)
	if err != nil {
		return nil, err
	}
	d.runs[version] = strings.TrimSpace(id)
	return items, nil
}

func (d *demo) plan(version string) string { return filepath.Join(d.output, "plan-"+version+".json") }

// planItems reads the items of a plan by their ids.
func planItems(text string) (map[string]planItem, error) {
	var plan struct{ Items []planItem }
	if err := json.Unmarshal([]byte(text), &plan); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	items := map[string]planItem{}
	for _, it := range plan.Items {
		items[it.ID] = it
	}
	return items, nil
}

// accompany looks at the run and does what people have to do, until it stands as wanted or as nobody wants it.
func (d *demo) accompany(ctx context.Context, items map[string]planItem, want string) error {
	for {
		st, err := d.status(ctx)
		if err != nil {
			return err
		}
		d.progress(st)
		switch st.Status {
		case want:
			return d.show(ctx)
		case "held", "in doubt", "done", "rolled back", "aborted":
			return fmt.Errorf("the run is %s, not %s: %s", st.Status, want, st.sentence())
		}
		if err := d.chores(st); err != nil {
			return err
		}
		acted, err := d.act(ctx, st, items)
		if err != nil {
			return err
		}
		if acted {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// show prints the screen that everybody sees.
func (d *demo) show(ctx context.Context) error {
	text, err := d.screen(ctx, "status", "demo")
	if err != nil {
		return err
	}
	fmt.Print("\n", text, "\n")
	return nil
}

// sentence says what stops the run, whose turn it is and what comes next.
func (s status) sentence() string {
	return strings.Join(slices.DeleteFunc([]string{s.Stops, s.Turn, s.Next}, func(part string) bool { return part == "" }), "; ")
}

// act lets each person state or sign one thing at most, and tells whether anything was done. A run that moved on
// meanwhile refuses it; the next look shows why.
func (d *demo) act(ctx context.Context, st status, items map[string]planItem) (bool, error) {
	did := false
	for _, it := range st.Items {
		if it.Status != "waiting" {
			continue
		}
		bound := items[it.ID]
		who := "dan"
		if len(bound.Roles) > 0 {
			who = roles()[bound.Roles[0]]
		}
		verb := []string{"attest", "demo", it.ID, "--text", "Stated for the demonstration; nobody looked at a real system."}
		if it.ID == "post.docs.debriefed" {
			verb = []string{"attest", "demo", it.ID, "--file", retro(d.deploying)}
		}
		if bound.Kind == "sign-off" {
			verb = []string{"sign", "demo", it.ID}
			d.say("%s signs %s", who, it.ID)
		}
		_, err := d.cli(ctx, who, append(verb, "--key", d.path("keys/"+who))...)
		if ctx.Err() != nil {
			return did, ctx.Err()
		}
		if err != nil {
			return did, d.unlessMoved(ctx, it.ID, err)
		}
		d.acts++
		did = true
	}
	return did, nil
}

// unlessMoved forgives a refusal when the item does not wait any more.
func (d *demo) unlessMoved(ctx context.Context, id string, refused error) error {
	st, err := d.status(ctx)
	if err != nil {
		return err
	}
	for _, it := range st.Items {
		if it.ID == id && it.Status == "waiting" {
			return refused
		}
	}
	return nil
}

func (d *demo) status(ctx context.Context) (status, error) {
	text, err := d.screen(ctx, "status", "demo", "--json")
	if err != nil {
		return status{}, err
	}
	var st status
	if err := json.Unmarshal([]byte(text), &st); err != nil {
		return st, fmt.Errorf("read the status: %w", err)
	}
	return st, nil
}

// screen gives what a verb prints about a run. Every state of a run has its own exit code; what counts here is the text.
func (d *demo) screen(ctx context.Context, args ...string) (string, error) {
	text, err := d.cli(ctx, "dan", args...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() && text != "" {
		err = nil
	}
	return text, err
}

// progress says how far the run is and what stops it.
func (d *demo) progress(st status) {
	settled := 0
	for _, it := range st.Items {
		switch it.Status {
		case "pass", "done", "n/a", "fail", "failed", "inconclusive":
			settled++
		}
	}
	if line, _, _ := strings.Cut(st.Stops, ","); !strings.HasPrefix(d.said, line) {
		d.say("%s (%d of %d settled)", line, settled, len(st.Items))
	}
}

// rollback takes a held release back.
func (d *demo) rollback(ctx context.Context, version string) error {
	d.say("dan: allclear rollback demo")
	if _, err := d.cli(ctx, "dan", "rollback", "demo", "--reason", "one request in ten fails since "+version); err != nil {
		return err
	}
	text, err := os.ReadFile(d.plan(version))
	if err != nil {
		return fmt.Errorf("read the plan: %w", err)
	}
	items, err := planItems(string(text))
	if err != nil {
		return err
	}
	return d.accompany(ctx, items, "rolled back")
}

// showLog prints the end of the run's story and of what its process said, for a demo that failed.
func (d *demo) showLog() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if st, err := d.status(ctx); err == nil {
		for _, it := range st.Items {
			switch it.Status {
			case "fail", "failed", "inconclusive", "in doubt":
				fmt.Fprintf(os.Stderr, "%s %s: %s\n", it.ID, it.Status, it.Reason)
			}
		}
	}
	text, _ := d.cli(ctx, "dan", "log", "demo")
	fmt.Fprintln(os.Stderr, tail(text))
	if text, err := os.ReadFile(d.path("log/tulia.log")); err == nil {
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, `"level":"ERROR"`) {
				fmt.Fprint(os.Stderr, "tulia: ", line)
			}
		}
	}
	logs, _ := filepath.Glob(d.path("data/runs/*/drive.log"))
	for _, log := range logs {
		if text, err := os.ReadFile(log); err == nil && len(text) > 0 {
			fmt.Fprintf(os.Stderr, "%s:\n%s\n", log, tail(string(text)))
		}
	}
}

func tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}
