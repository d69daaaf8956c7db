//go:build linux

package env

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The tests of terminals start this program once more, in a session of its own,
// with or without a controlling terminal. What it is to do there is in
// $ENV_TEST.
var parts = map[string]func(e *Env){
	"attended": func(e *Env) { fmt.Println(e.Attended()) },
}

func TestMain(m *testing.M) {
	if part := parts[os.Getenv("ENV_TEST")]; part != nil {
		part(Process())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// play returns the command that plays a part. terminal becomes the session's
// controlling terminal; nil: it has none.
func play(t *testing.T, part string, terminal *os.File) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), "ENV_TEST="+part)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if terminal != nil {
		cmd.ExtraFiles = []*os.File{terminal}
		cmd.SysProcAttr.Setctty, cmd.SysProcAttr.Ctty = true, 3
	}
	return cmd
}

// openTerminal returns the two ends of a terminal: the one where a person types
// and reads, and the one that a program has.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { person.Close() })
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

func TestAttended(t *testing.T) {
	_, terminal := openTerminal(t)
	for name, c := range map[string]struct {
		controlling, stdin *os.File
		want               string
	}{
		"neither":     {nil, nil, "false"},
		"controlling": {terminal, nil, "true"},
		"stdin only":  {nil, terminal, "true"},
	} {
		cmd := play(t, "attended", c.controlling)
		if c.stdin != nil {
			cmd.Stdin = c.stdin
		}
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != c.want {
			t.Errorf("%s: got %q, %v, want %s", name, got, err, c.want)
		}
	}
}
