package recognise_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/catalog"
	"allclear.dev/allclear/internal/checklist"
	"allclear.dev/allclear/internal/config"
	"allclear.dev/allclear/internal/plan"
	"allclear.dev/allclear/internal/recognise"
	"allclear.dev/allclear/internal/run"
	"allclear.dev/allclear/internal/secret"
)

// standardPlan binds the standard checklist in an environment, where nothing is set
// unless a configuration is given.
func standardPlan(t *testing.T, environment string, given *config.Environment) *run.Plan {
	t.Helper()
	list, problems := checklist.Parse("DEPLOYMENT_CHECKLIST.md", recognise.Standard())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	env := config.Environment{}
	facts := map[string]any{}
	if given != nil {
		env = *given
		for name, value := range env.Vars {
			facts[name] = value
		}
	}
	env.Name, facts["name"] = environment, environment
	was := config.Release{}
	if given != nil {
		was = config.Release{Version: "0.9", Revision: strings.Repeat("a", 40)}
	}
	p, problems := plan.Bind(plan.Input{
		Checklist: list, Types: catalog.ByName(),
		Vars:  config.Vars{Project: "p", Env: env, Release: config.Release{Version: "1.0", Revision: strings.Repeat("b", 40)}, Previous: was},
		Facts: map[string]any{"env": facts, "changed": map[string]any{}},
		Plan:  run.Plan{Project: "p", Environment: environment},
	})
	if p == nil {
		t.Fatalf("%s: %v", environment, problems)
	}
	return p
}

// differs names what the table calls otherwise. A test message is a message:
// notify is an action in every mode.
var differs = map[string]string{"pre.mon.slack": "action notify"}

// TestStandardTypes holds that each item of the standard checklist has the kind
// and the type of testdata/standard.txt, and how many there are of each kind.
func TestStandardTypes(t *testing.T) {
	text, err := os.ReadFile("testdata/standard.txt")
	if err != nil {
		t.Fatal(err)
	}
	want, kinds := map[string]string{}, map[string]int{}
	for line := range strings.Lines(string(text)) {
		if id, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok && id != "#" {
			kind, _, _ := strings.Cut(rest, " ")
			want[id] = rest
			kinds[kind]++
		}
	}
	for kind, n := range map[string]int{"check": 109, "action": 40, "watch": 15, "attest": 11, "sign-off": 8} {
		if kinds[kind] != n {
			t.Errorf("the table has %d of %s, want %d", kinds[kind], kind, n)
		}
	}
	for _, environment := range []string{"staging", "production"} {
		p := standardPlan(t, environment, nil)
		if len(p.Missing()) == 0 {
			t.Errorf("%s: nothing is missing although nothing is set", environment)
		}
		if len(p.Items) != 183 {
			t.Errorf("%s: %d items", environment, len(p.Items))
		}
		for _, it := range p.Items {
			expected := want[it.ID]
			if other, ok := differs[it.ID]; ok {
				if expected == other {
					t.Errorf("%s does not differ any more", it.ID)
				}
				expected = other
			}
			if got := string(it.Kind) + " " + it.Type; got != expected {
				t.Errorf("%s: %s is %s, want %s", environment, it.ID, got, expected)
			}
		}
	}
}

// filled is a configuration of the standard checklist as a team would write it.
func filled(t *testing.T, driver, downtime string) *config.Environment {
	env := &config.Environment{
		URL: "https://www.example.com", Redis: "redis://cache.example.com:6379/0",
		Windows: map[string]time.Duration{"m15": 15 * time.Minute, "h1": time.Hour, "h24": 24 * time.Hour, "every": 30 * time.Second},
		Vars: map[string]string{
			"address": "192.0.2.10", "alertmanager_url": "https://alerts.example.com", "backups": "/var/backups/shop",
			"beat_unit": "beat", "code": "shop", "collect_static": "deploy/static", "concurrency": "8",
			"critical_endpoint": "https://www.example.com/api/orders/", "customers": "webhook:env:CUSTOMERS", "dashboard": "shop",
			"deployment_guide": "docs/deployment.md", "downtime": downtime, "driver": driver, "env_example": ".env.example",
			"grafana_url": "https://grafana.example.com", "home": "/srv/shop", "host": "www.example.com",
			"install_dependencies": "deploy/install", "log_stream": `{app="shop"}`, "loki_url": "https://loki.example.com",
			"mail_from": "shop@example.com", "maintenance_file": "/srv/shop/closed", "migrations": "migrations",
			"notices": "slack:#deployments", "old_clients": `shop-app/1\.`, "oncall_policy": "PT20YPA",
			"print_schema": "deploy/schema", "production_settings": "/srv/production/.env", "prometheus_url": "https://prometheus.example.com",
			"pull_release": "deploy/pull", "queue": "celery", "repository": "example/shop", "schema": "schema.yml",
			"scratch": "env:SCRATCH_URL", "sentry_org": "example", "sentry_project": "shop", "settings": "/srv/shop/shared/.env",
			"smtp_host": "smtp.example.com", "status_page": "qfn30z5r6s5h", "test_data_query": "SELECT count(*) FROM orders",
			"web_connections": "16", "web_unit": "web", "worker_unit": "worker",
		},
	}
	var err error
	if env.Database, err = secret.ParseRef("env:DATABASE_URL"); err != nil {
		t.Fatal(err)
	}
	return env
}

// TestStandardFilled holds that the parameters are right once every variable has a
// value, and that nothing is missing then: with each driver, with and without
// downtime.
func TestStandardFilled(t *testing.T) {
	for _, driver := range []string{"systemd", "compose", "kubernetes"} {
		for _, downtime := range []string{"yes", "no"} {
			for _, environment := range []string{"staging", "production"} {
				p := standardPlan(t, environment, filled(t, driver, downtime))
				if missing := p.Missing(); len(missing) > 0 {
					t.Errorf("%s, %s, downtime %s: %v is missing", environment, driver, downtime, missing)
				}
			}
		}
	}
}
