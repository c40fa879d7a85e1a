package ledger

import (
	"errors"
	"fmt"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// maxNamed bounds how many items a reason names.
const maxNamed = 10

// rollup sorts items by what they mean together.
type rollup struct {
	green, na              int
	red, waived, undecided []string
}

func (r *rollup) add(item check.ItemResult, allowWaived bool) {
	named := item.ID + " " + item.Verdict
	if item.Reason != "" {
		named += " (" + item.Reason + ")"
	}
	switch item.Verdict {
	case "pass", "done":
		r.green++
	case "n/a":
		r.na++
	case "fail", "failed":
		r.red = append(r.red, named)
	case "waived":
		r.waived = append(r.waived, named)
		if !allowWaived {
			r.red = append(r.red, named)
		}
	default: // inconclusive, in doubt, pending, and any word that is not known
		r.undecided = append(r.undecided, named)
	}
}

// judge gives one verdict for all: a red item fails, otherwise one that is not
// decided leaves this undecided too, and without anything green nothing passes.
func judge(results check.Results, allowWaived bool) (check.Outcome, error) {
	var r rollup
	for _, item := range results.Items {
		r.add(item, allowWaived)
	}
	facts := map[string]string{
		"items": fmt.Sprint(len(results.Items)), "green": fmt.Sprint(r.green), "not_applicable": fmt.Sprint(r.na),
		"red": fmt.Sprint(len(r.red)), "undecided": fmt.Sprint(len(r.undecided)),
	}
	if len(r.waived) > 0 {
		facts["waived"] = named(r.waived)
	}
	where := "run " + results.Run
	switch {
	case len(r.red) > 0:
		outcome := check.Failf("%s: %d of %d items not green: %s", where, len(r.red), len(results.Items), named(r.red))
		outcome.Facts = facts
		return outcome, nil
	case len(r.undecided) > 0:
		return check.Outcome{Facts: facts}, fmt.Errorf("%s: %d of %d items undecided: %s", where, len(r.undecided), len(results.Items), named(r.undecided))
	case r.green == 0:
		return check.Outcome{Facts: facts}, errors.New(where + ": every item is waived or n/a: nothing was measured")
	}
	outcome := check.Passf("%s: %d green, %d n/a, %d waived", where, r.green, r.na, len(r.waived))
	outcome.Facts = facts
	return outcome, nil
}

func named(list []string) string {
	text := strings.Join(list[:min(len(list), maxNamed)], "; ")
	if len(list) > maxNamed {
		text += fmt.Sprintf("; and %d more", len(list)-maxNamed)
	}
	return text
}
