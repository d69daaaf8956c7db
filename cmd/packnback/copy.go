package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/copier"
	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/protocol/transport"
	"github.com/packnback/packnback/repo/object"
)

func copyCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:      "copy",
		Usage:     "copy snapshots to another repository, a replica, without a key",
		ArgsUsage: "[SNAP…]",
		Flags: append(narrowFlags(),
			&cli.StringFlag{Name: "to", Usage: "copy to `REPO2`; what --repo names is the source"},
			&cli.StringFlag{Name: "from-repo", Usage: "copy from `REPO2`; what --repo names is the replica"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "only say what would be copied"}),
		Action: func(c *cli.Context) error {
			only, err := narrow(c)
			if err != nil {
				return err
			}
			snaps, err := snapOperands(c)
			if err != nil {
				return err
			}
			r := &copyRun{program: p, snaps: snaps, only: only, dryRun: c.Bool("dry-run"), began: p.env.Now()}
			if err := r.places(c); err != nil {
				return err
			}
			return r.run(c.Context)
		},
	}
}

// copyRun is one run of copy.
type copyRun struct {
	*program
	snaps    []view.Selector
	only     view.Narrow
	dryRun   bool
	from, to transport.Location
	failures failures
	began    time.Time
}

// places reads which repository is which.
func (r *copyRun) places(c *cli.Context) error {
	here, err := r.location()
	if err != nil {
		return err
	}
	to, from := c.String("to"), c.String("from-repo")
	switch {
	case to == "" && from == "":
		return withHint(usageErrorf("copy: no second repository given"), "packnback copy -r REPO --to REPO2")
	case to != "" && from != "":
		return usageErrorf("copy: --to and --from-repo exclude each other")
	case to != "":
		r.from = here
		r.to, err = parseLocation(to)
	default:
		r.to = here
		r.from, err = parseLocation(from)
	}
	if err == nil && r.from == r.to {
		return usageErrorf("copy: both repositories are the same one")
	}
	return err
}

func (r *copyRun) run(ctx context.Context) error {
	from, err := r.openAt(ctx, r.from)
	if err != nil {
		return err
	}
	return errors.Join(r.copyFrom(ctx, from), from.Close())
}

// copyFrom finds what to copy before it makes anything at the other place.
func (r *copyRun) copyFrom(ctx context.Context, from store) error {
	choice := copier.Choice{Only: r.only}
	if len(r.snaps) > 0 {
		found, err := findAll(ctx, from, r.snaps, r.only)
		if err != nil {
			return readFault(err)
		}
		choice.Only, choice.IDs = view.Narrow{}, map[object.ID]bool{} // it has said what latest means
		for _, s := range found {
			choice.IDs[s.ID()] = true
		}
	}
	to, made, err := r.openReplica(ctx, r.to, from, r.dryRun)
	if err != nil {
		return err
	}
	if made {
		r.ui.Remarkf("made a replica of repository %s at %s", from.ID(), ui.Quote(r.to.String()))
	}
	if to == nil {
		return r.copyTo(ctx, from, nil, choice)
	}
	if to.ID() != from.ID() {
		return errors.Join(otherRepository(r.to, to, from), to.Close())
	}
	return errors.Join(r.copyTo(ctx, from, to, choice), to.Close())
}

func otherRepository(at transport.Location, to, from store) error {
	return withHint(object.CodeExists.Errorf("at %q there is another repository, %s; snapshots are signed for theirs, %s, and can only be copied to replicas of it", at, to.ID(), from.ID()),
		"name a place where there is no repository yet: copy makes a replica there")
}

// copyTo plans and copies; to is nil where there is no repository yet.
func (r *copyRun) copyTo(ctx context.Context, from, to store, choice copier.Choice) error {
	dir, err := os.MkdirTemp(r.scratch(), "packnback-copy-")
	if err != nil {
		return err
	}
	c := &copier.Copier{From: from, Repository: from.ID(), Scratch: dir, Report: r.failed, Copied: r.copied}
	if to != nil {
		c.To = to
	}
	return errors.Join(r.carryOut(ctx, c, choice), os.RemoveAll(dir))
}

func (r *copyRun) carryOut(ctx context.Context, c *copier.Copier, choice copier.Choice) error {
	plan, err := c.Plan(ctx, choice)
	if err != nil {
		return err
	}
	if plan.Chains == 0 && len(r.snaps) == 0 && r.only != (view.Narrow{}) {
		// No failure: a timer may be there before the client's first backup.
		r.warnf("%v", noMatch(r.only))
	}
	if r.dryRun {
		return r.finish(c, plan)
	}
	progress := r.ui.Progress("copying", func() ui.Status {
		n := c.Counts()
		return ui.Status{Files: n.Snapshots, Bytes: n.Bytes, Sent: n.Bytes, Errors: n.Problems}
	})
	err = c.Run(ctx, plan)
	progress.Stop()
	if err != nil {
		return r.unfinished(c, err)
	}
	return r.finish(c, plan)
}
