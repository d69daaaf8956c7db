package ui

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/packnback/packnback/cmd/packnback/internal/env"
)

// Mode says how much is shown and in which form.
type Mode struct {
	JSON    bool // machine-readable lines instead of text
	Quiet   bool // neither progress nor remarks
	Verbose bool // remarks on single files
}

// UI writes to the standard streams of one run. Its methods may be called by
// several goroutines; each call writes whole lines.
type UI struct {
	Mode
	env *env.Env

	mu  sync.Mutex // one writer at a time, so that lines don't mix
	bar *Progress  // the progress being drawn, which must be cleared before other output; nil when none
	err error      // the first of writing results
}

// New returns a UI on e's standard streams.
func New(e *env.Env, m Mode) *UI { return &UI{Mode: m, env: e} }

// Printf prints a result to standard output. In JSON mode it prints nothing.
func (u *UI) Printf(format string, args ...any) {
	if u.JSON {
		return
	}
	u.write(u.env.Stdout, fmt.Appendf(nil, format, args...))
}

// Remarkf prints a line that only helps (what was made, what comes next) to
// standard output unless the run is quiet or in JSON mode.
func (u *UI) Remarkf(format string, args ...any) {
	if u.Quiet || u.JSON {
		return
	}
	u.write(u.env.Stdout, fmt.Appendf(nil, format+"\n", args...))
}

// Say prints one line "packnback: KIND: text" to standard error, whatever the
// mode. Kind is "error", "warning" or "hint"; empty gives "packnback: text".
// Line ends inside the text become spaces: every message is one line.
func (u *UI) Say(kind, text string) {
	if kind != "" {
		kind += ": "
	}
	u.write(u.env.Stderr, fmt.Appendf(nil, "packnback: %s%s\n", kind, oneLine(text)))
}

// PrintJSON prints v as JSONLine writes it to standard output.
func (u *UI) PrintJSON(v any) { u.write(u.env.Stdout, JSONLine(v)) }

// SayJSON prints v as one line of JSON to standard error.
func (u *UI) SayJSON(v any) { u.write(u.env.Stderr, JSONLine(v)) }

// write sends whole lines to w, with the progress line out of the way.
func (u *UI) write(w io.Writer, b []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.bar != nil {
		u.bar.clear()
	}
	// Commands with much output (dump, ls) write it themselves and stop at an
	// error; of the others' it is remembered. Nothing can be done about messages.
	if _, err := w.Write(b); err != nil && u.err == nil && w == u.env.Stdout {
		u.err = err
	}
}

// Err returns the first error of writing results to standard output, for the
// end of a run: what was printed is not all.
func (u *UI) Err() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// Stdout returns a writer to standard output that keeps out of the way of
// progress and reports errors: for results too large to build in memory.
func (u *UI) Stdout() io.Writer { return stdout{u} }

type stdout struct{ u *UI }

func (s stdout) Write(b []byte) (int, error) {
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	if s.u.bar != nil {
		s.u.bar.clear()
	}
	return s.u.env.Stdout.Write(b)
}

func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
}
