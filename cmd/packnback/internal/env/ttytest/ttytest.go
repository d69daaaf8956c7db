//go:build linux

// Package ttytest gives tests a terminal, and programs that run in a session of
// their own on it. The program never links it.
package ttytest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what a program should print.
const patience = 30 * time.Second

// Interrupt is the key that interrupts the program in the foreground.
const Interrupt = "\x03"

// Terminal is a terminal with a person in front of it. It is for one goroutine.
type Terminal struct {
	t       *testing.T
	person  *os.File // the end where a person types and reads
	Program *os.File // the end that a program has
	seen    string
}

// Open returns a new terminal, which the end of the test closes.
func Open(t *testing.T) *Terminal {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { person.Close() })
	var n int
	err = control(person, func(fd int) error {
		var err error
		if n, err = unix.IoctlGetInt(fd, unix.TIOCGPTN); err != nil {
			return err
		}
		return unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return &Terminal{t: t, person: person, Program: program}
}

// control calls f with the descriptor of file, which stays with the poller, so
// that deadlines work.
func control(file *os.File, f func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) { err = f(int(fd)) })
	return errors.Join(err, cerr)
}

// Detach gives cmd a session of its own without a controlling terminal.
func Detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// Attach gives cmd a session of its own, with the terminal as its controlling
// one.
func (y *Terminal) Attach(cmd *exec.Cmd) {
	cmd.ExtraFiles = append(cmd.ExtraFiles, y.Program)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 2 + len(cmd.ExtraFiles)}
}

// Type types keys, and returns when the terminal has dealt with them: shown
// them, if it does, and signalled.
func (y *Terminal) Type(keys string) {
	y.t.Helper()
	if _, err := y.person.WriteString(keys); err != nil {
		y.t.Fatal(err)
	}
	// The kernel hands them on later, from a thread of its own; poll waits for that.
	err := control(y.Program, func(fd int) error {
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			if err != unix.EINTR {
				return err
			}
		}
	})
	if err != nil {
		y.t.Fatal(err)
	}
}

// Await reads what is on the screen until text is, and returns all of it.
func (y *Terminal) Await(text string) string {
	y.t.Helper()
	if err := y.person.SetReadDeadline(time.Now().Add(patience)); err != nil {
		y.t.Fatal(err)
	}
	for b := make([]byte, 4096); !strings.Contains(y.seen, text); {
		n, err := y.person.Read(b)
		y.seen += string(b[:n])
		if err != nil {
			y.t.Fatalf("waiting for %q on the terminal, which shows %q: %v", text, y.seen, err)
		}
	}
	return y.seen
}

// Settings returns how the terminal is set.
func (y *Terminal) Settings() unix.Termios {
	y.t.Helper()
	var set *unix.Termios
	err := control(y.Program, func(fd int) error {
		var err error
		set, err = unix.IoctlGetTermios(fd, unix.TCGETS)
		return err
	})
	if err != nil {
		y.t.Fatal(err)
	}
	return *set
}

// Echoes reports whether the terminal shows what is typed.
func (y *Terminal) Echoes() bool { return y.Settings().Lflag&unix.ECHO != 0 }
