package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

// maxOutput bounds what one program prints, in bytes.
const maxOutput = 64 << 20

// reader reads what was logged on a host.
type reader interface {
	read(ctx context.Context, env *check.Env, h check.Host, s span) ([]line, error)
	validate() error
	String() string
}

// onHost is a source on a host.
type onHost struct {
	on   string
	from reader
}

func (o *onHost) String() string {
	if o.on == "" {
		return o.from.String()
	}
	return o.from.String() + " on " + o.on
}

func (o *onHost) validate() error { return o.from.validate() }

func (o *onHost) read(ctx context.Context, env *check.Env, s span) ([]line, error) {
	h, err := env.Host(o.on)
	if err != nil {
		return nil, err
	}
	out, err := o.from.read(ctx, env, h, s)
	if err != nil {
		return nil, err
	}
	if len(out) > maxLines {
		return nil, tooMany(s)
	}
	return slices.DeleteFunc(out, func(l line) bool { return !s.holds(l.at) }), nil
}

func (o *onHost) any(_ context.Context, _ *check.Env, _ span, found []line) (int, error) {
	return len(found), nil
}

// output runs a program that prints a log and gives what it printed.
func output(ctx context.Context, h check.Host, argv []string, dir string) (check.Result, error) {
	r, err := h.Exec(ctx, check.Command{Argv: argv, Dir: dir, Limit: maxOutput, Env: []string{"LC_ALL=C"}})
	name := strings.Join(argv[:min(2, len(argv))], " ")
	switch {
	case err != nil:
		return r, err
	case r.Signal != "" || r.Code != 0:
		return r, fmt.Errorf("%s ended with %d %s: %s", name, r.Code, r.Signal, short(string(r.Stderr), 300))
	case r.Truncated:
		return r, fmt.Errorf("%s printed more than %d MiB: take a shorter time", name, maxOutput>>20)
	}
	return r, nil
}

// name is what a unit, a service or a container may be called.
var name = regexp.MustCompile(`^[A-Za-z0-9_@][A-Za-z0-9_.@:\\-]{0,200}$`)

func checkNames(what string, names []string) error {
	for _, n := range names {
		if !name.MatchString(n) {
			return fmt.Errorf("%s: %q is no name", what, n)
		}
	}
	return nil
}

// journal is systemd's. https://www.freedesktop.org/software/systemd/man/latest/journalctl.html
type journal struct {
	Units     []string `param:"units" doc:"units: api.service"`
	Directory string   `param:"directory" doc:"folder of a journal that is not this system's" default:""`
}

func (j *journal) String() string { return "the journal of " + strings.Join(j.Units, ", ") }

func (j *journal) validate() error {
	if len(j.Units) == 0 {
		return errors.New("journal: name at least one unit")
	}
	if j.Directory != "" && !strings.HasPrefix(j.Directory, "/") {
		return errors.New("journal: directory: want a whole path")
	}
	return checkNames("journal: units", j.Units)
}

// seconds writes a time as systemd.time(7) reads it, "@" and seconds. The end is
// inclusive there; what is read too much is left out by the caller.
func seconds(at time.Time) string { return "@" + strconv.FormatInt(at.Unix(), 10) }

func (j *journal) read(ctx context.Context, _ *check.Env, h check.Host, s span) ([]line, error) {
	// Without --all, a long field is null.
	argv := []string{"journalctl", "--output=json", "--all", "--no-pager", "--since=" + seconds(s.start), "--until=" + seconds(s.end.Add(time.Second))}
	for _, unit := range j.Units {
		argv = append(argv, "--unit="+unit)
	}
	if j.Directory != "" {
		argv = append(argv, "--directory="+j.Directory)
	}
	r, err := output(ctx, h, argv, "")
	if err != nil {
		return nil, err
	}
	// Who may not read the system's journal is shown his own, with this remark.
	if bytes.Contains(r.Stderr, []byte("not seeing messages")) {
		return nil, fmt.Errorf("journalctl does not show this user the system's messages: it must be in the group systemd-journal or adm (%s)", short(string(r.Stderr), 150))
	}
	var out []line
	for text := range bytes.Lines(r.Stdout) {
		if text = bytes.TrimSpace(text); len(text) == 0 || bytes.HasPrefix(text, []byte("-- ")) {
			continue
		}
		l, err := journalEntry(text)
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

// journalEntry reads an entry of the journal's JSON, in which a field that is no
// text is a list of bytes. https://systemd.io/JOURNAL_EXPORT_FORMATS/#journal-json-format
func journalEntry(text []byte) (line, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return line{}, fmt.Errorf("journalctl printed what is no entry: %w", err)
	}
	kept := map[string]string{}
	for _, name := range []string{"PRIORITY", "_SYSTEMD_UNIT", "SYSLOG_IDENTIFIER", "_PID", "_HOSTNAME"} {
		var value string
		if json.Unmarshal(fields[name], &value) == nil {
			kept[name] = value
		}
	}
	var at, message string
	if err := json.Unmarshal(fields["__REALTIME_TIMESTAMP"], &at); err != nil {
		return line{}, errors.New("journalctl printed an entry without its time")
	}
	us, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return line{}, fmt.Errorf("journalctl printed an entry of the time %.40q", at)
	}
	if json.Unmarshal(fields["MESSAGE"], &message) != nil {
		var raw []uint16
		if err := json.Unmarshal(fields["MESSAGE"], &raw); err != nil && fields["MESSAGE"] != nil {
			return line{}, errors.New("journalctl printed an entry whose MESSAGE is neither text nor bytes")
		}
		for _, b := range raw {
			message += string([]byte{byte(b)})
		}
	}
	return newLine(time.UnixMicro(us), message, kept), nil
}

// compose is the services of a compose project.
// https://docs.docker.com/reference/cli/docker/compose/logs/
type compose struct {
	Services []string `param:"services" doc:"services; all when left out" default:""`
	Project  string   `param:"project" doc:"name of the project" default:""`
	Files    []string `param:"files" doc:"compose files; those that docker compose finds when left out" default:""`
	Dir      string   `param:"dir" doc:"folder of the project; the checkout when left out" default:""`
}

func (c *compose) String() string {
	if len(c.Services) == 0 {
		return "the compose project " + c.Project
	}
	return "the compose services " + strings.Join(c.Services, ", ")
}

func (c *compose) validate() error {
	for _, f := range c.Files {
		if f == "" || strings.HasPrefix(f, "-") {
			return fmt.Errorf("compose: files: %q is no file", f)
		}
	}
	if c.Project != "" {
		if err := checkNames("compose: project", []string{c.Project}); err != nil {
			return err
		}
	}
	return checkNames("compose: services", c.Services)
}

func (c *compose) read(ctx context.Context, _ *check.Env, h check.Host, s span) ([]line, error) {
	argv := []string{"docker", "compose"}
	if c.Project != "" {
		argv = append(argv, "--project-name="+c.Project)
	}
	for _, f := range c.Files {
		argv = append(argv, "--file="+f)
	}
	argv = append(argv, "logs", "--no-color", "--timestamps", "--since="+s.start.UTC().Format(time.RFC3339Nano), "--until="+s.end.UTC().Format(time.RFC3339Nano))
	r, err := output(ctx, h, append(argv, c.Services...), c.Dir)
	if err != nil {
		return nil, err
	}
	var out []line
	for text := range strings.Lines(string(r.Stdout)) {
		container, rest, ok := strings.Cut(strings.TrimRight(text, "\n"), "|")
		l, err := stamped(strings.TrimPrefix(rest, " "), strings.TrimSpace(container))
		if !ok || err != nil {
			return nil, fmt.Errorf("docker compose logs printed a line without container and time: %s", short(text, 100))
		}
		out = append(out, l)
	}
	return out, nil
}

// stamped reads a line that Docker put the time before.
func stamped(text, container string) (line, error) {
	stamp, rest, _ := strings.Cut(text, " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	return newLine(at, rest, map[string]string{"container": container}), err
}

// containers are Docker's, by name or id.
// https://docs.docker.com/reference/cli/docker/container/logs/
type containers []string

func (c containers) String() string { return "the containers " + strings.Join(c, ", ") }

func (c containers) validate() error { return checkNames("docker", c) }

func (c containers) read(ctx context.Context, _ *check.Env, h check.Host, s span) ([]line, error) {
	var out []line
	for _, container := range c {
		r, err := output(ctx, h, []string{"docker", "logs", "--timestamps", "--since=" + s.start.UTC().Format(time.RFC3339Nano), "--until=" + s.end.UTC().Format(time.RFC3339Nano), container}, "")
		if err != nil {
			return nil, err
		}
		for _, printed := range [][]byte{r.Stdout, r.Stderr} { // as the application printed it
			for text := range strings.Lines(string(printed)) {
				l, err := stamped(strings.TrimRight(text, "\n"), container)
				if err != nil {
					return nil, fmt.Errorf("docker logs %s printed a line without its time: %s", container, short(text, 100))
				}
				out = append(out, l)
			}
		}
	}
	return out, nil
}
