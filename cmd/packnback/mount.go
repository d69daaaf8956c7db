package main

import (
	"context"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/mount"
	"github.com/packnback/packnback/cmd/packnback/internal/ui"
)

func mountCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:      "mount",
		Usage:     "show snapshots as a read-only file system",
		ArgsUsage: "DIR",
		Flags: append(snapshotFlags(),
			&cli.BoolFlag{Name: "allow-other", Usage: "let other users in, as far as the modes in the snapshots permit"}),
		Action: func(c *cli.Context) error {
			ops, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			if info, err := os.Stat(ops[0]); err != nil || !info.IsDir() {
				return withHint(usageErrorf("mount: %s is not a folder", ui.Quote(ops[0])), "mkdir "+ui.ShellWord(ops[0]))
			}
			return p.withReading(c, func(r *reading) error {
				return r.mount(c.Context, ops[0], c.Bool("allow-other"))
			})
		},
	}
}

func (r *reading) mount(ctx context.Context, dir string, allowOther bool) error {
	if err := r.unlock(ctx); err != nil {
		return err
	}
	// Snapshots that arrive later are judged by the keys known now.
	believed, err := r.believed(ctx)
	if err != nil {
		return err
	}
	config := mount.Config{
		Store: r.store, Reader: r.reader, Dir: dir, Only: r.only, AllowOther: allowOther,
		Refuse: believed,
		Warn:   func(path string, err error) { r.warnf("%s: %v", ui.Quote(path), err) },
	}
	err = mount.Mount(ctx, config, func() {
		r.ui.Remarkf("mounted at %s; it goes away with ctrl-C or: umount %s", ui.Quote(dir), ui.ShellWord(dir))
	})
	if err == nil && ctx.Err() != nil {
		r.ui.Remarkf("unmounted")
	}
	return err
}
