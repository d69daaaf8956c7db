package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/restorer"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
)

func restoreCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:      "restore",
		Aliases:   []string{"extract"},
		Usage:     "restore a snapshot, or a part of one, into a folder",
		ArgsUsage: "SNAP[:/path]",
		Flags: append(append(snapshotFlags(), selectFlags()...),
			&cli.StringFlag{Name: "target", Aliases: []string{"t"}, Usage: "restore into `DIR`"},
			&cli.StringFlag{Name: "overwrite", Value: restorer.Always.String(), Usage: "what to do with files that are there: `WHEN` is always, if-changed, if-newer or never"},
			&cli.BoolFlag{Name: "delete", Usage: "remove what the snapshot's folders don't have"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "show what would be done"},
			&cli.BoolFlag{Name: "verify", Usage: "read every file again after writing it"},
			&cli.BoolFlag{Name: "sparse", Usage: "make holes of runs of zeros, too"},
			&cli.BoolFlag{Name: "numeric-ids", Usage: "owners by number, whatever they are called"},
			&cli.BoolFlag{Name: "privileged", Usage: "as root: restore devices, set-ID bits and capabilities, too"}),
		Action: func(c *cli.Context) error {
			ops, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			sel, err := parseSelector(ops[0])
			if err != nil {
				return err
			}
			opt, err := p.restoreOptions(c)
			if err != nil {
				return err
			}
			return p.withReading(c, func(r *reading) error {
				return r.restore(c.Context, sel, c.String("target"), opt)
			})
		},
	}
}

// restoreOptions reads restore's flags.
func (p *program) restoreOptions(c *cli.Context) (restorer.Options, error) {
	opt := restorer.Options{
		Delete: c.Bool("delete"), DryRun: c.Bool("dry-run"), Verify: c.Bool("verify"), Sparse: c.Bool("sparse"),
		NumericIDs: c.Bool("numeric-ids"), Privileged: c.Bool("privileged"),
	}
	target := c.String("target")
	if target == "" {
		return opt, withHint(usageErrorf("restore: no target given"), "name a folder with -t DIR")
	}
	var err error
	if opt.Overwrite, err = restorer.ParseOverwrite(c.String("overwrite")); err != nil {
		return opt, usageErrorf("restore: %v", err)
	}
	if opt.Select, opt.Sparsely, err = p.selection(c); err != nil {
		return opt, err
	}
	if opt.Delete && !includes(c) && isRoot(target) {
		return opt, withHint(usageErrorf("restore: --delete in / would remove whatever was not backed up"), "say what to restore with --include")
	}
	return opt, nil
}

// isRoot reports whether target is the root folder, by this or another name.
// When that can't be told it is.
func isRoot(target string) bool {
	root, err := os.Stat("/")
	if err != nil {
		return true
	}
	abs, err := filepath.Abs(target)
	if err != nil || abs == "/" {
		return true
	}
	for _, name := range []string{target, abs} { // they differ where a folder before ".." is yet to be made
		if info, err := os.Stat(name); err == nil && os.SameFile(info, root) {
			return true
		}
	}
	return false
}

func (r *reading) restore(ctx context.Context, sel view.Selector, target string, opt restorer.Options) error {
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
	job := restorer.Job{Reader: r.reader, From: from, Target: target, SetTarget: sel.Path != "", Scratch: r.scratch()}
	report := &restoreReport{program: r.program, dry: opt.DryRun}
	if sel.Path == "" && opt.Select == nil {
		report.totalFiles, report.totalBytes = totalFiles(snap.Summary), snap.Summary.TotalBytes
	}
	started := r.env.Now()
	progress := r.ui.Progress("restoring", report.status)
	result, err := restorer.Restore(ctx, job, opt, report)
	progress.Stop()
	if err != nil && result == (restorer.Result{}) {
		return err // nothing was begun
	}
	if err != nil {
		const hint = "what is restored is whole; the same command with --overwrite if-changed does the rest"
		if ctx.Err() != nil {
			r.hintf(hint) // an interrupted run's error comes without one
		}
		return withHint(err, hint)
	}
	return report.finish(result, r.env.Now().Sub(started))
}
