package cli

import (
	"fmt"
	"strings"

	"allclear.dev/allclear/internal/run"
)

// story tells what an event meant, a line for each thing that people may want to
// know, without control characters; nil when it meant nothing to them.
func story(before, after *run.State, e run.Event) []string {
	p := paper{}
	clock := e.At.Local().Format("15:04:05")
	say := func(format string, args ...any) string { return p.plain(clock + " " + fmt.Sprintf(format, args...)) }
	var lines []string
	switch e.Type {
	case run.RunStarted:
		lines = append(lines, say("run %s %s %s started by %s, plan %s", e.Run, e.Plan.Environment, e.Plan.Release.Version, e.Actor, short(after.PlanDigest)))
	case run.RunResumed:
		lines = append(lines, say("taken up by process, epoch %d", e.Epoch))
	case run.Paused, run.Unpaused, run.Aborted, run.RollbackStarted:
		lines = append(lines, say("%s by %s %s", strings.ReplaceAll(string(e.Type), ".", " "), e.Actor, e.Reason))
	case run.Waived:
		lines = append(lines, say("%s waived by %s until %s: %s", e.Item, e.Actor, e.Until.Format("2006-01-02 15:04"), e.Reason))
	case run.RunClosed:
		lines = append(lines, say("run %s is over: %s", after.Run, after.Result))
	}
	if before.Plan == nil {
		return lines
	}
	// What ended comes first, then the gate that this opened, then what began.
	var began []string
	for i := range after.Items {
		told := itemStory(before, after, i, say)
		if after.Items[i].Status.Settled() {
			lines = append(lines, told...)
		} else {
			began = append(began, told...)
		}
	}
	for k := range after.Passed {
		if after.Passed[k] && !before.Passed[k] {
			lines = append(lines, say("gate %d %s passed: %s", k+1, after.Plan.Phases[k].Title, count(after, after.Plan.Phases[k].ID)))
		}
	}
	return append(lines, began...)
}

func itemStory(before, after *run.State, i int, say func(string, ...any) string) []string {
	it, was, is := &after.Plan.Items[i], before.Items[i], after.Items[i]
	if len(is.Voided) > len(was.Voided) {
		v := is.Voided[len(is.Voided)-1]
		return []string{say("%s signature of %s as %s void: %s", it.ID, v.Person, v.Role, v.Reason)}
	}
	undone := is.UndoneAt.After(was.UndoneAt)
	if undone {
		return []string{say("%s taken back: %s", it.ID, is.Reason)}
	}
	if was.Status == is.Status && was.Attempt == is.Attempt {
		return nil
	}
	switch is.Status {
	case run.Running:
		if it.Kind == run.Action {
			return []string{say("%s running: %s", it.ID, it.Text)}
		}
		return nil
	case run.Waiting:
		return []string{say("%s needs %s: %s", it.ID, who(it), it.Text)}
	case run.Watching:
		return []string{say("%s watching for %s", it.ID, it.Watch.For)}
	case run.Pending:
		return nil
	}
	line := fmt.Sprintf("%s %s", it.ID, markOf(is.Status).word)
	if is.Actor != "" {
		line += " by " + is.Actor
	}
	if is.Reason != "" {
		line += ": " + is.Reason
	}
	if is.Status.Settled() && !after.Green(i) {
		line += fmt.Sprintf(" (line %d of the checklist)", it.Line)
	}
	if is.Attempt > 1 && is.Status.Settled() {
		line += fmt.Sprintf(" (attempt %d)", is.Attempt)
	}
	return []string{say("%s", line)}
}

func short(digest string) string {
	if len(digest) < 12 {
		return digest
	}
	return digest[:12]
}
