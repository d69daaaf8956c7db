package env

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"
)

// Env is what a run of the program sees of the world. Its fields are set once
// and then only read, so it may be used by several goroutines; the streams
// themselves promise no more than io.Reader and io.Writer do.
type Env struct {
	Args   []string // without the program's own name
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer

	Getenv   func(string) string
	Now      func() time.Time
	Hostname func() (string, error)

	// StatusRequests gets a value for every SIGUSR1: somebody wants to know how
	// far the run is. Nil means that nobody asks.
	StatusRequests <-chan os.Signal
}

// Process returns the Env of this process. From then on SIGUSR1 asks for
// progress and no longer ends the process.
func Process() *Env {
	asked := make(chan os.Signal, 1) // 1: a request that comes before the last was answered adds nothing
	signal.Notify(asked, syscall.SIGUSR1)
	return &Env{
		Args:     os.Args[1:],
		Stdin:    os.Stdin,
		Stdout:   os.Stdout,
		Stderr:   os.Stderr,
		Getenv:   os.Getenv,
		Now:      time.Now,
		Hostname: os.Hostname,

		StatusRequests: asked,
	}
}

// Terminal reports whether the stream (one of Stdin, Stdout, Stderr) is a
// terminal.
func (e *Env) Terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Attended reports whether somebody may be sitting there who is asked something:
// by this program on the controlling terminal, or by one that it starts.
func (e *Env) Attended() bool {
	if e.Terminal(e.Stdin) {
		return true
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	tty.Close()
	return true
}

// Width returns how many columns the terminal behind stream has, and fallback
// where it is none.
func (e *Env) Width(stream any, fallback int) int {
	f, ok := stream.(*os.File)
	if !ok {
		return fallback
	}
	w, _, err := term.GetSize(int(f.Fd()))
	if err != nil || w <= 0 {
		return fallback
	}
	return w
}

// homeError says that the user's home is not known.
type homeError struct{ why string }

// Error says why.
func (e *homeError) Error() string { return e.why + ", so the default folders are not known" }

// Hint says what can be done about it.
func (*homeError) Hint() string {
	return "set HOME, or XDG_CONFIG_HOME, XDG_CACHE_HOME and XDG_STATE_HOME, to absolute paths"
}

// Home returns the user's home folder, from $HOME.
func (e *Env) Home() (string, error) {
	switch home := e.Getenv("HOME"); {
	case home == "":
		return "", &homeError{"$HOME is not set"}
	case !filepath.IsAbs(home): // it would mean another folder in each
		return "", &homeError{"$HOME is not an absolute path"}
	default:
		return home, nil
	}
}

// ConfigDir returns the folder of the default keys, usually
// ~/.config/packnback. It need not exist.
func (e *Env) ConfigDir() (string, error) { return e.folder("XDG_CONFIG_HOME", ".config") }

// CacheDir returns the folder for what may be lost, usually ~/.cache/packnback.
// It need not exist.
func (e *Env) CacheDir() (string, error) { return e.folder("XDG_CACHE_HOME", ".cache") }

// StateDir returns the folder for what must not be lost, usually
// ~/.local/state/packnback. It need not exist.
func (e *Env) StateDir() (string, error) {
	return e.folder("XDG_STATE_HOME", filepath.Join(".local", "state"))
}

// folder follows the XDG base directory specification: a relative path in the
// variable is ignored.
func (e *Env) folder(variable, below string) (string, error) {
	if dir := e.Getenv(variable); filepath.IsAbs(dir) {
		return filepath.Join(dir, "packnback"), nil
	}
	home, err := e.Home()
	if err != nil {
		return "", fmt.Errorf("looking for $%s: %w", variable, err)
	}
	return filepath.Join(home, below, "packnback"), nil
}

// ErrNoTerminal says that a passphrase was needed and nobody can be asked.
var ErrNoTerminal = errors.New("there is no terminal to ask for the passphrase")

// ReadPassphrase asks on the controlling terminal, not on the standard streams,
// which may carry data. It returns ErrNoTerminal where there is none.
func (e *Env) ReadPassphrase(prompt string) (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", ErrNoTerminal
	}
	defer tty.Close()
	fd := int(tty.Fd())
	if !term.IsTerminal(fd) {
		return "", ErrNoTerminal
	}
	fmt.Fprintf(tty, "%s: ", prompt)
	secret, err := term.ReadPassword(fd)
	fmt.Fprintln(tty)
	if err != nil {
		return "", fmt.Errorf("reading the passphrase from the terminal: %w", err)
	}
	return string(secret), nil
}

// Ask prints a question on the controlling terminal and returns the line typed
// there, without the line end. It returns ErrNoTerminal where there is none.
func (e *Env) Ask(question string) (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", ErrNoTerminal
	}
	defer tty.Close()
	fmt.Fprint(tty, question)
	var line strings.Builder
	for b := make([]byte, 1); line.Len() < 1024; {
		n, err := tty.Read(b)
		if n == 1 && b[0] == '\n' {
			break
		}
		if n == 1 {
			line.WriteByte(b[0])
		}
		if err != nil {
			break
		}
	}
	return strings.TrimSpace(line.String()), nil
}
