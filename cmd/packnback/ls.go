package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/repo/tree"
)

func lsCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:      "ls",
		Usage:     "list what is in a snapshot",
		ArgsUsage: "SNAP[:/path]",
		Flags: append(snapshotFlags(),
			&cli.BoolFlag{Name: "long", Aliases: []string{"l"}, Usage: "show mode, owner, size and time"}),
		Action: func(c *cli.Context) error {
			ops, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			sel, err := parseSelector(ops[0])
			if err != nil {
				return err
			}
			return p.withReading(c, func(r *reading) error {
				return r.list(c.Context, sel, c.Bool("long"))
			})
		},
	}
}

func (r *reading) list(ctx context.Context, sel view.Selector, long bool) error {
	snap, err := r.open(ctx, sel)
	if err != nil {
		return err
	}
	from, err := snap.Lookup(ctx, sel.Path)
	if err != nil {
		return err
	}
	// Standard output is written in large pieces, and its errors are seen: a
	// listing that was cut is none.
	out := bufio.NewWriterSize(r.ui.Stdout(), 64<<10)
	lost := 0
	err = r.reader.Walk(ctx, from, func(it *view.Item) error {
		if it.Step == view.Leave {
			if it.Err != nil {
				lost++
				r.ui.Say("error", fmt.Sprintf("%s: its list of files: %s", ui.Quote(it.Path), ui.QuoteText(it.Err.Error())))
			}
			return nil
		}
		if it.Path == "/" {
			return nil
		}
		return r.printEntry(out, it.Path, it.Entry, long)
	})
	if err := errors.Join(err, out.Flush()); err != nil {
		return err
	}
	if lost > 0 {
		return withStatus(statusDamage, fmt.Errorf("%d folders could not be read", lost))
	}
	return nil
}

// printEntry prints one entry as text or as a line of JSON.
func (r *reading) printEntry(w io.Writer, path string, e *tree.Entry, long bool) error {
	var err error
	switch {
	case r.ui.JSON:
		_, err = w.Write(ui.JSONLine(newEntryLine(path, e)))
	case long:
		_, err = io.WriteString(w, view.LongLine(path, e, ui.Quote)+"\n")
	default:
		_, err = io.WriteString(w, ui.Quote(path)+"\n")
	}
	return err
}

// entryLine is one line of ls --json.
type entryLine struct {
	Path        string    `json:"path"`
	PathBytes   string    `json:"path_base64,omitempty"` // of names that are not UTF-8
	Type        string    `json:"type"`
	Mode        uint32    `json:"mode"`
	Permissions string    `json:"permissions"`
	UID         uint32    `json:"uid"`
	GID         uint32    `json:"gid"`
	User        string    `json:"user,omitempty"`
	Group       string    `json:"group,omitempty"`
	Size        uint64    `json:"size"`
	Mtime       time.Time `json:"mtime"`
	LinkTarget  string    `json:"linktarget,omitempty"`
}

func newEntryLine(path string, e *tree.Entry) entryLine {
	line := entryLine{
		Path: path, Type: e.Type.String(), Mode: e.Mode, Permissions: view.ModeString(e),
		UID: e.UID, GID: e.GID, User: e.User, Group: e.Group, Size: e.Size, Mtime: view.Time(e.Mtime).UTC(), LinkTarget: e.Target,
	}
	if !utf8.ValidString(path) {
		line.PathBytes = base64.StdEncoding.EncodeToString([]byte(path))
	}
	return line
}
