package prometheus

import (
	"strings"
	"testing"
)

func TestRoutes(t *testing.T) {
	r, err := readRouting(`
route:
  receiver: default
  routes:
    - {match: {team: ""}, receiver: orphans, matchers: ['severity!="page"', 'kind=~"a|b"']}
    - receiver: audit
      matchers: ['{severity=~"page|ticket", note!~".*,.*"}']
      continue: true
    - matchers: [severity = page]
      receiver: oncall
      routes:
        - {matchers: [team="db"], receiver: dba, continue: true}
        - {matchers: [team=~"d.*"], receiver: data}
        - {matchers: ['"odd name"="x"']}
receivers: [{name: default}, {name: oncall, pagerduty_configs: [{}]}, {name: dba, email_configs: []}]
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		labels map[string]string
		want   string
	}{
		{map[string]string{}, "default"},
		{map[string]string{"kind": "a"}, "orphans"},
		{map[string]string{"kind": "ab"}, "default"},
		{map[string]string{"kind": "a", "team": "x"}, "default"},
		{map[string]string{"severity": "ticket"}, "audit"},
		{map[string]string{"severity": "ticket", "note": "a, b"}, "default"},
		{map[string]string{"severity": "page"}, "audit oncall"},
		{map[string]string{"severity": "page", "team": "db"}, "audit dba data"},
		{map[string]string{"severity": "page", "team": "dx"}, "audit data"},
		{map[string]string{"severity": "page", "odd name": "x"}, "audit oncall"},
	} {
		got, err := r.receivers(c.labels)
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%v: %v %v, want %s", c.labels, got, err, c.want)
		}
	}
	if r.notifies("default") || r.notifies("dba") || r.notifies("nobody") || !r.notifies("oncall") {
		t.Error("a receiver notifies exactly when it has an integration")
	}
}
