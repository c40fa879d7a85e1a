// Command demo deploys a real application with allclear: Tulia 2 goes live under load, Tulia 3 turns out bad and is
// rolled back with its database. Everything that it starts is private, and stopped and removed at its end.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"allclear.dev/allclear/examples/demo/vendors"
)

// outputDir keeps the reports and records, below the directory that the demo is started in.
const outputDir = "demo-output"

func main() {
	kills := flag.Int("kills", 0, "instead: kill the run's process this often while it deploys and rolls back, and count what happened")
	database := flag.Bool("database", false, "instead: catch a dangerous migration, rehearse it, and apply a safe one under load")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *kills, *database)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		fmt.Fprintln(os.Stderr, "demo: interrupted; everything that it started is stopped")
		os.Exit(130)
	case err != nil:
		fmt.Fprintf(os.Stderr, "demo: error: %v\n", err)
		os.Exit(1)
	}
}

// demo is everything that belongs to one demonstration.
type demo struct {
	root    string // the repository
	dir     string // temporary, removed at the end
	output  string
	started time.Time
	ports   ports
	seed    seed
	psql    string // PostgreSQL's client
	env     []string
	runs    map[string]string // run by version
	said    string            // the last progress line
	kills   int               // how often the run's process is killed; 0 in a demonstration
	// standIn is the address of vendors, the stand-in for services that cannot run here.
	standIn   string
	vendors   *vendors.Server
	deploying string // the version that the open run deploys
	acts      int    // statements and signatures made through the command line
}

func run(ctx context.Context, kills int, database bool) (err error) {
	d := &demo{started: time.Now(), kills: kills, runs: map[string]string{}}
	if d.root, err = os.Getwd(); err != nil {
		return fmt.Errorf("find the repository: %w", err)
	}
	if err := adoptOrphans(); err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp("", "allclear-demo-"); err != nil {
		return fmt.Errorf("create temporary directory: %w", err)
	}
	defer func() {
		if err != nil && ctx.Err() == nil {
			d.showLog()
		}
		stopAll()
		if gone := os.RemoveAll(d.dir); err == nil && gone != nil {
			err = fmt.Errorf("remove temporary directory: %w", gone)
		}
	}()
	d.output = filepath.Join(d.root, outputDir)
	if err := os.RemoveAll(d.output); err != nil {
		return fmt.Errorf("empty the output directory: %w", err)
	}
	if err := os.MkdirAll(d.output, 0o755); err != nil {
		return fmt.Errorf("create the output directory: %w", err)
	}
	if database {
		return d.database(ctx)
	}
	return d.play(ctx)
}

func (d *demo) play(ctx context.Context) error {
	for _, step := range []struct {
		says string
		do   func(context.Context) error
	}{
		{"build allclear and three versions of the application", d.build},
		{"start PostgreSQL, Redis, HAProxy, Exim, NSD, Prometheus and Alertmanager, private and on free ports,\n       and one stand-in for what cannot run here: GitHub, Sentry, Slack, Grafana,\n       PagerDuty, UptimeRobot, Twilio, a CDN", d.startServers},
		{"make a checkout, and keys for five people of the demo", d.makeSite},
		{"put 1.0.0 live behind HAProxy, and put it under load", d.goLive},
	} {
		d.say("%s", step.says)
		if err := step.do(ctx); err != nil {
			return err
		}
	}
	if d.kills > 0 {
		return d.crash(ctx, d.kills)
	}
	began := time.Now()
	before, err := d.load()
	if err != nil {
		return err
	}
	if err := d.deploy(ctx, "2.0.0", "done"); err != nil {
		return err
	}
	between, err := d.load()
	if err != nil {
		return err
	}
	if err := d.deploy(ctx, "3.0.0", "held"); err != nil {
		return err
	}
	if err := d.rollback(ctx, "3.0.0"); err != nil {
		return err
	}
	after, err := d.load()
	if err != nil {
		return err
	}
	return errors.Join(d.keep(ctx), d.summary(ctx, before, between, after, time.Since(began)))
}

// say prints a line with the seconds since the start; a line that was just said is not repeated.
func (d *demo) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if line == d.said {
		return
	}
	d.said = line
	fmt.Printf("%4.0fs  %s\n", time.Since(d.started).Seconds(), line)
}
