package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	users := exec.Command(filepath.Join(filepath.Dir(d.psql), "pgbench"), "-n", "-c", "4", "-T", "3600", "-R", rate, "-f", d.path("site/load.sql"),
		"--log", "--log-prefix="+d.path("requests"), d.databaseURL())
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
	return d.longest(ctx, took)
}

// longest reads the users' log: the third field is the time of a transaction in
// microseconds, from when it was due (pgbench's manual, Per-Transaction Logging).
func (d *demo) longest(ctx context.Context, took time.Duration) error {
	var count int
	var most time.Duration
	err := until(ctx, "the users' log", 10*time.Second, func() error {
		files, err := filepath.Glob(d.path("requests.*"))
		if err != nil || len(files) == 0 {
			return errors.New("there is none")
		}
		count, most, err = transactions(files)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Printf("%d transactions in %s while the deployment ran, the longest %s\n", count, took.Round(time.Second), most.Round(time.Millisecond))
	if most > mostWait {
		return fmt.Errorf("a transaction took %s, want at most %s", most, mostWait)
	}
	return nil
}

func transactions(files []string) (count int, most time.Duration, err error) {
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return 0, 0, err
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); count++ {
			fields := strings.Fields(lines.Text())
			if len(fields) < 3 {
				return 0, 0, fmt.Errorf("%s: a line was cut", file)
			}
			micros, err := strconv.ParseInt(fields[2], 10, 64)
			if err != nil {
				return 0, 0, fmt.Errorf("%s: %w", file, err)
			}
			most = max(most, time.Duration(micros)*time.Microsecond)
		}
	}
	if count == 0 {
		return 0, 0, errors.New("no transaction was logged")
	}
	return count, most, nil
}
