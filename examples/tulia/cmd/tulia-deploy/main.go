// Command tulia-deploy does on a host what tulia's deployment checklist asks for: it switches the two web servers behind
// HAProxy from one release to another without losing a request, and reads the application's figures and its log.
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
	"time"
)

const usage = `usage: tulia-deploy -site FILE COMMAND

commands:
  switch VERSION      start VERSION at the idle address, move the traffic to it, stop the other one
  is VERSION          end with 0 if VERSION alone serves, 10 if another one does, 11 if it is on the way
  install VERSION     write the release directory of VERSION from the artefact tulia-VERSION beside this program
  probe               try what an attacker would try first on what is live; findings as SARIF
  figures [-over 1s]  requests, errors and times within that span, and the queue, as JSON
  log [-since 1m] [-match REGEXP]
                      how many errors the log has since then, and how many lines match, as JSON

FILE is JSON: socket, public, blue, green, releases, env_file, log_file, run.
`

// site is where everything is on this host.
type site struct {
	Socket   string `json:"socket"`   // HAProxy's admin socket
	Public   string `json:"public"`   // address of the service, http://host:port
	Blue     string `json:"blue"`     // host:port of the one web server
	Green    string `json:"green"`    // and of the other
	Releases string `json:"releases"` // folder with a release directory for each version
	EnvFile  string `json:"env_file"` // settings of the application
	LogFile  string `json:"log_file"` // its log, in JSON lines
	Run      string `json:"run"`      // folder of pid files
}

// Exit codes of "is", as probes of allclear's command have them.
const (
	exitError  = 1
	exitNot    = 10
	exitPartly = 11
)

// status is an error that only sets the exit code.
type status int

// Error names the code.
func (s status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if code, ok := errors.AsType[status](err); ok {
		os.Exit(int(code))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "tulia-deploy: %v\n", err)
		os.Exit(exitError)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("tulia-deploy", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(flags.Output(), usage) }
	file := flags.String("site", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	text, err := os.ReadFile(*file)
	if err != nil {
		return fmt.Errorf("read -site: %w", err)
	}
	var s site
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("read -site: %w", err)
	}
	switch args = flags.Args(); {
	case len(args) == 2 && args[0] == "switch":
		return s.switchTo(ctx, args[1], out)
	case len(args) == 2 && args[0] == "is":
		return s.is(ctx, args[1])
	case len(args) == 2 && args[0] == "install":
		return s.install(ctx, args[1])
	case len(args) == 1 && args[0] == "probe":
		return s.probe(ctx, out)
	case len(args) > 0 && args[0] == "figures":
		sub := flag.NewFlagSet("figures", flag.ContinueOnError)
		over := sub.Duration("over", time.Second, "")
		if err := sub.Parse(args[1:]); err != nil {
			return err
		}
		return s.figures(ctx, *over, out)
	case len(args) > 0 && args[0] == "log":
		sub := flag.NewFlagSet("log", flag.ContinueOnError)
		since, match := sub.Duration("since", time.Minute, ""), sub.String("match", "", "")
		if err := sub.Parse(args[1:]); err != nil {
			return err
		}
		return s.log(time.Now().Add(-*since), *match, out)
	}
	flags.Usage()
	return fmt.Errorf("unknown command %q", args)
}
