package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"

	"github.com/packnback/packnback/cmd/packnback/internal/recipients"
	"github.com/packnback/packnback/cmd/packnback/internal/statcache"
	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/protocol/server"
	"github.com/packnback/packnback/repo/object"
)

// The exit statuses of packnback(1), "EXIT STATUS".
const (
	statusOK          = 0
	statusFailed      = 1
	statusUsage       = 2
	statusPartial     = 3
	statusStale       = 4
	statusNoRepo      = 10
	statusBusy        = 11
	statusKey         = 12
	statusRefused     = 13
	statusDamage      = 14
	statusInterrupted = 130
)

// usageError is a command line that makes no sense.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usageErrorf(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// statusError gives an error its exit status.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// withStatus gives err an exit status that its own kind does not imply.
func withStatus(status int, err error) error { return &statusError{status, err} }

// hintError adds what to do about an error.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

// withHint adds what to do about err, best as a command to paste. The hint of
// the innermost error wins, because it knows most.
func withHint(err error, hint string) error {
	if err == nil {
		return nil
	}
	return &hintError{err, hint}
}

// exitError is what programs get instead of the message; the names are those
// that scripts written for restic know.
type exitError struct {
	MessageType string `json:"message_type"`
	Code        int    `json:"code"`
	Message     string `json:"message"`
	Hint        string `json:"hint,omitempty"`
}

// report prints err, if there is one, and returns the exit status.
func (p *program) report(ctx context.Context, err error) int {
	if err == nil {
		err = p.ui.Err()
	}
	if err == nil {
		return statusOK
	}
	status := exitStatus(err)
	var served *server.Failure
	if errors.As(err, &served) && served.Told {
		return status // the client says it, and what is printed here reaches it too
	}
	text, hint := ui.QuoteText(message(err)), hintFor(err)
	if ctx.Err() != nil && status != statusDamage {
		status, text, hint = statusInterrupted, "interrupted", ""
	}
	if p.ui.JSON {
		p.ui.SayJSON(exitError{"exit_error", status, text, hint})
		return status
	}
	p.ui.Say("error", text)
	if hint != "" {
		p.ui.Say("hint", ui.QuoteText(hint))
	}
	return status
}

// warnf tells of something that the user should know and that does not end the
// run. Values from outside go through ui.Quote or %q first.
func (p *program) warnf(format string, args ...any) {
	p.say("warning", fmt.Sprintf(format, args...))
}

// hintf tells what to do about the warning before it.
func (p *program) hintf(format string, args ...any) {
	p.say("hint", fmt.Sprintf(format, args...))
}

func (p *program) say(kind, text string) {
	if p.ui.JSON {
		p.ui.SayJSON(struct {
			MessageType string `json:"message_type"`
			Message     string `json:"message"`
		}{kind, text})
		return
	}
	p.ui.Say(kind, ui.QuoteText(text))
}

// exitStatus is the one place where an error becomes an exit status.
func exitStatus(err error) int {
	var usage *usageError
	var status *statusError
	switch {
	case errors.As(err, &usage):
		return statusUsage
	case errors.As(err, &status):
		return status.status
	case errors.Is(err, context.Canceled):
		return statusInterrupted
	case errors.Is(err, view.ErrSelector):
		return statusUsage
	case isAny(err, keyErrors):
		return statusKey
	case isAny(err, damageErrors):
		return statusDamage
	case errors.Is(err, statcache.ErrBusy):
		return statusBusy
	}
	for _, c := range codeStatuses {
		if errors.Is(err, c.code) {
			return c.status
		}
	}
	return statusFailed
}

// codeStatuses are the exit statuses of a store's refusals; the others' is
// statusFailed.
var codeStatuses = []struct {
	code   object.Code
	status int
}{
	{object.CodeNoRepo, statusNoRepo},
	{object.CodeBusy, statusBusy},
	{object.CodeUnsafeLock, statusBusy},
	{object.CodeHeadMoved, statusBusy},
	{object.CodeDenied, statusRefused},
	{object.CodeQuota, statusRefused},
	{object.CodeBraked, statusRefused},
	{object.CodeDamaged, statusDamage},
}

// keyErrors are those of keys that are wrong, missing or locked.
var keyErrors = []error{
	crypto.ErrIsPublic, crypto.ErrIsSecret, crypto.ErrIsSend, crypto.ErrIsReading, crypto.ErrIsGroup, crypto.ErrEncrypted, crypto.ErrNotKey,
	crypto.ErrKeyMode, crypto.ErrWrongPassphrase, crypto.ErrNotRecipient, recipients.ErrNoPassphrase,
}

// damageErrors are those of bytes that are not what was stored.
var damageErrors = []error{
	crypto.ErrAuth, crypto.ErrID, object.ErrChecksum, object.ErrMalformed, object.ErrSignature,
}

func isAny(err error, targets []error) bool {
	return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
}

// message is the line that people read.
func message(err error) string {
	switch text := err.Error(); {
	case errors.Is(err, context.DeadlineExceeded):
		return text + " (the time is up)"
	case text == "EOF" || text == "unexpected EOF":
		return "the data ended too early"
	default:
		return text
	}
}

// hintFor is the hint that goes with err, or empty: the innermost one that was
// given, else the one that its kind implies.
func hintFor(err error) string {
	hint := ""
	for rest := err; ; {
		var h *hintError
		if !errors.As(rest, &h) {
			break
		}
		hint, rest = h.hint, h.err
	}
	if hint != "" {
		return hint
	}
	var own interface{ Hint() string }
	if errors.As(err, &own) && own.Hint() != "" {
		return own.Hint()
	}
	for _, h := range codeHints {
		if errors.Is(err, h.code) {
			return h.hint
		}
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "run it as the user to whom that belongs; a repository of another user is reached over ssh"
	case errors.Is(err, syscall.EROFS):
		return "that file system is mounted read-only"
	case errors.Is(err, syscall.ENOSPC):
		return "make some room on that disk and try again"
	}
	return ""
}

// codeHints say what to do about a store's refusals.
var codeHints = []struct {
	code object.Code
	hint string
}{
	{object.CodeNoRepo, "check the path, or make a repository there: packnback init -r REPO"},
	{object.CodeBusy, "wait for the other run to end and try again; nothing needs to be unlocked"},
	{object.CodeUnsafeLock, "use the machine that owns the disk, over ssh"},
	{object.CodeHeadMoved, "another backup of this job finished first; run the backup again"},
	{object.CodeDenied, "the store decides what this connection may do; its administrator can do it there, or see packnback-authorize(1)"},
	{object.CodeQuota, "the store's administrator can free space (packnback forget, packnback prune) or raise the limit"},
	{object.CodeNoSpace, "the store's administrator can free space: packnback forget, packnback prune"},
	{object.CodeDamaged, "packnback check --read-data -r REPO lists what is damaged"},
	{object.CodeVersion, "install the newest packnback on both machines"},
	{object.CodeClock, "set the store's clock, then try again"},
}
