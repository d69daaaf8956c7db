package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
)

// Link is a connection to a program on another machine. Read and Write may be
// called by one goroutine each; Close, which also ends those, by any.
type Link interface {
	io.ReadWriteCloser
	// Explain returns the reason behind err, an error of Read or Write, as far as
	// the transport knows it. It may wait a few seconds for the far side to end.
	Explain(err error) error
}

// Options say how to reach the far side. The zero value of each field but
// Getenv is a default.
type Options struct {
	Command  string    // how ssh is called, split into words as a shell does; "builtin" and its options; empty: ssh, or builtin where there is none
	Program  string    // how packnback is called on the far side, for a shell there; empty: packnback
	Upload   int       // KiB a second; 0 not limited
	Download int       // likewise
	Stderr   io.Writer // gets what the far side says on stderr, cleaned and prefixed; nil: nobody
	Getenv   func(string) string
	// Ask puts a question to the user of the built-in client; secret ones are
	// not echoed, and get a colon behind them. Nil: there is nobody to ask.
	Ask func(question string, secret bool) (string, error)

	dial func(ctx context.Context, hostPort string) (net.Conn, error) // instead of TCP, in tests
}

// builtin is the --ssh-command of the built-in client.
const builtin = "builtin"

// Dial starts packnback serve at the place to. The far side learns the path
// from the protocol, never from a shell.
func Dial(ctx context.Context, to Location, opt Options) (Link, error) {
	if opt.Program == "" {
		opt.Program = "packnback"
	}
	words, err := splitWords(opt.Command)
	if err != nil {
		return nil, fmt.Errorf("ssh command %q: %w", opt.Command, err)
	}
	// A Location can be put together without ParseLocation.
	if err := checkWord("host", to.Host); err != nil {
		return nil, err
	}
	if to.User != "" {
		if err := checkWord("user", to.User); err != nil {
			return nil, err
		}
	}
	if opt.Stderr != nil {
		opt.Stderr = untilDone{ctx, opt.Stderr}
	}
	remote := strings.TrimSpace(opt.Program) + " serve"
	var link Link
	switch {
	case len(words) > 0 && words[0] == builtin:
		link, err = dialBuiltin(ctx, to, words[1:], remote, opt)
	case len(words) > 0:
		link, err = dialExec(to, words, remote, opt.Stderr)
	default:
		link, err = dialExec(to, []string{"ssh"}, remote, opt.Stderr)
		if errors.Is(err, exec.ErrNotFound) {
			link, err = dialBuiltin(ctx, to, nil, remote, opt)
		}
	}
	if err != nil {
		return nil, err
	}
	return Limit(link, opt.Upload, opt.Download), nil
}
