package repo

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/packnback/packnback/repo/internal/disk/crashdisk"
	"github.com/packnback/packnback/repo/object"
)

// TestPowerCutReplica cuts the power after every step of copies and links that
// changes the disk: what was copied is whole, and the next run comes to the end.
func TestPowerCutReplica(t *testing.T) {
	c := newCopying(t, 4)
	all := c.uploads
	steps := []func(r *Repository) error{
		func(r *Repository) error { return c.replicate(r, all[0]) },
		func(r *Repository) error { return c.addLinks(r, all[1], all[2]) },
		func(r *Repository) error { return c.replicate(r, all[3], all[1], all[2]) },
		func(r *Repository) error { return c.replicate(r, all[2]) }, // of which there is the link
	}
	c.cutEverywhere(steps, func(r *Repository) error {
		// The link of the last one may have been left behind, which does no harm.
		for i, want := range []bool{false, true} {
			if there, err := exists(r.fs, snapshotName("links", all[i].manifest.ID())); err != nil || there != want {
				return fmt.Errorf("the link of snapshot %d: got %v, %w; want %v", i, there, err, want)
			}
		}
		return errors.Join(c.sameTimes(r, all[0], all[2], all[3]), wantTree(r, all[3].root, all))
	})
}

// TestPowerCutBeforeTheHead does the same with a snapshot that stands in the
// chain before the head and brings objects along.
func TestPowerCutBeforeTheHead(t *testing.T) {
	c := newCopyingOf(t, 2, false)
	all := c.uploads
	steps := []func(r *Repository) error{
		func(r *Repository) error { return c.addLinks(r, all[0]) },
		func(r *Repository) error { return c.replicate(r, all[1]) },
		func(r *Repository) error { return c.replicate(r, all[0]) },
	}
	c.cutEverywhere(steps, func(r *Repository) error {
		return errors.Join(c.sameTimes(r, all...), wantTrees(r, all...))
	})
	wantVisible(t, c.process(), "default", all[0])
	wantVisible(t, c.process(), "default", all[1])
}

// cutEverywhere does the steps and cuts the power after each change of the disk.
// Whatever is left must be sound, and come to what final wants by the same steps.
func (c *copying) cutEverywhere(steps []func(r *Repository) error, final func(r *Repository) error) {
	t := c.t
	t.Helper()
	for i, do := range steps {
		p := c.d.Process()
		r := c.opened(p)
		step := 0
		c.d.After(func(op crashdisk.Op) {
			if !op.Kind.Changes() || t.Failed() {
				return
			}
			step++
			for _, seed := range seedsFor(step) {
				if err := c.afterCrash(c.d.Crash(seed), steps, final); err != nil {
					t.Errorf("part %d, step %d (%s), seed %d: %v", i, step, op, seed, err)
				}
			}
		})
		err := do(r)
		c.d.After(nil)
		if err != nil {
			t.Fatalf("part %d: %v", i, err)
		}
		if step < 10 {
			t.Errorf("part %d has only %d steps", i, step)
		}
		if t.Failed() {
			t.FailNow()
		}
		p.Kill()
	}
}

// sameTimes checks that snapshots have the times of the source.
func (c *copying) sameTimes(r *Repository, ups ...*upload) error {
	for i, u := range ups {
		got, err := r.Snapshot(context.Background(), u.manifest.ID())
		if err != nil {
			return err
		}
		if want := c.snapshot(u).Received; got.Received != want {
			return fmt.Errorf("snapshot %d was received at %d, want %d", i, got.Received, want)
		}
	}
	return nil
}

// afterCrash checks what a crash has left, does all steps again, those that were
// done to no effect, and checks that.
func (c *copying) afterCrash(d *crashdisk.Disk, steps []func(r *Repository) error, final func(r *Repository) error) error {
	p := d.Process()
	defer p.Kill()
	r := c.opened(p)
	defer r.Close()
	check := func() error {
		var problems []error
		_, err := r.Check(context.Background(), CheckOptions{ReadData: true}, func(p Problem) {
			problems = append(problems, fmt.Errorf("check: %s %s %s: %s", p.What, p.Name, p.ID.Short(), p.Detail))
		})
		return errors.Join(append(problems, err)...)
	}
	if _, err := c.readStanding(r); err != nil { // takes the head forward
		return err
	}
	if err := check(); err != nil {
		return fmt.Errorf("before going on: %w", err)
	}
	for i, do := range steps {
		if err := do(r); err != nil {
			return fmt.Errorf("going on with part %d: %w", i, err)
		}
	}
	if err := check(); err != nil {
		return fmt.Errorf("after going on: %w", err)
	}
	return final(r)
}

func (c *copying) readStanding(r *Repository) (object.Standing, error) {
	s, err := r.OpenSession(context.Background(), SessionRequest{Client: "web1", Job: "default"})
	if err != nil {
		return object.Standing{}, err
	}
	return s.Standing(), s.Close()
}
