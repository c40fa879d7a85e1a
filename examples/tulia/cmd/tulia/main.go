// Command tulia is a small shop back-end: the application that allclear's demo deploys.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"allclear.dev/allclear/examples/tulia/internal/web"
)

const usage = `usage: tulia [-env FILE] COMMAND

  web                 answer HTTP requests
  worker              run jobs
  scheduler           queue the periodic jobs (run exactly one)
  seed [-orders N]    make demo tenants; TULIA_SEED_PASSWORD is everybody's password; prints their ids as JSON
  email ADDRESS       send a test mail
  export-release DIR  write what this build needs into DIR: bin, migrations, static, .env.example, release.json
  export-static DIR   write the static files of this build into DIR, for a CDN; may be repeated
  openapi             print the description of the API (OpenAPI 3.1)
  version             print version, revision and the schema version that is needed

-env FILE reads settings that the environment does not set (lines NAME=VALUE).
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "tulia: %v\n", err)
		os.Exit(1)
	}
}

// run does what the arguments say, until it is done or ctx ends.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("tulia", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(flags.Output(), usage) }
	envFile := flags.String("env", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	args = flags.Args()
	if len(args) == 0 {
		flags.Usage()
		return errors.New("no command")
	}
	switch args[0] {
	case "version":
		return printVersion(out)
	case "openapi":
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(web.Description())
	case "export-release":
		return exportRelease(args[1:])
	case "export-static":
		return exportStatic(args[1:])
	}
	a, err := open(ctx, *envFile)
	if err != nil {
		return err
	}
	defer a.close()
	switch args[0] {
	case "web":
		return a.web(ctx)
	case "worker":
		return a.worker(ctx)
	case "scheduler":
		return a.scheduler(ctx)
	case "seed":
		return a.seed(ctx, args[1:], out)
	case "email":
		return a.email(args[1:])
	}
	flags.Usage()
	return fmt.Errorf("unknown command %q", args[0])
}
