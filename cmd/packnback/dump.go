package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/repo/tree"
)

func dumpCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:      "dump",
		Usage:     "write a file, or a folder as an archive, to standard output",
		ArgsUsage: "SNAP PATH",
		Flags: append(snapshotFlags(),
			&cli.StringFlag{Name: "archive", Aliases: []string{"a"}, Value: "tar", Usage: "folders as `FORMAT`: tar or zip"}),
		Action: func(c *cli.Context) error {
			ops, err := operands(c, 1, 2)
			if err != nil {
				return err
			}
			sel, err := parseSelector(ops[0])
			if err != nil {
				return err
			}
			if len(ops) == 2 {
				if sel.Path != "" {
					return usageErrorf("dump: the path is given twice")
				}
				if sel.Path, err = view.CleanPath(ops[1]); err != nil {
					return usageErrorf("dump: %v", err)
				}
			}
			if sel.Path == "" {
				return withHint(usageErrorf("dump: no path given"), "packnback dump SNAP /path; / is the whole snapshot")
			}
			format := c.String("archive")
			if format != "tar" && format != "zip" {
				return usageErrorf("dump: --archive %q: want tar or zip", format)
			}
			return p.withReading(c, func(r *reading) error {
				return r.dump(c.Context, sel, format == "zip")
			})
		},
	}
}

func (r *reading) dump(ctx context.Context, sel view.Selector, asZip bool) error {
	snap, err := r.open(ctx, sel)
	if err != nil {
		return err
	}
	if err := r.needContent(); err != nil {
		return err
	}
	from, err := snap.Lookup(ctx, sel.Path)
	if err != nil {
		return err
	}
	file, ok := r.env.Stdout.(*os.File)
	if ok && from.Entry.Type == tree.TypeDir && r.env.Terminal(file) {
		return withHint(usageErrorf("dump: an archive on a terminal is no use"), "send it to a file or a pipe")
	}
	out := bufio.NewWriterSize(r.env.Stdout, 1<<20)
	switch from.Entry.Type {
	case tree.TypeDir:
		err = r.reader.Archive(ctx, out, asZip, from)
	case tree.TypeFile:
		err = r.reader.WriteFile(ctx, out, from.Entry)
	default:
		return fmt.Errorf("%q is a %s: only files and folders can be dumped", from.Path, from.Entry.Type)
	}
	if err := errors.Join(err, out.Flush()); err != nil {
		return fmt.Errorf("the output is not complete: %w", err)
	}
	return nil
}
