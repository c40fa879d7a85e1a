package cli

import (
	"fmt"

	"allclear.dev/allclear/internal/checklist"
	"allclear.dev/allclear/internal/diag"
)

// maxCautions is how many boxes that are no items are shown.
const maxCautions = 20

// cautions are what a reader of a plan must know besides it: warnings, and every
// box that is no item, so that nothing of a checklist is left out in silence.
func cautions(list *checklist.Checklist, problems diag.Problems) diag.Problems {
	var out diag.Problems
	for _, p := range problems {
		if !p.IsError() {
			out = append(out, p)
		}
	}
	for i, box := range list.Ignored {
		p := diag.Problem{Severity: diag.Warning, Pos: box.Pos, Line: list.Line(box.Pos.Line), Message: "this box is no item: " + box.Reason}
		if i == 0 {
			p.Hint = "write an item as a list entry: - [ ] text"
		}
		if i == maxCautions {
			p.Message = fmt.Sprintf("and %d more boxes that are no items", len(list.Ignored)-i)
			p.Line = ""
		}
		out = append(out, p)
		if i == maxCautions {
			break
		}
	}
	return out.Sorted()
}
