package git

import (
	"context"
	_ "embed" // the type's page
	"errors"
	"fmt"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/check"
)

//go:embed git.revision.md
var revisionDoc string

// Revision is the type git.revision.
var Revision = check.Define[revision](check.Desc{
	Name: "git.revision", Summary: "everything that is asked runs or holds the wanted commit", Doc: revisionDoc,
})

// revision compares what is deployed with what should be.
type revision struct {
	Expect string   `param:"expect,short" doc:"release, previous, or a commit, tag or branch" default:"release"`
	From   []source `param:"from" doc:"what is asked; the checkout when left out" default:""`
	Repo   string   `param:"repo" doc:"repository in which names are looked up" default:"."`
	Clean  bool     `param:"clean" doc:"worktrees may hold no changes" default:"false"`
}

// Validate holds the rules between parameters.
func (r *revision) Validate() error {
	for i, s := range r.From {
		if err := s.validate(); err != nil {
			return fmt.Errorf("from %d: %w", i+1, err)
		}
	}
	worktree := len(r.From) == 0 || slices.ContainsFunc(r.From, func(s source) bool { return len(s.Worktree) > 0 })
	if r.Clean && !worktree {
		return errors.New("clean is for worktrees")
	}
	if r.Expect == "release" || r.Expect == "previous" {
		return nil
	}
	return validRev(r.Expect)
}

// Traits says that programs run on the hosts.
func (r *revision) Traits() check.Traits {
	return check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec,
		Does: "compares what is live with " + r.Expect, Target: strings.Join(r.names(), ", "),
	}
}

func (r *revision) sources() []source {
	if len(r.From) == 0 {
		return []source{{Worktree: []string{"."}}}
	}
	return r.From
}

func (r *revision) names() []string {
	var names []string
	for _, s := range r.sources() {
		names = append(names, s.name())
	}
	return names
}

// Run asks every source and compares all answers with the wanted commit.
func (r *revision) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	w, err := r.wanted(ctx, env, "")
	if err != nil {
		return check.Outcome{}, err
	}
	outcome := check.Outcome{Facts: map[string]string{"expected": w.sha, "expected_name": w.name}}
	var wrong []string
	asked := 0
	for _, s := range r.sources() {
		answers, err := s.ask(ctx, env, r.Clean)
		if err != nil {
			return outcome, fmt.Errorf("%s: %w", s.name(), err)
		}
		for _, a := range answers {
			asked++
			outcome.Facts[a.source] = a.text
			if !w.is(a.text) {
				wrong = append(wrong, fmt.Sprintf("%s has %s", a.source, cut(a.text)))
			}
			if len(a.dirty) > 0 {
				outcome.Facts[a.source+".changed"] = strings.Join(a.dirty[:min(len(a.dirty), 20)], ", ")
				wrong = append(wrong, fmt.Sprintf("%s has %d changed files (%s)", a.source, len(a.dirty), cut(a.dirty[0])))
			}
		}
	}
	outcome.Verdict = check.Pass
	outcome.Reason = fmt.Sprintf("%d of %d on %s", asked, asked, w)
	if len(wrong) > 0 {
		outcome.Verdict = check.Fail
		outcome.Reason = fmt.Sprintf("want %s: %s", w, strings.Join(wrong, "; "))
	}
	return outcome, nil
}

// wanted is a commit by all the names that sources may use for it.
type wanted struct {
	name, sha string
	versions  []string
}

func (w wanted) String() string {
	if w.name == w.sha {
		return w.sha[:12]
	}
	return w.name + " (" + w.sha[:12] + ")"
}

// is compares an answer: the whole commit, its beginning with at least 7 digits,
// or the version by name.
func (w wanted) is(answer string) bool {
	if len(answer) >= 7 && strings.HasPrefix(w.sha, strings.ToLower(answer)) {
		return true
	}
	return slices.Contains(w.versions, answer)
}

// wanted finds the commit; the run's own record of it must agree with the
// repository.
func (r *revision) wanted(ctx context.Context, env *check.Env, on string) (wanted, error) {
	name, known := r.Expect, ""
	switch r.Expect {
	case "release":
		name, known = env.Run.Release, env.Run.Revision
	case "previous":
		name, known = env.Run.Previous, env.Run.PreviousRev
	}
	if name == "" && known == "" {
		return wanted{}, &check.NotSupplied{What: "the " + r.Expect + " of this run"}
	}
	if isSHA(known) {
		w := wanted{name: name, sha: known}
		if w.name == "" {
			w.name = known
		}
		return w.named(), nil
	}
	host, err := env.Host(on)
	if err != nil {
		return wanted{}, err
	}
	for _, candidate := range []string{name, "v" + name} {
		sha, err := repo{host: host, dir: r.Repo}.commit(ctx, candidate)
		if err != nil {
			return wanted{}, err
		}
		if sha != "" {
			return wanted{name: name, sha: sha}.named(), nil
		}
	}
	return wanted{}, refuse("the repository knows no %s", name)
}

// named adds the names under which a version is commonly reported.
func (w wanted) named() wanted {
	bare := strings.TrimPrefix(w.name, "v")
	if w.name != w.sha && w.name != "HEAD" {
		w.versions = []string{bare, "v" + bare}
	}
	return w
}
