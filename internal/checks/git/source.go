package git

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// maxAnswer bounds what a source may answer, in bytes.
const maxAnswer = 1 << 20

// source tells which revision something has.
type source struct {
	Worktree []string    `param:"worktree,short" doc:"folders of checkouts" default:""`
	HTTP     httpSource  `param:"http" doc:"an address that tells the revision" default:""`
	File     string      `param:"file" doc:"a file that holds the revision" default:""`
	Command  []check.Arg `param:"command" doc:"a program that prints the revision" default:""`
	PIDFile  string      `param:"pid_file" doc:"a process: what counts is the release in whose folder it works" default:""`
	Stamp    string      `param:"revision_file" doc:"with pid_file, the file of a release that holds its commit" default:"REVISION"`
	Running  string      `param:"container" doc:"a running container, whose image's label tells the revision" default:""`
	On       []string    `param:"on" doc:"hosts of everything but http; this machine when left out" default:""`
}

type httpSource struct {
	URL    string `param:"url,short" doc:"address"`
	JSON   string `param:"json" doc:"path to the value in a JSON answer (build.revision)" default:""`
	Header string `param:"header" doc:"instead of the body, this header of the answer" default:""`
}

// answer is what a source said.
type answer struct {
	source, text string
	dirty        []string
}

func (s source) validate() error {
	given := 0
	for _, is := range []bool{len(s.Worktree) > 0, s.HTTP.URL != "", s.File != "", len(s.Command) > 0, s.PIDFile != "", s.Running != ""} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return errors.New("needs one of worktree, http, file, command, pid_file and container")
	case s.HTTP.URL != "" && len(s.On) > 0:
		return errors.New("on is not for http")
	case strings.HasPrefix(s.Running, "-"):
		return fmt.Errorf("container: %.100q begins with -", s.Running)
	case within(s.Stamp) != nil || strings.Contains(s.Stamp, "/"):
		return fmt.Errorf("revision_file: %.100q is not a file's name", s.Stamp)
	case s.HTTP.JSON != "" && s.HTTP.Header != "":
		return errors.New("json and header exclude each other")
	}
	if s.HTTP.URL != "" {
		u, err := url.Parse(s.HTTP.URL)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return fmt.Errorf("%.100q is no http or https address", s.HTTP.URL)
		}
	}
	_, err := check.Args(s.Command, false)
	return err
}

func (s source) name() string {
	switch {
	case len(s.Worktree) > 0:
		return "worktree " + strings.Join(s.Worktree, ", ")
	case s.HTTP.URL != "":
		return s.HTTP.URL
	case s.File != "":
		return "file " + s.File
	case s.PIDFile != "":
		return "process of " + s.PIDFile
	case s.Running != "":
		return "container " + s.Running
	}
	return "command " + s.Command[0].Text
}

// ask gives the answers of all hosts.
func (s source) ask(ctx context.Context, env *check.Env, clean bool) ([]answer, error) {
	if s.HTTP.URL != "" {
		text, err := s.HTTP.ask(ctx, env)
		return []answer{{source: s.HTTP.URL, text: text}}, err
	}
	hosts := s.On
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	var all []answer
	for _, name := range hosts {
		host, err := env.Host(name)
		if err != nil {
			return nil, err
		}
		found, err := s.askHost(ctx, host, clean)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", host.Name(), err)
		}
		for _, a := range found {
			if name != "" {
				a.source = name + ": " + a.source
			}
			all = append(all, a)
		}
	}
	return all, nil
}

func (s source) askHost(ctx context.Context, host check.Host, clean bool) ([]answer, error) {
	var all []answer
	for _, dir := range s.Worktree {
		a, err := askWorktree(ctx, repo{host: host, dir: dir}, clean)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	if len(s.Worktree) > 0 {
		return all, nil
	}
	var text []byte
	var err error
	switch {
	case s.File != "":
		text, err = host.ReadFile(ctx, s.File, maxAnswer)
	case s.PIDFile != "":
		text, err = s.askProcess(ctx, host)
	case s.Running != "":
		text, err = askContainer(ctx, host, s.Running)
	default:
		text, err = s.askCommand(ctx, host)
	}
	if err != nil {
		return nil, err
	}
	line, err := oneLine(text)
	return []answer{{source: s.name(), text: line}}, err
}

func (s source) askCommand(ctx context.Context, host check.Host) ([]byte, error) {
	argv, err := check.Args(s.Command, false)
	if err != nil {
		return nil, err
	}
	result, err := host.Exec(ctx, check.Command{Argv: argv, Limit: maxAnswer})
	if err != nil {
		return nil, err
	}
	if result.Code != 0 || result.Signal != "" {
		return nil, fmt.Errorf("%s: %s", argv[0], complaint(result))
	}
	return result.Stdout, nil
}

func askWorktree(ctx context.Context, r repo, clean bool) (answer, error) {
	sha, err := r.commit(ctx, "HEAD")
	if err != nil {
		return answer{}, err
	}
	if sha == "" {
		return answer{}, fmt.Errorf("worktree %s has no commit", r.dir)
	}
	a := answer{source: "worktree " + r.dir, text: sha}
	if !clean {
		return a, nil
	}
	if err := overlooked(ctx, r); err != nil {
		return a, err
	}
	// -z keeps names with special characters whole; untracked files count.
	status, err := r.run(ctx, "status", "--porcelain=v1", "-z", "--untracked-files=normal", "--ignore-submodules=none", "--no-renames")
	if err != nil {
		return a, err
	}
	for entry := range strings.SplitSeq(status, "\x00") {
		if entry != "" {
			a.dirty = append(a.dirty, strings.TrimSpace(entry))
		}
	}
	return a, nil
}

// maxIndex bounds the list of a checkout's files, in bytes.
const maxIndex = 64 << 20

// overlooked is an error when git was told not to look at files (git-update-index
// --assume-unchanged, --skip-worktree): it would call the checkout clean whatever
// is in them. A sparse checkout leaves files out in the second way.
func overlooked(ctx context.Context, r repo) error {
	sparse, err := r.try(ctx, "config", "--type=bool", "core.sparseCheckout")
	if err != nil {
		return err
	}
	left := strings.TrimSpace(string(sparse.Stdout)) == "true"
	list, err := r.atMost(ctx, maxIndex, "ls-files", "-v", "-z", "--full-name", ":/")
	if err == nil && list.Code != 0 {
		err = fmt.Errorf("git ls-files: %s", complaint(list))
	}
	if err != nil {
		return err
	}
	for entry := range strings.SplitSeq(string(list.Stdout), "\x00") {
		if entry == "" {
			continue
		}
		tag, name, _ := strings.Cut(entry, " ")
		if tag != strings.ToUpper(tag) || (tag == "S" && !left) {
			return fmt.Errorf("git is told to overlook changes of %s (git update-index --assume-unchanged or --skip-worktree)", cut(name))
		}
	}
	return nil
}

// ask reads the revision from an HTTP answer.
func (h httpSource) ask(ctx context.Context, env *check.Env) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL, nil)
	if err != nil {
		return "", err
	}
	resp, err := env.HTTP.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	switch {
	case resp.StatusCode != http.StatusOK:
		return "", fmt.Errorf("answers %d", resp.StatusCode)
	case len(body) > maxAnswer:
		return "", fmt.Errorf("answers more than %d bytes", maxAnswer)
	case h.Header != "":
		return oneLine([]byte(resp.Header.Get(h.Header)))
	case h.JSON == "":
		return oneLine(body)
	}
	var doc any
	if err := json.Unmarshal(body, &doc); err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	for step := range strings.SplitSeq(h.JSON, ".") {
		m, ok := doc.(map[string]any)
		if !ok || m[step] == nil {
			return "", fmt.Errorf("the answer has no %s", h.JSON)
		}
		doc = m[step]
	}
	text, ok := doc.(string)
	if !ok {
		return "", fmt.Errorf("%s is no text", h.JSON)
	}
	return oneLine([]byte(text))
}

// oneLine accepts one word on one line; anything else is no revision.
func oneLine(text []byte) (string, error) {
	line := strings.TrimSpace(string(text))
	if line == "" {
		return "", errors.New("tells no revision")
	}
	if len(line) > 200 || strings.ContainsAny(line, " \t\r\n\x00") {
		return "", fmt.Errorf("%.60q is no revision", line)
	}
	return line, nil
}
