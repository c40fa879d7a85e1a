package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// mostWait is how long a request may take while the migrations are applied.
	mostWait = time.Second
	// rate is how many transactions a second the users make, whether answered or not.
	rate = "150"
)

// database shows a dangerous migration being caught, rehearsed, rewritten, and
// applied under load.
func (d *demo) database(ctx context.Context) error {
	for _, step := range []struct {
		says string
		do   func(context.Context) error
	}{
		{"build allclear", d.buildAllclear},
		{"start PostgreSQL, private and on a free port", d.startDatabase},
		{"fill 1,500,000 orders, and back them up", d.fillOrders},
		{"migrations that look harmless: a column, a foreign key, an index", d.dangerous},
		{"the same in four steps that keep nobody out, and in batches", d.safe},
	} {
		d.say("%s", step.says)
		if err := step.do(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) buildAllclear(ctx context.Context) error {
	_, err := d.run(ctx, d.root, "go", "build", "-o", d.allclear(), "./cmd/allclear")
	d.started = time.Now() // what follows is the demo
	return err
}

func (d *demo) startDatabase(ctx context.Context) error {
	var err error
	if d.ports, err = freePorts(); err != nil {
		return err
	}
	if err := os.Chmod(d.dir, 0o755); err != nil { // PostgreSQL's user must get through
		return fmt.Errorf("open the temporary directory: %w", err)
	}
	d.env = append(d.env, "DATABASE_URL="+d.databaseURL())
	return d.startPostgres(ctx)
}

func (d *demo) fillOrders(ctx context.Context) error {
	if err := copyTree(filepath.Join(d.root, "examples/database"), d.path("site")); err != nil {
		return err
	}
	if _, err := d.run(ctx, d.path("site"), d.psql, "-q", "-v", "ON_ERROR_STOP=1", "-f", "schema.sql", d.databaseURL()); err != nil {
		return err
	}
	_, err := d.run(ctx, d.path("site"), filepath.Join(filepath.Dir(d.psql), "pg_dump"), "-Fc", "-Z1", "-f", "orders.dump", d.databaseURL())
	return err
}

// use makes one set of migrations the checkout's.
func (d *demo) use(which string) error {
	link := d.path("site/migrations")
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("change the migrations: %w", err)
	}
	return os.Symlink(which, link)
}

// shop runs allclear in the checkout and shows what it says, cut to what matters.
func (d *demo) shop(ctx context.Context, wantCode int, args ...string) error {
	fmt.Printf("\n$ allclear %s\n", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, d.allclear(), append([]string{"-C", d.path("site"), "--no-input", "--color", "never"}, args...)...)
	cmd.Env = append(os.Environ(), d.env...)
	out, err := cmd.CombinedOutput()
	fmt.Println(strings.TrimSpace(string(out)))
	fmt.Println()
	code := 0
	if exit, ended := errors.AsType[*exec.ExitError](err); ended {
		code = exit.ExitCode()
	} else if err != nil {
		return err
	}
	if code != wantCode {
		return fmt.Errorf("allclear %s ended with %d, want %d", args[0], code, wantCode)
	}
	return nil
}

func (d *demo) dangerous(ctx context.Context) error {
	if err := d.use("dangerous"); err != nil {
		return err
	}
	if err := d.shop(ctx, 1, "lint", "migrations", "migrations/0002_token.up.sql", "--database", "env:DATABASE_URL"); err != nil {
		return err
	}
	return d.shop(ctx, 1, "check", "demo", "pre.rehearsed")
}

func (d *demo) safe(ctx context.Context) error {
	if err := d.use("safe"); err != nil {
		return err
	}
	if err := d.shop(ctx, 0, "lint", "migrations", "migrations", "--database", "env:DATABASE_URL"); err != nil {
		return err
	}
	calm := d.users("calm", "-T", "10")
	if err := calm.Run(); err != nil {
		return fmt.Errorf("use the shop without a deployment: %w", err)
	}
	users := d.users("deploying", "-T", "3600")
	if err := d.start("pgbench", users); err != nil {
		return err
	}
	began := time.Now()
	if err := d.shop(ctx, 0, "run", "demo", "--release", "2.0.0", "--as", "ana"); err != nil {
		return err
	}
	took := time.Since(began)
	// The log is written out when the users end.
	if err := users.Process.Signal(os.Interrupt); err != nil {
		return fmt.Errorf("end the users: %w", err)
	}
	return d.compare(ctx, took)
}

// users is a program that uses the shop and logs every transaction.
func (d *demo) users(log string, args ...string) *exec.Cmd {
	return exec.Command(filepath.Join(filepath.Dir(d.psql), "pgbench"), append([]string{"-n", "-c", "4", "-R", rate, "-f", d.path("site/load.sql"),
		"--log", "--log-prefix=" + d.path(log), d.databaseURL()}, args...)...)
}

// compare shows the users' waits with and without a deployment, and holds that
// nobody waited for long.
func (d *demo) compare(ctx context.Context, took time.Duration) error {
	var with, without []time.Duration
	err := until(ctx, "the users' log", 10*time.Second, func() (err error) {
		if without, err = d.transactions("calm"); err != nil {
			return err
		}
		with, err = d.transactions("deploying")
		return err
	})
	if err != nil {
		return err
	}
	most := with[len(with)-1]
	fmt.Printf("%d transactions in %s while the deployment ran, the longest %s\n", len(with), took.Round(time.Second), most.Round(time.Millisecond))
	for _, share := range []float64{0.5, 0.95, 0.99, 1} {
		a, b := at(without, share), at(with, share)
		fmt.Printf("  p%-3.0f %8s without a deployment, %8s during it: %.2f times\n", 100*share, a.Round(10*time.Microsecond), b.Round(10*time.Microsecond), b.Seconds()/a.Seconds())
	}
	if most > mostWait {
		return fmt.Errorf("a transaction took %s, want at most %s", most, mostWait)
	}
	return nil
}

// at gives the value that a share of a sorted list does not exceed.
func at(sorted []time.Duration, share float64) time.Duration {
	return sorted[max(0, int(math.Ceil(share*float64(len(sorted))))-1)]
}

// transactions reads a log of the users, sorted: the third field is the time of a
// transaction in microseconds, from when it was due (pgbench's manual,
// Per-Transaction Logging).
func (d *demo) transactions(log string) ([]time.Duration, error) {
	files, err := filepath.Glob(d.path(log + ".*"))
	if err != nil || len(files) == 0 {
		return nil, errors.New("there is none")
	}
	var out []time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			if !strings.HasSuffix(line, "\n") {
				continue // cut when the users were ended
			}
			fields := strings.Fields(line)
			if len(fields) < 3 {
				return nil, fmt.Errorf("%s: a line without its time", file)
			}
			micros, err := strconv.ParseInt(fields[2], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			out = append(out, time.Duration(micros)*time.Microsecond)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no transaction was logged")
	}
	slices.Sort(out)
	return out, nil
}
