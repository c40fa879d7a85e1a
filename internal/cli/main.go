// Package cli is the command line: one file per command, help and exit codes.
package cli

import (
	"context"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"allclear.dev/allclear/internal/shim"
)

// Streams are the program's standard streams.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Main runs the program with these arguments, the first of which is its name,
// and gives its exit code.
func Main(args []string, s Streams) int {
	if len(args) > 1 && args[1] == shim.Verb {
		return shim.Main(args[2:], s.In, runJob)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot(s)
	root.SetArgs(args[1:])
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	return s.conclude(root.ExecuteContext(ctx))
}

// options are the flags that every verb has.
type options struct {
	Streams
	dir          string
	config       string
	color        string
	ascii        bool
	screenReader bool
	noInput      bool
	json         bool
	as           string
	accept       string
}

func newRoot(s Streams) *cobra.Command {
	o := &options{Streams: s}
	root := &cobra.Command{
		Use:   "allclear VERB [ENV]",
		Short: "allclear runs a team's deployment checklist",
		Long: `allclear runs the deployment checklist that your team already keeps.

  $ allclear init                      read the checklist, write allclear.yaml
  $ allclear plan production           what would happen; changes nothing
  $ allclear run production --release 1.4.0

Every item is checked, done, watched, attested or signed for, with evidence, or
the deployment does not proceed.`,
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	flags := root.PersistentFlags()
	flags.StringVarP(&o.dir, "directory", "C", ".", "work as if started in `DIR`")
	flags.StringVar(&o.config, "config", "", "configuration `FILE` (default: the nearest allclear.yaml)")
	flags.StringVar(&o.color, "color", "auto", "colour: auto, always or never")
	flags.BoolVar(&o.ascii, "ascii", false, "use no characters beyond ASCII")
	flags.BoolVar(&o.screenReader, "screen-reader", false, "write sentences, without drawing")
	flags.BoolVar(&o.noInput, "no-input", false, "never ask; a missing answer is an error")
	flags.StringVar(&o.as, "as", "", "the `PERSON` or role you act as")
	for _, make := range commands() {
		root.AddCommand(make(o))
	}
	wrapUsage(o, root)
	return root
}

// commands lists the verbs in the order of the help.
func commands() []func(*options) *cobra.Command {
	return []func(*options) *cobra.Command{
		initCommand, planCommand, checkCommand, runCommand, watchCommand, statusCommand, showCommand,
		attestCommand, signCommand, waiveCommand, naCommand, retryCommand, resolveCommand,
		pauseCommand, resumeCommand, rollbackCommand, abortCommand, adoptCommand,
		logCommand, reportCommand, verifyCommand, historyCommand, lintCommand,
		typesCommand, doctorCommand, versionCommand, exitTopic, driveCommand,
	}
}

func versionCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(o.Out, "allclear "+Version()+"\n")
			return err
		},
	}
}

// Version is the version this binary was built from.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "development"
	}
	return info.Main.Version
}

// path makes a path from the command line relative to -C.
func (o *options) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(o.dir, p)
}
