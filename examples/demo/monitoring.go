package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"allclear.dev/allclear/examples/demo/vendors"
)

// startVendors starts the stand-in for what cannot run here. It lives as long as the demo.
func (d *demo) startVendors(context.Context) error {
	token := strings.NewReplacer("/", "", "+", "", "=", "").Replace(d.secret("vendors")) // it stands in an address too
	d.keepSecret("vendors", token)
	d.vendors = vendors.New(vendors.Options{
		Token: token, Repo: d.path("origin.git"), Name: "tulia/tulia", Log: d.path("log/tulia.log"), Static: d.path("static"),
		Watched: "http://" + local(d.ports.public), Prometheus: "http://" + local(d.ports.prometheus),
		Dashboard: filepath.Join(d.root, "examples/tulia/deploy/grafana/tulia.json"), Author: "dan", Reviewers: []string{"ana", "ben"},
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("start the stand-in: %w", err)
	}
	d.standIn = listener.Addr().String()
	d.keepSecret("sentry-dsn", "http://"+token+"@"+d.standIn+"/sentry/1")
	server := &http.Server{Handler: d.vendors, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // it ends with the demo
	return nil
}

// settle copies a file of the example's deploy/prometheus with addresses of the demo's own.
func (d *demo) settle(name string, pairs ...string) (string, error) {
	text, err := os.ReadFile(filepath.Join(d.root, "examples/tulia/deploy/prometheus", name))
	if err != nil {
		return "", fmt.Errorf("read settings: %w", err)
	}
	path := filepath.Join(d.path("prometheus"), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("create %s: %w", filepath.Dir(path), err)
	}
	if err := os.WriteFile(path, []byte(strings.NewReplacer(pairs...).Replace(string(text))), 0o644); err != nil {
		return "", fmt.Errorf("write settings: %w", err)
	}
	return path, nil
}

func (d *demo) startAlertmanager(ctx context.Context) error {
	file, err := d.settle("alertmanager.yml", "https://pager.tulia.example", "http://"+d.standIn)
	if err != nil {
		return err
	}
	err = d.start("alertmanager", exec.Command("prometheus-alertmanager", "--config.file="+file, "--storage.path="+d.path("prometheus/alerts"),
		"--web.listen-address="+local(d.ports.alertmanager), "--cluster.listen-address="))
	if err != nil {
		return err
	}
	return until(ctx, "Alertmanager", 20*time.Second, func() error { return ready("http://"+local(d.ports.alertmanager)+"/-/ready", "") })
}

func (d *demo) startPrometheus(ctx context.Context) error {
	if _, err := d.settle("rules.yml"); err != nil {
		return err
	}
	file, err := d.settle("prometheus.yml", "15s", "1s", "127.0.0.1:8001", local(d.ports.blue), "127.0.0.1:8002", local(d.ports.green),
		"127.0.0.1:9090", local(d.ports.prometheus), "127.0.0.1:9093", local(d.ports.alertmanager))
	if err != nil {
		return err
	}
	err = d.start("prometheus", exec.Command("prometheus", "--config.file="+file, "--storage.tsdb.path="+d.path("prometheus/data"),
		"--web.listen-address="+local(d.ports.prometheus), "--log.level=warn"))
	if err != nil {
		return err
	}
	// It finds its Alertmanager some seconds after it is ready.
	return until(ctx, "Prometheus and its Alertmanager", 30*time.Second, func() error {
		return ready("http://"+local(d.ports.prometheus)+"/api/v1/alertmanagers", local(d.ports.alertmanager))
	})
}

// ready asks an address and wants a text in its answer.
func ready(address, text string) error {
	answer, err := http.Get(address)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK || !strings.Contains(string(body), text) {
		return fmt.Errorf("%s answers %s %.100s", address, answer.Status, body)
	}
	return nil
}
