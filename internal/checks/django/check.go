// Package django holds the type that lets a Django project check itself.
package django

import (
	"bytes"
	"context"
	_ "embed" // the page
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

//go:embed django.check.md
var checkDoc string

// Check is the type django.check.
var Check = check.Define[system](check.Desc{
	Name:    "django.check",
	Summary: "Django's own checks of the project, those for deployment too, find nothing that is not accepted",
	Doc:     checkDoc,
})

type system struct {
	Argv   []check.Arg       `param:"run,short" doc:"the project's manage.py" default:""`
	Deploy bool              `param:"deploy" doc:"also make the checks for deployment (--deploy)" default:"true"`
	Level  string            `param:"fail_level" doc:"the lowest level that fails the item" default:"WARNING" enum:"DEBUG,INFO,WARNING,ERROR,CRITICAL"`
	IDs    []string          `param:"ids" doc:"only messages whose identifiers begin so (security., models.E015) fail the item; all when left out" default:""`
	Ignore []accepted        `param:"ignore" doc:"messages that are accepted" default:""`
	Tags   []string          `param:"tags" doc:"make only the checks with these tags (--tag)" default:""`
	DB     []string          `param:"databases" doc:"also make the checks of these databases (--database)" default:""`
	Env    map[string]string `param:"env" doc:"environment variables, such as DJANGO_SETTINGS_MODULE" default:""`
	Dir    string            `param:"dir" doc:"where it runs; the checkout when left out" default:""`
	User   string            `param:"user" doc:"user as whom it runs (sudo)" default:""`
	On     string            `param:"on" doc:"host where it runs; this machine when left out" default:""`
}

// accepted is a message that somebody accepts.
type accepted struct {
	ID    string `param:"id" doc:"its identifier (security.W004)"`
	Why   string `param:"why" doc:"the reason"`
	Until string `param:"until" doc:"the last day (2026-12-31); afterwards it counts again" default:""`
}

// maxOutput bounds what is read of the output, in bytes.
const maxOutput = 4 << 20

// levels lists Django's levels, the lowest first
// (https://docs.djangoproject.com/en/stable/topics/checks/#messages).
func levels() []string { return []string{"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"} }

// Validate holds the rules between the parameters.
func (p *system) Validate() error {
	if _, err := p.argv(); err != nil {
		return err
	}
	for _, a := range p.Ignore {
		if strings.TrimSpace(a.Why) == "" {
			return fmt.Errorf("ignore %s: why: say the reason", a.ID)
		}
		if _, err := time.Parse(time.DateOnly, a.Until); a.Until != "" && err != nil {
			return fmt.Errorf("ignore %s: until: want a day such as 2026-12-31, got %q", a.ID, a.Until)
		}
	}
	return nil
}

func (p *system) argv() ([]string, error) {
	argv := []string{"python3", "manage.py"}
	if len(p.Argv) > 0 {
		var err error
		if argv, err = check.Args(p.Argv, false); err != nil {
			return nil, err
		}
	}
	argv = append(argv, "check", "--no-color")
	if p.Deploy {
		argv = append(argv, "--deploy")
	}
	for option, values := range map[string][]string{"--tag": p.Tags, "--database": p.DB} {
		for _, v := range values {
			if v == "" || strings.HasPrefix(v, "-") {
				return nil, fmt.Errorf("%q cannot follow %s", v, option)
			}
		}
	}
	for _, v := range p.Tags {
		argv = append(argv, "--tag", v)
	}
	for _, v := range p.DB {
		argv = append(argv, "--database", v)
	}
	return argv, nil
}

// Traits says what runs where.
func (p *system) Traits() check.Traits {
	return check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Exec, Does: "lets Django check the project", Target: p.On}
}

// message is what one of Django's checks has found.
type message struct {
	Level   string `json:"level"`
	ID      string `json:"id,omitempty"`
	Object  string `json:"object"`
	Text    string `json:"text"`
	Ignored string `json:"ignored,omitempty"`
}

// Run lets Django check and judges what it found.
func (p *system) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	argv, err := p.argv()
	if err != nil {
		return check.Outcome{}, err
	}
	host, err := env.Host(p.On)
	if err != nil {
		return check.Outcome{}, err
	}
	vars := []string{"PYTHONUNBUFFERED=1"}
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		vars = append(vars, name+"="+p.Env[name])
	}
	r, err := host.Exec(ctx, check.Command{Argv: argv, Dir: p.Dir, Env: vars, User: p.User, Limit: maxOutput})
	switch {
	case err != nil:
		return check.Outcome{}, fmt.Errorf("run %s: %w", argv[0], err)
	case r.Signal != "":
		return check.Outcome{}, fmt.Errorf("%s was ended by signal: %s", argv[0], r.Signal)
	case r.Truncated:
		return check.Outcome{}, fmt.Errorf("%s wrote more than %d MiB", argv[0], maxOutput>>20)
	}
	all, silenced, err := parse(r)
	if err != nil {
		return check.Outcome{}, err
	}
	o := p.judge(all, env.Now())
	o.Facts["silenced"] = strconv.Itoa(silenced)
	if silenced > 0 {
		o.Reason += fmt.Sprintf("; %d more are silenced in the settings", silenced)
	}
	text, err := json.MarshalIndent(append([]message{}, all...), "", " ")
	if err != nil {
		return check.Outcome{}, fmt.Errorf("write the messages: %w", err)
	}
	artefact, err := env.Store("django-check.json", bytes.NewReader(text))
	if err != nil {
		return check.Outcome{}, fmt.Errorf("keep the messages: %w", err)
	}
	o.Artefacts = []check.Artefact{artefact}
	return o, ctx.Err()
}

// The lines of the report that Django writes (BaseCommand.check in
// django/core/management/base.py): a heading for each level, a line for each
// message with its hint below, and a line that says how many there are.
var (
	heading = regexp.MustCompile(`^(DEBUG|INFO|WARNING|ERROR|CRITICAL)S:$`)
	first   = regexp.MustCompile(`^(\S.*?): (?:\(([A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)+)\) )?(.*)$`)
	summary = regexp.MustCompile(`^System check identified (no|\d+) issues? \((\d+) silenced\)\.$`)
)

// parse reads the report. Its last line proves that the checks were made, and how
// many messages there must be.
func parse(r check.Result) (all []message, silenced int, err error) {
	level, said := "", -1
	for _, stream := range [][]byte{r.Stdout, r.Stderr} {
		level = ""
		for line := range strings.Lines(strings.ToValidUTF8(string(stream), "?")) {
			line = strings.TrimRight(line, "\r\n")
			switch {
			case summary.MatchString(line):
				m := summary.FindStringSubmatch(line)
				n, _ := strconv.Atoi(m[1]) // "no" is 0
				if silenced, err = strconv.Atoi(m[2]); err != nil || said >= 0 {
					return nil, 0, errors.New("the report has more than one summary, or one that cannot be read")
				}
				level, said = "", n
			case heading.MatchString(line):
				level = heading.FindStringSubmatch(line)[1]
			case level != "" && first.MatchString(line):
				m := first.FindStringSubmatch(line)
				all = append(all, message{Level: level, Object: m[1], ID: m[2], Text: m[3]})
			}
		}
	}
	if said < 0 {
		return nil, 0, fmt.Errorf("the checks were not made: manage.py ended with code %d and gave no report: %s", r.Code, tail(r))
	}
	serious := slices.ContainsFunc(all, func(m message) bool { return m.Level == "ERROR" || m.Level == "CRITICAL" })
	if r.Code != 0 && !serious {
		return nil, 0, fmt.Errorf("manage.py ended with code %d, for which its report gives no reason: %s", r.Code, tail(r))
	}
	if len(all) != said {
		return nil, 0, fmt.Errorf("the report says that there are %d messages, and %d can be read", said, len(all))
	}
	return all, silenced, nil
}

// tail gives the last line of what was written, which in a traceback is the error.
func tail(r check.Result) string {
	text := bytes.TrimSpace(r.Stderr)
	if len(text) == 0 {
		text = bytes.TrimSpace(r.Stdout)
	}
	if i := bytes.LastIndexByte(text, '\n'); i >= 0 {
		text = text[i+1:]
	}
	if len(text) == 0 {
		return "nothing was written"
	}
	const most = 300
	return strings.ToValidUTF8(string(text[:min(len(text), most)]), "")
}

// judge marks what is accepted and names the rest.
func (p *system) judge(all []message, now time.Time) check.Outcome {
	var misses []string
	counts, ignored := map[string]int{}, 0
	for i := range all {
		m := &all[i]
		counts[m.Level]++
		for _, a := range p.Ignore {
			until, err := time.Parse(time.DateOnly, a.Until)
			switch {
			case a.ID != m.ID:
			case a.Until == "" || err == nil && now.Before(until.AddDate(0, 0, 1)):
				m.Ignored = a.Why
			default:
				misses = append(misses, fmt.Sprintf("%s was accepted until %s and counts again", a.ID, a.Until))
			}
		}
		if m.Ignored != "" {
			ignored++
			continue
		}
		counted := len(p.IDs) == 0 || slices.ContainsFunc(p.IDs, func(id string) bool { return strings.HasPrefix(m.ID, id) })
		if counted && slices.Index(levels(), m.Level) >= slices.Index(levels(), p.Level) {
			misses = append(misses, m.String())
		}
	}
	o := check.Passf("Django finds %d messages, of which none counts; %d accepted", len(all), ignored)
	if len(misses) > 0 {
		slices.Sort(misses)
		misses = slices.Compact(misses)
		const most = 10
		if n := len(misses); n > most {
			misses = append(misses[:most:most], fmt.Sprintf("and %d more", n-most))
		}
		o = check.Failf("%s", strings.Join(misses, "; "))
	}
	o.Facts = map[string]string{"messages": strconv.Itoa(len(all)), "accepted": strconv.Itoa(ignored)}
	for level, n := range counts {
		o.Facts["messages."+strings.ToLower(level)] = strconv.Itoa(n)
	}
	return o
}

// String shows a message in a line.
func (m message) String() string {
	const most = 140
	text := m.Text
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	of := ""
	if m.Object != "?" {
		of = m.Object + ": "
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s", m.Level, m.ID)) + ": " + of + text
}
