package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"allclear.dev/allclear/internal/engine"
	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/journal/sqlite"
	"allclear.dev/allclear/internal/record"
	"allclear.dev/allclear/internal/report"
	"allclear.dev/allclear/internal/results"
	"allclear.dev/allclear/internal/run"
)

// formats are the reports by the name of their flag value.
func formats() []string {
	return []string{"markdown", "html", "json", "junit", "jsonl", "plain", "tap", "sarif", "github", "gitlab", "buildkite", "teamcity", "table", "prometheus"}
}

func reportCommand(o *options) *cobra.Command {
	var id, format, out, bundle string
	cmd := &cobra.Command{
		Use: "report ENV", Short: "the checklist filled in; HTML, JSON, JUnit; the record as a bundle", Args: cobra.MaximumNArgs(1),
		Long: `report writes the team's own checklist filled in: boxes ticked, each with who, when,
verdict and evidence; the notes, the sign-offs and the metrics filled. It is a copy:
the team's file stays as it is.

  $ allclear report production > DEPLOYMENT-1.4.0.md
  $ allclear report production --format html --out report.html
  $ allclear report production --bundle record-1.4.0     for allclear verify, offline`,
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
			if bundle != "" {
				return o.exportBundle(cmd.Context(), s, f, o.path(bundle))
			}
			return o.writeReport(cmd.Context(), s, f, format, o.path(out))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&id, "run", "", "the `RUN` (default: the newest)")
	flags.StringVar(&format, "format", "markdown", strings.Join(formats(), ", "))
	flags.StringVar(&out, "out", "", "write to `FILE`")
	flags.StringVar(&bundle, "bundle", "", "write the record to a new `DIR` that verify reads anywhere")
	return cmd
}

func (o *options) writeReport(ctx context.Context, s *site, f *follower, format, out string) error {
	events, err := eventsOf(ctx, f)
	if err != nil {
		return err
	}
	text, err := render(s, f, format, events)
	if err != nil {
		return err
	}
	if out == "" {
		_, err = o.Out.Write(text)
		return err
	}
	if err := os.WriteFile(out, text, 0o644); err != nil {
		return fail(ExitUsage, "", "write the report: %v", err)
	}
	return nil
}

func eventsOf(ctx context.Context, f *follower) ([]run.Event, error) {
	var events []run.Event
	for stored, err := range f.log.Read(ctx, f.id, 0) {
		if err != nil {
			return nil, fail(ExitStorage, "allclear verify names what is wrong", "%v", err)
		}
		event, err := engine.DecodeEvent(stored.Body)
		if err != nil {
			return nil, err
		}
		events = append(events, event)
	}
	return events, nil
}

func render(s *site, f *follower, format string, events []run.Event) ([]byte, error) {
	src, err := os.ReadFile(filepath.Join(runFolder(s.dataDir, f.id), checklistFile))
	if err != nil {
		return nil, fail(ExitStorage, "", "read the run's checklist: %v", err)
	}
	list, problems := parseChecklist(s.cfg.Checklist, src)
	if problems.HasErrors() {
		return nil, problems.Sorted()
	}
	switch format {
	case "markdown":
		return report.Markdown(src, list, &f.state, events)
	case "html":
		return report.HTML(src, list, &f.state, events)
	case "json":
		return report.JSON(&f.state, events)
	}
	if slices.Contains(formats(), format) {
		set, err := report.Results(&f.state, s.listPath())
		if err != nil {
			return nil, err
		}
		return results.Write(format, set)
	}
	return nil, fail(ExitUsage, "formats: "+strings.Join(formats(), ", "), "unknown format %q", format)
}

// exportBundle writes the record so that it can be verified without this machine.
func (o *options) exportBundle(ctx context.Context, s *site, f *follower, dir string) error {
	folder := runFolder(s.dataDir, f.id)
	config, err := os.ReadFile(filepath.Join(folder, configFile))
	if err != nil {
		return fail(ExitStorage, "", "read the run's configuration: %v", err)
	}
	list, err := os.ReadFile(filepath.Join(folder, checklistFile))
	if err != nil {
		return fail(ExitStorage, "", "read the run's checklist: %v", err)
	}
	var anchors []journal.Checkpoint
	if view, ok := f.log.(*sqlite.View); ok {
		if anchors, err = view.Anchors(); err != nil {
			return fail(ExitStorage, "", "read the anchors: %v", err)
		}
	}
	err = record.Export(ctx, f.log, f.id, dir, record.Sources{
		Checklist: list, Config: config, Anchors: anchors,
		Blob: func(digest string) (io.ReadCloser, error) {
			return os.Open(engine.BlobPath(filepath.Join(s.dataDir, "blobs"), digest))
		},
	})
	if err != nil {
		return fail(ExitStorage, "", "%v", err)
	}
	fmt.Fprintf(o.Out, "record of %s written to %s; allclear verify %s checks it anywhere\n", f.id, dir, dir)
	return nil
}

// verifyBundle verifies an exported record. The keys are those of the
// configuration in the bundle, or of a trusted one.
func (o *options) verifyBundle(dir, trusted string) error {
	keys := trusted
	if keys == "" {
		keys = filepath.Join(dir, configFile)
	}
	text, err := os.ReadFile(keys)
	if err != nil {
		return fail(ExitUsage, "--trust names an allclear.yaml with the people's keys", "read the keys: %v", err)
	}
	result, err := record.VerifyDir(dir, record.Trust{Signature: func(event run.Event, state *run.State) error {
		s, err := newSite(keys, text, nil, state.Plan.Environment)
		if err != nil {
			return err
		}
		return s.verifySignature(event, state)
	}})
	if err != nil {
		return fail(ExitStorage, "", "%v", err)
	}
	for _, f := range result.Findings {
		fmt.Fprintf(o.Out, "✖ %s\n", f)
	}
	if len(result.Findings) > 0 {
		return fail(ExitFailed, "", "the record does not fit in %s", plural(len(result.Findings), "place"))
	}
	fmt.Fprintf(o.Out, "✔ verified: run %s, %s, %s, %s\n", result.Run, plural(int(result.Events), "event"), plural(result.Signatures, "signature"), plural(result.Evidence, "evidence file"))
	if trusted == "" {
		fmt.Fprintln(o.Out, "  keys: those in the bundle; --trust FILE takes your own")
	}
	return nil
}

// isBundle reports whether a path is an exported record.
func isBundle(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return false
	}
	_, err = os.Stat(filepath.Join(path, configFile))
	_, noEvents := os.Stat(filepath.Join(path, "events.jsonl"))
	return err == nil && !errors.Is(noEvents, os.ErrNotExist)
}
