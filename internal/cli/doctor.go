package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"allclear.dev/allclear/internal/run"
	"allclear.dev/allclear/internal/secret"
)

func doctorCommand(o *options) *cobra.Command {
	var unit bool
	var f planFlags
	cmd := &cobra.Command{
		Use: "doctor ENV", Short: "what this machine and configuration have and lack", Args: cobra.MaximumNArgs(1),
		Long: `doctor looks, without any effect, whether every item could be resolved in an
environment: its target, credential and permission, its people and their keys.
Checks that only read are tried, actions are asked whether they have been done.
What is missing comes with what to do, and at the end in the order in which
supplying it makes most items ready.

  $ allclear doctor production
  $ allclear doctor production --json

EXIT STATUS
  0 nothing is missing   2 something is`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := o.site(first(args))
			if err != nil {
				return err
			}
			if unit {
				return writeUnit(o, s)
			}
			if f.release == "" {
				f.release = "0"
			}
			return o.examine(cmd.Context(), s, f)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&o.json, "json", false, "write JSON")
	cmd.Flags().BoolVar(&unit, "systemd", false, "print a systemd unit that takes an open run up again after a reboot")
	return cmd
}

// doctorReport is what doctor found.
type doctorReport struct {
	Machine []examined `json:"machine"`
	Items   []examined `json:"items"`
	Unlocks []unlock   `json:"unlocks"`
}

// examine says of everything that a run needs whether it is there; each that is
// missing comes with what to do.
func (o *options) examine(ctx context.Context, s *site, f planFlags) error {
	p, facts, err := s.bind(ctx, f)
	if err != nil {
		return err
	}
	r := doctorReport{Machine: o.examineMachine(ctx, s)}
	if r.Items, err = o.examineItems(ctx, s, p, facts); err != nil {
		return err
	}
	r.Unlocks = unlocks(append(slices.Clone(r.Machine), r.Items...))
	if o.json {
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if _, err := o.Out.Write(append(text, '\n')); err != nil {
			return err
		}
	} else if err := o.writeDoctor(p, r); err != nil {
		return err
	}
	if slices.ContainsFunc(append(r.Machine, r.Items...), func(x examined) bool { return x.Ready == lacks }) {
		return quiet(ExitUsage)
	}
	return nil
}

// writeDoctor prints a line for each, grouped by phase, and the order at the end.
func (o *options) writeDoctor(p *run.Plan, r doctorReport) error {
	var b strings.Builder
	paper := o.paper()
	line := func(x examined) {
		mark := map[readiness]string{ready: "ok", later: "..", without: "  ", lacks: "--"}[x.Ready]
		fmt.Fprintf(&b, "%s  %s  %s\n", mark, x.Item, paper.plain(x.Found))
		if x.Fix != "" {
			fmt.Fprintf(&b, "    fix: %s\n", paper.plain(x.Fix))
		}
	}
	for _, x := range r.Machine {
		line(x)
	}
	counts := map[readiness]int{}
	phase := ""
	for i, x := range r.Items {
		if counts[x.Ready]++; p.Items[i].Phase != phase {
			phase = p.Items[i].Phase
			fmt.Fprintf(&b, "\n%s\n", phase)
		}
		line(x)
	}
	fmt.Fprintf(&b, "\n%s: %d ready, %d known only during the run, %d do not apply, %d lack something\n", plural(len(r.Items), "item"), counts[ready], counts[later], counts[without], counts[lacks])
	if len(r.Unlocks) > 0 {
		fmt.Fprintf(&b, "\nin this order each makes most items ready:\n")
	}
	for i, u := range r.Unlocks {
		fmt.Fprintf(&b, "%3d. %s: %s\n", i+1, u.Target, plural(u.Items, "item"))
	}
	_, err := io.WriteString(o.Out, b.String())
	return err
}

// examineMachine looks at the programs that types use, at the environment's own
// secrets, and at the roles.
func (o *options) examineMachine(ctx context.Context, s *site) []examined {
	var out []examined
	for _, tool := range []struct{ name, use string }{{"git", "revisions and tags"}, {"ssh-keygen", "signatures made elsewhere"}, {"pg_dump", "backups"}, {"pg_restore", "restores"}} {
		x := examined{Item: tool.name, Ready: ready, Found: "is there, for " + tool.use}
		if _, err := exec.LookPath(tool.name); err != nil {
			x.Ready, x.Found, x.Fix = lacks, "is missing, for "+tool.use, "install "+tool.name
		}
		out = append(out, x)
	}
	world := newWorld(s.root, s.dataDir, nil)
	for _, ref := range []secret.Ref{s.env.Database, s.env.Maintenance.Token} {
		if ref.IsZero() {
			continue
		}
		x := examined{Item: "secret " + ref.String(), Ready: ready, Found: "is there"}
		if _, err := world.Secrets.Resolve(ctx, ref); err != nil {
			x.Ready, x.Found, x.Fix, x.Targets = lacks, "leads to nothing", err.Error(), []string{"secret " + ref.String()}
		}
		out = append(out, x)
	}
	out = append(out, o.examineHosts(ctx, s)...)
	for _, role := range s.cfg.RoleNames() {
		x := examined{Item: "roles." + role, Ready: ready, Found: strings.Join(peopleWith(s, role), ", ")}
		if x.Found == "" {
			x.Ready, x.Found, x.Fix, x.Targets = lacks, "nobody", "give the role to a person", []string{"roles." + role}
		}
		out = append(out, x)
	}
	return out
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
