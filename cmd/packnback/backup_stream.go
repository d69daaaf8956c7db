package main

import (
	"context"
	"errors"
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

// commandStream is what a command prints. Reading its end fails when the
// command failed, so that half a dump never becomes a snapshot.
type commandStream struct {
	cmd  *exec.Cmd
	out  io.ReadCloser
	done bool
	err  error // of the finished command
}

// startCommand runs a command whose output is to be stored. Its input is
// empty and its error output is ours. It is told to end when ctx does.
func startCommand(ctx context.Context, e *env.Env, words []string) (*commandStream, error) {
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
	return &commandStream{cmd: cmd, out: out}, nil
}

// Read reads what the command prints. It returns io.EOF only after the command
// has ended with status 0.
func (s *commandStream) Read(b []byte) (int, error) {
	if s.done {
		return 0, s.end()
	}
	n, err := s.out.Read(b)
	if err == nil || n > 0 {
		return n, nil
	}
	s.done = true
	if waitErr := s.cmd.Wait(); waitErr != nil {
		err = waitErr
	}
	if !errors.Is(err, io.EOF) {
		s.err = withHint(fmt.Errorf("command %q failed: %w", s.cmd.Path, err), "no snapshot was made; run the command by itself to see why")
	}
	return 0, s.end()
}

func (s *commandStream) end() error {
	if s.err != nil {
		return s.err
	}
	return io.EOF
}

// Close ends the command if it is still running.
func (s *commandStream) Close() error {
	if s.done {
		return nil
	}
	s.done = true
	s.out.Close()            // the command gets SIGPIPE
	_ = s.cmd.Process.Kill() // it may not be writing
	_ = s.cmd.Wait()         // it was killed: how it ended says nothing
	return nil
}
