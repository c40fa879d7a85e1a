package cli

import (
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"allclear.dev/allclear/internal/config"
	"allclear.dev/allclear/internal/run"
)

// complete offers environments first, then items: those of the open run that the
// verb can do something about, or of the checklist where there is none. It asks
// nothing outside of this machine.
func (o *options) complete(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	const silent = cobra.ShellCompDirectiveNoFileComp
	words := strings.Fields(cmd.Use)
	switch {
	case len(args) == 0:
		return o.environments(), silent
	case len(words) > 2 && strings.Contains(words[2], "ITEM") && (len(args) == 1 || strings.Contains(words[2], "…")):
		return startingWith(o.items(cmd, args[0]), prefix), silent
	}
	return nil, silent
}

func startingWith(words []string, prefix string) []string {
	return slices.DeleteFunc(words, func(w string) bool { return !strings.HasPrefix(w, prefix) })
}

// environments reads allclear.yaml alone.
func (o *options) environments() []string {
	path, text := o.configText()
	cfg, _ := config.Parse(path, text)
	if cfg == nil {
		return nil
	}
	return cfg.Names
}

// configText reads the configuration, or gives nothing.
func (o *options) configText() (path string, text []byte) {
	path, err := o.findConfig()
	if err != nil {
		return "", nil
	}
	if text, err = os.ReadFile(path); err != nil {
		return "", nil
	}
	return path, text
}

// people lists the short names, for --as.
func (o *options) people(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	path, text := o.configText()
	cfg, _ := config.Parse(path, text)
	if cfg == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return slices.Sorted(maps.Keys(cfg.People)), cobra.ShellCompDirectiveNoFileComp
}

// items lists ids, each with its text behind a tab, as shells show it.
func (o *options) items(cmd *cobra.Command, environment string) []string {
	path, text := o.configText()
	s, err := newSite(path, text, nil, environment) // who may sign does not matter here, and costs time
	if err != nil {
		return nil
	}
	var out []string
	f, err := openRun(cmd.Context(), s.dataDir, "")
	if err == nil {
		defer f.close()
		for i := range f.state.Plan.Items {
			if it := &f.state.Plan.Items[i]; concerns(cmd.Name(), &f.state, i) {
				out = append(out, it.ID+"\t"+it.Text)
			}
		}
		return out
	}
	if s.readChecklist() != nil {
		return nil
	}
	for it := range s.list.Items() {
		out = append(out, it.ID+"\t"+it.Text)
	}
	return out
}

// concerns tells whether a verb can do something about an item as it stands.
func concerns(verb string, s *run.State, i int) bool {
	it, st := &s.Plan.Items[i], s.Items[i]
	switch verb {
	case "attest":
		return it.Kind == run.Attest && slices.Contains(s.Asked(), i)
	case "sign":
		return it.Kind == run.Signoff && slices.Contains(s.Asked(), i)
	case "retry":
		return slices.Contains(s.Blocking(), i)
	case "resolve":
		return st.Status == run.InDoubt || slices.Contains(s.Blocking(), i)
	case "waive", "na":
		return it.Kind != run.Signoff && !s.Green(i)
	}
	return true
}
