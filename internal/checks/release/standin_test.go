package release_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"allclear.dev/allclear/internal/check"
)

// standIn is docker as its documentation describes it, for exactly the words that
// the type uses: any other word is an error of the test. The same deployment runs
// on a real engine in TestImageForReal.
type standIn struct {
	// registry are the digests by tag; built the commit by digest.
	registry, built map[string]string
	// refs are the ids of the engine's images by name, pulled the names by id.
	refs, pulled map[string]string
	// services are the ids of what runs, by service.
	services map[string]string
	// With breaks, the connection breaks after left calls; after says that the one
	// during which it breaks is carried out.
	breaks, after bool
	left          int
}

const repository = "registry.example.com/tulia"

func newStandIn() *standIn {
	return &standIn{registry: map[string]string{}, built: map[string]string{}, refs: map[string]string{}, pulled: map[string]string{}, services: map[string]string{}}
}

func (s *standIn) repository() string { return repository }
func (s *standIn) params() string     { return "" }
func (s *standIn) host(env *check.Env) {
	env.Host = func(name string) (check.Host, error) { return s, nil }
}

func (s *standIn) publish(_ *testing.T, tag, revision string) string {
	digest := sum(tag)
	s.registry[repository+":"+tag], s.built[digest] = digest, revision
	return digest
}

func sum(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }

func (s *standIn) start(_ *testing.T, service, tag string) {
	s.services[service] = s.refs[repository+":"+tag]
}
func (s *standIn) stop(_ *testing.T, service string) { delete(s.services, service) }

func (s *standIn) Name() string { return "local" }

var errLost = errors.New("connection lost")

func (s *standIn) Exec(ctx context.Context, c check.Command) (check.Result, error) {
	if err := ctx.Err(); err != nil {
		return check.Result{}, err
	}
	if s.breaks {
		if s.left--; s.left < 0 {
			if s.after && s.left == -1 {
				s.docker(c.Argv)
			}
			return check.Result{}, errLost
		}
	}
	return s.docker(c.Argv), nil
}

func (s *standIn) docker(argv []string) check.Result {
	words := strings.Join(argv, " ")
	last := argv[len(argv)-1]
	switch {
	case words == "docker version --format={{.Server.Version}}":
		return check.Result{Stdout: []byte("28.0.0\n")}
	case len(argv) == 3 && argv[1] == "pull", len(argv) == 4 && strings.HasPrefix(words, "docker pull --quiet "):
		return s.pull(last)
	case len(argv) == 4 && argv[1] == "tag":
		id, ok := s.find(argv[2])
		if !ok {
			return failed("Error response from daemon: No such image: " + argv[2])
		}
		s.refs[last] = id
		return check.Result{}
	case len(argv) == 4 && strings.HasPrefix(words, "docker image inspect "):
		return s.inspect(last)
	case strings.HasPrefix(words, "docker ps --no-trunc --quiet --filter=name=^/"):
		return check.Result{}
	case strings.HasPrefix(words, "docker ps --no-trunc --quiet --filter=label=com.docker.compose.project=tulia --filter=label=com.docker.compose.service="):
		service := strings.TrimPrefix(argv[5], "--filter=label=com.docker.compose.service=")
		if s.services[service] == "" || last != "--filter=label=com.docker.compose.oneoff=False" {
			return check.Result{}
		}
		return check.Result{Stdout: []byte("container-" + service + "\n")}
	case len(argv) == 4 && strings.HasPrefix(words, "docker inspect --type=container container-"):
		service := strings.TrimPrefix(last, "container-")
		return answer([]map[string]json.RawMessage{{"Id": quoted(last), "Name": quoted("/tulia-" + service + "-1"), "Image": quoted(s.services[service]), "State": json.RawMessage(`{"Running": true}`)}})
	}
	return failed("unknown words: " + words)
}

func quoted(text string) json.RawMessage { return json.RawMessage(fmt.Sprintf("%q", text)) }

func answer(list []map[string]json.RawMessage) check.Result {
	text, err := json.Marshal(list)
	if err != nil {
		return failed(err.Error())
	}
	return check.Result{Stdout: text}
}

func failed(text string) check.Result { return check.Result{Code: 1, Stderr: []byte(text + "\n")} }

func (s *standIn) pull(ref string) check.Result {
	digest := s.registry[ref]
	if _, named, by := strings.Cut(ref, "@"); by {
		digest = named
	}
	revision, known := s.built[digest]
	if !known {
		return failed("Error response from daemon: manifest for " + ref + " not found: manifest unknown")
	}
	id := sum("id of " + digest + revision)
	s.refs[ref], s.pulled[id] = id, digest
	s.refs[repository+"@"+digest] = id
	return check.Result{Stdout: []byte("tulia: Pulling from tulia\nDigest: " + digest + "\nStatus: Downloaded newer image for " + ref + "\n" + ref + "\n")}
}

func (s *standIn) find(ref string) (string, bool) {
	if s.pulled[ref] != "" {
		return ref, true
	}
	id, ok := s.refs[ref]
	return id, ok
}

func (s *standIn) inspect(ref string) check.Result {
	id, ok := s.find(ref)
	if !ok {
		result := failed("Error response from daemon: No such image: " + ref)
		result.Stdout = []byte("[]\n")
		return result
	}
	digest := s.pulled[id]
	return answer([]map[string]json.RawMessage{{
		"Id": quoted(id), "RepoDigests": json.RawMessage(fmt.Sprintf("[%q]", repository+"@"+digest)),
		"Config": json.RawMessage(fmt.Sprintf(`{"Labels": {"org.opencontainers.image.revision": %q}}`, s.built[digest])),
	}})
}

func (*standIn) ReadFile(context.Context, string, int64) ([]byte, error) { return nil, os.ErrNotExist }
func (*standIn) Lstat(context.Context, string) (check.FileInfo, error) {
	return check.FileInfo{}, os.ErrNotExist
}
func (*standIn) Glob(context.Context, string) ([]string, error) { return nil, nil }

// reads is a stand-in with the files of this machine.
type reads struct {
	*standIn
	files check.Host
}

func (r reads) ReadFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	return r.files.ReadFile(ctx, name, limit)
}

// answers is a host on which every program says the same.
type answers struct {
	code   int
	stdout string
}

func (answers) Name() string { return "web-1" }

func (a answers) Exec(ctx context.Context, _ check.Command) (check.Result, error) {
	return check.Result{Code: a.code, Stdout: []byte(a.stdout), Stderr: []byte("it says no")}, ctx.Err()
}

func (answers) ReadFile(context.Context, string, int64) ([]byte, error) { return nil, os.ErrNotExist }
func (answers) Lstat(context.Context, string) (check.FileInfo, error) {
	return check.FileInfo{}, os.ErrNotExist
}
func (answers) Glob(context.Context, string) ([]string, error) { return nil, nil }
