package env

import (
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/dotenv"
)

//go:embed value.md
var valueDoc string

// Value is the type env.value.
var Value = check.Define[value](check.Desc{
	Name:    "env.value",
	Summary: "a setting of the deployed system has the value that it must have, and the system acts on it",
	Doc:     valueDoc,
})

type value struct {
	Var string `param:"var,short" doc:"variable to look at"`
	source
	As        string           `param:"as" doc:"how the text is read" default:"string" enum:"string,list,int,number,bool"`
	Separator string           `param:"separator" doc:"what stands between the entries of a list" default:","`
	Default   *string          `param:"default" doc:"what the application takes when the variable is not set" default:""`
	Expect    check.Expression `param:"expect" doc:"condition over v (as read) and value (the text)" default:""`
	Probes    []probe          `param:"probes" doc:"requests that show whether the system acts on the value" default:""`
}

// probe is a request whose answer depends on the value.
type probe struct {
	URL     string            `param:"url,short" doc:"address to ask"`
	Method  string            `param:"method" doc:"HTTP method" default:"GET" enum:"GET,HEAD,OPTIONS"`
	Host    string            `param:"host" doc:"Host header to send instead of the address's" default:""`
	Headers map[string]string `param:"headers" doc:"headers to send" default:""`
	Status  []int             `param:"status" doc:"statuses that are right" default:"200"`
	Lacks   string            `param:"lacks" doc:"text that must not stand in the answer" default:""`
}

// Validate holds the rules between the parameters.
func (p *value) Validate() error {
	if !dotenv.ValidName(p.Var) {
		return fmt.Errorf("var: %q is not a variable's name", p.Var)
	}
	if p.Separator == "" {
		return errors.New("separator: want at least one character")
	}
	for _, probe := range p.Probes {
		if probe.Method == http.MethodHead && probe.Lacks != "" {
			return errors.New("probes: the answer to HEAD has no text to look into")
		}
		u, err := url.Parse(probe.URL)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return fmt.Errorf("probes: want http:// or https:// and a host, got %q", probe.URL)
		}
	}
	return errors.Join(p.source.validate(), p.Expect.Only("v", "value"))
}

// Traits says what is read.
func (p *value) Traits() check.Traits {
	pool := check.Exec
	if len(p.Probes) > 0 {
		pool = check.Network
	}
	return check.Traits{Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: pool, Does: "reads " + p.Var, Target: p.Var}
}

// Run reads the value, decides, and asks the probes.
func (p *value) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	text, found, err := p.read(ctx, env, p.Var)
	if err != nil {
		return check.Outcome{}, err
	}
	facts := map[string]string{"source": p.where()}
	if !found {
		if p.Default == nil {
			return check.Outcome{Verdict: check.Fail, Reason: fmt.Sprintf("%s is not set in %s", p.Var, p.where()), Facts: facts}, ctx.Err()
		}
		text, facts["set"] = *p.Default, "no: the default counts"
	}
	shown := "[not shown]"
	if !secretLike(p.Var, text) {
		shown = strconv.Quote(shorten(text))
		facts["value"] = shorten(text)
	}
	var misses []string
	if !p.Expect.IsZero() {
		v, err := p.typed(text)
		if err != nil {
			return check.Outcome{}, err
		}
		held, err := p.Expect.Eval(map[string]any{"value": text, "v": v})
		if err != nil {
			return check.Outcome{}, err
		}
		if !held {
			misses = append(misses, fmt.Sprintf("%s is %s; does not hold: %s", p.Var, shown, p.Expect))
		}
	} else if strings.TrimSpace(text) == "" {
		misses = append(misses, p.Var+" is empty")
	}
	for i, probe := range p.Probes {
		miss, err := probe.ask(ctx, env, facts, "probe."+strconv.Itoa(i+1))
		if err != nil {
			return check.Outcome{}, err
		}
		if miss != "" {
			misses = append(misses, miss)
		}
	}
	o := check.Passf("%s is as expected in %s", p.Var, p.where())
	if len(misses) > 0 {
		o = check.Failf("%s", strings.Join(misses, "; "))
	}
	o.Facts = facts
	return o, ctx.Err()
}

// typed reads the text as the parameter says. A text that is not of that type is
// an error, whose message does not hold it.
func (p *value) typed(text string) (any, error) {
	wrong := fmt.Errorf("%s in %s is not of type %s", p.Var, p.where(), p.As)
	trimmed := strings.TrimSpace(text)
	switch p.As {
	case "list":
		list := []any{}
		for part := range strings.SplitSeq(text, p.Separator) {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		return list, nil
	case "int":
		n, err := strconv.Atoi(trimmed)
		if err != nil {
			return nil, wrong
		}
		return n, nil
	case "number":
		f, err := strconv.ParseFloat(trimmed, 64)
		if err != nil {
			return nil, wrong
		}
		return f, nil // one that is not finite is refused by the expression
	case "bool":
		switch strings.ToLower(trimmed) {
		case "true", "1", "yes", "on", "y", "t":
			return true, nil
		case "false", "0", "no", "off", "n", "f":
			return false, nil
		}
		return nil, wrong
	}
	return text, nil
}

// ask sends the probe; a redirect is an answer like any other.
func (p *probe) ask(ctx context.Context, env *check.Env, facts map[string]string, name string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, p.Method, p.URL, http.NoBody)
	if err != nil {
		return "", fmt.Errorf("make request: %w", err)
	}
	for key, value := range p.Headers {
		request.Header.Set(key, value)
	}
	what := p.Method + " " + p.URL
	if p.Host != "" {
		request.Host = p.Host
		what += " for host " + p.Host
	}
	response, err := env.HTTP.RoundTrip(request)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxSource+1))
	if err != nil {
		return "", fmt.Errorf("%s: read answer: %w", what, err)
	}
	facts[name] = fmt.Sprintf("%s: %d", what, response.StatusCode)
	switch {
	case slices.Contains(p.Status, response.StatusCode):
	case response.StatusCode == http.StatusTooManyRequests:
		return "", fmt.Errorf("%s answered 429 (too many requests)", what)
	default:
		return fmt.Sprintf("%s answered %d, want %s", what, response.StatusCode, strings.Trim(fmt.Sprint(p.Status), "[]")), nil
	}
	if coding := response.Header.Get("Content-Encoding"); p.Lacks != "" && coding != "" && coding != "identity" {
		return "", fmt.Errorf("%s: the answer is encoded as %s and cannot be looked into: send no Accept-Encoding", what, shorten(coding))
	}
	if p.Lacks != "" && strings.Contains(string(body), p.Lacks) {
		return fmt.Sprintf("%s holds %q", what, p.Lacks), nil
	}
	if p.Lacks != "" && len(body) > maxSource {
		return "", fmt.Errorf("%s: the answer is longer than %d bytes", what, maxSource)
	}
	return "", nil
}

// shorten bounds what a message quotes.
func shorten(s string) string {
	const most = 300
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
