// Command rotatord rotates ArcGIS API keys. See docs/commands.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	_ "time/tzdata" // zones of schedules on images without them
)

// version is set by the linker; without it the build info speaks.
var version string

func main() { os.Exit(realMain()) }

// realMain ends the context at the first SIGINT or SIGTERM. From then on these signals do what they do by default, so
// that a second one ends the process at once.
func realMain() int {
	forbidCores()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	defer stop()
	return run(ctx, os.Args[1:], stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr})
}
