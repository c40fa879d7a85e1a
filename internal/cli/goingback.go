package cli

import (
	"allclear.dev/allclear/internal/run"
)

// goingBack tells what a rollback of this plan would mean.
func goingBack(pl *run.Plan) string {
	code := "no phase of the checklist says how"
	for _, ph := range pl.Phases {
		if ph.Rollback {
			code = "code only"
		}
	}
	for i := range pl.Items {
		it := &pl.Items[i]
		if it.Type != "migrations.apply" || it.Applies == run.NotApplicable || pl.InRollback(it) {
			continue
		}
		if it.Irreversible != "" {
			return "restore from the backup: " + it.Irreversible
		}
		code = "code and down-migrations"
	}
	return code
}
