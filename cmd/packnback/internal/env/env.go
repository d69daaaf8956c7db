package env

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
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
