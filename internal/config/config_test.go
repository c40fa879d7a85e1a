package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/config"
)

const full = `
project: tulia
people:
  ana: {name: Ana, key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPkwATEvdtg2ZWZj1IsUfOgSgw+IvVZnEFpBSm/GV6OS ana", roles: [Tech Lead], email: ana@example.com}
  bo: {roles: [DevOps Lead, Deployment Engineer]}
roles: {Product Owner: [ana], DevOps Lead: [ana]}
policy:
  starter_may_sign: []
  distinct: false
  signature_expires: 8h
  waive_roles: [DevOps Lead]
  waive_max: 12h
  protected_branch: main
environments:
  staging:
  production:
    url: https://api.example.com
    database: env:DATABASE_URL
    redis: redis://cache:6379
    maintenance: {bypass_header: X-Maintenance-Bypass, bypass_token: env:BYPASS}
    lease: {kind: postgres}
    protected: false
    vars: {replicas: 3, artefact: dist/app.tar.gz, empty: ""}
    windows: {m15: 15m, h24: 24h}
    data: /var/lib/allclear
notifications: {on: [held, done], to: ["webhook:env:HOOK", "webhook:https://hooks.example.com/x", "file:notices"]}
`

func parse(t *testing.T, src string) *config.Config {
	t.Helper()
	cfg, problems := config.Parse("allclear.yaml", []byte(src))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return cfg
}

func TestParse(t *testing.T) {
	c := parse(t, full)
	if c.Project != "tulia" || c.Checklist != "DEPLOYMENT_CHECKLIST.md" || !slices.Equal(c.Names, []string{"staging", "production"}) {
		t.Errorf("got %q %q %v", c.Project, c.Checklist, c.Names)
	}
	if got := c.RolesOf("ana"); !slices.Equal(got, []string{"DevOps Lead", "Product Owner", "Tech Lead"}) {
		t.Errorf("ana's roles are %v", got)
	}
	if got := c.UnfilledRoles(); len(got) != 0 {
		t.Errorf("nobody has %v", got)
	}
	if got := c.RoleNames(); !slices.Equal(got, []string{"Deployment Engineer", "DevOps Lead", "Product Owner", "Tech Lead"}) {
		t.Errorf("roles are %v", got)
	}
	p := c.Policy
	if len(p.StarterMaySign) != 0 || p.IsDistinct() || p.SignatureExpires != 8*time.Hour || p.WaiveMax != 12*time.Hour || p.ProtectedBranch != "main" {
		t.Errorf("policy is %+v", p)
	}
	production, staging := c.Environments["production"], c.Environments["staging"]
	if production.IsProtected() || production.Name != "production" || !staging.IsProtected() || staging.Lease.Kind != "" && staging.Lease.Kind != "none" {
		t.Errorf("got %+v and %+v", production, staging)
	}
}

func TestDefaults(t *testing.T) {
	c := parse(t, "project: p\nenvironments: {test: {}}\n")
	p := c.Policy
	if !slices.Equal(p.StarterMaySign, []string{"Deployment Engineer"}) || !p.IsDistinct() || p.SignatureExpires != 24*time.Hour || p.WaiveMax != 72*time.Hour {
		t.Errorf("policy is %+v", p)
	}
	windows := parse(t, "\ufeffproject: p\r\nenvironments: {test: {}}\r\n")
	if windows.PolicyDigest != c.PolicyDigest || windows.Digest == c.Digest {
		t.Error("the policy's digest follows its meaning, the file's its bytes")
	}
}

func TestUnfilledRoles(t *testing.T) {
	c := parse(t, "project: p\npeople: {ana: {roles: [A]}}\nroles: {A: [], B: []}\nenvironments: {test: {}}\n")
	if got := c.UnfilledRoles(); !slices.Equal(got, []string{"B"}) {
		t.Errorf("nobody has %v, want B", got)
	}
}

// TestPolicyDigest changes one thing at a time in what the policy says.
func TestPolicyDigest(t *testing.T) {
	base := parse(t, full)
	for _, other := range []struct{ old, new string }{
		{"AAAAIPkwATEvdtg2ZWZj1IsUfOgSgw+IvVZnEFpBSm/GV6OS", "AAAAINNwMHM8lLcve+HMdKmjaanRnkdOE0Sm3ZUxkjv5LTgg"},
		{"Product Owner: [ana]", "Product Owner: [bo]"},
		{"starter_may_sign: []", "starter_may_sign: [Tech Lead]"},
		{"distinct: false", "distinct: true"},
		{"signature_expires: 8h", "signature_expires: 9h"},
		{"waive_max: 12h", "waive_max: 13h"},
		{"waive_roles: [DevOps Lead]", "waive_roles: [Tech Lead]"},
		{"protected_branch: main", "protected_branch: prod"},
		{"name: Ana", "name: Anna"},
	} {
		changed := parse(t, strings.Replace(full, other.old, other.new, 1))
		if changed.PolicyDigest == base.PolicyDigest {
			t.Errorf("%q for %q left the policy's digest as it was", other.new, other.old)
		}
		if got := changed.WithPeopleOf(base); got.PolicyDigest != base.PolicyDigest || got.Digest != changed.Digest {
			t.Errorf("%q: the protected branch's policy does not stand", other.new)
		}
	}
}

func TestVars(t *testing.T) {
	c := parse(t, full)
	production := config.Vars{Project: c.Project, Env: c.Environments["production"], Release: config.Release{Version: "2.0", Revision: "abc"}}
	empty := config.Vars{Project: c.Project, Env: c.Environments["staging"]}
	people := config.Vars{Emails: parse(t, "project: p\npeople: {ana: {email: ana@example.com, roles: [dba]}, bo: {email: bo@example.com}, cy: {}}\nroles: {dba: [bo], ops: [ana, cy]}\nenvironments: {test: {}}\n").Emails()}
	for _, test := range []struct {
		vars  config.Vars
		name  string
		value string
		known check.Known
	}{
		{production, "project", "tulia", check.Set},
		{production, "env.name", "production", check.Set},
		{production, "env.protected", "false", check.Set},
		{empty, "env.protected", "true", check.Set},
		{production, "env.url", "https://api.example.com", check.Set},
		{production, "env.database", "env:DATABASE_URL", check.Set},
		{production, "env.redis", "redis://cache:6379", check.Set},
		{production, "env.replicas", "3", check.Set},
		{production, "env.empty", "", check.Unset},
		{production, "env.windows.m15", "15m0s", check.Set},
		{production, "env.windows.h1", "", check.Unset},
		{production, "release.version", "2.0", check.Set},
		{production, "release.revision", "abc", check.Set},
		{production, "previous.version", "", check.Unset},
		{production, "run.id", "", check.Later},
		{production, "run.started_at", "", check.Later},
		{production, "fact.backup.path", "", check.Later},
		{production, "fact.", "", check.Unknown},
		{people, "email.ana", "ana@example.com", check.Set},
		{people, "email.dba", "ana@example.com,bo@example.com", check.Set},
		{people, "email.ops", "", check.Unset}, // cy has none
		{people, "email.cy", "", check.Unset},
		{people, "email.nobody", "", check.Unknown},
		{production, "enviroment.url", "", check.Unknown},
		{empty, "env.url", "", check.Unset},
		{empty, "env.database", "", check.Unset},
		{empty, "env.redis", "", check.Unset},
		{empty, "env.anything", "", check.Unset},
		{empty, "release.version", "", check.Unset},
	} {
		if value, known := test.vars.Lookup(test.name); value != test.value || known != test.known {
			t.Errorf("%s is %q (%d), want %q (%d)", test.name, value, known, test.value, test.known)
		}
	}
	for _, name := range production.Names() {
		if _, known := production.Lookup(name); known == check.Unknown {
			t.Errorf("%s is listed and not known", name)
		}
	}
}

func TestLimits(t *testing.T) {
	for name, src := range map[string]string{
		"large":     "project: p\nenvironments: {e: {}}\n#" + strings.Repeat("x", 1<<20),
		"deep":      "project: " + strings.Repeat("[", 500_000),
		"deep maps": strings.Repeat("{a: ", 100_000),
		"aliases":   "project: p\na: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b]\n",
		"wide":      "project: p\nenvironments: {" + strings.Repeat("E: {},", 100_000) + "}\n",
	} {
		start := time.Now()
		if cfg, problems := config.Parse("allclear.yaml", []byte(src)); cfg != nil || !problems.HasErrors() {
			t.Errorf("%s: accepted", name)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: took %s", name, took)
		}
	}
}

func FuzzConfig(f *testing.F) {
	files, err := filepath.Glob("testdata/problems/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Add([]byte(full))
	f.Fuzz(func(t *testing.T, src []byte) {
		start := time.Now()
		cfg, problems := config.Parse("allclear.yaml", src)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%d bytes took %s", len(src), took)
		}
		if (cfg == nil) != problems.HasErrors() {
			t.Fatalf("a configuration %v with problems %v", cfg != nil, problems)
		}
		lines := strings.Split(strings.ReplaceAll(strings.TrimPrefix(string(src), "\ufeff"), "\r\n", "\n"), "\n")
		for _, p := range problems {
			if p.Pos.Line > len(lines) || p.Pos.Line > 0 && p.Pos.Col > len(lines[p.Pos.Line-1])+1 {
				t.Errorf("%s is not in the file", p.Pos)
			}
		}
		if err := problems.Write(&bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
		if cfg != nil && len(cfg.Names) == 0 {
			t.Error("accepted without an environment")
		}
	})
}
