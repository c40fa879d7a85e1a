package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// lessons is what a team writes down after a deployment or a rollback. %s is the version, %d the issue of what to do.
const lessons = `# %s

## What went well

Nobody had to look for a command.

## What did not

Written for the demonstration; nobody looked at a real system.

## Actions

- Look at it again: #%d
`

func retro(version string) string { return "docs/retro/" + version + ".md" }

// chores is what people write outside of allclear while a run goes on: what was learned, and after a rollback an issue for
// the fix.
func (d *demo) chores(st status) error {
	for _, it := range st.Items {
		switch {
		case it.ID == "post.docs.debriefed" && it.Status == "waiting":
			return d.write(retro(d.deploying), 1)
		case it.ID == "rollback.after.rca" && it.Status == "done" && d.vendors.Issue("fix") < d.vendors.Issue("rca"): // each rollback has its own
			cause := d.vendors.Issue("rca")
			fix := d.vendors.Open("Appointments run out of slots", fmt.Sprintf("The cause is in #%d .", cause), []string{"fix"}, []string{"ana"},
				time.Now().AddDate(0, 0, 7).UTC().Format(time.RFC3339))
			return d.write("docs/postmortems/"+d.deploying+".md", fix)
		}
	}
	return nil
}

// write writes a document of lessons into the checkout, unless it is there.
func (d *demo) write(name string, issue int) error {
	path := filepath.Join(d.path("site"), name)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("create %s: %w", filepath.Dir(name), err)
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, lessons, d.deploying, issue), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
