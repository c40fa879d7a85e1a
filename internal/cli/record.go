package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/journal/sqlite"
	"allclear.dev/allclear/internal/run"
	"allclear.dev/allclear/internal/shim"
)

func logCommand(o *options) *cobra.Command {
	var events bool
	var id string
	cmd := &cobra.Command{
		Use: "log ENV", Short: "the story of a run; --events gives the journal", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := o.site(first(args))
			if err != nil {
				return err
			}
			f, err := o.openRun(cmd.Context(), s, id)
			if err != nil {
				return err
			}
			defer f.close()
			again := &follower{log: f.log, id: f.id}
			if events {
				return writeEvents(cmd, o.Out, again)
			}
			return again.advance(cmd.Context(), func(before, after *run.State, e run.Event) {
				for _, line := range story(before, after, e) {
					fmt.Fprintln(o.Out, line)
				}
			})
		},
	}
	cmd.Flags().BoolVar(&events, "events", false, "write the journal's events, one JSON object a line")
	cmd.Flags().StringVar(&id, "run", "", "the `RUN` (default: the newest)")
	return cmd
}

func writeEvents(cmd *cobra.Command, w io.Writer, f *follower) error {
	for stored, err := range f.log.Read(cmd.Context(), f.id, 0) {
		if err != nil {
			return fail(ExitStorage, "allclear verify names what is wrong", "%v", err)
		}
		fmt.Fprintf(w, `{"seq":%d,"hash":"%x","event":%s}`+"\n", stored.Seq, stored.Hash, stored.Body)
	}
	return nil
}

func showCommand(o *options) *cobra.Command {
	var id string
	var output bool
	cmd := &cobra.Command{
		Use: "show ENV ITEM", Short: "one item: what it does, how it stands, its evidence", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := o.site(args[0])
			if err != nil {
				return err
			}
			f, err := o.openRun(cmd.Context(), s, id)
			if err != nil {
				return err
			}
			defer f.close()
			it, err := item(&f.state, args[1])
			if err != nil {
				return err
			}
			if output {
				return writeOutput(o.Out, s, &f.state, it)
			}
			writeItem(o.Out, o.paper(), &f.state, it)
			return nil
		},
	}
	cmd.Flags().StringVar(&id, "run", "", "the `RUN` (default: the newest)")
	cmd.Flags().BoolVar(&output, "log", false, "what the action's latest attempt has written so far")
	return cmd
}

// writeOutput copies what an action's latest attempt wrote, line by line and
// without control characters.
func writeOutput(w io.Writer, s *site, state *run.State, it *run.Item) error {
	_, st := state.Of(it.ID)
	if it.Kind != run.Action || st.Attempt == 0 {
		return fail(ExitUsage, "", "%s has no attempt that writes", it.ID)
	}
	a, _, err := shim.Open(filepath.Join(s.dataDir, "attempts"), shim.ID{Run: state.Run, Item: it.ID, Attempt: st.Attempt})
	if err != nil {
		return fail(ExitStorage, "", "open the attempt: %v", err)
	}
	out, err := a.Output(0)
	if err != nil {
		return fail(ExitStorage, "", "read the output: %v", err)
	}
	defer out.Close()
	p := paper{}
	for line, err := range shim.Lines(out) {
		if err != nil {
			return fail(ExitStorage, "", "read the output: %v", err)
		}
		fmt.Fprintln(w, p.plain(line))
	}
	return nil
}

func writeItem(w io.Writer, p paper, s *run.State, it *run.Item) {
	_, st := s.Of(it.ID)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "  %-11s %s\n", name, p.plain(value))
		}
	}
	fmt.Fprintf(w, "%s %s\n", p.mark(markOf(st.Status)), p.plain(it.Text))
	line("id", fmt.Sprintf("%s  line %d", it.ID, it.Line))
	line("type", fmt.Sprintf("%s (%s, %s)", it.Type, it.Kind, it.Class))
	line("does", it.Does)
	line("target", orText(st.Target, it.Target))
	line("undo", orText(it.Undo, it.Irreversible))
	line("when", it.When)
	line("waits for", strings.Join(it.After, ", "))
	line("state", fmt.Sprintf("%s, attempt %d", st.Status, st.Attempt))
	line("reason", st.Reason)
	line("by", st.Actor)
	if !st.SettledAt.IsZero() {
		line("at", st.SettledAt.Format(time.RFC3339))
	}
	if st.Waiver != nil {
		line("waived", fmt.Sprintf("by %s until %s: %s", st.Waiver.Person, st.Waiver.Until.Format(time.RFC3339), st.Waiver.Reason))
	}
	for _, v := range st.Voided {
		line("void", fmt.Sprintf("signature of %s as %s: %s", v.Person, v.Role, v.Reason))
	}
	var names []string
	for name := range st.Facts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		line("fact", name+" = "+st.Facts[name])
	}
	for _, a := range st.Artefacts {
		line("evidence", fmt.Sprintf("%s  %d bytes  sha256:%s", a.Name, a.Size, a.SHA256))
	}
}

func historyCommand(o *options) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "history ENV", Short: "the runs of an environment, newest first", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := o.site(first(args))
			if err != nil {
				return err
			}
			f, err := o.openRun(cmd.Context(), s, "")
			if err != nil {
				return err
			}
			defer f.close()
			runs, err := f.log.Runs(cmd.Context(), journal.Page{Limit: limit})
			if err != nil {
				return fail(ExitStorage, "", "%v", err)
			}
			for _, info := range runs {
				state, err := replay(cmd.Context(), f.log, info.Run)
				if err != nil {
					return err
				}
				end := state.Now
				fmt.Fprintf(o.Out, "%s  %s  %-10s  %-12s  %7s  started by %s\n", state.StartedAt.Format("2006-01-02 15:04"), state.Run,
					state.Plan.Release.Version, state.Status(), took(end.Sub(state.StartedAt)), state.Starter)
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "how many runs")
	return cmd
}

func verifyCommand(o *options) *cobra.Command {
	var trusted string
	cmd := &cobra.Command{
		Use: "verify ENV|DIR", Short: "check the record: chain, anchors, signatures, evidence", Args: cobra.MaximumNArgs(1),
		Long: `verify recomputes the hash chain and the Merkle log of every run of the
environment, compares them with the anchors kept outside the database, checks every
signature and the digest of every file kept as evidence. Given a directory that
report --bundle wrote, it checks that, anywhere. It needs no network and names what
was changed, removed, reordered or cut off.

EXIT STATUS
  0 everything fits   1 something does not   75 the record cannot be read`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if path := o.path(first(args)); path != "" && isBundle(path) {
				return o.verifyBundle(path, o.path(trusted))
			}
			s, err := o.site(first(args))
			if err != nil {
				return err
			}
			return o.verify(cmd, s)
		},
	}
	cmd.Flags().StringVar(&trusted, "trust", "", "take the people's keys from this allclear.yaml `FILE`")
	return cmd
}

func (o *options) verify(cmd *cobra.Command, s *site) error {
	ctx := cmd.Context()
	if _, err := os.Stat(s.dataDir); err != nil {
		return fail(ExitUsage, "", "there is no record of %s", s.environment)
	}
	log, err := sqlite.OpenDamaged(ctx, s.dataDir)
	if err != nil {
		return fail(ExitStorage, "", "%v", err)
	}
	defer log.Close()
	anchors, err := log.Anchors()
	if err != nil {
		return fail(ExitFailed, "", "the anchors cannot be read: %v", err)
	}
	findings, err := log.Verify(ctx, anchors...)
	if err != nil {
		return fail(ExitStorage, "", "%v", err)
	}
	for _, f := range findings {
		fmt.Fprintf(o.Out, "✖ %s\n", f)
	}
	bad := len(findings)
	runs, err := log.Runs(ctx, journal.Page{})
	if err != nil {
		return fail(ExitStorage, "", "%v", err)
	}
	signatures, evidence, events := 0, 0, uint64(0)
	for _, info := range runs {
		events += info.Events
		c := &recordCheck{site: s, out: o.Out}
		c.run(ctx, log, info.Run)
		bad, signatures, evidence = bad+c.bad, signatures+c.signatures, evidence+c.evidence
	}
	if bad > 0 {
		return fail(ExitFailed, "", "the record of %s does not fit in %s", s.environment, plural(bad, "place"))
	}
	fmt.Fprintf(o.Out, "✔ verified: %s, %s, %s, %s\n", plural(len(runs), "run"), plural(int(events), "event"), plural(signatures, "signature"), plural(evidence, "evidence file"))
	return nil
}

func writeStatusJSON(w io.Writer, s *run.State) {
	type item struct {
		ID      string `json:"id"`
		Status  string `json:"status"`
		Reason  string `json:"reason,omitempty"`
		Waived  bool   `json:"waived,omitempty"`
		Attempt int    `json:"attempt,omitempty"`
	}
	a := s.Advise()
	doc := struct {
		Schema string            `json:"schema"`
		Run    string            `json:"run"`
		Status string            `json:"status"`
		Stops  string            `json:"stops"`
		Turn   string            `json:"turn"`
		Next   string            `json:"next"`
		Facts  map[string]string `json:"facts"`
		Held   map[string]string `json:"held"`
		Items  []item            `json:"items"`
	}{Schema: "allclear.status.v1", Run: s.Run, Status: string(s.Status()), Stops: a.Stops, Turn: a.Turn, Next: a.Next, Facts: s.Facts, Held: s.Held}
	for i := range s.Plan.Items {
		doc.Items = append(doc.Items, item{s.Plan.Items[i].ID, string(s.Items[i].Status), s.Items[i].Reason, s.Waived(i), s.Items[i].Attempt})
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(doc)
}
