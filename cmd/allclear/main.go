// Command allclear runs a team's deployment checklist.
package main

import (
	"os"

	"allclear.dev/allclear/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args, cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
