package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"allclear.dev/allclear/internal/run"
)

// planFlags are the flags that a plan depends on; run and check have them too.
type planFlags struct {
	release, revision, previous string
	set                         []string
}

func (f *planFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.release, "release", "", "the `VERSION` that is deployed")
	cmd.Flags().StringVar(&f.revision, "revision", "", "its commit (default: HEAD of the checkout)")
	cmd.Flags().StringVar(&f.previous, "previous", "", "the version that is live now (default: from the record)")
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "a fact for when: conditions, `NAME=VALUE` (repeatable)")
}

func planCommand(o *options) *cobra.Command {
	var f planFlags
	var detailed bool
	cmd := &cobra.Command{
		Use: "plan ENV", Short: "show what a run would do; changes nothing", Args: cobra.MaximumNArgs(1),
		Long: `plan shows, for every item, what will be done, by which type, who must sign, and
what going back would mean. It changes nothing.

  $ allclear plan production
  $ allclear plan production --release 1.4.0 --json
  $ allclear plan production --set changed.migrations=true`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := o.site(first(args))
			if err != nil {
				return err
			}
			p, _, err := s.bind(cmd.Context(), f)
			if err != nil {
				return err
			}
			if err := s.cautions.Write(o.Err); err != nil {
				return err
			}
			if o.json {
				err = writePlanJSON(o.Out, p)
			} else {
				err = writePlan(o.Out, o.paper(), p, s.cfg.Checklist)
			}
			if err == nil && detailed {
				return quiet(ExitWork)
			}
			return err
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&o.json, "json", false, "write JSON")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "end with 10 when there is work")
	return cmd
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// planItem is an item as plan --json shows it.
type planItem struct {
	ID      string   `json:"id"`
	Text    string   `json:"text"`
	Phase   string   `json:"phase"`
	Section string   `json:"section"`
	Gate    string   `json:"gate"`
	Kind    string   `json:"kind"`
	Type    string   `json:"type"`
	When    string   `json:"when"`
	Applies string   `json:"applies"`
	Because string   `json:"because,omitempty"`
	Line    int      `json:"line"`
	Does    string   `json:"does"`
	Class   string   `json:"class"`
	Undo    string   `json:"undo,omitempty"`
	NoUndo  string   `json:"irreversible,omitempty"`
	Needs   []string `json:"needs_targets,omitempty"`
	After   []string `json:"after,omitempty"`
	Roles   []string `json:"roles,omitempty"`
}

func writePlanJSON(w io.Writer, p *run.Plan) error {
	doc := struct {
		Schema   string     `json:"schema"`
		Digest   string     `json:"digest"`
		Project  string     `json:"project"`
		Env      string     `json:"environment"`
		Release  string     `json:"release"`
		Previous string     `json:"previous"`
		Items    []planItem `json:"items"`
	}{"allclear.plan.v1", p.Digest(), p.Project, p.Environment, p.Release.Version, p.Previous.Version, []planItem{}}
	for i := range p.Items {
		it := &p.Items[i]
		out := planItem{
			ID: it.ID, Text: it.Text, Phase: it.Phase, Section: it.Section, Gate: it.Gate, Kind: string(it.Kind), Type: it.Type,
			When: it.When, Applies: string(it.Applies), Because: it.Because, Line: it.Line, Does: it.Does, Class: string(it.Class),
			Undo: it.Undo, NoUndo: it.Irreversible, Needs: it.Missing, After: it.After,
		}
		if it.Person != nil {
			out.Roles = it.Person.Roles
		}
		doc.Items = append(doc.Items, out)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(doc)
}

// writePlan shows the plan for people: a line for each item, below its gate.
func writePlan(w io.Writer, p paper, pl *run.Plan, file string) error {
	var b strings.Builder
	from := pl.Previous.Version
	if from == "" {
		from = "(nothing recorded)"
	}
	fmt.Fprintln(&b, strings.Join(p.wrap(fmt.Sprintf("Plan for %s %s -> %s on %s", pl.Project, from, orText(pl.Release.Version, "(no --release)"), pl.Environment), "  "), "\n"))
	for _, ph := range pl.Phases {
		var rows []*run.Item
		for i := range pl.Items {
			if pl.Items[i].Gate == ph.ID && pl.Items[i].Host == "" { // hosts are counted with their rollout
				rows = append(rows, &pl.Items[i])
			}
		}
		if len(rows) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s\n", strings.Join(p.wrap(orText(ph.Title, ph.ID)+"  "+phaseWord(ph)+"  "+kinds(rows), "  "), "\n"))
		section := ""
		for _, it := range rows {
			if it.Section != section {
				if section = it.Section; section != ph.ID { // whose own line stands above
					fmt.Fprintf(&b, "  %s\n", p.cut(pl.SectionTitle(section), p.width-2))
				}
			}
			writePlanItem(&b, p, pl, it)
		}
	}
	writePlanFoot(&b, p, pl, file)
	_, err := io.WriteString(w, b.String())
	return err
}

func phaseWord(ph run.Phase) string {
	switch {
	case ph.Rollback:
		return "(only on a rollback)"
	case ph.Parallel:
		return "(parallel)"
	}
	return "(in order)"
}

func kinds(rows []*run.Item) string {
	n := map[run.Kind]int{}
	na := 0
	for _, it := range rows {
		if it.Applies == run.NotApplicable {
			na++
			continue
		}
		n[kindOf(it)]++
	}
	var parts []string
	for _, k := range []run.Kind{run.Check, run.Action, run.Watch, run.Attest, run.Signoff} {
		if n[k] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[k], k))
		}
	}
	if na > 0 {
		parts = append(parts, fmt.Sprintf("%d n/a", na))
	}
	return strings.Join(parts, ", ")
}

// written lists the items as the checklist has them: hosts count with their
// rollout.
func written(pl *run.Plan) []*run.Item {
	var out []*run.Item
	for i := range pl.Items {
		if pl.Items[i].Host == "" {
			out = append(out, &pl.Items[i])
		}
	}
	return out
}

// allKinds counts every item by its kind, and how many of all do not apply.
func allKinds(pl *run.Plan) string {
	n, na := map[run.Kind]int{}, 0
	for _, it := range written(pl) {
		n[kindOf(it)]++
		if it.Applies == run.NotApplicable {
			na++
		}
	}
	var parts []string
	for _, k := range []run.Kind{run.Check, run.Action, run.Watch, run.Attest, run.Signoff, run.Group} {
		if n[k] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[k], k))
		}
	}
	text := strings.Join(parts, ", ")
	if na > 0 {
		text += fmt.Sprintf("; %d of them n/a", na)
	}
	return text
}

// kindOf is an item's kind; a rollout counts as what its hosts' items are.
func kindOf(it *run.Item) run.Kind {
	if it.Rollout != nil {
		return it.Rollout.Kind
	}
	return it.Kind
}

func writePlanItem(b *strings.Builder, p paper, pl *run.Plan, it *run.Item) {
	text, sign := it.Text, map[run.Kind]string{run.Check: "?", run.Action: "~", run.Watch: "o", run.Attest: "!", run.Signoff: "#", run.Group: ">"}[kindOf(it)]
	hosts := ""
	if it.Rollout != nil {
		hosts = fmt.Sprintf(" on %d hosts, %d at a time", len(it.Children), it.Rollout.Batch)
		it = pl.Item(it.Children[0])
	}
	right := it.Type + hosts
	switch {
	case it.Applies == run.NotApplicable:
		right = "n/a: " + it.When
	case it.Applies == run.Undecided:
		right = "undecided: " + it.Because
	case len(it.Missing) > 0:
		right = "needs: " + strings.Join(it.Missing, ", ")
	case it.Person != nil && len(it.Person.Roles) > 0:
		right = it.Type + " by " + strings.Join(it.Person.Roles, " or ")
	case it.Irreversible != "":
		right = it.Type + "  NO UNDO: " + it.Irreversible
	case it.Undo != "":
		right = it.Type + "  undo: " + it.Undo
	}
	writeColumns(b, p, "    "+sign+" ", text, right)
}

// writeColumns writes a text and what stands right of it, each wrapped in its own
// column so that nothing is cut; on a narrow paper one below the other.
func writeColumns(b *strings.Builder, p paper, lead, text, right string) {
	if p.width < narrow {
		for _, line := range append(p.wrap(lead+text, "      "), p.wrap("        "+right, "          ")...) {
			fmt.Fprintln(b, line)
		}
		return
	}
	wide := (p.width-len(lead))*6/10 - 1
	column := func(text string, width int) []string {
		p := p
		p.width = width
		return p.wrap(text, "")
	}
	texts, rights := column(text, wide), column(right, p.width-len(lead)-wide-2)
	for n := range max(len(texts), len(rights)) {
		left, beside := "", ""
		if n < len(texts) {
			left = texts[n]
		}
		if n < len(rights) {
			beside = rights[n]
		}
		fmt.Fprintln(b, strings.TrimRight(lead+p.fit(left, wide)+"  "+beside, " "))
		lead = strings.Repeat(" ", len(lead))
	}
}

func writePlanFoot(b *strings.Builder, p paper, pl *run.Plan, file string) {
	say := func(format string, args ...any) {
		fmt.Fprintln(b, strings.Join(p.wrap(fmt.Sprintf(format, args...), "  "), "\n"))
	}
	actions, irreversible := 0, 0
	roles := map[string]bool{}
	var people []string
	for i := range pl.Items {
		it := &pl.Items[i]
		if it.Applies == run.NotApplicable || pl.InRollback(it) {
			continue
		}
		if it.Kind == run.Action {
			actions++
		}
		if it.Irreversible != "" {
			irreversible++
		}
		if it.Person != nil {
			for _, r := range it.Person.Roles {
				if !roles[r] {
					roles[r] = true
					people = append(people, r)
				}
			}
		}
	}
	slices.Sort(people)
	fmt.Fprintln(b)
	say("%s from %s: %s", plural(len(written(pl)), "item"), filepath.ToSlash(file), allKinds(pl))
	say("~ action, ? check, o watch, ! attestation, # sign-off")
	changed := plural(actions, "action")
	if irreversible > 0 {
		changed += fmt.Sprintf(", %d without a way back", irreversible)
	}
	say("Changes %s: %s", pl.Environment, changed)
	say("Going back: %s", goingBack(pl))
	if len(people) > 0 {
		say("People needed: %s", strings.Join(people, ", "))
	}
	say("Digest: %s", short(pl.Digest()))
	if missing := pl.Missing(); len(missing) > 0 {
		b.WriteString("Before it can run:\n")
		for _, sentence := range needed(pl.Environment, missing) {
			fmt.Fprintln(b, strings.Join(p.wrap("  "+sentence, "    "), "\n"))
		}
		return
	}
	fmt.Fprintf(b, "Run it: allclear run %s --release %s --accept %s\n", pl.Environment, orText(pl.Release.Version, "VERSION"), short(pl.Digest()))
}

func orText(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
