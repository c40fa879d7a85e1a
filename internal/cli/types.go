package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"allclear.dev/allclear/internal/catalog"
	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/diag"
)

func typesCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "types [NAME]", Short: "the built-in types, or the page of one", Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			types := catalog.Types()
			if len(args) == 0 {
				for _, t := range types {
					fmt.Fprintf(o.Out, "%-18s %s\n", t.Name, t.Summary)
				}
				return nil
			}
			t, ok := catalog.ByName()[args[0]]
			if !ok {
				var names []string
				for _, t := range types {
					names = append(names, t.Name)
				}
				hint := "allclear types lists them"
				if near := diag.Nearest(args[0], names); near != "" {
					hint = fmt.Sprintf("did you mean %q?", near)
				}
				return fail(ExitUsage, hint, "unknown type %q", args[0])
			}
			fmt.Fprintf(o.Out, "%s: %s\n\n", t.Name, t.Summary)
			writeParams(o, t.Params, "  ")
			fmt.Fprintf(o.Out, "\n%s\n", strings.TrimSpace(t.Doc))
			return nil
		},
	}
}

func writeParams(o *options, params []check.Param, indent string) {
	for _, p := range params {
		note := "required"
		if p.HasDefault {
			note = "default " + orText(p.Default, "none")
		}
		if len(p.Enum) > 0 {
			note += "; one of " + strings.Join(p.Enum, ", ")
		}
		fmt.Fprintf(o.Out, "%s%-16s %-18s %s (%s)\n", indent, p.Name, p.Type, p.Doc, note)
		writeParams(o, p.Fields, indent+"  ")
	}
}
