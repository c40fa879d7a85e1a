package env

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// git searches everything that was ever committed for the value. The history is
// read as a stream and searched in this process, so that the value stands in no
// argument list, where every user of the machine could see it.
func (s *examined) git(ctx context.Context) error {
	if s.NotInGit == "" {
		return nil
	}
	host, err := s.env.Host("")
	if err != nil {
		return err
	}
	run := func(search *finder, args ...string) (string, error) {
		command := check.Command{Argv: append([]string{"git", "-c", "core.hooksPath=/dev/null", "--no-pager", "--no-replace-objects"}, args...), Dir: s.NotInGit, Limit: 1000}
		if search != nil {
			command.Stdout = search
		}
		result, err := host.Exec(ctx, command)
		if err == nil && (result.Code != 0 || result.Signal != "") {
			err = fmt.Errorf("git %s ended with code %d %s: %.200s", args[0], result.Code, result.Signal, bytes.TrimSpace(result.Stderr))
		}
		return strings.TrimSpace(string(result.Stdout)), err
	}
	shallow, err := run(nil, "rev-parse", "--is-shallow-repository")
	if err != nil {
		return err
	}
	if shallow != "false" {
		return fmt.Errorf("the clone in %s is shallow: its history is not known", s.NotInGit)
	}
	if head, err := run(nil, "rev-list", "--all", "--max-count=1"); err != nil || head == "" {
		return fmt.Errorf("the clone in %s has no history: %w", s.NotInGit, errOr(err, "no commits"))
	}
	// A value of several lines is searched by its longest line.
	longest := ""
	for line := range strings.SplitSeq(s.value, "\n") {
		if line = strings.TrimSpace(line); len(line) > len(longest) {
			longest = line
		}
	}
	search := &finder{value: []byte(longest)}
	if _, err := run(search, "log", "--all", "--reverse", "-m", "-p", "--text", "--no-color", "--no-textconv", "--no-ext-diff", "--no-renames", "--format=commit %H%n%B"); err != nil {
		return err
	}
	s.fact("git", fmt.Sprintf("%d bytes of history searched", search.total))
	if search.commit != "" {
		s.miss("stands in the git history, in commit %s", search.commit)
	}
	return nil
}

func errOr(err error, text string) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%s", text)
}

// finder searches a stream for a value and remembers the first commit with it.
type finder struct {
	value  []byte
	rest   []byte
	last   string
	commit string
	total  int64
}

// Write searches what was added, together with the end of what came before.
func (f *finder) Write(p []byte) (int, error) {
	f.total += int64(len(p))
	if f.commit != "" {
		return len(p), nil
	}
	f.rest = append(f.rest, p...)
	at := bytes.Index(f.rest, f.value)
	until := len(f.rest)
	if at >= 0 {
		until = at
	}
	const mark = "commit "
	for i := 0; i < until; {
		line := f.rest[i:until]
		if end := bytes.IndexByte(line, '\n'); end >= 0 {
			line = line[:end]
		} else if at < 0 {
			break
		}
		if len(line) >= len(mark)+40 && string(line[:len(mark)]) == mark {
			f.last = string(line[len(mark) : len(mark)+40])
		}
		i += len(line) + 1
	}
	if at >= 0 {
		f.commit, f.rest = f.last, nil
		if f.commit == "" {
			f.commit = "(unknown)"
		}
		return len(p), nil
	}
	// Keep the last line for the name of a commit, and enough for a value that is
	// cut between two writes.
	keep := len(f.rest) - bytes.LastIndexByte(f.rest, '\n') - 1
	keep = max(min(keep, 1<<16), min(len(f.value), len(f.rest)))
	f.rest = bytes.Clone(f.rest[len(f.rest)-keep:])
	return len(p), nil
}
