package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"allclear.dev/allclear/internal/secret"
)

func doctorCommand(o *options) *cobra.Command {
	var unit bool
	cmd := &cobra.Command{
		Use: "doctor ENV", Short: "what this machine and configuration have and lack", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := o.site(first(args))
			if err != nil {
				return err
			}
			if unit {
				return writeUnit(o, s)
			}
			return o.examine(cmd.Context(), s)
		},
	}
	cmd.Flags().BoolVar(&unit, "systemd", false, "print a systemd unit that takes an open run up again after a reboot")
	return cmd
}

// examine prints a line for everything that a run needs; each that is missing
// comes with what to do.
func (o *options) examine(ctx context.Context, s *site) error {
	bad := 0
	report := func(ok bool, what, fix string) {
		mark := "ok"
		if !ok {
			bad++
			mark = "--"
		}
		fmt.Fprintf(o.Out, "%s  %s\n", mark, what)
		if !ok && fix != "" {
			fmt.Fprintf(o.Out, "    fix: %s\n", fix)
		}
	}
	for _, tool := range []struct{ name, use string }{{"git", "revisions and tags"}, {"ssh-keygen", "signatures made elsewhere"}, {"pg_dump", "backups"}, {"pg_restore", "restores"}} {
		_, err := exec.LookPath(tool.name)
		report(err == nil, fmt.Sprintf("%s, for %s", tool.name, tool.use), "install "+tool.name)
	}
	o.examineSecrets(ctx, s, report)
	p, _, err := s.bind(ctx, planFlags{release: "0"})
	if err != nil {
		return err
	}
	for _, missing := range p.Missing() {
		if strings.HasPrefix(missing, "roles.") {
			continue // every role has its line below
		}
		uses := 0
		for i := range p.Items {
			for _, m := range p.Items[i].Missing {
				if m == missing {
					uses++
				}
			}
		}
		report(false, fmt.Sprintf("%s is not set; %s need it", missing, plural(uses, "item")), needed(s.environment, []string{missing})[0])
	}
	for _, role := range s.cfg.RoleNames() {
		report(len(peopleWith(s, role)) > 0, fmt.Sprintf("role %s: %s", role, orText(strings.Join(peopleWith(s, role), ", "), "nobody")), "give the role to a person")
	}
	if bad > 0 {
		return quiet(ExitUsage)
	}
	return nil
}

func (o *options) examineSecrets(ctx context.Context, s *site, report func(bool, string, string)) {
	world := newWorld(s.root, s.dataDir, nil)
	for _, ref := range []secret.Ref{s.env.Database, s.env.Maintenance.Token} {
		if ref.IsZero() {
			continue
		}
		_, err := world.Secrets.Resolve(ctx, ref)
		fix := ""
		if err != nil {
			fix = err.Error()
		}
		report(err == nil, "secret "+ref.String(), fix)
	}
}

func peopleWith(s *site, role string) []string {
	var out []string
	for id := range s.cfg.People {
		for _, r := range s.cfg.RolesOf(id) {
			if r == role {
				out = append(out, id)
			}
		}
	}
	return out
}

// writeUnit prints a systemd unit that goes on with an open run after a reboot.
// KillMode=process leaves actions under way alone when the unit is stopped.
func writeUnit(o *options, s *site) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	root, err := filepath.Abs(s.root)
	if err != nil {
		return fmt.Errorf("find the checkout: %w", err)
	}
	_, err = fmt.Fprintf(o.Out, `[Unit]
Description=allclear takes up an open run of %[1]s %[2]s
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
WorkingDirectory=%[3]s
ExecStart=%[4]s run %[2]s --detach --no-input
SuccessExitStatus=2
KillMode=process

[Install]
WantedBy=multi-user.target
`, s.cfg.Project, s.environment, root, self)
	return err
}
