package recipients

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/packnback/packnback/cmd/packnback/internal/env"
)

// maxPassphrase is the largest length of a passphrase in bytes.
const maxPassphrase = 4096

// commandGrace is how long a cancelled passphrase command's children may keep
// its output open.
const commandGrace = 2 * time.Second

// ErrNoPassphrase says that a passphrase is needed, that neither a command nor
// $PACKNBACK_PASSPHRASE gives one, and that nobody can be asked.
var ErrNoPassphrase = errors.New("a passphrase is needed: use --passphrase-command, $PACKNBACK_PASSPHRASE or a terminal")

// errMismatch says that a new passphrase was not typed the same way twice.
var errMismatch = errors.New("the two passphrases differ")

// Source is where passphrases and identities come from in one run. Its fields
// are set once; its methods ask people and start processes, so they are called
// by one goroutine at a time.
type Source struct {
	Env *env.Env
	// PassphraseCommand is given to sh -c; the first line of what it prints is the
	// passphrase. It wins over $PACKNBACK_PASSPHRASE, and both over the terminal.
	PassphraseCommand string
	// NoVariable leaves $PACKNBACK_PASSPHRASE alone, where that holds the
	// passphrase of another file.
	NoVariable bool
	// Identities names identity files to try in addition to the one beside a key
	// file, the one in $PACKNBACK_IDENTITY and the user's SSH keys.
	Identities []string

	ask func(ctx context.Context, prompt string) (string, error) // instead of the terminal, in tests
}

// terminal asks for a secret on the terminal.
func (s *Source) terminal(ctx context.Context, prompt string) (string, error) {
	ask := s.ask
	if ask == nil {
		ask = s.Env.ReadPassphrase
	}
	secret, err := ask(ctx, prompt)
	if errors.Is(err, env.ErrNoTerminal) {
		return "", ErrNoPassphrase
	}
	return secret, err
}

// given returns the passphrase from the command or the environment, if either
// is there to give one.
func (s *Source) given(ctx context.Context) (passphrase string, ok bool, err error) {
	if s.PassphraseCommand != "" {
		passphrase, err = s.command(ctx)
		return passphrase, true, err
	}
	if s.NoVariable {
		return "", false, nil
	}
	passphrase = s.Env.Getenv("PACKNBACK_PASSPHRASE")
	return passphrase, passphrase != "", nil
}

// NewPassphrase returns the passphrase for a key file that is about to be
// encrypted. On a terminal it is asked for twice.
func (s *Source) NewPassphrase(ctx context.Context, name string) (string, error) {
	passphrase, ok, err := s.given(ctx)
	if ok || err != nil {
		return passphrase, err
	}
	passphrase, err = s.terminal(ctx, fmt.Sprintf("new passphrase for %q", name))
	if err != nil {
		return "", err
	}
	if passphrase == "" {
		return "", errors.New("the passphrase is empty")
	}
	again, err := s.terminal(ctx, "the same again")
	if err != nil {
		return "", err
	}
	if again != passphrase {
		return "", errMismatch
	}
	return passphrase, nil
}

// command runs the passphrase command. Its standard input is empty, because
// ours may be the data of a backup; what it has to say goes to our standard
// error.
func (s *Source) command(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", s.PassphraseCommand)
	out := &limitedBuffer{left: maxPassphrase + 1}
	cmd.Stdout, cmd.Stderr = out, s.Env.Stderr
	cmd.WaitDelay = commandGrace
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("passphrase command %.80q: %w", s.PassphraseCommand, err)
	}
	line, _, _ := strings.Cut(out.String(), "\n")
	line = strings.TrimSuffix(line, "\r")
	if line == "" {
		return "", fmt.Errorf("passphrase command %.80q printed nothing", s.PassphraseCommand)
	}
	if len(line) > maxPassphrase {
		return "", fmt.Errorf("passphrase command %.80q printed more than %d bytes", s.PassphraseCommand, maxPassphrase)
	}
	return line, nil
}

// limitedBuffer keeps the first bytes that are written to it and drops the
// rest, so that a command that never stops printing ends by itself or by ctx
// without filling memory.
type limitedBuffer struct {
	bytes.Buffer
	left int
}

// Write keeps as much of b as fits and never fails.
func (l *limitedBuffer) Write(b []byte) (int, error) {
	n := min(len(b), l.left)
	l.left -= n
	l.Buffer.Write(b[:n])
	return len(b), nil
}

// ReadFrom copies through Write, so that the limit holds for it too.
func (l *limitedBuffer) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{l}, r)
}
