package prometheus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/rest"
)

const (
	// testEvery is the time between two looks for the test alert, testLasts how long
	// it lasts at Alertmanager.
	testEvery = time.Second
	testLasts = 15 * time.Minute
	// testLabel tells a test alert from a real one, and one attempt from another.
	testLabel = "allclear_test"
)

// alertmanager says which Alertmanager is asked, and as whom.
// https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
type alertmanager struct {
	URL string `param:"url,short" doc:"address of Alertmanager, without /api/v2" default:"${env.alertmanager_url}"`
	login
	Tenant string `param:"tenant" doc:"tenant (X-Scope-OrgID), where there are any" default:""`
}

func (a *alertmanager) validate() error {
	if err := rest.CheckBase(a.URL); err != nil {
		return fmt.Errorf("alertmanager: url: %w", err)
	}
	if err := a.login.validate(); err != nil {
		return fmt.Errorf("alertmanager: %w", err)
	}
	return nil
}

func (a *alertmanager) open(ctx context.Context, env *check.Env) (*rest.Client, error) {
	h, err := a.login.header(ctx, env)
	if err != nil {
		return nil, err
	}
	if a.Tenant != "" {
		h.Set("X-Scope-OrgID", a.Tenant)
	}
	return rest.New(env, "Alertmanager", a.URL, h)
}

// routing asks for the configuration in force.
func (a *alertmanager) routing(ctx context.Context, c *rest.Client) (*routing, error) {
	status, err := rest.Get[struct {
		Config *struct {
			Original string `json:"original"`
		} `json:"config"`
	}](ctx, c, "/api/v2/status", nil)
	if err != nil {
		return nil, err
	}
	if status.Config == nil || status.Config.Original == "" {
		return nil, errors.New("Alertmanager answered without its configuration")
	}
	return readRouting(status.Config.Original)
}

// follow says which rules' alerts notify nobody, and where the others' go.
func (a *alertmanager) follow(ctx context.Context, env *check.Env, found []rule) (lost []string, facts map[string]string, err error) {
	c, err := a.open(ctx, env)
	if err != nil {
		return nil, nil, err
	}
	r, err := a.routing(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	facts = map[string]string{}
	for i, one := range found {
		to, err := r.receivers(one.alert())
		if err != nil {
			return nil, nil, err
		}
		if i < 100 {
			facts["receivers."+short(one.Name, 80)] = short(strings.Join(to, ", "), 300)
		}
		if !slices.ContainsFunc(to, r.notifies) {
			lost = append(lost, fmt.Sprintf("alerts of %s go to the receiver %s, which notifies nobody", one.Name, strings.Join(to, ", ")))
		}
	}
	return lost, facts, nil
}

// alert is the labels of a rule's alerts, as far as they are known: what a
// template makes of a series is not.
func (r rule) alert() map[string]string {
	labels := map[string]string{"alertname": r.Name}
	for name, value := range r.Labels {
		if !strings.Contains(value, "{{") {
			labels[name] = value
		}
	}
	for name, value := range r.with {
		if labels[name] == "" {
			labels[name] = value
		}
	}
	return labels
}

// alert is one as it is sent.
type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

// seen is one as Alertmanager tells of it.
type seen struct {
	Labels    map[string]string `json:"labels"`
	Receivers []struct {
		Name string `json:"name"`
	} `json:"receivers"`
	Status *struct {
		State string `json:"state"`
	} `json:"status"`
}

// mark is what the label of this attempt's test alert holds.
func mark(env *check.Env) string {
	sum := sha256.Sum256([]byte(env.Key))
	return hex.EncodeToString(sum[:8])
}

// test sends an alert and sees it.
func (a *alertmanager) test(ctx context.Context, env *check.Env, o check.Outcome, like rule) (check.Outcome, error) {
	c, err := a.open(ctx, env)
	if err != nil {
		return o, err
	}
	r, err := a.routing(ctx, c)
	if err != nil {
		return o, err
	}
	labels, now := like.alert(), env.Now().UTC()
	labels[testLabel] = mark(env)
	body, err := json.Marshal([]alert{{Labels: labels, StartsAt: now, EndsAt: now.Add(testLasts), Annotations: map[string]string{
		"summary": "Test of the way of alerts before a deployment: nothing is wrong, nothing is to be done.", "description": "Sent by allclear for the run " + env.Run.ID + ".",
	}}})
	if err != nil {
		return o, fmt.Errorf("write the alert: %w", err)
	}
	if _, err := c.Do(ctx, http.MethodPost, c.Base+"/api/v2/alerts", nil, body); err != nil {
		if _, refused := errors.AsType[*rest.Refused](err); refused && !rest.IsStatus(err, http.StatusUnauthorized) && !rest.IsStatus(err, http.StatusForbidden) {
			o.Verdict, o.Reason = check.Fail, "the test alert was refused: "+short(err.Error(), 300)
			return o, nil
		}
		return o, err
	}
	for {
		found, err := find(ctx, c, mark(env))
		if err != nil {
			return o, err
		}
		// Until it is grouped, an alert is unprocessed.
		if found != nil && found.Status.State != "unprocessed" {
			return told(o, found, r), ctx.Err()
		}
		if err := env.Sleep(ctx, testEvery); err != nil {
			return o, fmt.Errorf("wait for the test alert to appear at Alertmanager: %w", err)
		}
	}
}

// told adds to the outcome what became of the test alert.
func told(o check.Outcome, found *seen, r *routing) check.Outcome {
	var names []string
	for _, one := range found.Receivers {
		names = append(names, one.Name)
	}
	o = o.With("test.receivers", short(strings.Join(names, ", "), 300)).With("test.state", found.Status.State)
	switch {
	case found.Status.State != "active":
		o.Verdict, o.Reason = check.Fail, "the test alert is at Alertmanager, but "+found.Status.State+": is there a silence or an inhibition?"
	case !slices.ContainsFunc(names, r.notifies):
		o.Verdict, o.Reason = check.Fail, fmt.Sprintf("the test alert went to the receiver %s, which notifies nobody", strings.Join(names, ", "))
	default:
		o.Reason += "; the test alert is on its way to " + short(strings.Join(names, ", "), 200)
	}
	return o
}

// find looks for this attempt's test alert.
func find(ctx context.Context, c *rest.Client, id string) (*seen, error) {
	list, err := rest.Get[[]seen](ctx, c, "/api/v2/alerts", url.Values{"filter": {fmt.Sprintf("%s=%q", testLabel, id)}})
	if err != nil {
		return nil, err
	}
	for _, one := range list {
		if one.Labels[testLabel] != id || one.Status == nil || one.Status.State == "" {
			return nil, errors.New("Alertmanager answered with another alert, or one without its state")
		}
		return &one, nil
	}
	return nil, nil
}

func (a *alertmanager) probe(ctx context.Context, env *check.Env) (check.Progress, check.Outcome, error) {
	c, err := a.open(ctx, env)
	if err != nil {
		return "", check.Outcome{}, err
	}
	found, err := find(ctx, c, mark(env))
	switch {
	case err != nil:
		return "", check.Outcome{}, err
	case found == nil:
		return check.NotDone, check.Outcome{}, nil
	}
	return check.Done, check.Passf("the test alert is at Alertmanager"), nil
}
