package transport

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// stdio is the near end of a connection that somebody else has made.
type stdio struct {
	in  io.ReadCloser
	out io.WriteCloser
}

// Stdio returns this process's side of a connection whose other side wrote in
// and reads out: standard input and output of packnback serve. Its Close also
// ends a Read or Write that is under way, where the system can do that.
func Stdio(in, out *os.File) (io.ReadWriteCloser, error) {
	r, err := pollable(in)
	if err != nil {
		return nil, err
	}
	w, err := pollable(out)
	if err != nil {
		r.Close()
		return nil, err
	}
	return &stdio{r, w}, nil
}

// pollable returns a copy of f whose reads and writes Close can interrupt.
func pollable(f *os.File) (*os.File, error) {
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		return nil, fmt.Errorf("copying the descriptor of %s: %w", f.Name(), err)
	}
	syscall.CloseOnExec(fd)
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return nil, fmt.Errorf("making %s pollable: %w", f.Name(), err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// Read reads from the other side.
func (s *stdio) Read(b []byte) (int, error) { return s.in.Read(b) }

// Write writes to the other side.
func (s *stdio) Write(b []byte) (int, error) { return s.out.Write(b) }

// Close closes both directions.
func (s *stdio) Close() error {
	err := s.out.Close()
	if rerr := s.in.Close(); err == nil {
		err = rerr
	}
	return err
}
