package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"allclear.dev/allclear/internal/catalog"
	"allclear.dev/allclear/internal/checklist"
	"allclear.dev/allclear/internal/config"
	"allclear.dev/allclear/internal/diag"
	"allclear.dev/allclear/internal/plan"
	"allclear.dev/allclear/internal/recognise"
	"allclear.dev/allclear/internal/run"
)

const standardFile = "DEPLOYMENT_CHECKLIST.md"

func initCommand(o *options) *cobra.Command {
	var dryRun, yes bool
	cmd := &cobra.Command{
		Use: "init [FILE.md]", Short: "bind a checklist, write allclear.yaml", Args: cobra.MaximumNArgs(1),
		Long: `init reads the team's checklist and puts a block under every item that it
recognises, with the reason; no other byte of the file changes. Without a file
it writes the standard checklist of 183 items. It writes allclear.yaml unless
there is one. Run again, it changes nothing. Everything it writes is a proposal:
read it like a colleague's change.

  $ allclear init docs/DEPLOYMENT.md
  $ allclear init docs/DEPLOYMENT.md --dry-run`,
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := o.findChecklist(args)
			if err != nil {
				return err
			}
			if err := in.propose(cmd.Context()); err != nil {
				return err
			}
			if err := in.cautions.Write(o.Err); err != nil {
				return err
			}
			in.report(o)
			if dryRun || !in.changes() {
				return nil
			}
			if in.before != nil && !yes && o.interactive() && !o.agreed("Write this? [y/N] ") {
				return fail(ExitUsage, "", "nothing was written")
			}
			return in.write(o)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show the proposals, write nothing")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask before the file is changed")
	return cmd
}

// initial is what init works on: the files as they are, and as they will be.
type initial struct {
	root string
	// file is the checklist's path below root; config that of allclear.yaml.
	file, config string
	// before and oldConfig are nil when the files are not there.
	before, after        []byte
	oldConfig, newConfig []byte
	cfg                  *config.Config
	list                 *checklist.Checklist
	repo                 recognise.Repository
	proposals            []recognise.Proposal
	cautions             diag.Problems
}

// findChecklist settles which file is meant, and reads what is there.
func (o *options) findChecklist(args []string) (*initial, error) {
	root, err := filepath.Abs(o.dir)
	if err != nil {
		return nil, fmt.Errorf("find the working directory: %w", err)
	}
	in := &initial{root: root, config: filepath.Join(root, "allclear.yaml"), file: standardFile}
	if o.config != "" {
		in.config = o.path(o.config)
	}
	if err := in.readConfig(); err != nil {
		return nil, err
	}
	if len(args) == 1 {
		path, err := filepath.Abs(o.path(args[0]))
		if err != nil {
			return nil, fmt.Errorf("find the checklist: %w", err)
		}
		if in.file, err = filepath.Rel(root, path); err != nil || strings.HasPrefix(in.file, "..") {
			return nil, fail(ExitUsage, "start init in the directory that holds it, or one above", "%s is outside of %s", args[0], root)
		}
		if in.cfg != nil && filepath.Clean(in.cfg.Checklist) != in.file {
			return nil, fail(ExitUsage, "change checklist: there, or leave the file out", "allclear.yaml names %s, not %s", in.cfg.Checklist, in.file)
		}
	} else if in.cfg != nil {
		in.file = in.cfg.Checklist
	}
	in.before, err = os.ReadFile(filepath.Join(root, in.file))
	if errors.Is(err, fs.ErrNotExist) && len(args) == 0 {
		return in, nil
	}
	if err != nil {
		return nil, fail(ExitUsage, "without a file, init writes the standard checklist", "read the checklist: %v", err)
	}
	return in, nil
}

func (in *initial) readConfig() error {
	text, err := os.ReadFile(in.config)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fail(ExitUsage, "", "read the configuration: %v", err)
	}
	cfg, problems := config.Parse(shown(in.config), text)
	if cfg == nil {
		return problems
	}
	in.oldConfig, in.newConfig, in.cfg = text, text, cfg
	return nil
}

// propose makes the files as they will be, and holds that a plan can be made from
// them in every environment.
func (in *initial) propose(ctx context.Context) error {
	in.repo = recognise.Scan(os.DirFS(in.root))
	in.after = recognise.Standard()
	if in.before != nil {
		if err := in.bindBlocks(); err != nil {
			return err
		}
	}
	list, problems := parseChecklist(in.file, in.after)
	if problems.HasErrors() {
		return problems.Sorted()
	}
	in.list, in.cautions = list, cautions(list, problems)
	if in.cfg == nil {
		in.newConfig = recognise.Configuration(in.project(ctx), list, in.repo, whoAmI(ctx))
		cfg, problems := config.Parse("allclear.yaml", in.newConfig)
		if cfg == nil {
			return problems
		}
		in.cfg = cfg
	}
	for _, name := range in.cfg.Names {
		if problems := in.bind(name); problems.HasErrors() {
			return problems
		}
	}
	return nil
}

// bindBlocks puts the proposals into the team's own file.
func (in *initial) bindBlocks() error {
	list, problems := parseChecklist(in.file, in.before)
	if problems.HasErrors() {
		return problems.Sorted()
	}
	var roles []string
	if in.cfg != nil {
		roles = append([]string{}, in.cfg.RoleNames()...)
	}
	proposals, err := recognise.Propose(list, in.repo, roles)
	if err != nil {
		return err
	}
	edits, err := recognise.Edits(in.before, proposals)
	if err != nil {
		return fmt.Errorf("bind %s: %w", in.file, err)
	}
	after, err := checklist.Apply(in.before, edits...)
	if err != nil {
		return fmt.Errorf("bind %s: %w", in.file, err)
	}
	in.after, in.proposals = after, proposals
	return nil
}

func (in *initial) bind(environment string) diag.Problems {
	env := in.cfg.Environments[environment]
	facts := map[string]any{"name": environment, "url": env.URL}
	for name, value := range env.Vars {
		facts[name] = value
	}
	_, problems := plan.Bind(plan.Input{
		Checklist: in.list, Types: catalog.ByName(), Roles: in.cfg.RoleNames(),
		Vars:  config.Vars{Project: in.cfg.Project, Env: env, Emails: in.cfg.Emails()},
		Facts: map[string]any{"env": facts, "changed": map[string]any{}},
		Plan:  run.Plan{Project: in.cfg.Project, Environment: environment},
	})
	return problems
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// project names what is deployed after the repository's directory.
func (in *initial) project(ctx context.Context) string {
	name := filepath.Base(in.root)
	if top := commandLine(ctx, in.root, "git", "rev-parse", "--show-toplevel"); top != "" {
		name = filepath.Base(top)
	}
	name = strings.Trim(notInNames.ReplaceAllString(strings.ToLower(name), "-"), "-")
	return orText(name, "project")
}

// whoAmI describes the person at the keyboard, or gives nil.
func whoAmI(ctx context.Context) *recognise.Person {
	id := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(os.Getenv("USER")), "-"), "-")
	if id == "" {
		return nil
	}
	who := &recognise.Person{ID: id, Name: orText(commandLine(ctx, ".", "git", "config", "user.name"), id)}
	who.Email = commandLine(ctx, ".", "git", "config", "user.email")
	home, err := os.UserHomeDir()
	if err != nil {
		return who
	}
	for _, name := range []string{"id_ed25519.pub", "id_ecdsa.pub"} {
		key, err := os.ReadFile(filepath.Join(home, ".ssh", name))
		if err == nil && len(key) < 4096 {
			who.Key = strings.TrimSpace(string(key))
			break
		}
	}
	return who
}

// commandLine gives the one line that a program prints, or "".
func commandLine(ctx context.Context, dir string, argv ...string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}

func (in *initial) changes() bool {
	return string(in.before) != string(in.after) || in.oldConfig == nil
}

// report says what was read, what is proposed and why.
func (in *initial) report(o *options) {
	p := o.paper()
	items := slices.Collect(in.list.Items())
	fmt.Fprintf(o.Out, "Read %s of %s.", plural(len(items), "item"), in.file)
	if in.before == nil {
		fmt.Fprintf(o.Out, " It is the standard checklist: there was no file.")
	}
	if len(in.repo.Found) > 0 {
		fmt.Fprintf(o.Out, " Looked at the repository: %s.", strings.Join(in.repo.Found, ", "))
	}
	fmt.Fprintln(o.Out)
	text, kind := max((p.width-8)*2/5, 12), 18
	for _, proposal := range in.proposals {
		fmt.Fprintf(o.Out, "%5d  %s  %s  %s\n", proposal.Line, p.fit(proposal.Text, text), p.fit(orText(proposal.Type, "(heading)"), kind),
			p.cut(strings.TrimPrefix(proposal.Because, "it says "), max(p.width-text-kind-11, 12)))
	}
	fmt.Fprintln(o.Out, in.summary(items))
}

// summary counts what resolves the items now.
func (in *initial) summary(items []*checklist.Item) string {
	bound, people, open := 0, 0, 0
	for _, it := range items {
		switch {
		case it.Group:
		case it.Block == nil:
			open++
		case it.Block.Type == nil, it.Block.Type.Name == "attest", it.Block.Type.Name == "signoff":
			people++
		default:
			bound++
		}
	}
	text := fmt.Sprintf("%s checked, done or watched by a type, %d by people with evidence or a signature", plural(bound, "item"), people)
	if open > 0 {
		text += fmt.Sprintf("; %d not recognised: a person states them", open)
	}
	return text + "."
}

// write puts the files in place, each as a whole or not at all.
func (in *initial) write(o *options) error {
	if string(in.before) != string(in.after) {
		if err := replaceFile(filepath.Join(in.root, in.file), in.after); err != nil {
			return fail(ExitStorage, "", "write the checklist: %v", err)
		}
		if in.before == nil {
			fmt.Fprintf(o.Out, "Wrote %s.\n", in.file)
		} else {
			fmt.Fprintf(o.Out, "Wrote %s into %s; no other byte of it changed.\n", plural(len(in.proposals), "block"), in.file)
		}
	}
	if in.oldConfig == nil {
		if err := replaceFile(in.config, in.newConfig); err != nil {
			return fail(ExitStorage, "", "write the configuration: %v", err)
		}
		fmt.Fprintf(o.Out, "Wrote %s: fill in what its comments ask for.\n", shown(in.config))
	}
	fmt.Fprintf(o.Out, "Next: allclear plan %s\n", in.cfg.Names[len(in.cfg.Names)-1])
	return nil
}

// replaceFile writes beside a file and renames, so that a crash leaves the old or
// the new one. The file keeps its mode; a link is followed.
func replaceFile(path string, data []byte) error {
	mode := fs.FileMode(0o644)
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		mode = info.Mode().Perm()
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// agreed asks a question to be answered with y.
func (o *options) agreed(question string) bool {
	fmt.Fprint(o.Err, question)
	line, err := bufio.NewReader(o.In).ReadString('\n')
	return err == nil && strings.EqualFold(strings.TrimSpace(line), "y")
}
