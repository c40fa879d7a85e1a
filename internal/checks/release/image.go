// Package release holds the type that brings a release's container image onto
// hosts and proves that it is what runs there.
package release

import (
	"context"
	_ "embed" // the type's page
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"allclear.dev/allclear/internal/check"
)

//go:embed release.image.md
var imageDoc string

// Image is the type release.image.
var Image = check.Define[image](check.Desc{
	Name: "release.image", Summary: "the image with the expected digest is there, is made live, or is what runs", Doc: imageDoc,
})

// image pulls an image by its digest, makes it the live one, or compares what runs
// with it.
type image struct {
	Image      string            `param:"image,short" doc:"the image with its tag: registry.example.com/app:1.2.3"`
	Digest     string            `param:"digest" doc:"digest that it must have (sha256:…); as this run pulled it when left out" default:""`
	DigestFile string            `param:"digest_file" doc:"file of the checkout that holds the digest, as the build wrote it" default:""`
	Do         string            `param:"do" doc:"what to do; nothing but looking at what runs when left out" default:"" enum:"pull,switch"`
	Live       string            `param:"live" doc:"with do: switch, the tag that what runs is started from" default:"live"`
	Services   []string          `param:"services" doc:"compose services whose containers must run the image" default:""`
	Project    string            `param:"project" doc:"compose project of the services" default:""`
	Containers []string          `param:"containers" doc:"names of containers that must run the image" default:""`
	Pods       pods              `param:"pods" doc:"pods of Kubernetes that must run the image" default:""`
	Workload   workload          `param:"workload" doc:"with do: switch, what runs the image on Kubernetes, instead of a tag of the hosts" default:""`
	Name       string            `param:"name" doc:"what the image is called, to find again what was pulled" default:"image"`
	Env        map[string]string `param:"env" doc:"environment variables for docker or kubectl" default:""`
	On         []string          `param:"on" doc:"hosts; this machine when left out" default:""`
}

// pods names containers of Kubernetes.
type pods struct {
	Selector  string `param:"selector,short" doc:"labels of the pods (app=web)" default:""`
	Container string `param:"container" doc:"name of the container in each of them"`
	Namespace string `param:"namespace" doc:"namespace; the context's when left out" default:""`
	Context   string `param:"context" doc:"context of kubectl; the current one when left out" default:""`
}

func (p pods) given() bool { return p.Selector != "" }

// Validate holds the rules between parameters.
func (i *image) Validate() error {
	if _, _, err := split(i.Image); err != nil {
		return err
	}
	looks := len(i.Services) + len(i.Containers)
	switch {
	case i.Digest != "" && i.DigestFile != "":
		return errors.New("digest and digest_file exclude each other")
	case i.Digest != "" && !isDigest(i.Digest):
		return fmt.Errorf("digest: %.100q: want sha256: and 64 hexadecimal digits in lower case", i.Digest)
	case i.Do != "" && (looks > 0 || i.Pods.given()):
		return errors.New("services, containers and pods are for looking at what runs")
	case i.Workload.given() && (i.Do != "switch" || len(i.On) > 1):
		return errors.New("workload is for do: switch, from one host")
	case i.Do == "" && looks == 0 && !i.Pods.given():
		return errors.New("needs services, containers or pods to look at, or do: pull or do: switch")
	case i.Pods.given() && looks > 0:
		return errors.New("pods exclude services and containers")
	case len(i.Services) > 0 && i.Project == "":
		return errors.New("services need their project")
	case !regexp.MustCompile(`^[a-z][a-z0-9_]*$`).MatchString(i.Name):
		return fmt.Errorf("name: %.60q: want small letters, digits and _", i.Name)
	case !isTag(i.Live):
		return fmt.Errorf("live: %.100q is no tag", i.Live)
	}
	for _, name := range slices.Concat(i.Services, i.Containers, []string{i.Project, i.Pods.Container, i.Pods.Namespace, i.Pods.Context, i.Workload.Container, i.Workload.Namespace, i.Workload.Context}) {
		if strings.HasPrefix(name, "-") || strings.ContainsAny(name, "\x00\r\n =,") {
			return fmt.Errorf("%.100q is no name", name)
		}
	}
	if strings.HasPrefix(i.Pods.Selector, "-") {
		return fmt.Errorf("selector: %.100q begins with -", i.Pods.Selector)
	}
	if i.Workload.given() {
		return i.Workload.validate()
	}
	return nil
}

// split takes an image's repository and tag apart. A colon before the last slash
// belongs to the registry's port.
func split(ref string) (repository, tag string, err error) {
	at := strings.LastIndex(ref, ":")
	if at <= strings.LastIndex(ref, "/") {
		return "", "", fmt.Errorf("%.200q has no tag: write registry.example.com/app:1.2.3", ref)
	}
	repository, tag = ref[:at], ref[at+1:]
	if !isTag(tag) || !regexp.MustCompile(`^[a-z0-9]([A-Za-z0-9._:/-]*[a-z0-9])?$`).MatchString(repository) || len(ref) > 400 {
		return "", "", fmt.Errorf("%.200q is no image with a tag", ref)
	}
	return repository, tag, nil
}

func isTag(tag string) bool {
	return regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`).MatchString(tag)
}

func isDigest(text string) bool { return regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(text) }

// Traits tells looking from pulling and switching.
func (i *image) Traits() check.Traits {
	t := check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec, Does: "compares what runs with " + i.Image, Target: i.Image}
	switch i.Do {
	case "pull":
		t.Kind, t.Class, t.Effect, t.Does = check.Action, check.Idempotent, check.Changes, "pulls "+i.Image
	case "switch":
		t.Kind, t.Class, t.Effect, t.Does = check.Action, check.Probed, check.Changes, "makes "+i.Image+" the image "+i.Live
		t.Undo = "makes " + i.Live + " the image that it was before"
		if i.Workload.given() {
			t.Does, t.Undo, t.Target = "gives "+i.Workload.Resource+" "+i.Image, "gives "+i.Workload.Resource+" the image that it had", i.Workload.Resource
		}
	}
	return t
}

// fact is what the run remembers of a pulled image.
func (i *image) fact() string { return i.Name + ".digest" }

// want gives the digest that the image must have; "" when nobody has said yet.
func (i *image) want(ctx context.Context, env *check.Env) (string, error) {
	if i.DigestFile == "" {
		digest := i.Digest
		if digest == "" {
			digest, _ = env.Ledger.Fact(i.fact())
		}
		if digest != "" && !isDigest(digest) {
			return "", fmt.Errorf("the fact %s holds %.80q, which is no digest", i.fact(), digest)
		}
		return digest, ctx.Err()
	}
	host, err := env.Host("")
	if err != nil {
		return "", err
	}
	text, err := host.ReadFile(ctx, i.DigestFile, 4096)
	if err != nil {
		return "", err
	}
	line := strings.TrimSpace(string(text))
	if _, digest, named := strings.Cut(line, "@"); named {
		line = digest
	}
	if !isDigest(line) {
		return "", fmt.Errorf("%s holds %.80q, which is no digest", i.DigestFile, line)
	}
	return line, nil
}

// needed is want where there is no going on without a digest.
func (i *image) needed(ctx context.Context, env *check.Env) (string, error) {
	digest, err := i.want(ctx, env)
	if err == nil && digest == "" {
		err = &check.NotSupplied{What: "the digest of " + i.Image + " (digest, digest_file, or an item with do: pull in this run)"}
	}
	return digest, err
}

// places gives the engines of all hosts.
func (i *image) places(env *check.Env) ([]engine, error) {
	names := i.On
	if len(names) == 0 {
		names = []string{""}
	}
	var vars []string
	for _, name := range slices.Sorted(maps.Keys(i.Env)) {
		vars = append(vars, name+"="+i.Env[name])
	}
	var all []engine
	for _, name := range names {
		host, err := env.Host(name)
		if err != nil {
			return nil, err
		}
		all = append(all, engine{Host: host, env: vars})
	}
	return all, nil
}

// Run pulls, switches, or looks at what runs, on every host.
func (i *image) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	all, err := i.places(env)
	if err != nil {
		return check.Outcome{}, err
	}
	switch i.Do {
	case "pull":
		return settle(i.pull(ctx, env, all))
	case "switch":
		if i.Workload.given() {
			return settle(i.roll(ctx, env, all[0]))
		}
		return settle(i.toggle(ctx, env, all))
	}
	return i.look(ctx, env, all)
}

// pull brings the image to every host, by its digest once that is known. What the
// first host got is what the others must get.
func (i *image) pull(ctx context.Context, env *check.Env, all []engine) (check.Outcome, error) {
	digest, err := i.want(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	repository, _, err := split(i.Image)
	if err != nil {
		return check.Outcome{}, err
	}
	outcome := check.Outcome{Facts: map[string]string{"image": i.Image}}
	for _, at := range all {
		if digest == "" {
			digest, err = at.pullTag(ctx, i.Image)
		} else {
			err = at.pullDigest(ctx, repository+"@"+digest, i.Image)
		}
		if err != nil {
			return outcome, fmt.Errorf("%s: %w", at.Name(), err)
		}
		held, err := at.image(ctx, repository+"@"+digest)
		if err != nil {
			return outcome, fmt.Errorf("%s: after the pull: %w", at.Name(), err)
		}
		outcome.Facts[at.Name()+" image id"] = held.ID
		if revision := held.Config.Labels[revisionLabel]; revision != "" {
			outcome.Facts["revision"] = revision
			if want := i.builtFrom(env.Run); want != "" && revision != want {
				return outcome, refuse("%s was built from %.60s, want %s", i.Image, revision, want)
			}
		}
		fmt.Fprintf(env.Log, "%s: %s@%s is there\n", at.Name(), repository, digest)
	}
	outcome.Facts["digest"] = digest
	outcome.Sets = map[string]string{i.fact(): digest}
	outcome.Verdict, outcome.Reason = check.Pass, fmt.Sprintf("%s is %s", i.Image, digest)
	return outcome, nil
}

// builtFrom gives the commit of the version that the tag names; "" when it names
// neither of this run's.
func (i *image) builtFrom(run check.RunInfo) string {
	_, tag, err := split(i.Image)
	if err != nil {
		return ""
	}
	switch strings.TrimPrefix(tag, "v") {
	case strings.TrimPrefix(run.Release, "v"):
		return run.Revision
	case strings.TrimPrefix(run.Previous, "v"):
		return run.PreviousRev
	}
	return ""
}

// look compares the image of everything that runs with the one expected.
func (i *image) look(ctx context.Context, env *check.Env, all []engine) (check.Outcome, error) {
	digest, err := i.needed(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	repository, _, err := split(i.Image)
	if err != nil {
		return check.Outcome{}, err
	}
	outcome := check.Outcome{Facts: map[string]string{"digest": digest}}
	var wrong []string
	right := 0
	for _, at := range all {
		var found []running
		if i.Pods.given() {
			found, err = at.pods(ctx, i.Pods)
		} else {
			found, err = at.containers(ctx, i)
		}
		if err != nil {
			return outcome, fmt.Errorf("%s: %w", at.Name(), err)
		}
		for _, r := range found {
			outcome.Facts[at.Name()+" "+r.name] = strings.Join(r.digests, ", ")
			switch {
			case r.wrong != "":
				wrong = append(wrong, fmt.Sprintf("%s on %s %s", r.name, at.Name(), r.wrong))
			case !slices.ContainsFunc(r.digests, func(d string) bool { return same(d, repository, digest) }):
				wrong = append(wrong, fmt.Sprintf("%s on %s runs %.200s", r.name, at.Name(), strings.Join(r.digests, ", ")))
			default:
				right++
			}
		}
	}
	outcome.Verdict, outcome.Reason = check.Pass, fmt.Sprintf("%d of %d run %s@%s", right, right, repository, digest)
	if len(wrong) > 0 {
		outcome.Verdict, outcome.Reason = check.Fail, fmt.Sprintf("want %s: %s", digest, strings.Join(wrong[:min(len(wrong), 10)], "; "))
	}
	return outcome, nil
}

// same compares repository@digest with what is wanted. Docker Hub's repositories
// have long and short names.
func same(have, repository, digest string) bool {
	name, sum, ok := strings.Cut(have, "@")
	return ok && sum == digest && hub(name) == hub(repository)
}

// hub gives a name of Docker Hub in full, as Docker reads it: what stands before
// the first slash is a registry only with a dot, a colon, or as localhost.
func hub(name string) string {
	first, rest, several := strings.Cut(name, "/")
	switch {
	case several && first == "index.docker.io":
		return hub("docker.io/" + rest)
	case several && first == "docker.io" && !strings.Contains(rest, "/"):
		return "docker.io/library/" + rest
	case several && (strings.ContainsAny(first, ".:") || first == "localhost"):
		return name
	case several:
		return "docker.io/" + name
	}
	return "docker.io/library/" + name
}
