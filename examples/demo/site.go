package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// people are those of the demo, each with a key that is made for it and named as such.
func people() []string { return []string{"ana", "ben", "chloe", "dan", "eli"} }

// versions are those that are deployed, with the build tag and the newest migration of each.
func versions() []struct{ version, tag, schema string } {
	return []struct{ version, tag, schema string }{{"1.0.0", "v1", "0003"}, {"2.0.0", "v2", "0006"}, {"3.0.0", "v3", "0008"}}
}

// seed is what `tulia seed` prints, as far as the demo needs it.
type seed struct {
	Tenants []struct {
		ID        string   `json:"id"`
		Customers []string `json:"customers"`
		Service   string   `json:"service"`
	} `json:"tenants"`
}

// secret makes a secret at its first use and keeps it in a file for allclear.
func (d *demo) secret(name string) string {
	path := filepath.Join(d.path("secrets"), name)
	if text, err := os.ReadFile(path); err == nil {
		return string(text)
	}
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // crypto/rand never fails
	text := base64.StdEncoding.EncodeToString(raw[:])
	d.keepSecret(name, text)
	return text
}

func (d *demo) keepSecret(name, text string) {
	_ = os.MkdirAll(d.path("secrets"), 0o700)
	_ = os.WriteFile(filepath.Join(d.path("secrets"), name), []byte(text), 0o600) // a missing one is named where it is used
}

func (d *demo) allclear() string { return d.path("tools/allclear") }

func (d *demo) build(ctx context.Context) error {
	example := filepath.Join(d.root, "examples/tulia")
	if _, err := d.run(ctx, d.root, "go", "build", "-o", d.allclear(), "./cmd/allclear"); err != nil {
		return err
	}
	for _, tool := range []string{"tulia-deploy", "tulia-load"} {
		if _, err := d.run(ctx, example, "go", "build", "-o", d.path("tools/"+tool), "./cmd/"+tool); err != nil {
			return err
		}
	}
	for _, v := range versions() {
		binary := d.path("tools/tulia-" + v.version)
		if _, err := d.run(ctx, example, "go", "build", "-tags", v.tag, "-ldflags", "-X main.version="+v.version, "-o", binary, "./cmd/tulia"); err != nil {
			return err
		}
	}
	d.started = time.Now() // what follows is the demo
	return nil
}

func (d *demo) makeSite(ctx context.Context) error {
	for _, dir := range []string{"run", "backups", "site", "keys", "log", "archive", "releases", "sources", "static"} {
		if err := os.MkdirAll(d.path(dir), 0o700); err != nil {
			return fmt.Errorf("create %s: %w", dir, err)
		}
	}
	for _, name := range people() {
		if _, err := d.run(ctx, d.dir, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "demo key of "+name, "-f", d.path("keys/"+name)); err != nil {
			return err
		}
	}
	d.keepSecret("database-url", d.databaseURL())
	tool, err := json.Marshal(map[string]string{
		"socket": d.path("haproxy.sock"), "public": "http://" + local(d.ports.public), "blue": local(d.ports.blue), "green": local(d.ports.green),
		"releases": d.path("releases"), "env_file": d.path("settings.env"), "log_file": d.path("log/tulia.log"), "run": d.path("run"),
	})
	err = errors.Join(err, os.WriteFile(d.path("site.json"), tool, 0o600), os.WriteFile(d.path("settings.env"), []byte(d.settings()), 0o600))
	if err != nil {
		return fmt.Errorf("write the settings: %w", err)
	}
	if _, err := d.run(ctx, d.dir, d.path("tools/tulia-deploy"), "-site", d.path("site.json"), "install", "1.0.0"); err != nil {
		return err
	}
	if err := d.prepareDatabase(ctx); err != nil {
		return err
	}
	if err := d.makeCheckout(ctx); err != nil {
		return err
	}
	return d.leaveOld(ctx)
}

func (d *demo) settings() string {
	return strings.Join([]string{
		"TULIA_ENV=production", "DATABASE_URL=" + d.databaseURL(), "DATABASE_MAX_CONNS=10", "REDIS_URL=redis://" + local(d.ports.redis) + "/0",
		"SECRET_KEY=" + d.secret("key"), "ENCRYPTION_KEY=" + d.secret("encryption"), "WEBHOOK_SECRET=" + d.secret("webhook"),
		"DEBUG=false", "ALLOWED_HOSTS=127.0.0.1", "CORS_ORIGINS=https://app.tulia.example", "TRUSTED_PROXIES=127.0.0.1", "LOGIN_RATE_LIMIT=1000",
		"EMAIL_HOST=localhost", "EMAIL_PORT=" + strconv.Itoa(d.ports.smtp), "EMAIL_USER=tulia", "EMAIL_PASSWORD=" + d.secret("smtp"), "EMAIL_FROM=no-reply@tulia.example",
		"WORKER_CONCURRENCY=4", "SHUTDOWN_TIMEOUT=4s", "LOG_LEVEL=info", "LOG_FILE=" + d.path("log/tulia.log"), "TULIA_FAULT_AFTER=" + d.faultAfter(), "",
	}, "\n")
}

// faultAfter is how long the bad release works well. It takes longer than any run that is killed again and again.
func (d *demo) faultAfter() string {
	if d.kills > 0 {
		return "24h"
	}
	return "25s"
}

// prepareDatabase applies the first version's migrations, as the team did before it had allclear, and fills in data.
func (d *demo) prepareDatabase(ctx context.Context) error {
	files, err := filepath.Glob(d.path("releases/1.0.0/migrations/*.up.sql"))
	if err != nil || len(files) == 0 {
		return errors.Join(errors.New("the first version has no migrations"), err)
	}
	script := "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL);\n"
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read migration: %w", err)
		}
		script += string(text) + "\n"
	}
	script += "INSERT INTO schema_migrations VALUES (3, false);\n"
	if err := os.WriteFile(d.path("first.sql"), []byte(script), 0o600); err != nil {
		return fmt.Errorf("write migrations: %w", err)
	}
	if _, err := d.run(ctx, d.dir, d.psql, "-qX", "-v", "ON_ERROR_STOP=1", "-f", d.path("first.sql"), d.databaseURL()); err != nil {
		return err
	}
	d.env = append(d.env, "TULIA_SEED_PASSWORD="+d.secret("seed-password"))
	text, err := d.run(ctx, d.dir, d.path("releases/1.0.0/bin/tulia"), "-env", d.path("settings.env"), "seed")
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(text), &d.seed); err != nil || len(d.seed.Tenants) < 3 {
		return errors.Join(errors.New("read what was seeded"), err)
	}
	return nil
}

// goLive puts the first version live, tells allclear of it, and begins to send requests.
func (d *demo) goLive(ctx context.Context) error {
	if _, err := d.run(ctx, d.dir, d.path("tools/tulia-deploy"), "-site", d.path("site.json"), "switch", "1.0.0"); err != nil {
		return err
	}
	for _, unit := range []string{"worker", "scheduler"} {
		cmd := exec.Command(d.path("releases/1.0.0/bin/tulia"), "-env", d.path("settings.env"), unit)
		if err := d.start(unit, cmd); err != nil {
			return err
		}
		if err := os.WriteFile(d.path("run/"+unit+".pid"), fmt.Appendln(nil, cmd.Process.Pid), 0o600); err != nil {
			return fmt.Errorf("write pid file: %w", err)
		}
	}
	revision, err := d.revision(ctx, "1.0.0")
	if err != nil {
		return err
	}
	if _, err := d.cli(ctx, "dan", "adopt", "demo", "1.0.0", "--revision", revision); err != nil {
		return err
	}
	acme := d.seed.Tenants[0]
	load := exec.Command(d.path("tools/tulia-load"), "-url", "http://"+local(d.ports.public), "-rate", "50", "-for", "15m", "-out", d.path("load.json"),
		"-email", "agent@acme.example", "-tenant", acme.ID, "-customer", acme.Customers[0], "-service", acme.Service)
	load.Env = append(os.Environ(), d.env...)
	if err := d.start("load", load); err != nil {
		return err
	}
	return until(ctx, "the first requests", 20*time.Second, func() error {
		l, err := d.load()
		if err == nil && l.OK < 50 {
			err = fmt.Errorf("%d answers", l.OK)
		}
		return err
	})
}

func (d *demo) revision(ctx context.Context, version string) (string, error) {
	return d.run(ctx, d.path("site"), "git", "rev-parse", "v"+version+"^{commit}")
}
