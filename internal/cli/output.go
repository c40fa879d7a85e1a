package cli

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"allclear.dev/allclear/internal/results"
)

// human is what people read, where a format can be chosen.
const human = "human"

// outputs are the documents that a command writes for other programs.
type outputs struct {
	// format replaces what is shown; human or empty shows it.
	format string
	// reports are FORMAT=PATH, written besides.
	reports []string
}

func (u *outputs) addFormat(flags *pflag.FlagSet) {
	flags.StringVarP(&u.format, "format", "o", human, "write `FORMAT`: "+strings.Join(append([]string{human}, results.Formats()...), ", "))
}

func (u *outputs) addReports(flags *pflag.FlagSet) {
	flags.StringArrayVar(&u.reports, "report", nil, "write a report besides, `FORMAT=PATH` (repeatable)")
}

// check finds mistakes in the flags before anything is done.
func (u *outputs) check() error {
	known := strings.Join(results.Formats(), ", ")
	if u.format != "" && u.format != human && !slices.Contains(results.Formats(), u.format) {
		return fail(ExitUsage, "formats: "+human+", "+known, "unknown format %q", u.format)
	}
	for _, report := range u.reports {
		format, path, ok := strings.Cut(report, "=")
		if !ok || path == "" {
			return fail(ExitUsage, "for example --report junit=checks.xml", "--report %s: want FORMAT=PATH", report)
		}
		if !slices.Contains(results.Formats(), format) {
			return fail(ExitUsage, "formats: "+known, "unknown format %q", format)
		}
	}
	return nil
}

// write writes the reports, and the set in the chosen format where that is not
// for people; shown tells whether it did.
func (u *outputs) write(o *options, set *results.Set) (shown bool, err error) {
	for _, report := range u.reports {
		format, path, _ := strings.Cut(report, "=")
		text, err := results.Write(format, set)
		if err != nil {
			return false, noResults(err)
		}
		if err := os.WriteFile(o.path(path), text, 0o644); err != nil {
			return false, fail(ExitUsage, "", "write the report: %v", err)
		}
	}
	if u.format == "" || u.format == human {
		return false, nil
	}
	text, err := results.Write(u.format, set)
	if err != nil {
		return false, noResults(err)
	}
	_, err = o.Out.Write(text)
	return true, err
}

func noResults(err error) error {
	if errors.Is(err, results.ErrNothing) {
		return fail(ExitInconclusive, "allclear plan lists the items", "%v", err)
	}
	return fail(ExitUsage, "formats: "+strings.Join(results.Formats(), ", "), "%v", err)
}

// listPath is the checklist's path as a program started here names it.
func (s *site) listPath() string {
	whole := filepath.Join(s.root, filepath.FromSlash(s.cfg.Checklist))
	here, err := os.Getwd()
	if err != nil {
		return s.cfg.Checklist
	}
	path, err := filepath.Rel(here, whole)
	if err != nil {
		return s.cfg.Checklist
	}
	return filepath.ToSlash(path)
}
