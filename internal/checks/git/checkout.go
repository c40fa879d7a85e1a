package git

import (
	"context"
	_ "embed" // the type's page
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/check"
)

//go:embed release.checkout.md
var checkoutDoc string

// Checkout is the type release.checkout.
var Checkout = check.Define[checkout](check.Desc{
	Name: "release.checkout", Summary: "the release's files are in a folder of their own, each as in its commit", Doc: checkoutDoc,
})

// checkout makes a release's folder from a repository on the same host. The folder
// appears whole or not at all, and one that is there is never written to.
type checkout struct {
	At       string            `param:"at,short" doc:"release, previous, or a commit, tag or branch" default:"release"`
	Repo     string            `param:"repo" doc:"clone or mirror on the host" default:"${env.mirror}"`
	Fetch    string            `param:"fetch" doc:"remote that a commit is fetched from when the repository lacks it; empty fetches nothing" default:"origin"`
	Releases string            `param:"releases" doc:"folder that holds the releases" default:"${env.releases}"`
	Name     string            `param:"name" doc:"name of the release's folder; its version when left out" default:""`
	Shared   map[string]string `param:"shared" doc:"links to make: path in the release to what is there for all releases" default:""`
	Stamp    string            `param:"revision_file" doc:"file in the release that will hold the commit" default:"REVISION"`
	On       []string          `param:"on" doc:"hosts; this machine when left out" default:""`
}

// Validate holds the rules between parameters.
func (c *checkout) Validate() error {
	for what, name := range map[string]string{"repo": c.Repo, "releases": c.Releases} {
		if err := whole(what, name); err != nil {
			return err
		}
	}
	if c.Fetch != "" {
		if err := validRemote(c.Fetch); err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
	}
	if c.Name != "" {
		if err := folderName(c.Name); err != nil {
			return err
		}
	}
	for inside, target := range c.Shared {
		if err := within(inside); err != nil {
			return fmt.Errorf("shared: %w", err)
		}
		if err := whole("shared: "+inside, target); err != nil {
			return err
		}
	}
	if err := within(c.Stamp); err != nil || strings.Contains(c.Stamp, "/") {
		return fmt.Errorf("revision_file: %.100q is not a file's name", c.Stamp)
	}
	return errors.Join(eachOnce(c.On), (&revision{Expect: c.At}).Validate())
}

// within accepts a path that stays inside the release.
func within(inside string) error {
	if inside == "" || path.IsAbs(inside) || path.Clean(inside) != inside || inside == "." || inside == ".." ||
		strings.HasPrefix(inside, "../") || strings.HasPrefix(inside, "-") || strings.ContainsAny(inside, "\x00\r\n") {
		return fmt.Errorf("%.100q is not a path inside the release", inside)
	}
	return nil
}

// Traits says that folders are made and nothing else is touched.
func (c *checkout) Traits() check.Traits {
	return check.Traits{
		Kind: check.Action, Class: check.Probed, Effect: check.Changes, Pool: check.Exec,
		Does: fmt.Sprintf("checks out %s below %s", c.At, c.Releases), Target: c.Releases,
	}
}

// open finds the commit and the folder's name on a host.
func (c *checkout) open(ctx context.Context, env *check.Env, at place, on string) (*tree, error) {
	t := &tree{place: at, repo: repo{host: at.Host, dir: c.Repo}, stamp: c.Stamp}
	var err error
	if t.want, err = (&revision{Expect: c.At, Repo: c.Repo}).wanted(ctx, env, on); err != nil {
		return nil, err
	}
	name := c.Name
	if name == "" {
		name = t.want.folder()
	}
	if err := folderName(name); err != nil {
		return nil, fmt.Errorf("%w: give the folder a name", err)
	}
	t.dir = path.Join(c.Releases, name)
	return t, nil
}

// folder is the name that a release's folder has when nobody gave it one.
func (w wanted) folder() string {
	if w.name == w.sha {
		return w.sha[:12]
	}
	return strings.ReplaceAll(w.name, "/", "-")
}

// Run makes the folder on every host, one after the other.
func (c *checkout) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	all, err := places(env, c.On)
	if err != nil {
		return check.Outcome{}, err
	}
	outcome := check.Outcome{Facts: map[string]string{}}
	var made, there []string
	for i, at := range all {
		is, err := c.one(ctx, env, at, c.host(i), outcome.Facts)
		if err != nil {
			return settle(outcome, fmt.Errorf("%s: %w", at.Name(), err))
		}
		if is {
			made = append(made, at.Name())
		} else {
			there = append(there, at.Name())
		}
	}
	outcome.Verdict = check.Pass
	outcome.Reason = fmt.Sprintf("%s is at %s", outcome.Facts["folder"], short(outcome.Facts["revision"]))
	if len(made) > 0 {
		outcome.Reason += ", checked out on " + strings.Join(made, ", ")
	}
	if len(there) > 0 {
		outcome.Reason += ", was there already on " + strings.Join(there, ", ")
	}
	return outcome, nil
}

func (c *checkout) host(i int) string {
	if len(c.On) == 0 {
		return ""
	}
	return c.On[i]
}

// one makes the folder on one host, unless it is there as it should be.
func (c *checkout) one(ctx context.Context, env *check.Env, at place, on string, facts map[string]string) (bool, error) {
	if err := c.bring(ctx, env, at, on); err != nil {
		return false, err
	}
	t, err := c.open(ctx, env, at, on)
	if err != nil {
		return false, err
	}
	held, err := t.content(ctx)
	if err != nil {
		return false, err
	}
	facts["folder"], facts["revision"], facts["tree"] = t.dir, t.want.sha, held.sha
	facts["files"], facts["bytes"] = strconv.Itoa(held.files), strconv.FormatInt(held.bytes, 10)
	err = t.verify(ctx, nil)
	if _, missing := errors.AsType[*absent](err); !missing {
		return false, err
	}
	if err := c.ready(ctx, t, held); err != nil {
		return false, err
	}
	if err := c.make(ctx, t); err != nil {
		return false, err
	}
	fmt.Fprintf(env.Log, "%s: %s checked out, %d files\n", at.Name(), t.dir, held.files)
	return true, t.verify(ctx, nil)
}

// Probe tells on how many hosts the folder is there as it should be.
func (c *checkout) Probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	all, err := places(env, c.On)
	if err != nil {
		return "", check.Outcome{}, err
	}
	done := 0
	for i, at := range all {
		t, err := c.open(ctx, env, at, c.host(i))
		if err == nil {
			err = t.verify(ctx, nil)
		}
		_, missing := errors.AsType[*absent](err)
		_, other := errors.AsType[*refused](err)
		switch {
		case err == nil:
			done++
		case !missing && !other:
			return "", check.Outcome{}, fmt.Errorf("%s: %w", at.Name(), err)
		}
	}
	return progress(done, len(all)), check.Passf("%s is there on %d of %d hosts", c.At, done, len(all)), nil
}

// progress says how far something is that is done host by host.
func progress(done, all int) check.Progress {
	switch done {
	case 0:
		return check.NotDone
	case all:
		return check.Done
	}
	return check.Partly
}

// Examine says whether the repository and the folder are there and may be used.
func (c *checkout) Examine(ctx context.Context, env *check.Env) (string, error) {
	all, err := places(env, c.On)
	if err != nil {
		return "", err
	}
	for _, at := range all {
		if _, err := (repo{host: at.Host, dir: c.Repo}).run(ctx, "rev-parse", "--git-dir"); err != nil {
			return "", fmt.Errorf("%s: %s: %w", at.Name(), c.Repo, err)
		}
		result, err := at.try(ctx, "test", "-d", c.Releases, "-a", "-w", c.Releases)
		if err != nil {
			return "", err
		}
		if result.Code != 0 {
			return "", fmt.Errorf("%s: %s is no folder that may be written to", at.Name(), c.Releases)
		}
	}
	return c.Repo + " can be read and " + c.Releases + " written to", nil
}
