package main

import (
	"context"
	"os"
	"runtime/debug"
)

// saveMemory at the price of some CPU time, of which a daemon that mostly waits has
// plenty: the heap may grow by a fifth between two collections instead of doubling, and
// what reading the config took goes back to the system. Somebody's GOGC is respected.
func saveMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(20)
	}
	debug.FreeOSMemory()
}

// giveBack what reading the journal and a config took, each time that somebody says so.
// The runtime would keep it for minutes, three times what the daemon needs at rest.
func (p *process) giveBack(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.loaded:
			debug.FreeOSMemory()
		}
	}
}
