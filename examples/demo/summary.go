package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// load is what tulia-load has counted so far.
type load struct {
	Sent        int     `json:"sent"`
	OK          int     `json:"ok"`
	Dropped     int     `json:"dropped"`
	NotSent     int     `json:"not_sent"`
	Errors      int     `json:"server_errors"`
	Maintenance int     `json:"maintenance"`
	Downtime    float64 `json:"downtime_seconds"`
}

func (d *demo) load() (load, error) {
	var l load
	text, err := os.ReadFile(d.path("load.json"))
	if err == nil {
		err = json.Unmarshal(text, &l)
	}
	if err != nil {
		return l, fmt.Errorf("read the load: %w", err)
	}
	return l, nil
}

func (l load) since(before load) load {
	return load{l.Sent - before.Sent, l.OK - before.OK, l.Dropped - before.Dropped, l.NotSent - before.NotSent,
		l.Errors - before.Errors, l.Maintenance - before.Maintenance, l.Downtime - before.Downtime}
}

// keep writes the reports and the records to the output directory.
func (d *demo) keep(ctx context.Context) error {
	for _, version := range []string{"2.0.0", "3.0.0"} {
		run := d.runs[version]
		for format, name := range map[string]string{"markdown": "report-" + version + ".md", "html": "report-" + version + ".html"} {
			if _, err := d.cli(ctx, "dan", "report", "demo", "--run", run, "--format", format, "--out", filepath.Join(d.output, name)); err != nil {
				return err
			}
		}
		if _, err := d.cli(ctx, "dan", "report", "demo", "--run", run, "--bundle", d.record(version)); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) record(version string) string { return filepath.Join(d.output, "record-"+version) }

// summary verifies both records where they lie now, and tells how it went.
func (d *demo) summary(ctx context.Context, before, between, after load, took time.Duration) error {
	verified := 0
	var problems []error
	for _, version := range []string{"2.0.0", "3.0.0"} {
		_, err := d.cli(ctx, "dan", "verify", d.record(version))
		if err == nil {
			verified++
		}
		problems = append(problems, err)
	}
	health, err := d.run(ctx, d.dir, d.path("tools/tulia-deploy"), "-site", d.path("site.json"), "is", "2.0.0")
	if err != nil {
		problems = append(problems, fmt.Errorf("2.0.0 is not live after the rollback: %w %s", err, health))
	}
	schema, err := d.run(ctx, d.dir, d.psql, "-AtXc", "SELECT version FROM schema_migrations WHERE NOT dirty", d.databaseURL())
	if err == nil && schema != "6" {
		err = fmt.Errorf("the database is at %s after the rollback, not at 6", schema)
	}
	problems = append(problems, err)
	good, bad := between.since(before), after.since(between)
	fmt.Printf("\n2.0.0  done         sent %d, dropped %d, downtime %.1f s\n", good.Sent, good.Dropped, good.Downtime)
	fmt.Printf("3.0.0  rolled back  sent %d, dropped %d, answered with an error %d, closed for maintenance %.1f s; database back at %s\n", bad.Sent, bad.Dropped, bad.Errors, bad.Downtime, schema)
	if good.NotSent+bad.NotSent > 0 {
		fmt.Printf("       not sent in time: %d\n", good.NotSent+bad.NotSent)
	}
	for _, version := range []string{"2.0.0", "3.0.0"} {
		counts, err := d.kinds(version)
		problems = append(problems, err)
		fmt.Printf("       %s: %s\n", version, counts)
	}
	fmt.Printf("       %d statements and signatures by %d people, with keys made for the demo\n", d.acts, len(people()))
	fmt.Printf("       records verified: %d of 2\n       reports and records: %s\n       took %.0f s after the build\n", verified, d.output, took.Seconds())
	return errors.Join(problems...)
}

// kinds counts a plan's items by kind; those that do not apply stand apart.
func (d *demo) kinds(version string) (string, error) {
	text, err := os.ReadFile(filepath.Join(d.output, "plan-"+version+".json"))
	if err != nil {
		return "", fmt.Errorf("read the plan: %w", err)
	}
	var plan struct{ Items []planItem }
	if err := json.Unmarshal(text, &plan); err != nil {
		return "", fmt.Errorf("read the plan: %w", err)
	}
	counts := map[string]int{}
	for _, it := range plan.Items {
		if it.Applies == "no" {
			counts["not applicable"]++
			continue
		}
		counts[it.Kind]++
	}
	var parts []string
	for kind, n := range counts {
		parts = append(parts, fmt.Sprintf("%d %s", n, kind))
	}
	slices.Sort(parts)
	return fmt.Sprintf("%d items: %s", len(plan.Items), strings.Join(parts, ", ")), nil
}
