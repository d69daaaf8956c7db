package env

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is where the controlling terminal of a process is found. Questions
// are asked there and not on the standard streams, which may carry data.
const terminal = "/dev/tty"

// maxTyped is the largest length of a line that is typed, Linux's own limit.
const maxTyped = 4096

// ErrNoTerminal says that a passphrase was needed and nobody can be asked.
var ErrNoTerminal = errors.New("there is no terminal to ask for the passphrase")

// Attended reports whether somebody may be sitting there who is asked something:
// by this program on the controlling terminal, or by one that it starts.
func (e *Env) Attended() bool {
	if e.Terminal(e.Stdin) {
		return true
	}
	tty, err := os.OpenFile(terminal, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	tty.Close()
	return true
}

// ReadPassphrase asks for a secret on the controlling terminal, which does not
// show what is typed. It returns ErrNoTerminal where there is none, and the
// error of ctx when that ends first.
func (e *Env) ReadPassphrase(ctx context.Context, prompt string) (string, error) {
	secret, err := ask(ctx, prompt+": ", true)
	if err != nil {
		return "", questionError("reading the passphrase from the terminal", err)
	}
	return secret, nil
}

// Ask prints a question on the controlling terminal and returns the line typed
// there, without the line end. It returns ErrNoTerminal where there is none, and
// the error of ctx when that ends first.
func (e *Env) Ask(ctx context.Context, question string) (string, error) {
	line, err := ask(ctx, question, false)
	if err != nil {
		return "", questionError("reading an answer from the terminal", err)
	}
	return strings.TrimSpace(line), nil
}

// questionError says what was being done, where the error does not by itself.
func questionError(doing string, err error) error {
	if errors.Is(err, ErrNoTerminal) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// ask prints a question and reads the line that is typed. Whatever ends it, the
// terminal is left as it was.
func ask(ctx context.Context, question string, secret bool) (line string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	tty, err := os.OpenFile(terminal, os.O_RDWR, 0)
	if err != nil {
		return "", ErrNoTerminal
	}
	defer tty.Close()
	shown, err := termios(tty, nil)
	if err != nil {
		return "", ErrNoTerminal
	}
	typing := *shown
	typing.Iflag |= unix.ICRNL
	typing.Lflag |= unix.ICANON | unix.ISIG
	if secret {
		typing.Lflag &^= unix.ECHO
	}
	if _, err := termios(tty, &typing); err != nil {
		return "", err
	}
	defer func() {
		if _, rerr := termios(tty, shown); err == nil {
			err = rerr
		}
		if secret || ctx.Err() != nil { // else the terminal has shown the line's end
			fmt.Fprintln(tty)
		}
	}()
	// A signal does not end a read, because Go restarts it; a deadline does.
	stop := context.AfterFunc(ctx, func() { _ = tty.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	fmt.Fprint(tty, question)
	line, err = readLine(tty)
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return line, err
}

// readLine reads byte by byte up to the end of a line, so that nothing that is
// typed behind it is lost to the next who reads. Input that ends is an error
// unless something was typed before it did.
func readLine(tty *os.File) (string, error) {
	var line strings.Builder
	for b := make([]byte, 1); line.Len() < maxTyped; {
		n, err := tty.Read(b)
		if n == 1 && b[0] == '\n' || err != nil && line.Len() > 0 {
			break
		}
		if errors.Is(err, io.EOF) {
			return "", errors.New("nothing was typed")
		}
		if err != nil {
			return "", err
		}
		line.WriteByte(b[0])
	}
	return line.String(), nil
}

// termios returns the settings of a terminal, after it has made them set if that
// isn't nil. File.Fd is no way to get at the descriptor here: it might take the
// file from the poller, and reading could not be broken off any more.
func termios(tty *os.File, set *unix.Termios) (now *unix.Termios, err error) {
	raw, err := tty.SyscallConn()
	if err != nil {
		return nil, err
	}
	cerr := raw.Control(func(fd uintptr) {
		for {
			if set == nil {
				now, err = unix.IoctlGetTermios(int(fd), unix.TCGETS)
			} else {
				now, err = set, unix.IoctlSetTermios(int(fd), unix.TCSETS, set)
			}
			if !errors.Is(err, syscall.EINTR) {
				return
			}
		}
	})
	return now, errors.Join(err, cerr)
}
