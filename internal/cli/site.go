package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/catalog"
	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/checklist"
	"allclear.dev/allclear/internal/config"
	"allclear.dev/allclear/internal/diag"
	"allclear.dev/allclear/internal/engine"
	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/journal/sqlite"
	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/secret"
)

// site is one environment of one project: the files that describe it and the
// directory of its runs.
type site struct {
	root        string
	environment string
	dataDir     string
	cfg         *config.Config
	env         config.Environment
	cfgText     []byte
	// policyText is the protected branch's configuration, nil where none counts.
	policyText []byte
	list       *checklist.Checklist
	listText   []byte
	// cautions are shown before a plan and before a run.
	cautions diag.Problems
}

// findConfig looks for allclear.yaml from the working directory up to the root of
// the repository.
func (o *options) findConfig() (string, error) {
	if o.config != "" {
		return o.path(o.config), nil
	}
	if fromEnv := os.Getenv("ALLCLEAR_CONFIG"); fromEnv != "" {
		return fromEnv, nil
	}
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return "", fmt.Errorf("find the working directory: %w", err)
	}
	for {
		candidate := filepath.Join(dir, "allclear.yaml")
		if _, err := os.Stat(candidate); err == nil {
			return candidate, nil
		}
		_, gitErr := os.Stat(filepath.Join(dir, ".git"))
		if parent := filepath.Dir(dir); gitErr != nil && parent != dir {
			dir = parent
			continue
		}
		return "", fail(ExitUsage, "allclear init writes one", "there is no allclear.yaml in %s or above it", o.dir)
	}
}

// site loads an environment; an empty name stands for the only one there is.
func (o *options) site(environment string) (*site, error) {
	path, err := o.findConfig()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fail(ExitUsage, "", "read the configuration: %v", err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the configuration: %w", err)
	}
	policy, err := protectedPolicy(abs, text)
	if err != nil {
		return nil, err
	}
	return newSite(abs, text, policy, environment)
}

// newSite loads an environment from a configuration, with the people and the
// policy of another one unless policy is nil.
func newSite(path string, text, policy []byte, environment string) (*site, error) {
	cfg, problems := config.Parse(shown(path), text)
	if cfg == nil {
		return nil, problems
	}
	if policy != nil {
		protected, problems := config.Parse(shown(path)+" of the protected branch", policy)
		if protected == nil {
			return nil, problems
		}
		cfg = cfg.WithPeopleOf(protected)
	}
	if environment == "" && len(cfg.Names) == 1 {
		environment = cfg.Names[0]
	}
	env, ok := cfg.Environments[environment]
	if !ok {
		hint := "environments: " + strings.Join(cfg.Names, ", ")
		if near := diag.Nearest(environment, cfg.Names); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		return nil, fail(ExitUsage, hint, "there is no environment %q in %s", environment, path)
	}
	root := filepath.Dir(path)
	data := env.Data
	if data == "" {
		data = filepath.Join(".allclear", environment)
	}
	if !filepath.IsAbs(data) {
		data = filepath.Join(root, data)
	}
	return &site{root: root, environment: environment, dataDir: data, cfg: cfg, env: env, cfgText: text, policyText: policy}, nil
}

// shown makes a path short for messages.
func shown(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(wd, path)
	if err != nil || strings.HasPrefix(rel, "..") {
		return path
	}
	return rel
}

// readChecklist reads the site's checklist.
func (s *site) readChecklist() error {
	path := filepath.Join(s.root, s.cfg.Checklist)
	text, err := os.ReadFile(path)
	if err != nil {
		return fail(ExitUsage, "checklist: in allclear.yaml names it; allclear init writes one", "read the checklist: %v", err)
	}
	list, problems := parseChecklist(shown(path), text)
	if problems.HasErrors() {
		return problems.Sorted()
	}
	s.list, s.listText, s.cautions = list, text, cautions(list, problems)
	return nil
}

func parseChecklist(file string, text []byte) (*checklist.Checklist, diag.Problems) {
	var names []string
	for _, t := range catalog.Types() {
		names = append(names, t.Name)
	}
	return checklist.ParseWith(file, text, checklist.Options{Types: names})
}

// frozenSite loads what a run has frozen.
func frozenSite(o *options, environment, dataDir, id string) (*site, error) {
	dir := runFolder(dataDir, id)
	text, err := os.ReadFile(filepath.Join(dir, configFile))
	if err != nil {
		return nil, fmt.Errorf("read the run's configuration: %w", err)
	}
	root, err := filepath.Abs(o.dir)
	if err != nil {
		return nil, fmt.Errorf("find the checkout: %w", err)
	}
	policy, err := os.ReadFile(filepath.Join(dir, policyFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read the run's policy: %w", err)
	}
	s, err := newSite(filepath.Join(root, configFile), text, policy, environment)
	if err != nil {
		return nil, err
	}
	s.dataDir = dataDir
	return s, nil
}

// newWorld makes the world of this machine.
func newWorld(dir, dataDir string, bypass http.Header) *engine.World {
	redactor := secret.NewRedactor(nil)
	return &engine.World{
		Types: catalog.ByName(), Dir: dir, DataDir: dataDir, Redactor: redactor,
		Secrets: &secret.Resolver{Redactor: redactor, Dir: dir}, Bypass: bypass, Prepare: func(*exec.Cmd) {},
	}
}

func (s *site) world() (*engine.World, error) {
	world := newWorld(s.root, s.dataDir, nil)
	world.Hosts = hosts(s.env.Hosts)
	if s.env.Maintenance.Header != "" {
		world.Bypass = http.Header{http.CanonicalHeaderKey(s.env.Maintenance.Header): nil}
	}
	return world, resolveBypass(context.Background(), world, s.bypassToken(), true)
}

func (s *site) bypassToken() string { return s.env.Maintenance.Token.String() }

// resolveBypass puts the token into the bypass header.
func resolveBypass(ctx context.Context, w *engine.World, reference string, wanted bool) error {
	if len(w.Bypass) == 0 || reference == "" || !wanted {
		return nil
	}
	ref, err := secret.ParseRef(reference)
	if err != nil {
		return err
	}
	token, err := w.Secrets.Resolve(ctx, ref)
	if err != nil {
		return fmt.Errorf("maintenance bypass: %w", err)
	}
	for name := range w.Bypass {
		w.Bypass = http.Header{name: {token.Reveal()}}
	}
	return nil
}

// openEnvironment opens another environment's record for reading.
func (s *site) openEnvironment(ctx context.Context, environment string) (journal.Reader, error) {
	dataDir := s.dataDir
	if environment != s.environment {
		other, err := newSite(filepath.Join(s.root, configFile), s.cfgText, nil, environment)
		if err != nil {
			return nil, err
		}
		dataDir = other.dataDir
	}
	if _, err := os.Stat(dataDir); errors.Is(err, os.ErrNotExist) {
		return nil, &check.NotSupplied{What: "a run in " + environment}
	}
	return sqlite.OpenReadOnly(ctx, dataDir)
}

// acquireLease takes the right to deploy, where the configuration keeps one
// outside this machine.
func (s *site) acquireLease(ctx context.Context, id string) (engine.Lease, error) {
	if s.env.Lease.Kind != "postgres" {
		return nil, nil
	}
	ref := s.env.Lease.Database
	if ref.IsZero() {
		ref = s.env.Database
	}
	world := newWorld(s.root, s.dataDir, nil)
	url, err := world.Secrets.Resolve(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	server, err := postgres.Parse(url, (&net.Dialer{}).DialContext)
	if err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	host, _ := os.Hostname()
	claim := postgres.Claim{Environment: s.environment, Owner: os.Getenv("USER") + "@" + host, Run: id}
	lease, err := postgres.NewLeases(server).Acquire(ctx, claim)
	if held, ok := errors.AsType[*postgres.LeaseHeld](err); ok {
		return nil, fail(ExitLocked, "wait for it to end; a silent holder's lease ends by itself", "%v", held)
	}
	if err != nil {
		return nil, fail(ExitInconclusive, "", "lease: %v", err)
	}
	return lease, nil
}

// releaseLease gives the lease back; what fails here ends by itself with time.
func (s *site) releaseLease(lease engine.Lease) {
	if lease == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), launchTime)
	defer cancel()
	_ = lease.Release(ctx)
}

// newRequestID names one call, so that a repeat of it is recognised.
func newRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails
	return hex.EncodeToString(b[:])
}

// person tells who acts: --as, or the one person whose name is the user's.
func (o *options) person(s *site) (string, error) {
	name := o.as
	if name == "" {
		name = os.Getenv("ALLCLEAR_AS")
	}
	if name == "" {
		name = os.Getenv("USER")
	}
	if _, ok := s.cfg.People[name]; ok {
		return name, nil
	}
	var people []string
	for id := range s.cfg.People {
		people = append(people, id)
	}
	slices.Sort(people)
	if len(people) == 0 {
		return "", fail(ExitNotAllowed, "add people: to allclear.yaml", "nobody is listed in allclear.yaml")
	}
	if name == "" {
		return "", fail(ExitNotAllowed, "--as NAME says it: "+strings.Join(people, ", "), "it is not known who you are")
	}
	return "", fail(ExitNotAllowed, "--as NAME says who you are: "+strings.Join(people, ", "), "%q is not listed in allclear.yaml", name)
}
