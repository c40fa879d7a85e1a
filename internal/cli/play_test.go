package cli

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"allclear.dev/allclear/internal/run"
)

// exampleConfig is an environment in which every item of the example's checklist
// of 183 items is decided.
const exampleConfig = `project: tulia
checklist: DEPLOYMENT_CHECKLIST.md
people:
  ana: {roles: [Tech Lead]}
  ben: {roles: [DevOps Lead]}
  chloe: {roles: [Product Owner]}
  dan: {roles: [Deployment Engineer]}
  eli: {roles: [QA Lead]}
policy:
  starter_may_sign: [Deployment Engineer]
environments:
  production:
    url: https://api.tulia.example
    database: env:DATABASE_URL
    redis: redis://127.0.0.1:6379/0
    windows: {m15: 15m, h1: 1h, h24: 24h, rollback: 10m, load: 1m, every: 30s, rate: 2m, span: 15m, earlier: 168h, step: 30s}
    vars:
      downtime: "yes"
      security: "no"
      tools: /srv/tulia/tools
      site: /srv/tulia/site
      mirror: /srv/tulia/mirror
      sources: /srv/tulia/sources
      releases: /srv/tulia/releases
      static: /srv/tulia/static
      settings: /srv/tulia/settings
      secrets: /srv/tulia/secrets
      run: /srv/tulia/run
      logs: /srv/tulia/logs
      backups: /srv/tulia/backups
      archive: /srv/tulia/archive
      socket: /srv/tulia/socket
      maintenance_map: /srv/tulia/maintenance_map
      tenant: tenant
      other_tenant: other_tenant
      customer: customer
      service: service
      cdn: https://static.tulia.example
      rca_owner: rca_owner
      repository: tulia/tulia
      sentry_org: sentry_org
      sentry_project: sentry_project
      affected: /srv/tulia/affected
      cve: cve
      statuspage_id: statuspage_id
      pagerduty_policy: PTULIA
      production_settings: /srv/tulia/production_settings
      forge_api: https://api.github.com
      forge_token: env:GITHUB_TOKEN
      sentry_url: https://sentry.io
      sentry_token: env:SENTRY_AUTH_TOKEN
      sentry_dsn: env:SENTRY_DSN
      slack_api: https://slack.com/api
      slack_token: env:SLACK_BOT_TOKEN
      channel: "slack:#deployments"
      ca: ca.pem
      tls_host: api.tulia.example
      outside: api.tulia.example
      open_port: "443"
      closed_port: "5432"
      smtp_host: smtp.tulia.example
      smtp_port: "587"
      smtp_password: env:SMTP_PASSWORD
      resolver: system
      name_servers: authoritative
      address: 192.0.2.10
      secrets_changed: "2026-11-02"
      prometheus_url: https://prometheus.tulia.example
      alertmanager_url: https://alertmanager.tulia.example
      grafana_url: https://grafana.tulia.example
      grafana_token: env:GRAFANA_TOKEN
      pagerduty_api: https://api.pagerduty.com
      pagerduty_token: env:PAGERDUTY_TOKEN
      uptime_api: https://api.uptimerobot.com/v3
      uptime_token: env:UPTIMEROBOT_API_KEY
      twilio_api: https://api.twilio.com
      twilio_account: AC00000000000000000000000000000000
      twilio_token: env:TWILIO_AUTH_TOKEN
      staging_url: https://staging.tulia.example
      advisory_url: https://www.tulia.example/security
`

// examplePlan binds the example's checklist.
func examplePlan(t *testing.T) *run.Plan {
	t.Helper()
	dir := t.TempDir()
	list, err := os.ReadFile("../../examples/tulia/DEPLOYMENT_CHECKLIST.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"DEPLOYMENT_CHECKLIST.md": string(list), "allclear.yaml": exampleConfig} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := &options{dir: dir}
	s, err := o.site("production")
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := s.bind(t.Context(), planFlags{release: "1.42.0", revision: "4f2c9e1", previous: "1.41.3",
		set: []string{"changed.migrations=true", "changed.api=false", "changed.infrastructure=false", "changed.advisories=false"}})
	if err != nil {
		t.Fatal(err)
	}
	items := 0
	for i := range p.Items {
		if p.Items[i].Kind != run.Group {
			items++
		}
	}
	if items != 183 {
		t.Fatalf("the example has %d items, want 183", items)
	}
	return p
}

// played is a run whose world answers at once, as a test says.
type played struct {
	t       *testing.T
	s       run.State
	now     time.Time
	events  []run.Event
	effects []run.Effect
	// verdict answers for an item: pass, fail, ..., or "" to leave it under way.
	verdict map[string]string
	reason  map[string]string
	// silent are items about which no person says anything.
	silent func(it *run.Item) bool
	// stop ends the play, after each event.
	stop func(s *run.State) bool
}

func play(t *testing.T, p *run.Plan) *played {
	return &played{t: t, now: time.Date(2026, 11, 22, 15, 27, 0, 0, time.UTC), verdict: map[string]string{}, reason: map[string]string{},
		silent: func(*run.Item) bool { return false }, stop: func(*run.State) bool { return false }}
}

func (g *played) step(e run.Event) {
	g.now = g.now.Add(time.Second)
	e.At = g.now
	next, effects := run.Step(g.s, e)
	g.s, g.effects, g.events = next, append(g.effects, effects...), append(g.events, e)
}

func (g *played) start(p *run.Plan) *played {
	g.step(run.Event{Type: run.RunStarted, Run: "production-20261122-152700-3f1a", Plan: p, Actor: "dan"})
	return g.on()
}

// on plays until nothing is left to do.
func (g *played) on() *played {
	for n := 0; n < 20000 && !g.s.Closed && !g.stop(&g.s); n++ {
		next := -1
		for i, e := range g.effects {
			if e.Type != run.SetTimer {
				next = i
				break
			}
		}
		if next < 0 && g.person() {
			continue
		}
		if next < 0 { // nothing but time goes on
			for i, e := range g.effects {
				if next < 0 || e.At.Before(g.effects[next].At) {
					next = i
				}
			}
		}
		if next < 0 {
			break
		}
		e := g.effects[next]
		g.effects = slices.Delete(g.effects, next, next+1)
		g.answer(e)
	}
	return g
}

func (g *played) answer(e run.Effect) {
	verdict, given := g.verdict[e.Item]
	if given && verdict == "" && e.Type != run.Intend && e.Type != run.Sample {
		return
	}
	or := func(usual string) string {
		if given {
			return verdict
		}
		return usual
	}
	answer := run.Event{Item: e.Item, Attempt: e.Attempt, Key: e.Key, Reason: g.reason[e.Item]}
	switch e.Type {
	case run.RunCheck:
		answer.Type, answer.Verdict = run.CheckFinished, or("pass")
	case run.Sample:
		if given && verdict == "" {
			return
		}
		answer.Type, answer.Verdict = run.SampleTaken, or("pass")
	case run.Intend:
		answer.Type = run.ActionIntended
	case run.Perform:
		answer.Type, answer.Verdict = run.ActionFinished, or("done")
	case run.Probe:
		answer.Type, answer.Verdict = run.ActionProbed, "inconclusive"
	case run.IntendUndo:
		answer.Type = run.UndoIntended
	case run.PerformUndo:
		answer.Type, answer.Verdict = run.UndoFinished, "done"
	case run.SetTimer:
		if e.At.After(g.now) {
			g.now = e.At
		}
		answer.Type, answer.Timer = run.TimerFired, e.Timer
	case run.Close:
		answer.Type = run.RunClosed
	default:
		return
	}
	g.step(answer)
}

// person lets one person do what is asked; false when nobody does anything.
func (g *played) person() bool {
	for _, i := range g.s.Asked() {
		it := &g.s.Plan.Items[i]
		if g.silent(it) {
			continue
		}
		role, actor := "Tech Lead", "ana"
		if it.Person != nil && len(it.Person.Roles) > 0 {
			role = it.Person.Roles[0]
			actor = map[string]string{"Tech Lead": "ana", "DevOps Lead": "ben", "Product Owner": "chloe", "Deployment Engineer": "dan", "QA Lead": "eli"}[role]
		}
		before := g.s.Items[i].Status
		if it.Kind == run.Signoff {
			g.step(run.Event{Type: run.Signed, Item: it.ID, Actor: actor, Role: role, Verdict: "approve", Subject: g.s.SubjectOf(it.ID)})
		} else {
			g.step(run.Event{Type: run.Attested, Item: it.ID, Actor: actor, Role: role, Verdict: "pass"})
		}
		if g.s.Items[i].Status != before {
			return true
		}
	}
	return false
}
