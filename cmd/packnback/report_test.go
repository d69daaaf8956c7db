package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/packnback/packnback/cmd/packnback/internal/env"
	"github.com/packnback/packnback/cmd/packnback/internal/sender"
	"github.com/packnback/packnback/cmd/packnback/internal/statcache"
	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
)

func TestExitStatus(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{errors.New("anything"), 1},
		{usageErrorf("x"), 2},
		{fmt.Errorf("wrapped: %w", usageErrorf("x")), 2},
		{fmt.Errorf("%w: y", view.ErrSelector), 2},
		{&view.AmbiguousError{}, 1},
		{withStatus(statusPartial, errors.New("x")), 3},
		{withHint(withStatus(statusStale, errors.New("x")), "h"), 4},
		{object.CodeNoRepo.Errorf("x"), 10},
		{object.CodeBusy.Errorf("x"), 11},
		{object.CodeUnsafeLock.Errorf("x"), 11},
		{object.CodeHeadMoved.Errorf("x"), 11},
		{errNoSendKey, 12},
		{errNoReadKey, 12},
		{fmt.Errorf("x: %w", crypto.ErrNotRecipient), 12},
		{fmt.Errorf("x: %w", crypto.ErrKeyMode), 12},
		{object.CodeDenied.Errorf("x"), 13},
		{object.CodeQuota.Errorf("x"), 13},
		{object.CodeBraked.Errorf("x"), 13},
		{object.CodeDamaged.Errorf("x"), 14},
		{&view.LossError{Err: crypto.ErrAuth}, 14},
		{fmt.Errorf("x: %w", object.ErrChecksum), 14},
		{&sender.RolledBackError{}, 14},
		{statcache.ErrBusy, 11},
		{object.CodeNoSpace.Errorf("x"), 1},
		{object.CodeNotFound.Errorf("x"), 1},
		{object.CodeVersion.Errorf("x"), 1},
		{context.Canceled, 130},
	} {
		if got := exitStatus(c.err); got != c.want {
			t.Errorf("exit status of %v: got %d, want %d", c.err, got, c.want)
		}
	}
}

func TestReport(t *testing.T) {
	stopped, stop := context.WithCancel(context.Background())
	stop()
	for _, c := range []struct {
		name string
		ctx  context.Context
		json bool
		err  error
		want string
	}{
		{"nothing", context.Background(), false, nil, ""},
		{"a hint of its own", context.Background(), false, withHint(object.CodeNoRepo.Errorf("no repository"), "do this"),
			"packnback: error: no repository\npacknback: hint: do this\n"},
		{"the innermost hint", context.Background(), false, withHint(fmt.Errorf("outer: %w", withHint(errors.New("inner"), "first")), "second"),
			"packnback: error: outer: inner\npacknback: hint: first\n"},
		{"one line, nothing that drives a terminal", context.Background(), false, errors.New("a\nb \x1b[2J"),
			"packnback: error: a\\nb \\x1b[2J\n"},
		{"never a bare EOF", context.Background(), false, io.EOF, "packnback: error: the data ended too early\n"},
		{"another user's", context.Background(), false, fmt.Errorf("reading: %w", &fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}),
			"packnback: error: reading: open x: permission denied\npacknback: hint: run it as the user to whom that belongs; a repository of another user is reached over ssh\n"},
		{"a full disk", context.Background(), false, syscall.ENOSPC, "packnback: error: no space left on device\npacknback: hint: make some room on that disk and try again\n"},
		{"as JSON", context.Background(), true, withHint(usageErrorf("no \"x\""), "y"),
			`{"message_type":"exit_error","code":2,"message":"no \"x\"","hint":"y"}` + "\n"},
		{"interrupted", stopped, false, fmt.Errorf("writing: %w", context.Canceled), "packnback: error: interrupted\n"},
		{"damage is damage, also when interrupted", stopped, false, object.CodeDamaged.Errorf("pack x"), ""},
	} {
		var out, errs bytes.Buffer
		e := &env.Env{Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }}
		p := newProgram(e)
		p.ui = ui.New(e, ui.Mode{JSON: c.json})
		status := p.report(c.ctx, c.err)
		if c.want != "" && errs.String() != c.want || out.Len() != 0 {
			t.Errorf("%s: got %q and %q, want %q", c.name, errs.String(), out.String(), c.want)
		}
		if c.ctx.Err() != nil && status != statusInterrupted && status != statusDamage {
			t.Errorf("%s: status %d", c.name, status)
		}
		if (status == statusOK) != (c.err == nil) || strings.Count(errs.String(), "error: ") > 1 {
			t.Errorf("%s: status %d, %q", c.name, status, errs.String())
		}
	}
}
