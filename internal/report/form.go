package report

import (
	"bytes"
	"fmt"
	"strings"

	"allclear.dev/allclear/internal/checklist"
	"allclear.dev/allclear/internal/run"
)

// maxNotes bounds how many lines one list of a notes form takes.
const maxNotes = 200

// form fills the fields of a notes form by their labels. What has no known label
// stays empty.
func (f *filler) form() {
	lists := map[string][]checklist.Blank{}
	for _, blank := range f.list.Blanks {
		label := strings.ToLower(blank.Label)
		if blank.List {
			lists[label] = append(lists[label], blank)
			continue
		}
		if text := f.field(label); text != "" {
			f.add(checklist.FillEdit(f.src, blank, text))
		}
	}
	for label, blanks := range lists {
		f.fillList(blanks, f.lines(label))
	}
}

func (f *filler) field(label string) string {
	release := f.s.Plan.Release
	switch label {
	case "deployment date":
		return f.s.StartedAt.UTC().Format("2006-01-02 15:04Z")
	case "version", "release", "release version", "deployed version":
		if release.Revision != "" && release.Revision != release.Version {
			return clean(fmt.Sprintf("%s (%s)", release.Version, short(release.Revision)))
		}
		return clean(release.Version)
	case "deployed by", "deployer":
		return clean(f.s.Starter)
	case "environment":
		return clean(f.s.Plan.Environment)
	}
	return ""
}

// lines are the entries of a list of the notes form.
func (f *filler) lines(label string) []string {
	switch label {
	case "notes":
		return notes(f.s)
	case "issues encountered", "issues":
		return f.issues()
	case "resolutions", "resolution":
		return f.resolutions()
	}
	return nil
}

func (f *filler) issues() []string {
	var out []string
	for _, i := range f.m.Issues {
		out = append(out, fmt.Sprintf("%s %s: %s: %s", clock(i.At, f.s.StartedAt), clean(i.Item), i.Status, clean(i.Reason)))
	}
	switch {
	case len(out) > 0:
		return out
	case f.s.Closed:
		return []string{"none"}
	}
	return []string{"none so far"}
}

func (f *filler) resolutions() []string {
	var out []string
	for _, i := range f.m.Issues {
		if i.Resolved.IsZero() {
			out = append(out, clean(i.Item)+": open")
			continue
		}
		out = append(out, fmt.Sprintf("%s %s: %s", clock(i.Resolved, f.s.StartedAt), clean(i.Item), i.How))
	}
	if len(out) == 0 {
		return []string{"none needed"}
	}
	return out
}

// notes say how the run ended and what was out of the ordinary.
func notes(s *run.State) []string {
	out := []string{fmt.Sprintf("run %s: %s", clean(s.Run), s.Status())}
	if !s.Closed {
		out = append(out, "not over: "+clean(s.Advise().String()))
	}
	if s.Rollback {
		kind := "rollback"
		if s.Emergency {
			kind = "emergency rollback"
		}
		out = append(out, fmt.Sprintf("%s %s by %s: %s", kind, clock(s.RollbackAt, s.StartedAt), clean(s.RollbackBy), clean(s.RollbackReason)))
	}
	if s.AbortReason != "" {
		out = append(out, "aborted: "+clean(s.AbortReason))
	}
	for i := range s.Items {
		if w := s.Items[i].Waiver; w != nil && s.Waived(i) {
			out = append(out, fmt.Sprintf("waived %s by %s: %s", clean(s.Plan.Items[i].ID), clean(w.Person), clean(w.Reason)))
		}
		for _, v := range s.Items[i].Voided {
			out = append(out, fmt.Sprintf("signature of %s as %s void %s: %s", clean(v.Person), clean(v.Role), clock(v.At, s.StartedAt), clean(v.Reason)))
		}
	}
	return out
}

// fillList fills the empty entries of a list; what does not fit goes below the
// last one as entries of their own.
func (f *filler) fillList(blanks []checklist.Blank, lines []string) {
	if over := len(lines) - maxNotes; over > 0 {
		lines = append(lines[:maxNotes:maxNotes], fmt.Sprintf("and %d more", over))
	}
	for i, blank := range blanks {
		if i >= len(lines) {
			return
		}
		edit, err := checklist.FillEdit(f.src, blank, lines[i])
		if err == nil && i == len(blanks)-1 {
			for _, line := range lines[i+1:] {
				edit.Text += f.nextEntry(blank) + line
			}
		}
		f.add(edit, err)
	}
}

// nextEntry is a line end and the beginning of a list entry like the blank's.
func (f *filler) nextEntry(blank checklist.Blank) string {
	start := bytes.LastIndexByte(f.src[:blank.Start], '\n') + 1
	end := "\n"
	if start > 1 && f.src[start-2] == '\r' {
		end = "\r\n"
	}
	return end + strings.TrimRight(string(f.src[start:blank.Start]), " \t") + " "
}
