package document

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxAlerts bounds how many alerts are looked at.
const maxAlerts = 5000

// ruleFile is what counts of a file of Prometheus rules
// (https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/),
// and of the PrometheusRule of its operator, which holds the same under spec.
type ruleFile struct {
	Groups []ruleGroup `yaml:"groups"`
	Spec   struct {
		Groups []ruleGroup `yaml:"groups"`
	} `yaml:"spec"`
}

type ruleGroup struct {
	Name  string `yaml:"name"`
	Rules []struct {
		Alert       string            `yaml:"alert"`
		Record      string            `yaml:"record"`
		Annotations map[string]string `yaml:"annotations"`
	} `yaml:"rules"`
}

// runbooks reads the rule files, and makes the runbooks of their alerts the
// documents. It gives the number of alerts.
func (r *reading) runbooks(ctx context.Context) (int, error) {
	alerts := 0
	for _, pattern := range r.Each.Rules {
		files, err := r.host.Glob(ctx, pattern)
		if err != nil {
			return 0, fmt.Errorf("list rule files: %w", err)
		}
		if len(files) == 0 {
			return 0, fmt.Errorf("each: no file matches %s", pattern)
		}
		for _, file := range files {
			n, err := r.rules(ctx, file)
			if err != nil {
				return 0, err
			}
			if alerts += n; alerts > maxAlerts {
				return 0, fmt.Errorf("more than %d alerts", maxAlerts)
			}
		}
	}
	if alerts == 0 {
		return 0, fmt.Errorf("%s: there is no alert rule in it", strings.Join(r.Each.Rules, ", "))
	}
	r.facts["alerts"] = strconv.Itoa(alerts)
	slices.Sort(r.files)
	r.files = slices.Compact(r.files)
	if len(r.files) > maxDocuments {
		return 0, fmt.Errorf("more than %d documents", maxDocuments)
	}
	return alerts, nil
}

// rules reads one file and follows the annotation of every alert in it.
func (r *reading) rules(ctx context.Context, file string) (alerts int, err error) {
	text, err := readDocument(ctx, r.env, file)
	if err != nil {
		return 0, err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var content ruleFile
		err := decoder.Decode(&content)
		if errors.Is(err, io.EOF) {
			return alerts, nil
		}
		if err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		for _, group := range append(content.Groups, content.Spec.Groups...) {
			for i, rule := range group.Rules {
				switch {
				case rule.Alert != "":
					alerts++
					r.runbook(ctx, file, rule.Alert, strings.TrimSpace(rule.Annotations[r.Each.Annotation]))
				case rule.Record == "":
					return 0, fmt.Errorf("%s: rule %d of group %s is neither an alert nor a record", file, i+1, group.Name)
				}
			}
		}
	}
}

// runbook follows the address of one runbook.
func (r *reading) runbook(ctx context.Context, file, alert, address string) {
	where := file + ": " + alert
	if address == "" {
		r.miss("%s has no %s", where, r.Each.Annotation)
		return
	}
	if strings.Contains(address, "{{") {
		r.doubt("%s: where %s leads is known only when it fires", where, cut(address))
		return
	}
	inside, ours := strings.CutPrefix(address, r.Each.Prefix)
	if ours && r.Each.Prefix != "" || !scheme.MatchString(address) {
		if found := r.local(ctx, "README.md", where, "/"+strings.TrimLeft(inside, "/")); found != "" {
			r.files = append(r.files, found)
			r.details["runbook."+alert] = found
		}
		return
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		r.miss("%s: %s is no address", where, cut(address))
		return
	}
	if r.content() {
		r.doubt("%s: %s is not in the checkout (say prefix): what stands in it cannot be judged", where, cut(address))
		return
	}
	r.details["runbook."+alert] = address
	r.later(where, u)
}
