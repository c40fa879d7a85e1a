// Command tulia-load sends requests to tulia at a constant rate and counts what became of them.
//
// The load is open: a request leaves when its time has come, however slow the answers before it are, so that an
// outage cannot hide behind a client that waits. Latency counts from the time a request was due.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Bounds that keep a mistyped flag from becoming an attack.
const (
	maxRate     = 2000
	maxDuration = time.Hour
	maxInFlight = 2000
)

// options are what the flags say.
type options struct {
	url, host                        string
	rate                             int
	length, every                    time.Duration
	out                              string
	email, tenant, customer, service string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "tulia-load: %v\n", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("tulia-load", flag.ContinueOnError)
	flags.StringVar(&o.url, "url", "", "address of the load balancer, http://127.0.0.1:8080")
	flags.StringVar(&o.host, "host", "", "Host header, if it is not the address's")
	flags.IntVar(&o.rate, "rate", 50, "requests a second")
	flags.DurationVar(&o.length, "for", time.Minute, "how long; SIGTERM ends it earlier")
	flags.DurationVar(&o.every, "every", time.Second, "how often the summary is written")
	flags.StringVar(&o.out, "out", "", "file for the summary (JSON)")
	flags.StringVar(&o.email, "email", "", "who logs in; TULIA_SEED_PASSWORD is the password")
	flags.StringVar(&o.tenant, "tenant", "", "id of the tenant")
	flags.StringVar(&o.customer, "customer", "", "id of one of its customers")
	flags.StringVar(&o.service, "service", "", "id of one of its services")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case o.url == "" || o.out == "" || o.email == "" || o.tenant == "" || o.customer == "" || o.service == "":
		return o, errors.New("-url, -out, -email, -tenant, -customer and -service are required")
	case o.rate < 1 || o.rate > maxRate:
		return o, fmt.Errorf("-rate must be from 1 to %d", maxRate)
	case o.length <= 0 || o.length > maxDuration:
		return o, fmt.Errorf("-for must be at most %v", maxDuration)
	case o.every <= 0:
		return o, errors.New("-every must be positive")
	}
	return o, nil
}

// run logs in, sends until the time is over or ctx ends, waits for the last answers and writes the summary.
func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	g := newGenerator(o)
	if err := g.login(ctx, os.Getenv("TULIA_SEED_PASSWORD")); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, o.length)
	defer cancel()
	keep := make(chan error, 1)
	go func() { keep <- g.keepWriting(ctx) }()
	go g.keepLoggedIn(ctx)
	g.send(ctx)
	if err := <-keep; err != nil {
		return err
	}
	return g.tally.write(o.out, true, time.Now())
}
