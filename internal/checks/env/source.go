// Package env holds the types that look at the configuration which the deployed
// system really has: values and secrets.
package env

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/dotenv"
)

// maxSource bounds what a source may give, in bytes.
const maxSource = 1 << 20

// source says where a variable's value is read.
type source struct {
	On      string      `param:"on" doc:"host to read it on" default:""`
	File    string      `param:"file" doc:"dotenv file" default:""`
	Process string      `param:"process" doc:"name of a program; the environment of its oldest process counts" default:""`
	PIDFile string      `param:"pid_file" doc:"file with the pid of the process whose environment counts" default:""`
	Command []check.Arg `param:"command" doc:"program whose output is the value (what the application itself says)" default:""`
}

func (s *source) validate() error {
	given := 0
	for _, is := range []bool{s.File != "", s.Process != "", s.PIDFile != "", len(s.Command) > 0} {
		if is {
			given++
		}
	}
	if given != 1 {
		return errors.New("give one of file, process, pid_file and command")
	}
	return nil
}

// where names the source in messages.
func (s *source) where() string {
	at := ""
	if s.On != "" {
		at = " on " + s.On
	}
	switch {
	case s.File != "":
		return s.File + at
	case s.Process != "":
		return "the process " + s.Process + at
	case s.PIDFile != "":
		return "the process of " + s.PIDFile + at
	}
	return "the output of " + s.Command[0].Text + at
}

// read gives a variable's value and whether it is set. Of a command, the output
// is the value, whatever the name.
func (s *source) read(ctx context.Context, env *check.Env, name string) (string, bool, error) {
	host, err := env.Host(s.On)
	if err != nil {
		return "", false, err
	}
	if len(s.Command) > 0 {
		value, err := s.output(ctx, host)
		return value, true, err
	}
	vars, err := s.all(ctx, host)
	if err != nil {
		return "", false, err
	}
	value, found := vars[name]
	return value, found, nil
}

func (s *source) output(ctx context.Context, host check.Host) (string, error) {
	argv, err := check.Args(s.Command, false)
	if err != nil {
		return "", fmt.Errorf("command: %w", err)
	}
	result, err := host.Exec(ctx, check.Command{Argv: argv, Limit: maxSource})
	switch {
	case err != nil:
		return "", err
	case result.Code != 0 || result.Signal != "":
		return "", fmt.Errorf("%s ended with code %d %s", argv[0], result.Code, result.Signal)
	case result.Truncated:
		return "", fmt.Errorf("%s printed more than %d bytes", argv[0], maxSource)
	}
	value := strings.TrimRight(string(result.Stdout), "\r\n")
	if value == "" {
		return "", fmt.Errorf("%s printed nothing", argv[0])
	}
	return value, nil
}

// all gives every variable of a file or process.
func (s *source) all(ctx context.Context, host check.Host) (map[string]string, error) {
	if s.File != "" {
		text, err := host.ReadFile(ctx, s.File, maxSource)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", s.where(), err)
		}
		vars, err := dotenv.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", s.where(), err)
		}
		return vars, nil
	}
	pid, err := s.pid(ctx, host)
	if err != nil {
		return nil, err
	}
	text, err := host.ReadFile(ctx, fmt.Sprintf("/proc/%d/environ", pid), maxSource)
	if err != nil {
		return nil, fmt.Errorf("read the environment of %s: %w", s.where(), err)
	}
	if len(text) == 0 {
		return nil, fmt.Errorf("the environment of %s is empty: the process has ended or keeps none", s.where())
	}
	vars := map[string]string{}
	for entry := range strings.SplitSeq(string(text), "\x00") {
		if name, value, ok := strings.Cut(entry, "="); ok {
			if _, twice := vars[name]; !twice { // getenv gives the first
				vars[name] = value
			}
		}
	}
	return vars, nil
}

func (s *source) pid(ctx context.Context, host check.Host) (int, error) {
	if s.PIDFile != "" {
		return s.kept(ctx, host)
	}
	result, err := host.Exec(ctx, check.Command{Argv: []string{"pgrep", "-x", "-o", "--", s.Process}})
	if err != nil {
		return 0, err
	}
	if result.Code != 0 {
		return 0, fmt.Errorf("no process is named %s", s.Process)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(result.Stdout)))
	if err != nil || pid < 1 {
		return 0, fmt.Errorf("%s: no pid is told", s.where())
	}
	return pid, nil
}

// kept gives the process of a pid file.
func (s *source) kept(ctx context.Context, host check.Host) (int, error) {
	text, err := host.ReadFile(ctx, s.PIDFile, maxSource)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%s is not there: is the process running?", s.PIDFile)
	}
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", s.PIDFile, err)
	}
	p, err := check.ParsePIDFile(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.where(), err)
	}
	stat, err := host.ReadFile(ctx, fmt.Sprintf("/proc/%d/stat", p.PID), maxSource)
	if err != nil {
		return 0, fmt.Errorf("look at %s: %w", s.where(), err)
	}
	parsed, err := check.ParseStat(stat)
	if err == nil {
		err = p.OwnPIDFile(ctx, host, s.PIDFile, parsed)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.where(), err)
	}
	return p.PID, nil
}

// secretLike tells whether a variable's value must not be shown: by its name, or
// because the value is an address with a password in it.
func secretLike(name, value string) bool {
	byName := regexp.MustCompile(`(?i)secret|token|passw|pwd|key|dsn|credential|private|auth|salt|signature|webhook|cookie`)
	byValue := regexp.MustCompile(`://[^/@\s]*:[^/@\s]*@|-----BEGIN|^eyJ`)
	return byName.MatchString(name) || byValue.MatchString(value)
}
