// Package git holds the types that read and write Git repositories and deploy from
// them. They use the git program, with everything switched off that a repository
// or an address could use to run something else.
package git

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// maxText bounds what is read from git, in bytes.
const maxText = 4 << 20

// repo is a repository on a host.
type repo struct {
	host check.Host
	dir  string
	// env says where git finds the repository, the files and its index, when that is
	// not what dir has.
	env []string
}

// safe switches off what a repository's own configuration or an address could
// use to run a program: hooks, the ext transport, file system monitors, pagers
// (CVE-2017-1000117, CVE-2021-43286). It never asks anybody.
func safe() []string {
	return []string{
		"-c", "core.hooksPath=/dev/null", "-c", "protocol.ext.allow=never", "-c", "protocol.file.allow=user",
		"-c", "core.fsmonitor=false", "-c", "core.pager=cat", "-c", "core.editor=false", "-c", "credential.interactive=false",
		"-c", "gc.auto=0", "-c", "tag.gpgSign=false", "-c", "advice.detachedHead=false",
	}
}

// env makes git quiet, English and deaf to the configuration of whoever runs it
// interactively.
func gitEnv() []string {
	return []string{
		"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=true", "SSH_ASKPASS=true", "GIT_EDITOR=false", "LC_ALL=C",
		"GIT_SSH_COMMAND=ssh -o BatchMode=yes -o ConnectTimeout=15", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_REPLACE_OBJECTS=1",
	}
}

// try runs git and gives its result whatever the exit code.
func (r repo) try(ctx context.Context, args ...string) (check.Result, error) {
	return r.atMost(ctx, maxText, args...)
}

// atMost runs git and takes no more than limit bytes of output.
func (r repo) atMost(ctx context.Context, limit int64, args ...string) (check.Result, error) {
	result, err := r.host.Exec(ctx, check.Command{
		Argv: append(append([]string{"git"}, safe()...), args...), Dir: r.dir, Env: append(gitEnv(), r.env...), Limit: limit,
	})
	if err != nil {
		return result, fmt.Errorf("git %s: %w", verb(args), err)
	}
	if result.Truncated {
		return result, fmt.Errorf("git %s: more than %d bytes of output", verb(args), limit)
	}
	if result.Signal != "" {
		return result, fmt.Errorf("git %s: ended by signal: %s", verb(args), result.Signal)
	}
	return result, nil
}

// run runs git where any other end than success means not knowing.
func (r repo) run(ctx context.Context, args ...string) (string, error) {
	result, err := r.try(ctx, args...)
	if err != nil {
		return "", err
	}
	if result.Code != 0 {
		return "", fmt.Errorf("git %s: %s", verb(args), complaint(result))
	}
	return strings.TrimSpace(string(result.Stdout)), nil
}

// verb finds git's own command behind the settings given with -c.
func verb(args []string) string {
	for len(args) > 2 && args[0] == "-c" {
		args = args[2:]
	}
	return args[0]
}

// complaint is the last thing that git said, in one line.
func complaint(result check.Result) string {
	text := strings.TrimSpace(string(result.Stderr))
	if text == "" {
		return fmt.Sprintf("exit %d", result.Code)
	}
	lines := strings.Split(text, "\n")
	for _, line := range lines {
		if strings.HasPrefix(line, "fatal: ") || strings.HasPrefix(line, "error: ") {
			return cut(line)
		}
	}
	return cut(lines[len(lines)-1])
}

// cut shortens a line for a reason.
func cut(line string) string {
	if len(line) > 300 {
		line = strings.ToValidUTF8(line[:300], "") + "…"
	}
	return line
}

// commit gives the commit that a name stands for; "" when there is no such name.
func (r repo) commit(ctx context.Context, name string) (string, error) {
	if err := validRev(name); err != nil {
		return "", err
	}
	result, err := r.try(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", name+"^{commit}")
	if err != nil {
		return "", err
	}
	if result.Code == 1 && len(result.Stderr) == 0 {
		return "", nil
	}
	sha := strings.TrimSpace(string(result.Stdout))
	if result.Code != 0 || !isSHA(sha) {
		return "", fmt.Errorf("git rev-parse %s: %s", name, complaint(result))
	}
	return sha, nil
}

// isSHA reports whether text is a whole object name, of SHA-1 or SHA-256.
func isSHA(text string) bool {
	return regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`).MatchString(text)
}

// validRev accepts a name for a commit: an object name, or a reference by the
// rules of git check-ref-format. It takes none of git's operators (^, ~, .., @{).
func validRev(name string) error {
	if name == "HEAD" || isSHA(name) {
		return nil
	}
	return validRef(name)
}

// validRef holds the rules of git-check-ref-format(1) and refuses a leading "-".
func validRef(name string) error {
	bad := func(why string) error { return fmt.Errorf("%.100q is no name of a reference: %s", name, why) }
	switch {
	case name == "":
		return errors.New("an empty name is no name of a reference")
	case len(name) > 250:
		return bad("longer than 250 bytes")
	case strings.HasPrefix(name, "-"):
		return bad("it begins with -")
	case name == "@", strings.Contains(name, "@{"), strings.Contains(name, ".."), strings.Contains(name, "//"):
		return bad("it holds @, @{, .. or //")
	case strings.HasPrefix(name, "/"), strings.HasSuffix(name, "/"), strings.HasSuffix(name, "."):
		return bad("it begins or ends with / or ends with .")
	}
	for _, r := range name {
		if r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) {
			return bad("it holds a space, a control character or one of ~^:?*[\\")
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return bad("a part begins with . or ends with .lock")
		}
	}
	return nil
}

// validRemote accepts a remote's name, a path, or an https or ssh address; git's
// other transports can run programs.
func validRemote(remote string) error {
	scheme, _, isURL := strings.Cut(remote, "://")
	switch {
	case remote == "", strings.HasPrefix(remote, "-"), strings.ContainsAny(remote, "\x00\r\n"):
		return fmt.Errorf("%.100q is no remote", remote)
	case strings.Contains(remote, "::"):
		return fmt.Errorf("%.100q: transports that run programs are not allowed", remote)
	case isURL && scheme != "https" && scheme != "ssh" && scheme != "file":
		return fmt.Errorf("%.100q: want https, ssh or file", remote)
	case isURL && scheme == "https" && strings.Contains(strings.SplitN(remote, "/", 4)[2], "@"):
		return errors.New("the remote's address holds a password; use a credential helper")
	}
	return nil
}
