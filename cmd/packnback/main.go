// Packnback backs up machines to a store that can't read the backups, over
// connections that can't delete them. This package parses the command line,
// calls and prints; packnback(1) is its manual.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/packnback/packnback/cmd/packnback/internal/env"
)

// memoryLimit is the soft limit of the Go heap, in bytes. Budgets keep the
// pipelines below it; the limit makes the collector run instead of letting
// garbage double that.
const memoryLimit = 150 << 20

func main() {
	e := env.Process()
	if e.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup stays in force
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, e))
}

// run does what e's arguments ask for and returns the exit status.
func run(ctx context.Context, e *env.Env) int {
	p := newProgram(e)
	return p.report(ctx, p.run(ctx))
}
