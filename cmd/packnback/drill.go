package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
)

// defaultSample finds damage of one file in fifty in nine drills of ten, and is
// read within a minute even over a slow line.
const defaultSample = 100

func drillCommand(p *program) *cli.Command {
	return &cli.Command{
		Name:  "drill",
		Usage: "try whether backups can be restored: read a random sample of each",
		Flags: append(snapshotFlags(),
			&cli.IntFlag{Name: "sample", Value: defaultSample, Usage: "read the contents of `N` files of each snapshot"}),
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			n := c.Int("sample")
			if n < 1 || n > view.MaxSample {
				return withHint(usageErrorf("drill: --sample %d: want 1 to %d files", n, view.MaxSample), "packnback verify reads everything")
			}
			return p.withReading(c, func(r *reading) error {
				if err := r.unlock(c.Context); err != nil {
					return err
				}
				if err := r.needContent(); err != nil {
					return err
				}
				d := &drill{reading: r, problems: problems{to: r.program}, sample: n}
				return d.run(c.Context)
			})
		},
	}
}

// drill is one run of drill.
type drill struct {
	*reading
	problems
	sample int
	sum    drillSummary

	files, bytes, errors atomic.Uint64 // for the progress
}

func (d *drill) run(ctx context.Context) error {
	d.sum = drillSummary{MessageType: "summary", Command: "drill", Recorded: recordedStore}
	if _, err := d.checkChains(ctx, d.only, d.finding); err != nil {
		return err
	}
	list, err := d.listed(ctx, false)
	if err != nil {
		return err
	}
	switch {
	case len(list) > 0 || d.findings > 0:
	case d.only != view.Narrow{}:
		return noMatch(d.only)
	default:
		return withHint(errors.New("there is no snapshot to try"), "packnback snapshots lists what there is")
	}
	progress := d.ui.Progress("drilling", d.status)
	for _, snap := range list {
		if err = d.one(ctx, snap); err != nil {
			break
		}
	}
	progress.Stop()
	if err != nil {
		return err
	}
	return d.finish()
}

// one tries one snapshot, and records the outcome.
func (d *drill) one(ctx context.Context, snap *object.Snapshot) error {
	d.snapshot = snap.ID()
	var res view.DrillResult
	opened, err := d.openListed(ctx, snap)
	switch {
	case errors.Is(err, crypto.ErrNotRecipient):
		d.warnf("snapshot %s of %s/%s is sealed to other keys than this one: not tried", d.snapshot.Short(), snap.Manifest.Client, snap.Manifest.Job)
		d.sum.NotDrilled++
		return nil
	case errors.Is(err, object.ErrSignature):
		d.findings-- // it was told with its chain, and counts as lost from here on
		res.Lost = 1
	case view.Lost(err):
		d.lose("", err)
		res.Lost = 1
	case err != nil:
		return err
	default:
		if res, err = d.read(ctx, opened); err != nil {
			return fmt.Errorf("trying snapshot %s: %w", d.snapshot.Short(), err)
		}
	}
	d.add(snap.Manifest, res)
	return d.record(ctx, snap.Manifest, res)
}

// read reads the sample of one snapshot. Its error is about the run.
func (d *drill) read(ctx context.Context, snap *view.Snapshot) (view.DrillResult, error) {
	job := view.Drill{
		Sample: d.sample, Report: d.lose,
		Progress: func(files, bytes uint64) { d.files.Add(files); d.bytes.Add(bytes) },
	}
	if _, err := rand.Read(job.Seed[:]); err != nil {
		return view.DrillResult{}, err
	}
	res, err := d.reader.Drill(ctx, snap, job)
	if view.Lost(err) {
		d.lose("", err)
		res.Lost++
		err = nil
	}
	return res, err
}

// lose takes what can't be restored; without a path, all of the snapshot.
func (d *drill) lose(path string, err error) {
	d.errors.Add(1)
	var id object.ID
	var loss *view.LossError
	if errors.As(err, &loss) {
		id = loss.ID
	}
	d.tell(path, id, err)
}

func (d *drill) status() ui.Status {
	return ui.Status{Files: d.files.Load(), Bytes: d.bytes.Load(), Errors: d.errors.Load()}
}
