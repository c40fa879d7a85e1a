// Package logs holds the type that reads what applications log: in Loki,
// Elasticsearch or OpenSearch, in systemd's journal, of Docker's containers, and
// in files.
package logs

import (
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
)

//go:embed logs.query.md
var logsDoc string

// Query is the type logs.query.
var Query = check.Define[query](check.Desc{
	Name: "logs.query", Summary: "the logs hold no more of what is looked for than is accepted", Doc: logsDoc,
})

type query struct {
	Loki          *loki        `param:"loki" doc:"lines in Loki" default:""`
	Elasticsearch *elastic     `param:"elasticsearch" doc:"documents in Elasticsearch or OpenSearch" default:""`
	Journal       *journal     `param:"journal" doc:"entries of systemd's journal" default:""`
	Compose       *compose     `param:"compose" doc:"output of a compose project's services" default:""`
	Docker        []string     `param:"docker" doc:"output of these containers" default:""`
	Files         *files       `param:"files" doc:"lines of files" default:""`
	On            string       `param:"on" doc:"host of journal, compose, docker and files; this machine when left out" default:""`
	Since         check.Moment `param:"since" doc:"look at what was logged since: a duration (15m), a time, or a fact (deploy.started_at)" default:"15m"`
	Pattern       []pattern    `param:"pattern" doc:"regular expressions; a line counts that matches one of them" default:""`
	Level         level        `param:"level" doc:"a line counts that is at least so serious: debug, info, notice, warning, error, critical" default:""`
	Ignore        []pattern    `param:"ignore" doc:"regular expressions of lines that never count" default:""`
	Max           *int         `param:"max" doc:"how many lines that count are accepted; 0, unless something else is asked for" default:""`
	MaxShare      *check.Share `param:"max_share" doc:"which part of all lines is accepted to count" default:""`
	GroupBy       string       `param:"group_by" doc:"field by which the lines that count are told apart in the evidence: a label, a field of JSON, or agent, path, status, remote of an access log" default:""`
	NewSignatures *int         `param:"new_signatures" doc:"how many kinds of lines are accepted that the time before did not have" default:""`
	Ratio         float64      `param:"ratio" doc:"how many times as often as in the time before is accepted" default:"0"`
	Floor         int          `param:"floor" doc:"so many lines are accepted whatever ratio says" default:"0"`
	Baseline      *baseline    `param:"baseline" doc:"the time before, for new_signatures and ratio; the 24 hours before since when left out" default:""`
	MinLines      int          `param:"min_lines" doc:"fewest lines of any kind that prove that there is logging" default:"1"`
	Retention     check.Moment `param:"retention" doc:"so long ago there must be lines too (336h)" default:""`
	Canary        *canary      `param:"canary" doc:"a request that must be found in the log" default:""`
}

// baseline is the time before.
type baseline struct {
	Before check.Moment  `param:"before" doc:"where it ends; since, when left out" default:""`
	Window time.Duration `param:"window" doc:"how long it is" default:"24h"`
}

// source is where lines come from.
type source interface {
	// read gives all lines of a time, or an error.
	read(ctx context.Context, env *check.Env, s span) ([]line, error)
	// any counts the lines of a time whatever they say; found is what read gave.
	any(ctx context.Context, env *check.Env, s span, found []line) (int, error)
	validate() error
	// String names the source.
	String() string
}

// source gives the one that was chosen.
func (p *query) source() (source, error) {
	var all []source
	if p.Loki != nil {
		all = append(all, p.Loki)
	}
	if p.Elasticsearch != nil {
		all = append(all, p.Elasticsearch)
	}
	if p.Journal != nil {
		all = append(all, &onHost{on: p.On, from: p.Journal})
	}
	if p.Compose != nil {
		all = append(all, &onHost{on: p.On, from: p.Compose})
	}
	if len(p.Docker) > 0 {
		all = append(all, &onHost{on: p.On, from: containers(p.Docker)})
	}
	if p.Files != nil {
		all = append(all, &onHost{on: p.On, from: p.Files})
	}
	if len(all) != 1 {
		return nil, errors.New("name one source: loki, elasticsearch, journal, compose, docker or files")
	}
	return all[0], nil
}

// Validate holds the rules between the parameters.
func (p *query) Validate() error {
	from, err := p.source()
	if err != nil {
		return err
	}
	if err := from.validate(); err != nil {
		return err
	}
	compares := p.NewSignatures != nil || p.Ratio != 0
	switch {
	case p.On != "" && (p.Loki != nil || p.Elasticsearch != nil):
		return errors.New("on: only journal, compose, docker and files are on a host")
	case p.Max != nil && *p.Max < 0 || p.NewSignatures != nil && *p.NewSignatures < 0 || p.Floor < 0:
		return errors.New("max, new_signatures and floor: want a number from 0")
	case p.MinLines < 1:
		return errors.New("min_lines: want at least 1; nothing that was logged proves nothing")
	case p.Ratio != 0 && p.Ratio <= 1:
		return errors.New("ratio: want a number above 1, such as 2")
	case p.Floor > 0 && p.Ratio == 0:
		return errors.New("floor goes with ratio")
	case p.Baseline != nil && !compares:
		return errors.New("baseline goes with new_signatures or ratio")
	case p.Baseline != nil && p.Baseline.Window < time.Minute:
		return errors.New("baseline: want a window of at least 1m")
	case p.MaxShare != nil && len(p.Pattern) == 0 && p.Level == unknown:
		return errors.New("max_share goes with pattern or level: of all lines, all count")
	}
	if p.Canary != nil {
		return p.Canary.validate(p)
	}
	return nil
}

// Traits says what is read, and sent.
func (p *query) Traits() check.Traits {
	t := check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Network}
	if from, err := p.source(); err == nil {
		t.Target, t.Does = from.String(), "reads what was logged in "+from.String()
		if _, host := from.(*onHost); host {
			t.Pool = check.Exec
		}
	}
	if p.Canary != nil {
		t.Effect, t.Does = check.Traffic, "sends a request to "+p.Canary.URL+" and looks for it in "+t.Target
	}
	return t
}

// Run reads and judges.
func (p *query) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	from, err := p.source()
	if err != nil {
		return check.Outcome{}, err
	}
	if p.Canary != nil {
		return p.Canary.run(ctx, env, p, from)
	}
	since, err := p.Since.In(env)
	if err != nil {
		return check.Outcome{}, err
	}
	s := sight{window: span{since, env.Now()}}
	if err := p.look(ctx, env, from, &s); err != nil {
		return check.Outcome{}, err
	}
	if p.NewSignatures != nil || p.Ratio > 0 {
		if s.before, err = p.lookBefore(ctx, env, from, since); err != nil {
			return check.Outcome{}, err
		}
	}
	o, err := p.judge(env, s)
	if err != nil {
		return check.Outcome{}, err
	}
	if o, err = p.retained(ctx, env, from, o); err != nil {
		return check.Outcome{}, err
	}
	return o.With("source", short(from.String(), 300)).With("since", since.UTC().Format(time.RFC3339)), ctx.Err()
}

// sight is what was seen of a time.
type sight struct {
	window span
	// any is how many lines there were, read how many were read, count those that
	// count.
	any, read int
	count     []line
	// before is the same of the time before; nil when that is not looked at.
	before *sight
}

// look reads a time. Too few lines of any kind are an error: that nothing bad was
// logged means something only where something was.
func (p *query) look(ctx context.Context, env *check.Env, from source, s *sight) error {
	found, err := from.read(ctx, env, s.window)
	if err != nil {
		return err
	}
	if s.any, err = from.any(ctx, env, s.window, found); err != nil {
		return err
	}
	if s.any < p.MinLines {
		return fmt.Errorf("%d lines of any kind from %s to %s in %s, at least %d wanted: is it logging, and to there?", s.any,
			s.window.start.UTC().Format(time.RFC3339), s.window.end.UTC().Format(time.RFC3339), short(from.String(), 200), p.MinLines)
	}
	s.read = len(found)
	said := 0
	for _, l := range found {
		if l.level != unknown {
			said++
		}
		if p.counts(l) {
			s.count = append(s.count, l)
		}
	}
	if p.Level != unknown && len(found) > 0 && said == 0 {
		return fmt.Errorf("none of %d lines says how serious it is, so that level finds nothing: use pattern", len(found))
	}
	return nil
}

func (p *query) lookBefore(ctx context.Context, env *check.Env, from source, since time.Time) (*sight, error) {
	end, window := since, 24*time.Hour
	if p.Baseline != nil {
		window = p.Baseline.Window
		if !p.Baseline.Before.IsZero() {
			var err error
			if end, err = p.Baseline.Before.In(env); err != nil {
				return nil, err
			}
		}
	}
	if end.After(since) {
		return nil, fmt.Errorf("baseline: the time before %s overlaps with what is looked at, since %s", end.UTC().Format(time.RFC3339), since.UTC().Format(time.RFC3339))
	}
	s := sight{window: span{end.Add(-window), end}}
	if err := p.look(ctx, env, from, &s); err != nil {
		return nil, fmt.Errorf("the time before: %w", err)
	}
	return &s, nil
}

// counts tells whether a line is one of those that are looked for.
func (p *query) counts(l line) bool {
	for _, i := range p.Ignore {
		if i.MatchString(l.text) {
			return false
		}
	}
	if p.Level != unknown && l.level < p.Level {
		return false
	}
	for _, m := range p.Pattern {
		if m.MatchString(l.text) {
			return true
		}
	}
	return len(p.Pattern) == 0
}

// retained tells whether lines are kept for as long as is asked: it looks at a
// day that ends so long ago.
func (p *query) retained(ctx context.Context, env *check.Env, from source, o check.Outcome) (check.Outcome, error) {
	if p.Retention.IsZero() {
		return o, nil
	}
	at, err := p.Retention.In(env)
	if err != nil {
		return o, err
	}
	day := span{at.Add(-24 * time.Hour), at}
	found, err := from.read(ctx, env, day)
	if err != nil {
		return o, fmt.Errorf("retention: %w", err)
	}
	n, err := from.any(ctx, env, day, found)
	if err != nil {
		return o, fmt.Errorf("retention: %w", err)
	}
	o = o.With("retention.lines", fmt.Sprint(n))
	if n > 0 {
		return o, nil
	}
	lost := fmt.Sprintf("nothing is there of the day before %s", at.UTC().Format(time.RFC3339))
	if o.Verdict == check.Fail {
		lost = o.Reason + "; " + lost
	}
	o.Verdict, o.Reason = check.Fail, lost
	return o, nil
}

// what says in words which lines count.
func (p *query) what() string {
	var out []string
	if p.Level != unknown {
		out = append(out, "of level "+p.Level.String()+" or above")
	}
	for i, m := range p.Pattern {
		if i == 3 {
			out = append(out, "…")
			break
		}
		out = append(out, fmt.Sprintf("like %q", short(m.String(), 60)))
	}
	if len(out) == 0 {
		return "lines"
	}
	return "lines " + strings.Join(out, " ")
}
