package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// configuration fills the template in.
func (d *demo) configuration() (string, error) {
	text, err := os.ReadFile(filepath.Join(d.root, "examples/tulia/allclear.yaml"))
	if err != nil {
		return "", fmt.Errorf("read the template: %w", err)
	}
	pairs := append(d.places(), d.servers()...)
	for _, name := range people() {
		key, err := os.ReadFile(d.path("keys/" + name + ".pub"))
		if err != nil {
			return "", fmt.Errorf("read key: %w", err)
		}
		pairs = append(pairs, "@key."+name+"@", strings.TrimSpace(string(key)))
	}
	if d.kills > 0 {
		pairs = append(pairs, "m15: 20s, h1: 25s, h24: 30s, rollback: 6s, load: 3s, every: 2s", "m15: 1s, h1: 1s, h24: 1s, rollback: 1s, load: 3s, every: 500ms")
	}
	return strings.NewReplacer(pairs...).Replace(string(text)), nil
}

// places are the folders and files of the demo, and ids of what was seeded.
func (d *demo) places() []string {
	smoke := d.seed.Tenants[2]
	return []string{
		"@data@", d.path("data"), "@secrets@", d.path("secrets"), "@tools@", d.path("tools"), "@site@", d.path("site.json"), "@mirror@", d.path("mirror.git"),
		"@sources@", d.path("sources"), "@releases@", d.path("releases"), "@static@", d.path("static"), "@settings@", d.path("settings.env"),
		"@run@", d.path("run"), "@logs@", d.path("log"), "@backups@", d.path("backups"), "@archive@", d.path("archive"), "@socket@", d.path("haproxy.sock"),
		"@map@", d.path("maintenance.map"), "@tenant@", smoke.ID, "@other_tenant@", d.seed.Tenants[0].ID, "@customer@", smoke.Customers[0],
		"@service@", smoke.Service, "@today@", time.Now().UTC().Format(time.DateOnly),
	}
}

// servers are the addresses of the demo. A run that is killed again and again writes its messages into a file: of a chat
// nobody could say whether it had taken one.
func (d *demo) servers() []string {
	channel := "slack:#deployments"
	if d.kills > 0 {
		channel = "file:" + d.path("notices.jsonl")
	}
	return []string{
		"@url@", "http://" + local(d.ports.public), "@redis@", "redis://" + local(d.ports.redis), "@ca@", d.path("tls/ca.pem"), "@tls@", local(d.ports.tls),
		"@port.public@", strconv.Itoa(d.ports.public), "@port.closed@", strconv.Itoa(d.ports.closed), "@port.smtp@", strconv.Itoa(d.ports.smtp),
		"@dns@", local(d.ports.dns), "@prometheus@", "http://" + local(d.ports.prometheus), "@alertmanager@", "http://" + local(d.ports.alertmanager), "@vendors@", "http://" + d.standIn, "@channel@", channel,
	}
}

// makeCheckout makes the repository that is deployed from, with a tag for each version and a remote.
func (d *demo) makeCheckout(ctx context.Context) error {
	config, err := d.configuration()
	if err != nil {
		return err
	}
	if err := copyTree(filepath.Join(d.root, "examples/tulia"), d.path("site")); err != nil {
		return fmt.Errorf("copy the application: %w", err)
	}
	if err := os.WriteFile(d.path("site/allclear.yaml"), []byte(config), 0o644); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	for _, argv := range [][]string{
		{"init", "--quiet", "--bare", d.path("origin.git")}, {"init", "--quiet", "-b", "main", "."},
		{"config", "user.name", "Demo"}, {"config", "user.email", "demo@tulia.example"}, {"remote", "add", "origin", d.path("origin.git")},
	} {
		if _, err := d.run(ctx, d.path("site"), append([]string{"git"}, argv...)...); err != nil {
			return err
		}
	}
	for _, v := range versions() {
		if err := d.writeVersion(v.version, v.schema); err != nil {
			return err
		}
		for _, argv := range [][]string{
			{"add", "-A"}, {"commit", "--quiet", "--no-gpg-sign", "-m", "Tulia " + v.version}, {"tag", "-a", "-m", "Tulia " + v.version, "v" + v.version},
		} {
			if _, err := d.run(ctx, d.path("site"), append([]string{"git"}, argv...)...); err != nil {
				return err
			}
		}
	}
	for _, argv := range [][]string{
		{"push", "--quiet", "origin", "main", "v1.0.0", "v2.0.0", "v3.0.0"}, {"clone", "--quiet", "--mirror", d.path("origin.git"), d.path("mirror.git")},
		{"checkout", "--quiet", "--detach", "v1.0.0"},
	} {
		if _, err := d.run(ctx, d.path("site"), append([]string{"git"}, argv...)...); err != nil {
			return err
		}
	}
	return nil
}

// writeVersion makes the checkout what it was at one version: its migrations, and a changelog in which it is unreleased.
func (d *demo) writeVersion(version, schema string) error {
	example := filepath.Join(d.root, "examples/tulia")
	files, err := filepath.Glob(filepath.Join(example, "migrations/*.sql"))
	if err != nil || len(files) == 0 {
		return errors.Join(errors.New("the example has no migrations"), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if err := os.Remove(d.path("site/migrations/" + name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove migration: %w", err)
		}
		if name[:len(schema)] > schema {
			continue
		}
		if err := copyTree(file, d.path("site/migrations/"+name)); err != nil {
			return fmt.Errorf("copy migration: %w", err)
		}
	}
	text, err := os.ReadFile(filepath.Join(example, "CHANGELOG.md"))
	if err != nil {
		return fmt.Errorf("read the changelog: %w", err)
	}
	log := string(text)
	if at := strings.Index(log, "## "+version+" "); at >= 0 {
		_, below, _ := strings.Cut(log[at:], "\n")
		log = log[:strings.Index(log, "## ")] + "## Unreleased\n" + below
	}
	return os.WriteFile(d.path("site/CHANGELOG.md"), []byte(log), 0o644)
}

// leaveOld leaves what was there before: the sources and static files of the first version, an older release and an old log
// that nobody needs any more.
func (d *demo) leaveOld(ctx context.Context) error {
	revision, err := d.revision(ctx, "1.0.0")
	if err != nil {
		return err
	}
	tree := d.path("sources/1.0.0")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return fmt.Errorf("create %s: %w", tree, err)
	}
	if _, err := d.run(ctx, d.path("site"), "git", "--work-tree="+tree, "checkout", "--quiet", "v1.0.0", "--", "."); err != nil {
		return err
	}
	if _, err := d.run(ctx, d.dir, d.path("releases/1.0.0/bin/tulia"), "export-static", d.path("static/1.0.0")); err != nil {
		return err
	}
	old := time.Now().AddDate(0, -2, 0)
	for name, text := range map[string]string{"sources/1.0.0/REVISION": revision + "\n", "releases/0.9.0/release.json": "{}\n", "log/tulia.log.1": "{}\n"} {
		err = errors.Join(err, os.MkdirAll(filepath.Dir(d.path(name)), 0o755), os.WriteFile(d.path(name), []byte(text), 0o644))
		if !strings.HasPrefix(name, "sources") {
			err = errors.Join(err, os.Chtimes(d.path(name), old, old), os.Chtimes(filepath.Dir(d.path(name)), old, old))
		}
	}
	if err != nil {
		return fmt.Errorf("leave something old: %w", err)
	}
	return nil
}

func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := to + strings.TrimPrefix(path, from)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, text, 0o644)
	})
}
