package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"

	"github.com/packnback/packnback/cmd/packnback/internal/env"
)

// commandGrace is how long a command that was told to end may take before it is
// killed.
const commandGrace = 10 * time.Second

// printing is a command whose output is being stored.
type printing struct {
	cmd  *exec.Cmd
	out  io.ReadCloser
	over bool
}

// startCommand runs a command whose output is to be stored. Its input is
// empty and its error output is ours. It is told to end when ctx does.
func startCommand(ctx context.Context, e *env.Env, words []string) (*printing, error) {
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stderr = e.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = commandGrace
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("running %q: %w", words[0], err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("running %q: %w", words[0], err)
	}
	return &printing{cmd: cmd, out: out}, nil
}

// wait waits for the command, all of whose output has been read. It fails when
// the command did: half a dump must never become a snapshot.
func (r *printing) wait() error {
	r.over = true
	if err := r.cmd.Wait(); err != nil {
		return withHint(fmt.Errorf("command %q failed: %w", r.cmd.Path, err), "no snapshot was made; run the command by itself to see why")
	}
	return nil
}

// close ends the command if it is still running.
func (r *printing) close() error {
	if r.over {
		return nil
	}
	r.over = true
	r.out.Close()            // the command gets SIGPIPE
	_ = r.cmd.Process.Kill() // it may not be writing
	_ = r.cmd.Wait()         // it was killed: how it ended says nothing
	return nil
}
