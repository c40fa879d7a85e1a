package uptime

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"allclear.dev/allclear/internal/rest"
)

// metrics is what Uptime Kuma tells Prometheus; it has no other API
// (https://github.com/louislam/uptime-kuma/wiki/Prometheus-Integration).
type metrics struct{ *rest.Client }

func openKuma(c *rest.Client, _ *watcher) service { return &metrics{c} }

// find reads the gauge monitor_status. Its other gauges are not looked at.
func (k *metrics) find(ctx context.Context) ([]monitor, int, error) {
	a, err := k.Do(ctx, http.MethodGet, k.Base+"/metrics", nil, nil)
	if err != nil {
		return nil, 0, err
	}
	sample := regexp.MustCompile(`^monitor_status\{(.*)\}\s+(\S+)$`)
	label := regexp.MustCompile(`([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"`)
	var out []monitor
	known := false
	for line := range strings.Lines(string(a.Body)) {
		line = strings.TrimSpace(line)
		known = known || strings.HasPrefix(line, "# TYPE monitor_status gauge")
		if !strings.HasPrefix(line, "monitor_status") {
			continue
		}
		parts := sample.FindStringSubmatch(line)
		if parts == nil {
			return nil, 0, errors.New("a line of Uptime Kuma's monitor_status is cut or malformed")
		}
		labels := map[string]string{}
		for _, l := range label.FindAllStringSubmatch(parts[1], -1) {
			labels[l[1]] = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, " ").Replace(l[2])
		}
		m := monitor{ID: labels["monitor_id"], Name: labels["monitor_name"], URL: labels["monitor_url"]}
		if m.ID == "" { // before version 2
			m.ID = m.Name
		}
		if m.State, m.Said, err = kumaState(parts[2]); err != nil {
			return nil, 0, fmt.Errorf("monitor %q: %w", m.Name, err)
		}
		out = append(out, m)
	}
	if !known || !strings.HasSuffix(string(a.Body), "\n") {
		return nil, 0, errors.New("the answer of Uptime Kuma is not its whole list of metrics")
	}
	return out, len(out), nil
}

// kumaState reads the gauge's value: 1 up, 0 down, 2 pending, 3 maintenance.
func kumaState(value string) (state, string, error) {
	switch value {
	case "1":
		return up, "up", nil
	case "0":
		return down, "down", nil
	case "2":
		return unsure, "pending", nil
	case "3":
		return unsure, "maintenance", nil
	}
	return "", "", fmt.Errorf("unknown state %.20q", value)
}

func (k *metrics) set(context.Context, string, bool) error {
	return errors.New("Uptime Kuma has no API that pauses")
}
