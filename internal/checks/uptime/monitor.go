// Package uptime holds the type that asks an uptime monitoring service whether it
// watches an address, and that pauses it during a deployment.
package uptime

import (
	"context"
	_ "embed" // the page
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
	"allclear.dev/allclear/internal/secret"
)

//go:embed monitor.md
var monitorDoc string

// Monitor is the type uptime.monitor.
var Monitor = check.Define[watcher](check.Desc{
	Name:    "uptime.monitor",
	Summary: "the address is watched from outside, and somebody is told; or the monitors are paused and resumed",
	Doc:     monitorDoc,
})

// What is done, and the providers.
const (
	look        = "check"
	pause       = "pause"
	resume      = "resume"
	uptimeRobot = "uptimerobot"
	betterStack = "betterstack"
	pingdom     = "pingdom"
	kuma        = "kuma"
)

type watcher struct {
	Do          string        `param:"do" doc:"check looks; pause and resume switch the monitors" default:"check" enum:"check,pause,resume"`
	Provider    string        `param:"provider" doc:"whose API is asked" enum:"uptimerobot,betterstack,pingdom,kuma"`
	URL         string        `param:"url" doc:"the address that is watched" default:"${env.url}"`
	Name        string        `param:"name" doc:"only the monitor of this name" default:""`
	API         string        `param:"api" doc:"address of the API; the provider's own when left out, that of your server for Uptime Kuma" default:""`
	Token       secret.Ref    `param:"token" doc:"the API key; when left out env:UPTIMEROBOT_API_KEY, env:BETTERSTACK_API_TOKEN, env:PINGDOM_API_TOKEN or env:UPTIME_KUMA_API_KEY" default:""`
	MaxInterval time.Duration `param:"max_interval" doc:"longest time between two looks of the monitor; 0s does not look" default:"5m"`
	Keyword     string        `param:"keyword" doc:"text that the monitor looks for in the answer" default:""`
	Contacts    int           `param:"contacts" doc:"how many contacts, policies or integrations are told at least; 0 does not look" default:"1"`
	Holds       string        `param:"holds" doc:"name of the resource that pause takes and resume gives back" default:"monitors"`
}

// vendor is what the providers differ in.
type vendor struct {
	name, base, env string
	header          func(token string) http.Header
	open            func(c *rest.Client, w *watcher) service
}

// service is a provider at work.
type service interface {
	// find lists the monitors that may be of the address, with how many there are
	// in all.
	find(ctx context.Context) ([]monitor, int, error)
	// set pauses a monitor, or starts it again.
	set(ctx context.Context, id string, paused bool) error
}

// state is how a monitor stands.
type state string

const (
	up     state = "up"
	down   state = "down"
	paused state = "paused"
	// unsure is a state from which nothing follows yet.
	unsure state = "unsure"
)

// monitor is one monitor.
type monitor struct {
	ID, Name, URL string
	State         state
	// Said is the provider's own word for the state.
	Said     string
	Interval time.Duration
	Keyword  string
	Contacts int
	Last     string
}

func vendors() map[string]vendor {
	bearer := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	return map[string]vendor{
		uptimeRobot: {"UptimeRobot", "https://api.uptimerobot.com/v3", "UPTIMEROBOT_API_KEY", bearer, openRobot},
		betterStack: {"Better Stack", "https://uptime.betterstack.com", "BETTERSTACK_API_TOKEN", bearer, openBetter},
		pingdom:     {"Pingdom", "https://api.pingdom.com", "PINGDOM_API_TOKEN", bearer, openPingdom},
		kuma: {"Uptime Kuma", "", "UPTIME_KUMA_API_KEY", func(token string) http.Header {
			r := http.Request{Header: http.Header{}}
			r.SetBasicAuth("", token) // the user's name is not looked at
			r.Header.Set("Accept", "text/plain")
			return r.Header
		}, openKuma},
	}
}

// Validate holds the rules between the parameters, and settles which token is
// meant so that it is known before the run.
func (w *watcher) Validate() error {
	v := vendors()[w.Provider]
	if w.Token.IsZero() {
		w.Token = secret.Ref{Scheme: "env", Name: v.env}
	}
	if w.API == "" {
		w.API = v.base
	}
	if err := rest.CheckBase(w.API); err != nil {
		return fmt.Errorf("api: %w", err)
	}
	if _, err := address(w.URL); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	switch {
	case w.Contacts < 0:
		return errors.New("contacts: must not be negative")
	case strings.TrimSpace(w.Holds) == "" || strings.ContainsAny(w.Holds, "\r\n"):
		return errors.New("holds: want the name of a resource")
	case w.Provider == kuma && w.Do != look:
		return errors.New("do: Uptime Kuma has no API that pauses; make a maintenance there")
	case w.Provider == kuma && (w.Keyword != "" || w.Contacts != 0 || w.MaxInterval != 0):
		return errors.New("Uptime Kuma tells no intervals, keywords and contacts: write max_interval: 0s and contacts: 0, so that the list says that nobody looks at them")
	}
	return nil
}

// Traits says what is switched.
func (w *watcher) Traits() check.Traits {
	t := check.Traits{
		Kind: check.Check, Class: check.Pure, Effect: check.Reads, Pool: check.Network,
		Does: "looks whether " + vendors()[w.Provider].name + " watches " + w.URL, Target: w.URL,
	}
	if w.Do == look {
		return t
	}
	t.Kind, t.Class, t.Effect = check.Action, check.Idempotent, check.Changes
	t.Does = w.Do + "s the monitors of " + w.URL + " at " + vendors()[w.Provider].name
	if w.Do == pause {
		t.Holds, t.Undo = w.Holds, "resumes the monitors that were paused here"
	} else {
		t.Releases = w.Holds
	}
	return t
}

// Run looks, pauses or resumes.
func (w *watcher) Run(ctx context.Context, env *check.Env) (check.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return check.Outcome{}, err
	}
	s, err := w.service(ctx, env)
	if err != nil {
		return check.Outcome{}, err
	}
	found, miss, err := w.matching(ctx, s)
	switch {
	case err != nil:
		return check.Outcome{}, err
	case miss != "":
		return check.Failf("%s", miss), nil
	case w.Do == look:
		return w.judge(found)
	case w.Do == pause:
		return w.pause(ctx, env, s, found)
	}
	wanted, err := w.wanted(env)
	if err != nil {
		return check.Outcome{}, err
	}
	return w.resume(ctx, s, found, wanted)
}

func (w *watcher) service(ctx context.Context, env *check.Env) (service, error) {
	v := vendors()[w.Provider]
	value, err := env.Secret(ctx, w.Token)
	if err != nil {
		return nil, err
	}
	token := strings.TrimSpace(value.Reveal())
	if token == "" || strings.ContainsAny(token, "\r\n\x00") {
		return nil, fmt.Errorf("the token %s is not one line of text", w.Token)
	}
	c, err := rest.New(env, v.name, w.API, v.header(token))
	if err != nil {
		return nil, err
	}
	return v.open(c, w), nil
}

// matching gives the monitors of the address. That there is none is certain only
// when others are listed: an empty list may be that of another account.
func (w *watcher) matching(ctx context.Context, s service) (found []monitor, miss string, err error) {
	all, total, err := s.find(ctx)
	if err != nil {
		return nil, "", err
	}
	name := vendors()[w.Provider].name
	if total == 0 {
		return nil, "", fmt.Errorf("%s lists no monitors at all: is it the token of the right account?", name)
	}
	want, err := address(w.URL)
	if err != nil {
		return nil, "", err
	}
	for _, m := range all {
		if got, err := address(m.URL); err == nil && got == want && (w.Name == "" || m.Name == w.Name) {
			found = append(found, m)
		}
	}
	if len(found) == 0 {
		miss = fmt.Sprintf("none of the %d monitors at %s watches %s", total, name, w.URL)
		if w.Name != "" {
			miss += " under the name " + w.Name
		}
	}
	return found, miss, nil
}

// address brings an address into the form in which two that lead to the same are
// the same: without the usual port, a slash at the end and a fragment.
func address(text string) (string, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", errors.New("want a whole address, such as https://shop.example.com/health")
	}
	host := strings.ToLower(u.Hostname())
	if port := u.Port(); port != "" && port != map[string]string{"http": "80", "https": "443"}[u.Scheme] {
		host += ":" + port
	}
	out := u.Scheme + "://" + host + strings.TrimRight(u.EscapedPath(), "/")
	if u.RawQuery != "" {
		out += "?" + u.RawQuery
	}
	return out, nil
}

// Examine lists the monitors of the address; nothing is switched.
func (w *watcher) Examine(ctx context.Context, env *check.Env) (string, error) {
	s, err := w.service(ctx, env)
	if err != nil {
		return "", err
	}
	found, miss, err := w.matching(ctx, s)
	if err == nil && miss != "" {
		err = errors.New(miss)
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s: the token sees them; whether it may switch them shows when it does", names(found)), nil
}
