package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

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

// stdinTick is how long it takes to notice that a wait for standard input is in
// vain, in milliseconds.
const stdinTick = 100

// patientReader reads a file that may have nothing to give for a long time, a
// pipe or a terminal, until its context ends.
type patientReader struct {
	ctx  context.Context
	file *os.File
}

// Read waits for input without being in a read that nothing can end.
func (r *patientReader) Read(b []byte) (int, error) {
	for {
		if err := r.ctx.Err(); err != nil {
			return 0, err
		}
		ready := []unix.PollFd{{Fd: int32(r.file.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, stdinTick)
		if n != 0 && err != unix.EINTR {
			return r.file.Read(b) // which also knows what is wrong if poll doesn't
		}
	}
}

// patient returns r so that reads from it end when ctx does, if it is a file.
func patient(ctx context.Context, r io.Reader) io.Reader {
	if file, ok := r.(*os.File); ok {
		return &patientReader{ctx, file}
	}
	return r
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
	// What the command itself has started may keep the pipe open for longer.
	context.AfterFunc(ctx, func() { _ = out.Close() })
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
