package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"allclear.dev/allclear/internal/diag"
)

// wrapUsage gives the mistakes on the command line the one form and exit code,
// and completes arguments.
func wrapUsage(o *options, root *cobra.Command) {
	root.SetFlagErrorFunc(flagMistake)
	root.Args = func(_ *cobra.Command, args []string) error { return unknownVerb(root, args) }
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	if err := root.RegisterFlagCompletionFunc("as", o.people); err != nil {
		panic(err) // the flag is defined beside it
	}
	for _, cmd := range root.Commands() {
		if want := cmd.Args; want != nil {
			cmd.Args = func(cmd *cobra.Command, args []string) error {
				if err := want(cmd, args); err != nil {
					return fail(ExitUsage, "usage: "+cmd.UseLine(), "%s: %w", cmd.Name(), err)
				}
				return nil
			}
		}
		if words := strings.Fields(cmd.Use); len(words) > 1 && strings.HasPrefix(words[1], "ENV") {
			cmd.ValidArgsFunction = o.complete
		}
	}
}

func unknownVerb(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var verbs []string
	for _, cmd := range root.Commands() {
		if !cmd.Hidden {
			verbs = append(verbs, cmd.Name())
		}
	}
	hint := "allclear --help lists the verbs"
	if near := diag.Nearest(args[0], verbs); near != "" {
		hint = "did you mean \"allclear " + near + "\"?"
	}
	return fail(ExitUsage, hint, "there is no verb %q", args[0])
}

// flagMistake names the flag that is nearest to an unknown one.
func flagMistake(cmd *cobra.Command, err error) error {
	hint := "usage: " + cmd.UseLine()
	if name, unknown := strings.CutPrefix(err.Error(), "unknown flag: --"); unknown {
		var flags []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { flags = append(flags, f.Name) })
		if near := diag.Nearest(name, flags); near != "" {
			hint = "did you mean --" + near + "?"
		}
	}
	return fail(ExitUsage, hint, "%w", err)
}
