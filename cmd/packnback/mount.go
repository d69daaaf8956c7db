package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

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
			if err := mountPoint(ops[0]); err != nil {
				return err
			}
			return p.withReading(c, func(r *reading) error {
				return r.mount(c.Context, ops[0], c.Bool("allow-other"))
			})
		},
	}
}

// mountPoint says what is wrong with dir as a place to mount at.
func mountPoint(dir string) error {
	info, err := os.Stat(dir)
	if err == nil && info.IsDir() {
		err = listable(dir)
	}
	switch {
	case errors.Is(err, syscall.ENOTCONN):
		return withHint(fmt.Errorf("mount: at %s is what a mount that was killed has left", ui.Quote(dir)), "umount "+ui.ShellWord(dir))
	case errors.Is(err, fs.ErrNotExist):
		return withHint(usageErrorf("mount: there is no folder %s", ui.Quote(dir)), "mkdir "+ui.ShellWord(dir))
	case err != nil:
		return fmt.Errorf("mount: %w", err)
	case !info.IsDir():
		return usageErrorf("mount: %s is not a folder", ui.Quote(dir))
	}
	return nil
}

// listable tries to list a folder. The kernel may remember what a mount said of
// its folder, but not what was in it.
func listable(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err = f.Readdirnames(1); errors.Is(err, io.EOF) {
		return nil
	}
	return err
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
